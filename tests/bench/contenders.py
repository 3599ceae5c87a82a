"""Who else moves all assets from one Superset to another: the bare API, and preset-cli. Each says how long it took."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from environments.lab.instance import RunningSuperset

PRESET_CLI = ("preset-cli==0.3.13", "setuptools<81")
PATIENCE_SECONDS = 600


@dataclass(frozen=True)
class Timing:
    """Seconds of the two halves, and of processor time: of both Supersets and of the tool itself."""

    read: float
    write: float
    cpu: float = 0.0

    @property
    def total(self) -> float:
        return self.read + self.write


class ContenderFailed(Exception):
    """It did not do what it was asked to; the text is its own."""


def raw_api(source: RunningSuperset, target: RunningSuperset) -> Timing:
    """GET assets/export, POST assets/import: the least that any tool must do. No mapping, no check, no way back."""
    began = time.perf_counter()
    with _client(source) as client:
        _sign_in(client, source)
        answer = client.get("/api/v1/assets/export/")
        answer.raise_for_status()
    read = time.perf_counter()
    with _client(target) as client:
        _sign_in(client, target)
        token = client.get("/api/v1/security/csrf_token/").json()["result"]
        imported = client.post(
            "/api/v1/assets/import/",
            files={"bundle": ("assets.zip", answer.content, "application/zip")},
            headers={"X-CSRFToken": token, "Referer": f"{target.url}/"},
        )
        if imported.status_code != 200:
            raise ContenderFailed(imported.text[:500])
    return Timing(read - began, time.perf_counter() - read)


def _client(superset: RunningSuperset) -> httpx.Client:
    return httpx.Client(base_url=superset.url, timeout=PATIENCE_SECONDS, trust_env=False)


def _sign_in(client: httpx.Client, superset: RunningSuperset) -> None:
    body = {"username": superset.username, "password": superset.password, "provider": "db", "refresh": True}
    token = client.post("/api/v1/security/login", json=body).json()["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"


def preset_cli(program: Path, source: RunningSuperset, target: RunningSuperset, folder: Path) -> Timing:
    """export-assets, then sync native, both with --overwrite, as its users run it. Time of its start included."""
    assets = folder / "assets"
    shutil.rmtree(folder, ignore_errors=True)
    assets.mkdir(parents=True)  # progress.log of an earlier run would make it skip what it thinks is done
    began = time.perf_counter()
    _must_succeed(superset_cli(program, source, folder, "export-assets", str(assets), "--overwrite"))
    read = time.perf_counter()
    _must_succeed(superset_cli(program, target, folder, "sync", "native", str(assets), "--overwrite"))
    return Timing(read - began, time.perf_counter() - read)


def superset_cli(
    program: Path, superset: RunningSuperset, folder: Path, *words: str
) -> subprocess.CompletedProcess[str]:
    """preset-cli with these words, signed in at an instance, in a folder that is also its home."""
    command = [str(program / "bin" / "superset-cli"), "-u", superset.username, "-p", superset.password]
    return subprocess.run(
        [*command, superset.url, *words],
        cwd=folder,
        env={
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "NO_PROXY": "127.0.0.1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def _must_succeed(ended: subprocess.CompletedProcess[str]) -> None:
    if ended.returncode:
        raise ContenderFailed((ended.stderr or ended.stdout)[-1000:])
