"""Metadata databases ready to be copied: set up once per release, kept in the cache as SQL.

`superset db upgrade`, `superset init` and the examples take 45 s; restoring their result into a PostgreSQL server
takes 2 s, and copying it there for one more instance 0.2 s.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from environments.lab.errors import LabError
from environments.lab.examples import PLACEHOLDER_URI, PROD_NAME, PROD_UUID
from environments.lab.install import Installer
from environments.lab.instance import render_config, superset_environment
from environments.lab.places import Places, is_complete, mark_complete
from environments.lab.postgres import Cluster
from environments.lab.processes import Process, spawn
from environments.lab.progress import Progress
from environments.lab.versions import CURRENT, SupersetVersion, superset_version

CONTENTS = ("empty", "prod", "examples")  # in the order in which they are built
_SIDE = Path(__file__).with_name("superset_side.py")


class Templates:
    """The templates of one PostgreSQL server, built when first asked for. Safe to use from several threads."""

    def __init__(
        self, places: Places, installer: Installer, cluster: Cluster, work: Path, progress: Progress
    ) -> None:
        self._places = places
        self._installer = installer
        self._cluster = cluster
        self._work = work
        self._progress = progress
        self._changed = threading.Condition()
        self._building: set[str] = set()
        self._failures: dict[str, BaseException] = {}
        self._restoring = threading.Lock()
        self._sides: set[_Side] = set()

    def database(self, version: SupersetVersion, contents: str) -> str:
        """Name of the database to copy; up to a minute the first time (see `prepare`), then at once."""
        name = f"template_{version.short}_{contents}"
        self.prepare(version, [contents])
        with self._restoring:
            if name not in self._cluster.databases():
                self._cluster.restore(self._dump(version, contents), name)
        return name

    def warehouse(self) -> Path:
        """The SQLite file with the example data of the newest release (nobody writes to it; copy it)."""
        version = superset_version(CURRENT)
        self.prepare(version, ["examples"])
        return self._warehouse(version)

    def prepare(self, version: SupersetVersion, contents: Sequence[str]) -> None:
        """Returns when the dumps of these contents exist; builds what is missing."""
        for content in contents:
            if content not in CONTENTS:
                raise LabError(f"There are no contents {content!r}.", f"There are {', '.join(CONTENTS)}.")
        self.start(version, contents)
        with self._changed:
            while not all(self._dump(version, content).exists() for content in contents):
                if version.version in self._building:
                    self._changed.wait()
                elif failure := self._failures.pop(version.version, None):
                    raise LabError(f"Superset {version.version} could not be set up: {failure}") from failure
                else:
                    self.start(version, contents)

    def start(self, version: SupersetVersion, contents: Sequence[str]) -> None:
        """Begins to build these contents in the background unless they exist or something is being built."""
        with self._changed:
            missing = [content for content in contents if not self._dump(version, content).exists()]
            if not missing or version.version in self._building:
                return
            self._building.add(version.version)
            self._failures.pop(version.version, None)
            threading.Thread(
                target=self._build_and_tell, args=(version, missing), name="lab-templates", daemon=True
            ).start()

    def close(self) -> None:
        """Ends what is being built; whoever waits for it gets an error."""
        with self._changed:
            sides = list(self._sides)
        for side in sides:
            side.end()

    def _build_and_tell(self, version: SupersetVersion, contents: Sequence[str]) -> None:
        try:
            if "examples" in contents and version.version != CURRENT:
                self.warehouse()
            with self._places.locked(f"templates-{version.key}"):
                self._build(version, contents)
        except BaseException as error:
            self._failures[version.version] = error
        finally:
            with self._changed:
                self._building.discard(version.version)
                self._changed.notify_all()

    def _build(self, version: SupersetVersion, contents: Sequence[str]) -> None:
        missing = [content for content in CONTENTS if content in contents or content == "empty"]
        missing = [content for content in missing if not self._dump(version, content).exists()]
        if not missing:  # another process built them while we waited for the lock
            return
        folder = self._dump(version, "empty").parent
        folder.mkdir(parents=True, exist_ok=True)
        installed = self._installer.superset(version)
        database = f"building_{version.short}"
        self._cluster.drop(database)
        if "empty" in missing:
            self._cluster.create(database)
        else:
            self._cluster.restore(self._dump(version, "empty"), database)
        home = self._work / f"building-{version.version}"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        warehouse = home / "warehouse.db"
        if version.version != CURRENT and "examples" in missing:
            shutil.copyfile(self._warehouse(superset_version(CURRENT)), warehouse)
        config = home / "superset_config.py"
        config.write_text(
            render_config(
                secret_key=secrets.token_hex(24),  # nothing encrypted is left in a template
                metadata_url=self._cluster.address.url(database),
                feature_flags={},
                settings={},
                examples_url=f"sqlite:///{warehouse}",
            )
        )
        with _Side(installed.python, home, config, version.version) as side, self._known(side):
            for content in missing:
                if content == "empty":
                    doing = f"Setting up Superset {version.version} (first time, 15 s)"
                    with self._progress.step(doing, f"Superset {version.version} is set up"):
                        side.do("set_up")
                elif content == "prod":
                    side.do("add_connection", name=PROD_NAME, uuid=PROD_UUID, uri=PLACEHOLDER_URI)
                else:
                    doing = f"Loading the example dashboards of {version.version} and their data (first time, 20 s)"
                    with self._progress.step(doing, "The examples are loaded"):
                        side.do("load_examples")
                    self._keep_warehouse(version, warehouse)
                self._cluster.dump(database, self._dump(version, content))
                if content == "prod":
                    side.do("remove_connection", uuid=PROD_UUID)
                with self._changed:
                    self._changed.notify_all()
        self._cluster.drop(database)
        shutil.rmtree(home, ignore_errors=True)

    @contextlib.contextmanager
    def _known(self, side: _Side) -> Iterator[None]:
        with self._changed:
            self._sides.add(side)
        try:
            yield
        finally:
            with self._changed:
                self._sides.discard(side)

    def _keep_warehouse(self, version: SupersetVersion, file: Path) -> None:
        target = self._warehouse(version)
        if version.version == CURRENT and not is_complete(target.parent):
            shutil.rmtree(target.parent, ignore_errors=True)
            target.parent.mkdir(parents=True)
            shutil.move(file, target)
            mark_complete(target.parent)

    def _dump(self, version: SupersetVersion, contents: str) -> Path:
        return self._places.root / "templates" / version.key / f"{contents}.sql"

    def _warehouse(self, version: SupersetVersion) -> Path:
        return self._places.root / f"warehouse-{version.key}" / "warehouse.db"


class _Side:
    """superset_side.py, running."""

    def __init__(self, python: Path, home: Path, config: Path, version: str) -> None:
        commands_read, commands_write = os.pipe()
        answers_read, answers_write = os.pipe()
        self._process: Process = spawn(
            f"the set-up of Superset {version}",
            [str(python), str(_SIDE), str(answers_write)],
            log=home.parent / f"{home.name}.log",
            cwd=home,
            env=superset_environment(home, config),
            stdin=commands_read,
            pass_fds=(answers_write,),
        )
        os.close(commands_read)
        os.close(answers_write)
        self._commands = os.fdopen(commands_write, "w")
        self._answers = os.fdopen(answers_read)

    def __enter__(self) -> _Side:
        return self

    def __exit__(self, *_: object) -> None:
        self._commands.close()
        self._answers.close()
        self._process.stop(timeout_seconds=2)

    def end(self) -> None:
        self._process.stop(timeout_seconds=2)

    def do(self, action: str, **parameters: str) -> None:
        """Returns when it is done; raises LabError with Superset's own words if it failed."""
        try:
            self._commands.write(json.dumps({"do": action, **parameters}) + "\n")
            self._commands.flush()
        except BrokenPipeError:
            pass  # it ended; there is no answer to read either
        line = self._answers.readline()
        answer = json.loads(line) if line else {"ok": False, "error": "it ended unexpectedly"}
        if not answer["ok"]:
            raise LabError(f"{action}: {answer['error']}\n{self._process.last_words()}")
