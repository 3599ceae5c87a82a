"""Scenes in which something goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from environments.connections import connecting_through
from sstools.jobs.runner import JobContext
from tests.fakes.gate import Gate
from tests.fakes.pair import fake_pair
from tests.live.product import Product

from .scenes import Scene, create


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Gate:
    """What is waited for happens at once; while somebody waits, Superset goes on with what it has."""
    made = Gate()

    def wait(ctx: JobContext, seconds: float, *, cancellable: bool = True) -> None:
        ctx.checkpoint(cancellable=cancellable)
        if seconds:
            made.time_passes()

    monkeypatch.setattr(JobContext, "wait", wait)
    monkeypatch.setattr("environments.superset.transport.BACKOFF_SECONDS", 0.0)
    settings.TARGET_PATIENCE_SECONDS = 10
    return made


@contextmanager
def _scene(gate: Gate, version: str) -> Iterator[Scene]:
    with fake_pair(target_version=version) as pair:
        fakes = {pair.source.pk: gate.before(pair.dev), pair.target.pk: gate.before(pair.prod)}
        pair.target.import_timeout_seconds = 30
        pair.target.save()
        with connecting_through(lambda environment: fakes[environment.pk]):
            yield Scene(Product(), pair, gate, create)


@pytest.fixture
def scene(transactional_db: None, gate: Gate) -> Iterator[Scene]:
    with _scene(gate, "6.1.0") as made:
        yield made


@pytest.fixture
def old_scene(transactional_db: None, gate: Gate) -> Iterator[Scene]:
    """The target is a Superset before 6.0: three imports, each with stub databases, and edits of the members."""
    with _scene(gate, "4.1.4") as made:
        yield made
