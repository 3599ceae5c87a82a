"""Two real Supersets behind proxies, with the assets of an estate: what all benches of a process share."""

from __future__ import annotations

import time
from contextlib import ExitStack

from environments.lab.client import LabClient
from environments.lab.rest import Rest

from .estates import ESTATES
from .ground import Ground
from .proxy import Proxy, Script


class Stage:
    """A context manager. `source_ground` and `ground` (the target's) have kept: "first", what is there before the
    earlier migration; the source also "then", with what the migration on trial brings.
    """

    def __init__(self, lab: LabClient, *, estate: str = "small", version: str = "6.1.0") -> None:
        self._stack = ExitStack()
        try:
            self._prepare(lab, estate, version)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    def _prepare(self, lab: LabClient, estate_name: str, version: str) -> None:
        prepared = ESTATES[estate_name](lab, version)
        self.estate = prepared.estate
        self._colleague, self._signed_in = prepared.target, time.monotonic()
        for superset in (self.estate.source, self.estate.target):
            self._stack.callback(lab.release, superset)
        self.ground = Ground(self.estate.target.metadata_url)
        self._stack.callback(self.ground.close)
        self.source_ground = Ground(self.estate.source.metadata_url)
        self._stack.callback(self.source_ground.close)
        self.ground.keep("first")
        self.source_ground.keep("first")
        prepared.then()
        self.source_ground.keep("then")
        time.sleep(2.5)  # what changed within two seconds of a reading is read again; not in every point
        self.script = Script()
        self.script.secrets.add(self.estate.target.password)
        self.source = Proxy("source", self.estate.source.url, self.script)
        self._stack.callback(self.source.close)
        self.target = Proxy("target", self.estate.target.url, self.script)
        self._stack.callback(self.target.close)

    @property
    def colleague(self) -> Rest:
        """Somebody at work on the target, past the proxy. Superset's tokens are good for 15 minutes."""
        if time.monotonic() - self._signed_in > 600:
            self._colleague, self._signed_in = Rest(self.estate.target), time.monotonic()
        return self._colleague

    def wait_until_listening(self) -> None:
        self.source.wait_until_listening()
        self.target.wait_until_listening()
