"""What a reading brings can be found when it has ended, what it takes away cannot; secrets never can."""

from __future__ import annotations

from typing import Any

import pytest

from environments import services
from environments.models import Environment
from environments.search.finding import search
from environments.search.models import Entry
from tests.environments.conftest import DB, environment, owner, registered, superset  # noqa: F401
from tests.fakes.superset import FakeSuperset

pytestmark = pytest.mark.django_db


def titles(user: Any, text: str) -> list[str]:
    return [hit.title for hit in search(user, text).hits]


def test_a_reading_makes_findable_what_it_read(
    environment: Environment,  # noqa: F811
    superset: FakeSuperset,  # noqa: F811
    viewer: Any,
) -> None:
    superset.add_dataset("late_orders", database=DB, sql="SELECT дата FROM archive.orders_2019")
    services.run_reading(environment)
    assert titles(viewer, "archive.orders_2019 дата") == ["late_orders"]
    assert titles(viewer, "board-2") == ["Dashboard 2"]
    assert Entry.objects.count() == environment.assets.count() == 12
    assert titles(viewer, "topsecret") == titles(viewer, "db.test") == []
    chart = next(
        key for key, row in superset.assets["chart"].items() if row["data"]["slice_name"] == "Chart 1.1"
    )
    del superset.assets["chart"][chart]
    services.run_reading(environment)
    assert titles(viewer, "1.1") == []
    assert titles(viewer, '"chart 1"') == ["Chart 1.2", "Chart 1.3"]
