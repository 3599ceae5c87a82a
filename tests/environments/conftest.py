"""An environment whose Superset is a fake in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from environments import services
from environments.connections import connecting_through
from environments.models import Environment
from tests.fakes.superset import FakeSuperset

DB = "d0000000-0000-4000-8000-000000000001"
PASSWORD = "correct-horse-battery"  # of the account on the fake: a text that stands nowhere else


def fill(fake: FakeSuperset, *, dashboards: int = 2, charts: int = 3) -> FakeSuperset:
    """Dashboards of `charts` charts each, all over one dataset per dashboard, on one connection."""
    fake.users = {"admin": PASSWORD}
    fake.add_database("Warehouse", uuid=DB, uri="postgresql://bi:topsecret@db.test/dwh")
    for one in range(1, dashboards + 1):
        dataset = fake.add_dataset(f"orders_{one}", database=DB, schema="sales")
        held = [fake.add_chart(f"Chart {one}.{two}", dataset=dataset) for two in range(1, charts + 1)]
        fake.add_dashboard(f"Dashboard {one}", charts=held, slug=f"board-{one}")
    return fake


@pytest.fixture
def superset() -> FakeSuperset:
    return fill(FakeSuperset())


@pytest.fixture
def owner(db: None) -> Any:
    return get_user_model().objects.create_superuser("owner", password="a long password 1")


@pytest.fixture
def registered(owner: Any) -> Iterator[Callable[..., Environment]]:
    """`registered(fake, name="Dev", **fields)`: an environment whose requests all go to that fake."""
    fakes: dict[str, FakeSuperset] = {}

    def register(fake: FakeSuperset, name: str = "Dev", **fields: Any) -> Environment:
        values = {"name": name, "url": fake.url, "username": "admin", "secret": PASSWORD, **fields}
        environment = services.register_environment(values, actor=owner)
        fakes[str(environment.uuid)] = fake
        return environment

    with connecting_through(lambda environment: fakes.get(str(environment.uuid))):
        yield register


@pytest.fixture
def environment(registered: Callable[..., Environment], superset: FakeSuperset) -> Environment:
    return registered(superset, position=1)
