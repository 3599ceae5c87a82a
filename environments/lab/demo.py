"""`make demo`: two Supersets with ss-tools in front of them, from nothing to a URL, ended together by Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shlex
import signal
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from environments.lab.errors import LabError
from environments.lab.install import find_python
from environments.lab.instance import InstanceSpec, RunningSuperset
from environments.lab.lab import Lab
from environments.lab.places import REPOSITORY, Places
from environments.lab.processes import (
    Process,
    end_running,
    inherited_environment,
    is_port_free,
    run,
    spawn,
    stop_all,
)
from environments.lab.progress import Progress, duration
from environments.lab.versions import CURRENT, superset_version

T = TypeVar("T")

_RUN = "demo"
_PROD_IDS = 10_000  # prod's ids start above, dev's end far below: nothing works by accident of equal ids
_UP_SECONDS = 120


@dataclass(frozen=True)
class Ports:
    """Where the three listen on the loopback interface."""

    dev: int
    prod: int
    ss_tools: int


@dataclass(frozen=True)
class _Port:
    default: int
    variable: str
    option: str
    what: str


_PORTS = {
    "dev": _Port(8188, "SSTOOLS_DEMO_DEV_PORT", "--dev-port", "Superset dev"),
    "prod": _Port(8189, "SSTOOLS_DEMO_PROD_PORT", "--prod-port", "Superset prod"),
    "ss_tools": _Port(8000, "SSTOOLS_DEMO_PORT", "--port", "ss-tools"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for port in _PORTS.values():
        help_text = f"port of {port.what} (default: {port.variable}, else {port.default})"
        parser.add_argument(port.option, type=int, default=None, metavar="PORT", help=help_text)
    parser.add_argument(
        "--prepare",
        default="",
        metavar="COMMAND",
        help="command that installs ss-tools itself; runs while Superset is being installed",
    )
    parser.add_argument(
        "--python", default=".venv/bin/python", help="the Python that runs ss-tools (default: %(default)s)"
    )
    parser.add_argument(
        "--name", default=_RUN, help="another demo beside the first, with data of its own (choose ports too)"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="forget what earlier runs left in dev, prod and ss-tools"
    )


def run_demo(options: argparse.Namespace) -> int:
    """Until Ctrl-C or SIGTERM (exit code 0 then); raises LabError when something cannot start or ends by itself."""
    given = {"dev": options.dev_port, "prod": options.prod_port, "ss_tools": options.port}
    ports = choose_ports(given, os.environ)
    check_ports(ports)
    find_python()  # before anything is downloaded
    demo = Demo(
        options.name,
        Places.default(),
        ports,
        prepare=options.prepare,
        python=options.python,
        fresh=options.fresh,
    )
    with _interruptible():
        try:
            demo.start()
            demo.watch()
        except _Interrupted:
            demo.progress.say("\nEnding everything …")
            demo.close()
            demo.progress.say("Ended. Everything is kept for the next `make demo`.")
        finally:
            demo.close()
    return 0


def choose_ports(given: Mapping[str, int | None], environ: Mapping[str, str]) -> Ports:
    """Option, else variable, else default. Raises LabError for what is no port, and for one that is named twice."""
    chosen: dict[str, int] = {}
    for name, port in _PORTS.items():
        value = given.get(name)
        text = (
            str(value) if value is not None else environ.get(port.variable, "").strip() or str(port.default)
        )
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
            raise LabError(
                f"{text!r} is no port for {port.what}.", f"Set {port.variable} to a number up to 65535."
            )
        for other, taken in chosen.items():
            if taken == int(text):
                both = f"{_PORTS[other].what} and {port.what}"
                raise LabError(f"Port {text} is meant for both {both}.", f"Set {port.variable} to another.")
        chosen[name] = int(text)
    return Ports(**chosen)


def check_ports(ports: Ports, is_free: Callable[[int], bool] = is_port_free) -> None:
    """Raises LabError naming every port that is taken, and how to choose another."""
    numbers = {name: int(getattr(ports, name)) for name in _PORTS}
    taken = [name for name, number in numbers.items() if not is_free(number)]
    if not taken:
        return
    named = [f"Port {numbers[name]}, where {_PORTS[name].what} should listen, is taken." for name in taken]
    settings: list[str] = []
    reserved = set(numbers.values())
    for name in taken:
        other = next(
            (
                number
                for number in range(numbers[name] + 1, 65536)
                if number not in reserved and is_free(number)
            ),
            0,
        )
        reserved.add(other)
        settings.append(f"{_PORTS[name].variable}={other or 'PORT'}")
    raise LabError(
        " ".join(named), f"Is the demo running already? Else choose another: {' '.join(settings)} make demo"
    )


class Demo:
    """The whole of it. `start` returns when everything answers; `close` may be called at any moment, also twice."""

    def __init__(
        self,
        name: str,
        places: Places,
        ports: Ports,
        *,
        prepare: str,
        python: str,
        fresh: bool,
        progress: Progress | None = None,
    ) -> None:
        self.progress = progress or Progress()
        self._ports = ports
        self._prepare = prepare
        self._python = str(REPOSITORY / python)  # stays as it is if absolute; not resolved, it may be a link
        self._fresh = fresh
        self._lab = Lab(name, places, self.progress, disposable=False)
        self._home = self._lab.folder / "ss-tools"
        self._up: Process | None = None
        self._closed = False

    def start(self) -> None:
        self.progress.say(f"ss-tools demo. Files go to {self._lab.places.root}")
        if not self._lab.templates_exist(CURRENT):
            self.progress.say(
                "First time: some minutes and 1.5 GB from the Python package index, later seconds."
            )
        tools = Task("ss-tools", self._start_ss_tools)
        if self._fresh:
            self._forget()
        self._lab.open()
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        version = superset_version(CURRENT)
        self._lab.templates.start(version, ["prod", "examples"])
        # prod needs no examples: it starts while they are loaded.
        prod = Task("prod", lambda: self._start_superset("prod", self._ports.prod, "prod"))
        dev = Task("dev", lambda: self._start_superset("dev", self._ports.dev, "examples"))
        tools.go()
        prod.go()
        dev.go()
        wait_all([prod, dev, tools])
        for name in ("dev", "prod"):  # copies of the example data, which is there now
            self._lab.sqlite_warehouse(name)
        with self.progress.step("Registering dev and prod in ss-tools", "dev and prod are registered"):
            self._set_up(dev.result, prod.result)
        self._tell(dev.result, prod.result)

    def watch(self) -> None:
        """Returns never; raises LabError as soon as something ended by itself."""
        while True:
            ended = self._lab.ended() + [p for p in [self._up] if p and not p.is_running]
            for process in ended:
                raise LabError(
                    f"{process.name} ended by itself (exit {process.exit_code}):\n{process.last_words()}"
                )
            time.sleep(0.5)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        end_running()
        if self._up:
            stop_all([self._up], timeout_seconds=25)  # it lets its workers finish a step
        self._lab.close()

    def _start_superset(self, name: str, port: int, contents: str) -> RunningSuperset:
        # The first start waits here until Superset is installed and set up; those are steps of their own.
        version = superset_version(CURRENT)
        self._lab.templates.prepare(version, [contents])
        offset = _PROD_IDS if name == "prod" else 0
        spec = InstanceSpec(
            name,
            CURRENT,
            contents,
            port=port,
            username="admin",
            password=self._password(),
            id_offset=offset,
            # Browsers tell hosts apart, not ports: with one name, signing in at prod would sign out of dev.
            settings={"SESSION_COOKIE_NAME": f"session_{name}"},
        )
        with self.progress.step(f"Starting Superset {name}", f"Superset {name} answers"):
            return self._lab.start(spec)

    def _start_ss_tools(self) -> None:
        if self._prepare:
            with self.progress.step("Installing ss-tools", "ss-tools is installed"):
                # Its own PYTHON… variables are its business: it starts another Python.
                env = inherited_environment()
                run(shlex.split(self._prepare), "Installing ss-tools", cwd=REPOSITORY, env=env)
        url = f"http://127.0.0.1:{self._ports.ss_tools}"
        with self.progress.step("Starting ss-tools: web server and workers", "ss-tools answers"):
            command = [self._python, "manage.py", "up"]
            log = self._home / "ss-tools.log"
            self._up = spawn("ss-tools", command, log=log, cwd=REPOSITORY, env=self._environment())
            deadline = time.monotonic() + _UP_SECONDS
            while not self._is_ready(url):
                if not self._up.is_running:
                    raise LabError(f"ss-tools ended while starting:\n{self._up.last_words()}")
                if time.monotonic() > deadline:
                    raise LabError(
                        f"ss-tools did not answer within {_UP_SECONDS} s:\n{self._up.last_words()}"
                    )
                time.sleep(0.2)

    def _is_ready(self, url: str) -> bool:
        """Whether the web server answers, the database is up to date and a worker has reported."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{url}/readyz", timeout=5) as answer:
                return bool(json.loads(answer.read())["parts"]["workers"] == "ok")
        except (urllib.error.URLError, OSError, ValueError, KeyError):
            return False

    def _set_up(self, dev: RunningSuperset, prod: RunningSuperset) -> None:
        command = [self._python, "manage.py", "demo_setup", "--dev-url", dev.url, "--prod-url", prod.url]
        # The password by the environment: arguments can be read by every account of the machine.
        env = self._environment() | {"SSTOOLS_DEMO_SUPERSET_PASSWORD": self._password()}
        run(command, "Registering dev and prod in ss-tools", cwd=REPOSITORY, env=env)

    def _environment(self) -> dict[str, str]:
        """ss-tools' settings: only ours. Those of the shell may name a database that the demo must not touch."""
        foreign = {
            name: value for name, value in inherited_environment().items() if not name.startswith("SSTOOLS_")
        }
        return foreign | {
            "SSTOOLS_DATA_DIR": str(self._home),
            "SSTOOLS_BIND": f"127.0.0.1:{self._ports.ss_tools}",
            "SSTOOLS_ADMIN_PASSWORD": self._password(),
            "PYTHONUNBUFFERED": "1",
        }

    def _password(self) -> str:
        """One for all three accounts named admin; made at the first start, the same ever after."""
        file = self._lab.folder / "password"
        if not file.exists():
            # A file of one's own each: ss-tools and both Supersets are started side by side, and all ask for it.
            descriptor, unfinished = tempfile.mkstemp(prefix="password.", dir=file.parent)  # 0600
            with os.fdopen(descriptor, "w") as output:
                output.write(secrets.token_hex(5))
            with contextlib.suppress(FileExistsError):
                os.link(unfinished, file)  # unlike a rename: whoever is first wins
            os.unlink(unfinished)
        return file.read_text().strip()

    def _forget(self) -> None:
        self._lab.open()  # refused while another demo runs on it
        self._lab.close(forget=True)

    def _tell(self, dev: RunningSuperset, prod: RunningSuperset) -> None:
        took = duration(time.monotonic() - self.progress.started_at)
        lines = [
            f"ss-tools is at   http://localhost:{self._ports.ss_tools}/",
            f"Sign in as       admin / {self._password()}",
            "",
            f"Superset dev     {dev.url}   the example dashboards",
            f"Superset prod    {prod.url}   empty at first, with a warehouse connection of its own",
            "                 same account and password",
        ]
        self.progress.say("\n" + box(lines))
        self.progress.say(f"Ready after {took}. Logs: {self._home / 'ss-tools.log'}, {dev.log}, {prod.log}")
        self.progress.say("Ctrl-C ends everything.")


def box(lines: list[str]) -> str:
    width = max(len(line) for line in lines)
    middle = [f"│ {line.ljust(width)} │" for line in lines]
    return "\n".join([f"┌{'─' * (width + 2)}┐", *middle, f"└{'─' * (width + 2)}┘"])


class Task(Generic[T]):
    """Something done beside something else. A daemon thread: it keeps nobody from ending."""

    def __init__(self, name: str, function: Callable[[], T]) -> None:
        self._function = function
        self._thread = threading.Thread(target=self._work, name=f"demo-{name}", daemon=True)
        self._results: list[T] = []
        self.error: BaseException | None = None
        self.done = threading.Event()

    def go(self) -> None:
        self._thread.start()

    @property
    def result(self) -> T:
        return self._results[0]

    def _work(self) -> None:
        try:
            self._results.append(self._function())
        except BaseException as error:
            self.error = error
        finally:
            self.done.set()


def wait_all(tasks: list[Task[RunningSuperset] | Task[None]]) -> None:
    """Returns when all are done; raises the error of the first that failed, without waiting for the others."""
    while True:
        for task in tasks:
            if task.error:
                raise task.error
        if all(task.done.is_set() for task in tasks):
            return
        time.sleep(0.1)  # signals are handled between two sleeps


class _Interrupted(BaseException):
    """Ctrl-C or SIGTERM."""


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """The first SIGINT, SIGTERM or SIGHUP raises _Interrupted; those after it do not disturb the ending."""
    seen = False

    def on_signal(number: int, frame: object) -> None:
        nonlocal seen
        if not seen:
            seen = True
            raise _Interrupted

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
