"""Three environments with the same dashboard, its charts, datasets and connection, as readings leave them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from environments.canonical.documents import Document, Kind
from environments.canonical.references import references
from environments.models import Asset, AssetReference, Environment
from environments.store import put_documents
from migrations_app.estate.models import SyncState
from tests.factories import make_asset, make_environment, uuid_for

PASSWORD = "a long password 1"
FIRST = datetime(2026, 11, 1, 8, tzinfo=UTC)


def dataset_document(
    title: str, uuid: str = "", database: str = "DWH", sql: str | None = None, **body: Any
) -> Document:
    content = {
        "table_name": title,
        "schema": "dwh",
        "catalog": None,
        "sql": sql,
        "database_uuid": uuid_for(database),
        "columns": [{"column_name": "amount", "type": "INT"}, {"column_name": "region", "type": "TEXT"}],
        "metrics": [{"metric_name": "revenue", "expression": "SUM(amount)"}],
    }
    return Document(Kind.DATASET, uuid or uuid_for(title), {**content, **body})


def chart_document(title: str, dataset: str, uuid: str = "", **params: Any) -> Document:
    body = {
        "slice_name": title,
        "viz_type": "table",
        "dataset_uuid": dataset,
        "params": {"viz_type": "table", **params},
        "query_context": None,
        "description": None,
    }
    return Document(Kind.CHART, uuid or uuid_for(title), body)


def dashboard_document(
    title: str, charts: list[str], filters: list[dict[str, Any]], uuid: str = ""
) -> Document:
    position = {
        f"CHART-{index}": {"type": "CHART", "id": f"CHART-{index}", "meta": {"uuid": chart}}
        for index, chart in enumerate(charts)
    }
    body = {
        "dashboard_title": title,
        "slug": "sales",
        "css": None,
        "position": position,
        "metadata": {"native_filter_configuration": filters},
    }
    return Document(Kind.DASHBOARD, uuid or uuid_for(title), body)


@dataclass
class World:
    """`add` puts a document into an environment as a reading would."""

    dev: Environment
    stage: Environment
    prod: Environment
    made: dict[tuple[str, str], Asset] = field(default_factory=dict)

    def add(self, environment: Environment, document: Document, **fields: Any) -> Asset:
        put_documents([document])
        body = document.body
        known: dict[str, Any] = {"uuid": document.uuid, "document_id": document.fingerprint}
        if document.kind == Kind.CHART:
            known |= {"dataset_uuid": body["dataset_uuid"], "viz_type": body["viz_type"]}
        if document.kind == Kind.DATASET:
            known |= {"database_uuid": body["database_uuid"], "schema": body["schema"]}
            known["is_virtual"] = bool(body["sql"])
        if document.kind == Kind.DASHBOARD:
            known["slug"] = body["slug"] or ""
        days = {"dev": 0, "stage": 1, "prod": 2}[environment.slug]
        known["first_seen_at"] = FIRST + timedelta(days=days)
        asset = make_asset(environment, document.kind.value, document.title, **{**known, **fields})
        AssetReference.objects.bulk_create(
            AssetReference(
                environment=environment,
                from_kind=document.kind.value,
                from_uuid=document.uuid,
                to_kind=one.kind.value,
                to_uuid=one.uuid,
                how=one.how,
            )
            for one in references(document)
        )
        self.made[environment.slug, document.title] = asset
        return asset

    def state(
        self, source: Environment, target: Environment, kind: str, title: str, state: str, **fields: Any
    ) -> SyncState:
        uuid = fields.pop("uuid", uuid_for(title))
        return SyncState.objects.create(
            source=source,
            target=target,
            kind=kind,
            source_uuid=uuid,
            target_uuid=fields.pop("target_uuid", uuid),
            row=uuid,
            state=state,
            title=title,
            **fields,
        )


@pytest.fixture
def world(db: None) -> World:
    made = {}
    for slug in ("dev", "stage", "prod"):
        made[slug] = make_environment(slug, protected=slug == "prod", inventory_at=FIRST)
    world = World(made["dev"], made["stage"], made["prod"])
    sales, geo = uuid_for("sales_fact"), uuid_for("geo")
    target = {"datasetUuid": geo, "column": {"name": "region"}}
    for slug, environment in made.items():
        make_asset(environment, "database", "DWH", backend="postgresql", first_seen_at=FIRST)
        world.add(environment, dataset_document("sales_fact"))
        world.add(environment, dataset_document("geo", metrics=[]))
        charts = [
            chart_document("Revenue by month", sales, groupby=["region"], metrics=["revenue"]),
            chart_document("Refund rate", sales, adhoc_filters=[{"sqlExpression": "amount < 0"}]),
            chart_document("Top regions", geo, groupby=["region"]),
        ]
        if slug == "prod":
            charts.pop(1)
        dashboard = dashboard_document(
            "Sales overview",
            [chart.uuid for chart in charts],
            [{"id": "F1", "name": "Region", "targets": [target]}],
        )
        world.add(environment, dashboard, published=True)
        for chart in charts:
            world.add(environment, chart, dashboard_uuids=[dashboard.uuid], database_uuid=uuid_for("DWH"))
    world.state(world.dev, world.stage, "dashboard", "Sales overview", "behind", changes=3)
    world.state(
        world.dev, world.prod, "dashboard", "Sales overview", "drifted", changes=1, changed_by="j.doe"
    )
    world.state(world.dev, world.prod, "chart", "Revenue by month", "differs", changes=2)
    world.state(world.dev, world.prod, "chart", "Top regions", "in_sync")
    return world
