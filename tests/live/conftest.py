"""Real Supersets for the tests marked `live`: one lab for all worker processes (see environments/lab/server.py).

`make test-live`, or by hand: `pytest -m live tests/live -n 2`. With SSTOOLS_LAB_LINGER_SECONDS=900 the Supersets stay
up between two runs, and with SSTOOLS_LAB_DIR their installation is shared by several checkouts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from environments.lab.client import LabClient
from environments.lab.errors import ToolMissing
from environments.lab.estate import PostgresEstate, build_postgres_estate
from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest

LeaseSuperset = Callable[..., RunningSuperset]


def _missing(error: ToolMissing) -> None:
    """Where a tool cannot be had the test is skipped, with the reason; in CI that is a failure."""
    if os.environ.get("CI", "").lower() == "true":
        raise error
    pytest.skip(str(error))


def _or_skip(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except ToolMissing as error:
        _missing(error)


@pytest.fixture(scope="session")
def lab() -> Iterator[LabClient]:
    """This worker's connection to the lab; what it leased goes back when it ends."""
    client: LabClient = _or_skip(LabClient)
    yield client
    client.close()


@pytest.fixture(scope="session")
def dev(lab: LabClient) -> RunningSuperset:
    """Superset 6.1.0 with the nine example dashboards and their data, admin/admin. READ ONLY: all tests share it."""
    superset: RunningSuperset = _or_skip(lambda: lab.shared("dev", "examples"))
    return superset


def _leasing(lab: LabClient) -> Iterator[LeaseSuperset]:
    leased: list[RunningSuperset] = []

    def lease(version: str = "6.1.0", contents: str = "prod", **spec: Any) -> RunningSuperset:
        superset: RunningSuperset = _or_skip(lambda: lab.lease(version, contents, **spec))
        leased.append(superset)
        return superset

    yield lease
    for superset in leased:
        lab.release(superset)


@pytest.fixture
def fresh_target(lab: LabClient) -> Iterator[LeaseSuperset]:
    """`fresh_target(version="6.1.0", contents="prod", **spec)`: an instance for this test alone, admin/admin.

    Contents: "prod" (only the connection Warehouse PROD, over a copy of the example data), "empty" (nothing),
    "examples". `spec`: own_warehouse=True (a copy of the example data for this test to change), id_offset, username,
    password, feature_flags={"TAGGING_SYSTEM": True}, settings={"JWT_ACCESS_TOKEN_EXPIRES": 5}.
    Half a second if an instance of the same version, flags and settings is idle, else the time
    of a start. Its ids overlap neither with dev's nor with another target's.
    """
    yield from _leasing(lab)


@pytest.fixture(scope="module")
def module_target(lab: LabClient) -> Iterator[LeaseSuperset]:
    """As `fresh_target`, for all tests of a module: what one of them writes the next one finds."""
    yield from _leasing(lab)


@pytest.fixture
def old_target(fresh_target: LeaseSuperset) -> RunningSuperset:
    """Superset 4.1.4 with the connection Warehouse PROD and nothing else, for this test alone."""
    return fresh_target("4.1.4")


@pytest.fixture
def postgres_estate(lab: LabClient, fresh_target: LeaseSuperset) -> PostgresEstate:
    """Two instances over two PostgreSQL databases on one server, see environments/lab/estate.py."""
    source, target = fresh_target(contents="empty"), fresh_target(contents="empty")
    return build_postgres_estate(source, target, lab.postgres_warehouses())


@pytest.fixture
def rest() -> Callable[..., Rest]:
    """`rest(superset, username="", password="")`: signed in, for preparing and looking, not the client on trial."""
    return Rest
