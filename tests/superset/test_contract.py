"""The contract on the fake; tests/live/test_client.py runs the same one on real Supersets."""

from __future__ import annotations

import pytest

from environments.superset.client import SupersetClient
from tests.fakes.superset import FakeSuperset
from tests.superset.contract import TABLE, check_contract
from tests.superset.helpers import client_of


@pytest.mark.parametrize("version", ["4.1.4", "5.0.0", "6.0.0", "6.1.0"])
def test_the_fake_keeps_the_contract(version: str) -> None:
    fake = FakeSuperset(version, first_id=40)
    database = fake.add_database("Warehouse PROD", uri="sqlite:////warehouse.db")
    fake.tables[database] = {f"main.{TABLE}": {"name": "TEXT", "color": "TEXT"}}

    def new_client(auth: object) -> SupersetClient:
        return client_of(fake, auth)  # type: ignore[arg-type]

    check_contract(client_of(fake), new_client)
