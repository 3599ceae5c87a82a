"""A route over which a dashboard was brought, and people who edit the target by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.utils import timezone

from migrations_app.drift import services
from migrations_app.drift.models import Finding
from migrations_app.models import Migration, Run
from migrations_app.release.models import Route
from tests.factories import uuid_for
from tests.fakes.pair import FakePair, fake_pair
from tests.live.product import Product

GRACE = {"first_name": "Grace", "last_name": "Hopper"}


@dataclass
class Scene:
    """`run` brought the dashboard Sales (charts Revenue and Regions, dataset orders) from dev to prod."""

    pair: FakePair
    product: Product
    route: Route
    run: Run

    def edit(self, kind: str, name: str, **fields: Any) -> None:
        """Grace edits an asset of prod in Superset."""
        record = self.pair.prod.record(kind, uuid_for(name))
        record["data"].update(fields)
        record["changed_on"], record["changed_by"] = timezone.now(), GRACE

    def delete(self, kind: str, name: str) -> None:
        self.pair.prod.assets[kind].pop(self.pair.prod.record(kind, uuid_for(name))["id"])

    def check(self) -> dict[str, Any]:
        """What the scheduled job does; its result."""
        job = self.product.do(services.request_check(self.route, actor=self.product.admin))
        return dict(job.result or {})

    def found(self) -> dict[str, Finding]:
        """What is open, by title."""
        return {one.title: one for one in Finding.objects.open()}

    def only(self) -> Finding:
        (finding,) = self.found().values()
        return finding

    def go(self, migration: Migration) -> Run:
        """Its plan is made, looked at and applied; then the reading that follows every run."""
        assert migration.job is not None
        if not migration.job.is_finished:
            self.product.do(migration.job)
        run = self.product.apply(migration)
        self.product.refresh(migration.target)
        return run

    def promote(self) -> Migration:
        """The dashboard once more from dev, planned."""
        return self.product.migrate(self.pair.source, self.pair.target, [uuid_for("Sales")], verify=False)

    def written(self, kind: str, name: str) -> Any:
        return self.pair.prod.record(kind, uuid_for(name))["data"]


@pytest.fixture
def scene(transactional_db: None) -> Iterator[Scene]:
    with fake_pair() as pair:
        product = Product()
        route = Route.objects.create(slug="up", name="Up", source=pair.source, target=pair.target)
        run = product.apply(product.migrate(pair.source, pair.target, [uuid_for("Sales")], verify=False))
        product.refresh(pair.target)
        yield Scene(pair, product, route, run)
