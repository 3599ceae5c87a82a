"""Benches for the tests of this folder, and the table at the end of the run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from environments.lab.client import LabClient
from tests.live.conftest import lab  # noqa: F401  as in all tests with real Supersets

from .report import failures, table
from .stage import Stage
from .sweep import Bench

ROWS = "faults"


@pytest.fixture(scope="session")
def stage(lab: LabClient) -> Iterator[Stage]:  # noqa: F811
    with Stage(lab) as made:
        yield made


@pytest.fixture(scope="session")
def bench_on(stage: Stage) -> Iterator[Callable[[str], Bench]]:
    """`bench_on("sqlite")` or "postgres": prepared when first asked for."""
    benches: dict[str, Bench] = {}

    def give(database: str) -> Bench:
        if database not in benches:
            postgres = ""
            if database == "postgres":
                from tests.postgres import server_url

                postgres = server_url(os.environ["SSTOOLS_TEST_DATA"])
            benches[database] = Bench(stage, postgres=postgres)
        return benches[database]

    yield give
    for bench in benches.values():
        bench.close()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    rows: list[dict[str, Any]] = []
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "call":
                rows += [row for name, found in report.user_properties if name == ROWS for row in found]
    if not rows:
        return
    terminalreporter.section("faults: points tried and how they ended")
    terminalreporter.write_line(table(rows))
    if wrong := failures(rows):
        terminalreporter.write_line(wrong)
