"""Packages of plugins, built as wheels and installed into a folder: real distributions, no network."""

from __future__ import annotations

import base64
import hashlib
import re
import tomllib
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def example() -> dict[str, str]:
    """The package of docs/plugins.md: file -> text."""
    text = (ROOT / "docs" / "plugins.md").read_text()
    found = re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return dict(found)


def of_code(name: str, code: str, version: str = "0.1") -> dict[str, str]:
    """A package of one module; `code` sees all of the interface as `e`."""
    module = name.replace("-", "_")
    pyproject = f"""[project]
name = "{name}"
version = "{version}"
[project.entry-points."ss_tools.plugins"]
{name} = "{module}:plugin"
"""
    return {"pyproject.toml": pyproject, f"{module}.py": f"import sstools.plugins.extension as e\n{code}"}


def build(files: dict[str, str], folder: Path) -> Path:
    """A wheel as pip takes it: the modules, METADATA, entry_points.txt, WHEEL and RECORD."""
    project: dict[str, Any] = tomllib.loads(files["pyproject.toml"])["project"]
    stem = f"{project['name'].replace('-', '_')}-{project['version']}"
    info = f"{stem}.dist-info"
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in named.items())
        for group, named in project["entry-points"].items()
    )
    inside = {name: text for name, text in files.items() if name.endswith(".py")} | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": points,
    }
    record = "".join(f"{name},sha256={_digest(text)},{len(text.encode())}\n" for name, text in inside.items())
    inside[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in inside.items():
            archive.writestr(name, text)
    return wheel


def install(wheel: Path, target: Path) -> None:
    """What installing a pure wheel into a folder is: it is unpacked there."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)


def uninstall(name: str, target: Path) -> None:
    """By its RECORD."""
    (info,) = target.glob(f"{name.replace('-', '_')}-*.dist-info")
    files = [line.split(",")[0] for line in (info / "RECORD").read_text().splitlines()]
    for file in files:
        (target / file).unlink()
    info.rmdir()


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
