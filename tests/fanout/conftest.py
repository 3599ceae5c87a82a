"""A template of the dashboard Sales with a copy for each of three tenants, on one Superset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.utils import timezone

from migrations_app import services as migrations
from migrations_app.engine.copies import copy_uuid
from migrations_app.fanout import running, services
from migrations_app.fanout.models import FanOut, FanOutRun
from migrations_app.fanout.states import Standing, entries_of, standings
from migrations_app.fanout.table import parse
from tests.factories import uuid_for
from tests.fakes.pair import ORDERS, FakePair, fake_pair

TENANTS = ("acme", "globex", "initech")
TABLE = "key,target,schema,label\n" + "".join(
    f"{name},prod,t_{name},{name.title()} & Söhne\n" for name in TENANTS
)


@dataclass
class Scene:
    pair: FakePair
    fan_out: FanOut
    actor: Any
    run_jobs: Callable[[], int]

    def plan(self, *keys: str) -> FanOutRun:
        run = running.plan(self.fan_out, actor=self.actor, keys=keys)
        self.run_jobs()
        return running.find_run(run.number, self.actor)

    def apply(self, run: FanOutRun, **more: Any) -> FanOutRun:
        running.apply(run, actor=self.actor, **{"confirmed": ["prod"], **more})
        self.run_jobs()
        return running.find_run(run.number, self.actor)

    def names(self, run: FanOutRun) -> dict[str, str]:
        return {one.entry.copy.key: one.name for one in self.standings(run)}

    def standings(self, run: FanOutRun) -> list[Standing]:
        return standings(entries_of(run))

    def edit(self, record: Any, **fields: Any) -> None:
        """Somebody works in Superset."""
        record["data"].update(fields)
        record["changed_on"] = timezone.now()

    def copied(self, kind: str, name: str, key: str) -> Any:
        """What prod has of a copy of an asset of dev; None if it has none."""
        uuid = copy_uuid(str(self.fan_out.uuid), key, uuid_for(name))
        return next(
            (row for row in self.pair.prod.assets[kind].values() if row["data"]["uuid"] == uuid), None
        )


@pytest.fixture
def scene(transactional_db: None, release_lead: Any, run_jobs: Callable[[], int]) -> Iterator[Scene]:
    with fake_pair(protected=True) as pair:
        tables = pair.prod.tables[uuid_for("Warehouse PROD")]
        tables |= {f"t_{name}.orders": ORDERS for name in TENANTS}
        pair.read()
        migrations.save_mapping(
            pair.source,
            pair.target,
            actor=release_lead,
            databases={uuid_for("Warehouse DEV"): uuid_for("Warehouse PROD")},
        )
        fan_out = services.create(
            pair.source,
            name="Tenants",
            selection=[uuid_for("Sales")],
            actor=release_lead,
            title="{title} of {label}",
            slug="{slug}-{key}",
        )
        services.save_copies(fan_out, parse(TABLE), actor=release_lead)
        run_jobs()
        yield Scene(pair, fan_out, release_lead, run_jobs)
