"""The graph and the blast radius of Superset's own examples, as a real Superset 6.1.0 tells them."""

from __future__ import annotations

import pytest
from django.test import Client

from environments.canonical.documents import Kind
from environments.lab.instance import RunningSuperset
from environments.models import Asset
from migrations_app.assets.families import find_family, page_url
from migrations_app.assets.impact import impact_on
from migrations_app.assets.reach import reach_of
from tests.live.product import Product, product

pytestmark = [pytest.mark.live]
__all__ = ["product"]


def test_who_uses_the_examples(product: Product, dev: RunningSuperset) -> None:
    environment = product.register("dev", dev)
    births = Asset.objects.get(environment=environment, kind="dataset", title="birth_names")
    reach = reach_of(environment, "dataset", births.uuid)
    charts = set(
        Asset.objects.filter(environment=environment, kind="chart", dataset_uuid=births.uuid).values_list(
            "uuid", flat=True
        )
    )
    assert len(charts) >= 10
    assert charts <= {uuid for kind, uuid in reach.users if kind == "chart"}
    assert "USA Births Names" in {reach.title(key) for key in reach.users}
    assert [reach.title(key) for key in reach.needs] == ["examples"]
    assert all(key in reach.assets for key in reach.steps)  # nothing of the examples leads nowhere

    family = find_family(Kind.DATASET, births.uuid, [environment])
    assert family is not None
    hit = impact_on(Kind.DATASET, family.present[0], "gender")
    by_title = {user.title: user for user in hit.users}
    assert {"Boys", "Girls", "Genders"} <= by_title.keys()
    assert not by_title["Genders"].is_maybe
    assert "Top 10 Girl Name Share" in by_title
    assert hit.unread == 0
    assert not impact_on(Kind.DATASET, family.present[0], "no_such_column").users

    browser = Client()
    browser.force_login(product.admin)
    for kind, title in (("dashboard", "USA Births Names"), ("chart", "Genders"), ("database", "examples")):
        uuid = Asset.objects.get(environment=environment, kind=kind, title=title).uuid
        for tab in ("", "graph", "history", "checks"):
            assert browser.get(page_url(kind, uuid, tab)).status_code == 200
