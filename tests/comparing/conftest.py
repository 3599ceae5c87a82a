"""Two environments whose contents were read, as the product leaves them: rows, documents, a mapping."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.documents import Document, Kind
from environments.models import Asset, Environment, Reason, Snapshot, SnapshotEntry
from environments.store import put_documents
from migrations_app.comparing import listing
from migrations_app.models import Mapping
from tests.factories import chart_document, make_asset, make_environment, uuid_for

SECRET = "hunter2secret"  # never on any page


@pytest.fixture(autouse=True)
def worked_out_anew() -> Iterator[None]:
    listing.forget()
    yield
    listing.forget()


def database(name: str) -> Document:
    body = {"database_name": name, "sqlalchemy_uri": "postgresql://bi:XXXXXXXXXX@dwh/prod", "extra": None}
    return Document(Kind.DATABASE, uuid_for(name), body)


def dataset(title: str, on: str, metric: str = "SUM(amount)", **body: Any) -> Document:
    content = {
        "table_name": title,
        "database_uuid": uuid_for(on),
        "schema": "dwh",
        "catalog": "prod",
        "sql": None,
        "columns": [
            {"column_name": "amount", "expression": None},
            {"column_name": "day", "expression": None},
        ],
        "metrics": [{"metric_name": "revenue", "expression": metric}],
    }
    return Document(Kind.DATASET, uuid_for(title), {**content, **body})


def dashboard(title: str, *charts: str, **body: Any) -> Document:
    position: dict[str, Any] = {"ROOT_ID": {"id": "ROOT_ID", "type": "ROOT", "children": ["GRID_ID"]}}
    position["GRID_ID"] = {
        "id": "GRID_ID",
        "type": "GRID",
        "children": [f"CHART-{chart}" for chart in charts],
    }
    for chart in charts:
        meta = {"uuid": uuid_for(chart), "width": 4, "height": 50, "sliceName": chart}
        position[f"CHART-{chart}"] = {"id": f"CHART-{chart}", "type": "CHART", "children": [], "meta": meta}
    content = {"dashboard_title": title, "slug": None, "position": position, "metadata": {}, "css": None}
    return Document(Kind.DASHBOARD, uuid_for(title), {**content, **body})


def hold(environment: Environment, *documents: Document, complete: bool = True) -> Snapshot:
    """The environment was read, and this is all it has."""
    put_documents(documents)
    Asset.objects.filter(environment=environment).delete()
    snapshot = Snapshot.objects.create(
        environment=environment, reason=Reason.READING, complete=complete, exported_at=timezone.now()
    )
    for document in documents:
        fields = {
            Kind.DATASET: {"database_uuid": document.body.get("database_uuid") or ""},
            Kind.CHART: {"dataset_uuid": document.body.get("dataset_uuid") or ""},
        }.get(document.kind, {})
        make_asset(
            environment,
            document.kind.value,
            document.title,
            uuid=document.uuid,
            document_id=document.fingerprint,
            comparable=comparison_fingerprint(document),
            changed_by="J. Doe",
            **fields,
        )
    entries(snapshot, *documents)
    Environment.objects.filter(pk=environment.pk).update(inventory_at=timezone.now() - timedelta(minutes=4))
    environment.refresh_from_db()
    return snapshot


def entries(snapshot: Snapshot, *documents: Document) -> None:
    put_documents(documents)
    SnapshotEntry.objects.bulk_create(
        SnapshotEntry(snapshot=snapshot, kind=item.kind.value, uuid=item.uuid, document_id=item.fingerprint)
        for item in documents
    )


LONG = {f"setting_{number:02}": number for number in range(40)}


def source_documents() -> list[Document]:
    """DEV: Revenue moved on, Refunds is new."""
    return [
        database("DWH"),
        dataset("sales_fact", "DWH", sql=f"SELECT * FROM dblink('postgresql://bi:{SECRET}@dwh/x', 'q')"),
        chart_document("Revenue", "SUM(net_amount)", dataset_uuid=uuid_for("sales_fact"), cache_timeout=60),
        chart_document(
            "Margin", dataset_uuid=uuid_for("sales_fact"), params={**LONG, "row_limit": 500, "zoom": 2}
        ),
        chart_document("Refunds", dataset_uuid=uuid_for("sales_fact")),
        dashboard("Sales", "Revenue", "Refunds"),
    ]


def target_documents() -> list[Document]:
    """PROD: the same on another connection, and a chart of its own."""
    return [
        database("DWH_PROD"),
        dataset(
            "sales_fact", "DWH_PROD", sql=f"SELECT * FROM dblink('postgresql://bi:{SECRET}x@dwh/x', 'q')"
        ),
        chart_document("Revenue", "SUM(amount)", dataset_uuid=uuid_for("sales_fact"), query_context={"a": 1}),
        chart_document(
            "Margin",
            dataset_uuid=uuid_for("sales_fact"),
            params={**LONG, "row_limit": 100, "setting_20": 99, "zoom": 2},
        ),
        chart_document("Legacy", dataset_uuid=uuid_for("sales_fact")),
        dashboard("Sales", "Revenue"),
    ]


@pytest.fixture
def two(db: None) -> tuple[Environment, Environment]:
    """DEV and PROD, mapped."""
    dev, prod = make_environment("dev", name="Dev"), make_environment("prod", name="Prod", protected=True)
    hold(dev, *source_documents())
    hold(prod, *target_documents())
    Mapping.objects.create(
        source=dev, target=prod, databases={uuid_for("DWH"): {"target": uuid_for("DWH_PROD")}}
    )
    return dev, prod
