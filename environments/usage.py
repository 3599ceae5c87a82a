"""Which assets nothing stands on."""

from django.db.models import Exists, OuterRef, Q, QuerySet

from .canonical.documents import Kind
from .models import Asset, AssetReference

ORPHAN, UNUSED = "orphan", "unused"
USE_CHOICES = [(ORPHAN, "nothing uses it"), (UNUSED, "on no dashboard")]


def narrow_to_unused(rows: QuerySet[Asset], use: str) -> QuerySet[Asset]:
    """`orphan`: charts on no dashboard, datasets that nothing reads, connections without datasets. `unused`: besides,
    what only such charts and datasets use. Dashboards are never either: people use them.
    """
    charts, datasets, databases = (
        Q(kind=Kind.CHART, dashboard_uuids=[]),
        Q(kind=Kind.DATASET),
        Q(kind=Kind.DATABASE),
    )
    if use == ORPHAN:
        named = Exists(_naming(OuterRef("uuid")))
        listed = Exists(_charts_of(OuterRef("uuid")))
        datasets &= Q(~named, ~listed)
        databases &= Q(~Exists(_on_database(Kind.DATASET)))
    else:
        shown = Exists(_charts_of(OuterRef("uuid")).exclude(dashboard_uuids=[]))
        filtered = Exists(_naming(OuterRef("uuid")).filter(from_kind=Kind.DASHBOARD))
        read = Exists(_naming(OuterRef("uuid")).filter(from_kind=Kind.DATASET))
        datasets &= Q(~shown, ~filtered, ~read)
        databases &= Q(~Exists(_on_database(Kind.CHART).exclude(dashboard_uuids=[])))
    return rows.filter(charts | datasets | databases)


def _naming(uuid: OuterRef) -> QuerySet[AssetReference]:
    """What names a dataset in its contents: charts, filters of dashboards, SQL of other datasets."""
    return AssetReference.objects.filter(
        environment=OuterRef("environment"), to_kind=Kind.DATASET, to_uuid=uuid, how="needs"
    )


def _charts_of(uuid: OuterRef) -> QuerySet[Asset]:
    return Asset.objects.filter(environment=OuterRef("environment"), kind=Kind.CHART, dataset_uuid=uuid)


def _on_database(kind: Kind) -> QuerySet[Asset]:
    return Asset.objects.filter(
        environment=OuterRef("environment"), kind=kind, database_uuid=OuterRef("uuid")
    )
