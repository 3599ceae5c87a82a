"""One thing goes wrong at one request of a whole run: at every request, in every way. Over two small Supersets.

Whatever it is, the run ends as applied, rolled back, stopped before writing, or in need of attention with lists that
are what the target shows; nothing is there twice, no bundle was carried out twice, no connection changed, no lock is
left. The same against a real Superset, with real workers, is in tests/faults.

By default each fault happens at every write and, in turns, at every other request, and the ones that differ most in the
other scenes; with SSTOOLS_TEST_SWEEP=full all of them at all requests of all scenes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from migrations_app.models import RunState
from tests.fakes.gate import FAULTS

from .scenes import FULL, SCENES, Scene, check, create, fewer, told

pytestmark = pytest.mark.django_db(transaction=True)

TRIED = [
    (name, fault)
    for name in SCENES
    for fault in FAULTS
    if FULL
    or name == "create"
    or fault in ("dies", "dies_late", "reset_after", "reset_late", "500_after", "html_200")
]


def points(writes: list[int], total: int, fault: str) -> list[int]:
    """All writes, and every so many-th of the other requests: together the faults reach all of them."""
    turn, turns = FAULTS.index(fault), len(FAULTS)
    return [n for n in range(total) if FULL or n in writes or n % turns == turn]


@pytest.fixture
def tried(record_property: Any) -> Iterator[Counter[str]]:
    """Points tried, by how they ended: into the report of the tests."""
    counted: Counter[str] = Counter()
    yield counted
    record_property("outcomes", dict(counted))


@pytest.mark.parametrize(("name", "fault"), TRIED)
def test_whatever_goes_wrong_once_the_run_ends_as_the_target_shows(
    scene: Scene, tried: Counter[str], name: str, fault: str
) -> None:
    scene.prepare = SCENES[name]
    sweep(scene, fault, tried)


@pytest.mark.parametrize("fault", FAULTS if FULL else ["dies", "dies_late", "reset_after", "502_late", "500"])
@pytest.mark.parametrize("name", ["create", "fewer"])
def test_the_same_on_a_target_that_takes_three_imports_and_edits(
    old_scene: Scene, tried: Counter[str], name: str, fault: str
) -> None:
    old_scene.prepare = {"create": create, "fewer": fewer}[name]
    sweep(old_scene, fault, tried)


def sweep(scene: Scene, fault: str, tried: Counter[str]) -> None:
    gate, pair = scene.gate, scene.pair
    first = scene.plan()
    undisturbed = scene.apply(first)
    writes, total = gate.writes, len(gate.seen)
    expected = first.runs.get().state
    wanted = RunState.ROLLED_BACK if "red" in scene.prepare.__name__ else RunState.APPLIED
    assert (expected, bool(writes)) == (wanted, True), undisturbed.error
    for number in points(writes, total, fault):
        migration = scene.plan()
        before, dev = pair.prod.state(), pair.dev.state()
        job = scene.apply(migration, number, fault)
        where = f"{fault} at {number}: {gate.seen[number]}"
        try:
            outcome = check(scene, migration, job, before, dev)
        except AssertionError as error:
            raise AssertionError(f"{where}\n{error}\n{told(job)}") from error
        tried[outcome] += 1
        if fault.startswith("dies"):  # the next worker goes on; nobody has to do anything
            assert outcome == expected, where
        if number in writes:
            assert outcome != RunState.NEEDS_ATTENTION, (where, told(job))
