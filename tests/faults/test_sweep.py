"""Whatever goes wrong at whatever request or step: the run is applied, undone, or says exactly what is there.

One dashboard of three charts, from planning it to taking it back. `make test-faults`: every request gets a lost
connection, an error, a death or something else, in turn, and a third of what is tried at writes and steps;
SSTOOLS_TEST_FAULTS=all for all of it (half an hour). All faults over the nine example dashboards: `make faults`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from . import judge
from .conftest import ROWS
from .matrix import GROUPS, SITUATIONS, points
from .report import failures
from .sweep import Bench, Point

pytestmark = [pytest.mark.live, pytest.mark.faults]

#: Planning writes nothing, and the judge says so if it does.
CASES = [
    (situation, group)
    for situation in SITUATIONS
    for group in GROUPS
    if not (group.startswith("writes") and situation.endswith("plan"))
]
ALL = os.environ.get("SSTOOLS_TEST_FAULTS") == "all"
STEP = 1 if ALL else 3
#: Four kinds of faults at every request, each of them at every fourth: between them no request is left out.
STEP_OF_READS = 1 if ALL else 4
BenchOn = Callable[[str], Bench]
Record = Callable[[str, Any], None]


def try_all(bench: Bench, points: Iterable[Point], record: Record) -> None:
    rows = [bench.try_point(point).row() for point in points]
    record(ROWS, rows)
    assert rows, "nothing was tried"
    assert not any(row["problems"] for row in rows), "\n" + failures(rows)
    unreached = [row["point"] for row in rows if not row["fired"]]
    assert not unreached, unreached


@pytest.mark.parametrize(("situation", "group"), CASES)
def test_faults_at_requests(bench_on: BenchOn, record_property: Record, situation: str, group: str) -> None:
    bench = bench_on("sqlite")
    step = STEP if group.startswith("writes") else STEP_OF_READS
    first = GROUPS.index(group) % step  # each kind begins at another request
    try_all(bench, points(bench, situation, group)[first::step], record_property)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_deaths_at_steps(bench_on: BenchOn, record_property: Record, situation: str) -> None:
    bench = bench_on("sqlite")
    try_all(bench, list(bench.points_at_steps(situation))[::STEP], record_property)


@pytest.mark.xdist_group("faults on postgres")
@pytest.mark.parametrize("situation", ["forward", "undo", "back"])
def test_deaths_at_steps_on_postgresql(bench_on: BenchOn, record_property: Record, situation: str) -> None:
    bench = bench_on("postgres")
    try_all(bench, list(bench.points_at_steps(situation))[:: 2 * STEP], record_property)


def test_the_source_is_as_before(bench_on: BenchOn) -> None:
    bench = bench_on("sqlite")
    bench.try_point(Point("forward", "kill_after", key=bench.situations["forward"].keys[-1]))
    assert bench.stage.source_ground.changed("then") == []


def test_a_judge_who_sees_nothing_wrong_would_be_no_judge(bench_on: BenchOn) -> None:
    """What the verdicts stand on is tried by changing what they are given."""
    bench = bench_on("sqlite")
    situation = bench.situations["forward"]
    last = next(key for key in reversed(situation.keys) if key.writes)
    case = bench.run_point(Point("forward", "reset_after", key=last))
    assert judge.judge(case) == (judge.APPLIED, [])

    def wrong(**changes: Any) -> str:
        _, problems = judge.judge(replace(case, **changes))
        assert problems
        return " · ".join(problems)

    lost = dict(case.target)
    gone = lost.pop(next(uuid for uuid, asset in lost.items() if asset.title == "Sales by region"))
    assert "“Sales by region” is missing" in wrong(target=lost)
    assert "nobody planned" in wrong(target={**case.target, "a-second-uuid": gone})
    assert "2 times on the target" in wrong(target={**case.target, "a-second-uuid": gone})
    assert "connection" in wrong(connections_after=[{**case.connections_after[0], "extra": "{}"}])
    assert "during the run is lost" in wrong(texts={**case.texts, case.theirs: ""})
    assert "chart is gone" in wrong(texts={})
    assert "secret" in wrong(secrets={"Read back and compare with the plan"})
    assert "carried out 2 times" in wrong(calls=[*case.calls, *case.calls])
    facts = case.facts
    assert "locks are left" in wrong(facts={**facts, "locks": ["environment:x"]})
    assert "its job failed" in wrong(facts={**facts, "job": {**facts["job"], "state": "failed"}})

    def ended(state: str, **fields: Any) -> str:
        error = {"code": "x", "message": "It failed.", "remedy": "Try again."}
        run = {**facts["run"], "state": state, "error": error, **fields}
        job = {**facts["job"], "state": "failed", "error": error}
        migration = {**facts["migration"], "state": judge.ENDS[state][2]}
        return wrong(facts={**facts, "run": run, "job": job, "migration": migration})

    assert "it says nothing was written" in ended("stopped")
    assert "should not be there" in ended("rolled_back")
    assert "listed as written" in ended("needs_attention", written=[])
    assert "no remedy" in ended("needs_attention", error={"code": "x", "message": "It failed."})
