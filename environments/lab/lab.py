"""A lab: one PostgreSQL server, any number of Supersets on it, all of it ended when the lab is closed."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from environments.lab.errors import LabError
from environments.lab.examples import EXAMPLES_UUID, PROD_UUID, postgres_warehouses
from environments.lab.install import Installer
from environments.lab.instance import (
    InstanceSpec,
    RunningSuperset,
    password_hash,
    render_config,
    start_gunicorn,
    wait_ready,
)
from environments.lab.places import Places
from environments.lab.postgres import Address, Cluster
from environments.lab.processes import Process, free_port, is_port_free, stop_all
from environments.lab.progress import Progress
from environments.lab.templates import CONTENTS, Templates
from environments.lab.versions import superset_version

# Every sequence beyond what is taken and beyond the offset. ids are 32 bits: offsets up to some millions.
_BUMP_SEQUENCES = """
do $$ declare s regclass; begin
  for s in select oid from pg_class where relkind = 'S' and relnamespace = 'public'::regnamespace loop
    perform setval(s, greatest(nextval(s), {offset}));
  end loop;
end $$;
"""


@dataclass
class _Instance:
    spec: InstanceSpec
    process: Process
    running: RunningSuperset


class Lab:
    """`run` names the lab: one process at a time may hold it open; labs of different names are independent.

    `disposable`: everything in it is gone when it is closed (tests); otherwise instances and their contents are
    there again at the next start (the demo). Use as a context manager, or call `close`.
    """

    def __init__(self, run: str, places: Places, progress: Progress, *, disposable: bool) -> None:
        self.places = places
        self.progress = progress
        self.folder = places.run(run)
        self.disposable = disposable
        self.installer = Installer(places, progress)
        self._lock = threading.RLock()
        self._hold: IO[str] | None = None
        self._cluster: Cluster | None = None
        self._templates: Templates | None = None
        self._instances: dict[str, _Instance] = {}
        self._warehouse_lock = threading.Lock()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, *, wait_seconds: float = 0.0) -> None:
        """Installs and starts PostgreSQL: 1 s, some seconds more the first time.

        `wait_seconds`: so long it waits for whoever has the lab, who may be ending just now. Raises LabError if it is
        in use after that.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._hold = (self.folder / "lock").open("a+")
        if not self._take_hold(time.monotonic() + wait_seconds):
            self._hold.seek(0)
            holder = self._hold.read().strip() or "another process"
            self._hold.close()
            self._hold = None  # nothing of it is ours, `close` must leave it alone
            raise LabError(f"The lab in {self.folder} is in use by process {holder}.", "Stop that one first.")
        self._hold.truncate(0)
        self._hold.write(str(os.getpid()))
        self._hold.flush()
        if self.disposable:
            self._remove_contents()  # of a run that was killed
        self._cluster = Cluster(
            self.installer.postgres(), self.folder / "postgres", disposable=self.disposable
        )
        self._cluster.start()
        self._templates = Templates(self.places, self.installer, self._cluster, self.folder, self.progress)

    def _take_hold(self, deadline: float) -> bool:
        assert self._hold is not None
        while True:
            try:
                fcntl.flock(self._hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(0.2)

    @property
    def cluster(self) -> Cluster:
        if self._cluster is None:
            raise LabError("The lab is not open.")
        return self._cluster

    @property
    def templates(self) -> Templates:
        if self._templates is None:
            raise LabError("The lab is not open.")
        return self._templates

    def templates_exist(self, version: str) -> bool:
        """Whether a first start would find everything installed and set up."""
        folder = self.places.root / "templates" / superset_version(version).key
        return all((folder / f"{contents}.sql").exists() for contents in CONTENTS)

    def close(self, *, forget: bool = False) -> None:
        """Ends every Superset, then PostgreSQL: 1 to 3 s. `forget` deletes what a lab that is kept would keep."""
        with self._lock:
            instances, self._instances = self._instances, {}
        stop_all([instance.process for instance in instances.values()], timeout_seconds=5)
        if self._templates:
            self._templates.close()
        if self._cluster:
            self._cluster.stop()
            if forget:
                self._cluster.remove()
            self._cluster = self._templates = None
        if self._hold:
            if self.disposable or forget:
                self._remove_contents()
            self._hold.close()
            self._hold = None

    def start(self, spec: InstanceSpec) -> RunningSuperset:
        """Makes the instance unless it exists (0.5 s), starts it and waits until it answers (10 s)."""
        return self.start_soon(spec)()

    def start_soon(self, spec: InstanceSpec) -> Callable[[], RunningSuperset]:
        """As `start`, but the waiting is done by the function that comes back: two start side by side."""
        if spec.name in self._instances:
            raise LabError(f"There is an instance {spec.name} already.")
        version = superset_version(spec.version)
        installed = self.installer.superset(version)
        home = self.folder / "instances" / spec.name
        home.mkdir(parents=True, exist_ok=True)
        warehouse = self._warehouse_of(spec)
        self._make_database(spec, warehouse)
        secret_key = self._secret_key()
        config = home / "superset_config.py"
        config.touch(mode=0o600)
        config.write_text(
            render_config(
                secret_key=secret_key,
                metadata_url=self.cluster.address.url(_database(spec)),
                feature_flags=spec.feature_flags,
                settings=spec.settings,
            )
        )
        if spec.port and not is_port_free(spec.port):
            raise LabError(f"Port {spec.port} for {spec.name} is taken.", "Choose another port.")
        port = spec.port or free_port()
        process = start_gunicorn(installed, home, config, port, spec.name)
        running = RunningSuperset(
            name=spec.name,
            version=spec.version,
            contents=spec.contents,
            url=f"http://127.0.0.1:{port}",
            username=spec.username,
            password=spec.password,
            metadata_url=self.cluster.address.url(_database(spec)),
            warehouse=str(warehouse) if warehouse else "",
            log=str(process.log),
            pid=process.pid,
        )
        with self._lock:
            self._instances[spec.name] = _Instance(spec, process, running)

        def wait() -> RunningSuperset:
            try:
                wait_ready(process, running.url)
            except LabError:
                self.stop(spec.name)
                raise
            return running

        return wait

    def reset(
        self, name: str, *, contents: str = "", id_offset: int = 0, own_warehouse: bool | None = None
    ) -> RunningSuperset:
        """Gives a running instance a fresh database, without a restart: 0.5 s. What was in it is gone.

        Requests under way fail. Its connections are cut; the next request finds out (pool_pre_ping) and connects anew.
        """
        with self._lock:
            instance = self._instances[name]
            spec = replace(instance.spec, contents=contents or instance.spec.contents)
            spec = replace(spec, id_offset=id_offset or spec.id_offset)
            if own_warehouse is not None:
                spec = replace(spec, own_warehouse=own_warehouse)
        warehouse = self._warehouse_of(spec)
        self.cluster.drop(_database(spec))
        self._make_database(spec, warehouse)
        with self._lock:
            instance.spec = spec
            instance.running = replace(
                instance.running, contents=spec.contents, warehouse=str(warehouse) if warehouse else ""
            )
            return instance.running

    def stop(self, name: str) -> None:
        """Ends one instance and, in a disposable lab, removes it; nothing if there is none of that name."""
        with self._lock:
            instance = self._instances.pop(name, None)
        if instance is None:
            return
        instance.process.stop(timeout_seconds=5)
        if self.disposable:
            self.cluster.drop(_database(instance.spec))
            shutil.rmtree(self.folder / "instances" / name, ignore_errors=True)

    def crash(self, name: str) -> None:
        """Ends one instance by force, in the middle of whatever it does; its contents stay. See `revive`."""
        self._instance(name).process.kill()

    def revive(self, name: str) -> RunningSuperset:
        """Starts an instance that crashed, at the same address, and waits until it answers (10 s)."""
        instance = self._instance(name)
        installed = self.installer.superset(superset_version(instance.spec.version))
        home = self.folder / "instances" / name
        port = int(instance.running.url.rsplit(":", 1)[1])
        process = start_gunicorn(installed, home, home / "superset_config.py", port, name)
        with self._lock:
            instance.process, instance.running = process, replace(instance.running, pid=process.pid)
        wait_ready(process, instance.running.url)
        return instance.running

    def _instance(self, name: str) -> _Instance:
        with self._lock:
            if name not in self._instances:
                raise LabError(f"There is no instance {name}.")
            return self._instances[name]

    def running(self) -> list[RunningSuperset]:
        with self._lock:
            return [instance.running for instance in self._instances.values() if instance.process.is_running]

    def ended(self) -> list[Process]:
        """What should run and does not."""
        with self._lock:
            processes = [instance.process for instance in self._instances.values()]
        if self._cluster and self._cluster.process:
            processes.append(self._cluster.process)
        return [process for process in processes if not process.is_running]

    def postgres_warehouses(self, suffix: str = "") -> dict[str, Address]:
        """The PostgreSQL warehouses `dev` and `prod` (see examples.py), made when first asked for.

        With a suffix, of letters, digits and _, databases of other names: for who wants to change them.
        """
        with self._warehouse_lock:
            return postgres_warehouses(self.cluster, self._secret_key()[:24], suffix)

    def sqlite_warehouse(self, name: str) -> Path:
        """This lab's own copy `name` of the example data; waits for the examples to be loaded the first time."""
        path = self._warehouse_path(name)
        with self._warehouse_lock:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                unfinished = path.with_suffix(".unfinished")
                shutil.copyfile(self.templates.warehouse(), unfinished)
                unfinished.replace(path)
        return path

    def _warehouse_path(self, name: str) -> Path:
        return self.folder / "warehouses" / f"{name}.db"

    def _warehouse_of(self, spec: InstanceSpec) -> Path | None:
        """Where the file behind the instance's connection is, or will be once the examples are loaded."""
        if spec.contents == "empty":
            return None
        if spec.own_warehouse:
            path = self.folder / "instances" / spec.name / "warehouse.db"
            shutil.copyfile(self.templates.warehouse(), path)
            return path
        return self._warehouse_path("dev" if spec.contents == "examples" else "prod")

    def _make_database(self, spec: InstanceSpec, warehouse: Path | None) -> None:
        database = _database(spec)
        if database in self.cluster.databases():
            return
        template = self.templates.database(superset_version(spec.version), spec.contents)
        unfinished = f"{database}_unfinished"
        self.cluster.drop(unfinished)
        with self._lock:  # two copies at once of one template are refused while the other reads it
            self.cluster.create(unfinished, template)
        statements = _BUMP_SEQUENCES.format(offset=max(1, spec.id_offset))
        statements += (
            f"update ab_user set username = {_quoted(spec.username)},"
            f" password = {_quoted(password_hash(spec.password))} where username = 'admin';\n"
        )
        if warehouse:
            uri = _quoted(f"sqlite:///{warehouse}")
            statements += (
                f"update dbs set sqlalchemy_uri = {uri} where uuid in ('{EXAMPLES_UUID}', '{PROD_UUID}');\n"
            )
        self.cluster.sql(f"begin;{statements}commit;", unfinished)
        self.cluster.rename(unfinished, database)

    def _secret_key(self) -> str:
        """Random, and the same for the life of the lab: it decrypts what its instances stored."""
        file = self.folder / "secret_key"
        with self._lock:
            if not file.exists():
                file.touch(mode=0o600)
                file.write_text(secrets.token_hex(24))
            return file.read_text()

    def _remove_contents(self) -> None:
        for path in self.folder.iterdir():
            if path.name == "lock":
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _database(spec: InstanceSpec) -> str:
    # With the version: a lab that is kept does not start a newer Superset on an older one's database.
    return f"superset_{superset_version(spec.version).short}_{spec.name.replace('-', '_')}"


def _quoted(text: str) -> str:
    """As an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def holder_of(folder: Path) -> str:
    """The process that has the lab in this folder open, "" if none has."""
    try:
        with (folder / "lock").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read().strip() or "another process"
    except FileNotFoundError:
        pass
    return ""
