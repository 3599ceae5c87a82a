"""Dockerfile and compose.yaml, read and carried out as plain commands: there is no container engine in a test run.

What it understands is what our two files use; anything else is an error, so that nothing is passed over in silence.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
#: Folders of the image that stand in the test's folder instead. Longer ones first.
IMAGE_FOLDERS = ("/var/lib/ss-tools", "/opt/ss-tools", "/run/secrets", "/tmp/build")
#: Commands that change the base image and nothing else; the test runs as whoever runs it.
BASE_COMMANDS = ("useradd ",)


@dataclass(frozen=True)
class Instruction:
    name: str
    text: str


def read_dockerfile(path: Path) -> list[Instruction]:
    """The instructions, lines joined, comments left out. Raises ValueError for a line that is none."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    text = re.sub(r"\\\n", " ", "\n".join(lines))
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition(" ")
        if not re.fullmatch(r"[A-Z]+", name) or not rest:
            raise ValueError(f"no instruction: {line}")
        found.append(Instruction(name, " ".join(rest.split())))
    return found


def context_files(folder: Path) -> list[str]:
    """The files of a checkout that are sent to the builder by .dockerignore (last match wins, `!` takes back in)."""
    rules = [
        line
        for line in (folder / ".dockerignore").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    ]
    found = []
    for path, folders, names in os.walk(folder):
        here = "" if Path(path) == folder else Path(path).relative_to(folder).as_posix() + "/"
        # Rules that take files of an ignored folder back in would need another walk; we have none.
        folders[:] = sorted(name for name in folders if not _ignored(here + name, rules))
        found += [here + name for name in sorted(names) if not _ignored(here + name, rules)]
    return found


def _ignored(name: str, rules: list[str]) -> bool:
    parts = name.split("/")
    prefixes = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    ignored = False
    for rule in rules:
        pattern = rule.removeprefix("!").strip("/")
        # "**/x" is x in any folder, also in none; other patterns stand for a path from the top and all below it.
        tails = prefixes if not pattern.startswith("**/") else parts
        if any(fnmatch.fnmatchcase(one, pattern.removeprefix("**/")) for one in tails):
            ignored = not rule.startswith("!")
    return ignored


@dataclass
class Image:
    """What a build left: folders below `root`, and what a container of it starts with."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = ""
    volumes: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)

    def here(self, text: str) -> str:
        """A text of the image with its folders turned into those of the test."""
        for folder in IMAGE_FOLDERS:
            text = re.sub(rf"(?<![\w./]){folder}(?![\w-])", f"{self.root}{folder}", text)
        return text

    def path(self, name: str) -> Path:
        return Path(self.here(name if name.startswith("/") else f"{self.workdir.rstrip('/')}/{name}"))


def build(context: Path, folder: Path) -> Image:
    """Carry out the Dockerfile of `context` in `folder`. Raises CalledProcessError with what a step said."""
    files = context_files(context)
    arguments: dict[str, str] = {}
    stages: dict[str, Path] = {}
    image = Image(folder / "image")
    name = ""
    for instruction in read_dockerfile(context / "Dockerfile"):
        text = instruction.text
        if instruction.name == "ARG":
            key, _, value = text.partition("=")
            arguments[key] = value
        elif instruction.name == "FROM":
            if name:  # the next stage gets the same folder: a virtual environment knows where it stands
                stages[name] = image.root.rename(folder / f"stage-{name}")
            base, _, name = text.partition(" AS ")
            for key, value in arguments.items():
                base = base.replace(f"${{{key}}}", value)
            if not base.startswith("python:3."):
                raise ValueError(f"this base image is not known here: {base}")
            image = Image(image.root, ran=image.ran, passed_over=image.passed_over)
            _start_from_python(image)
        elif instruction.name == "ENV":
            for pair in shlex.split(text):
                key, _, value = pair.partition("=")
                image.environment[key] = _expand(value, image.environment)
        elif instruction.name == "COPY":
            _copy(text, image, context, files, stages)
        elif instruction.name == "RUN":
            _run(text, image)
        elif instruction.name == "WORKDIR":
            image.workdir = text
            image.path(text).mkdir(parents=True, exist_ok=True)
        elif instruction.name == "USER":
            image.user = text
        elif instruction.name == "VOLUME":
            image.volumes.append(text)
        elif instruction.name == "EXPOSE":
            image.ports.append(text)
        elif instruction.name == "HEALTHCHECK":
            image.healthcheck = json.loads(text.partition(" CMD ")[2])
        elif instruction.name == "CMD":
            image.command = json.loads(text)
        else:
            raise ValueError(f"{instruction.name} is not known here")
    return image


def _start_from_python(image: Image) -> None:
    """What the base image brings: a `python` on the path, and nothing of the test's own environment."""
    tools = image.root / "base"
    tools.mkdir(parents=True)
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    (tools / "python").symlink_to(python if python.exists() else Path(sys.executable).resolve())
    # The installation's own way to a package index, and its cache, are not part of the image.
    kept = {
        key: value
        for key, value in os.environ.items()
        if key.startswith(("PIP_", "XDG_", "SSL_"))
        or key.lower().endswith("_proxy")
        or key in ("HOME", "LANG")
    }
    image.environment = {**kept, "PATH": f"{tools}:/usr/bin:/bin"}


def _expand(value: str, environment: Mapping[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda found: environment.get(found[1], ""), value)


def _copy(text: str, image: Image, context: Path, files: list[str], stages: dict[str, Path]) -> None:
    words = shlex.split(text)
    options = [word for word in words if word.startswith("--")]
    *sources, target = [word for word in words if not word.startswith("--")]
    to = image.path(target)
    stage = next((one.removeprefix("--from=") for one in options if one.startswith("--from=")), "")
    if stage:
        (source,) = sources
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(f"{stages[stage]}{source}", to, symlinks=True)
        return
    for source in sources:
        below = [name for name in files if name == source or name.startswith(f"{source}/")]
        if not below:
            raise FileNotFoundError(f"COPY {source}: not in the build context")
        for name in below:
            # A file goes under the target if that is a folder; a folder's content goes into the target.
            inner = name.removeprefix(source).strip("/")
            goal = to / inner if inner else (to / Path(name).name if target.endswith("/") else to)
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(context / name, goal)


def _run(text: str, image: Image) -> None:
    command = re.sub(r"^(--mount=\S+ )+", "", text)
    if command.startswith(BASE_COMMANDS):
        image.passed_over.append(command)
        return
    command = re.sub(r" --(owner|group)=\d+", "", command)  # needs root; whose the folder is decides Docker
    execute(image, ["/bin/sh", "-e", "-c", command], {})
    image.ran.append(text)


def execute(
    image: Image, command: list[str], environment: Mapping[str, str], *, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command as in a container, to its end."""
    done = subprocess.run(
        [image.here(word) for word in command],
        cwd=image.path(image.workdir) if image.workdir != "/" else image.root,
        env=environment_of(image, environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if check and done.returncode:
        raise AssertionError(
            f"{shlex.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done


def environment_of(image: Image, more: Mapping[str, str]) -> dict[str, str]:
    return {key: image.here(value) for key, value in {**image.environment, **more}.items()}


def start(
    image: Image, command: list[str], environment: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """Start a command as in a container, in a session of its own."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [image.here(word) for word in command],
            cwd=image.path(image.workdir),
            env=environment_of(image, environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def read_compose(path: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """The file with its variables (`${NAME:-default}`) put in, as compose does before it reads the YAML."""

    def value(found: re.Match[str]) -> str:
        return environment.get(found["name"], "") or found["default"]

    text = re.sub(r"\$\{(?P<name>[A-Z_]+):-(?P<default>[^}]*)\}", value, path.read_text())
    if "${" in text:
        raise ValueError("a variable without a default, or in another spelling")
    document: dict[str, Any] = yaml.safe_load(text)
    return document
