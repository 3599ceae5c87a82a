"""Templates of a tree, rendered with the values that somebody gives along: in a sandbox, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from environments.canonical.trees import texts
from environments.superset.errors import SupersetRefused
from environments.superset.trees import templates_in
from environments.superset.yaml_text import read_yaml
from sstools.errors import Invalid

CHILD = Path(__file__).with_name("render_child.py")
MAX_VALUES_BYTES = 2**20
CPU_SECONDS = 10
WALL_SECONDS = 60  # on a machine that is busy with other things
MEMORY_BYTES = 512 * 2**20  # the interpreter itself takes some 60 MB


def read_values(content: bytes) -> dict[str, Any]:
    """A file of values: one YAML mapping. Raises Invalid("values_invalid")."""
    if len(content) > MAX_VALUES_BYTES:
        raise _wrong_values(f"It is larger than {MAX_VALUES_BYTES // 2**20} MiB.")
    try:
        return read_yaml(content, "values")
    except SupersetRefused as refused:
        raise _wrong_values(refused.message) from None


def render_files(
    files: Mapping[str, bytes], values: Mapping[str, Any], *, most_bytes: int
) -> dict[str, bytes]:
    """The files of a tree with every template rendered. Nothing of Python, of this process or of its surroundings is
    within a template's reach; a name that the values do not have is an error.

    Raises Invalid("template_failed") with file and line; the same for what takes too long or becomes too large.
    """
    templates = templates_in(files)
    if not templates:
        return dict(files)
    asked = {
        "files": templates,
        "values": values,
        "seconds": CPU_SECONDS,
        "memory_bytes": MEMORY_BYTES,
        "most_characters": most_bytes,
    }
    try:
        ended = subprocess.run(
            [sys.executable, "-I", str(CHILD)],
            input=json.dumps(asked),
            capture_output=True,
            encoding="utf-8",
            env={"PYTHONIOENCODING": "utf-8"},
            timeout=WALL_SECONDS,
            check=False,
        )
        answer = json.loads(ended.stdout) if ended.returncode == 0 else {}
    except (subprocess.TimeoutExpired, ValueError):
        answer = {}
    if error := answer.get("error"):
        line = f", line {error['line']}" if error["line"] else ""
        raise _failed(f"{error['path']}{line}: {_without(error['text'], values)}")
    if "files" not in answer:
        raise _failed(f"they took more than {CPU_SECONDS} seconds, or too much memory")
    return {**files, **{path: text.encode() for path, text in answer["files"].items()}}


def _without(text: str, values: Mapping[str, Any]) -> str:
    """What went wrong, without a value that was given along: they may be secrets."""
    for value in sorted(set(texts(values)), key=len, reverse=True):
        if len(value) > 2:
            text = text.replace(value, "…")
    return text


def _failed(text: str) -> Invalid:
    return Invalid(
        f"The templates of this tree cannot be rendered: {text}.",
        code="template_failed",
        remedy="Mend the template, or give the value that it misses.",
        errors={"values": [text]},
    )


def _wrong_values(text: str) -> Invalid:
    return Invalid(
        f"The file of values cannot be read: {text}",
        code="values_invalid",
        remedy="Give a YAML file with one mapping: names and their values.",
        errors={"values": [text]},
    )
