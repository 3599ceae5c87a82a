"""Asset rows: what was there when we last looked."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from .canonical.documents import Kind
from .models import TITLE_LENGTH, Asset, Environment, GoneAsset
from .superset.client import SupersetClient
from .words import clean, fold

Progress = Callable[[str, int, int], None]

# Superset's own pages, below the address of the instance (routes of 4.1.4 to 6.1.0).
URL_PATHS = {
    Kind.DASHBOARD: "/superset/dashboard/{uuid}/",
    Kind.CHART: "/explore/?slice_id={id}",
    Kind.DATASET: "/explore/?datasource_type=table&datasource_id={id}",
    Kind.DATABASE: "/databaseview/list/",
}
WRITTEN = (
    "superset_id",
    "title",
    "slug",
    "published",
    "viz_type",
    "schema",
    "catalog",
    "is_virtual",
    "backend",
    "changed_on",
    "changed_by",
    "owners",
    "tags",
    "dataset_uuid",
    "database_uuid",
    "dashboard_uuids",
    "url_path",
    "sort_key",
    "owner_text",
    "tag_text",
    "search_text",
)
COMPARED = tuple(name for name in WRITTEN if name not in ("search_text", "tag_text"))  # made of the others


Key = tuple[str, str]  # kind and uuid: what an asset is called within its environment

#: Who changed it when is kept, and is no change of its own: an import of the same content moves it as well.
TIMES = frozenset({"changed_on", "changed_by"})


@dataclass(frozen=True)
class Difference:
    """What a reading of the lists changed in the inventory. `touched`: only who changed it, or when, is another."""

    counts: dict[str, int]  # kind -> number now
    added: frozenset[Key]
    altered: frozenset[Key]
    touched: frozenset[Key]
    gone: frozenset[Key]

    @property
    def keys(self) -> frozenset[Key]:
        """Of all whose row is another now."""
        return self.added | self.altered | self.touched | self.gone


def list_everything(client: SupersetClient, progress: Progress | None = None) -> dict[Kind, list[Any]]:
    """Rows of all four lists: one request per hundred assets of a kind. Raises SupersetError."""
    listing: dict[Kind, Callable[[], list[Any]]] = {
        Kind.DASHBOARD: client.list_dashboards,
        Kind.CHART: client.list_charts,
        Kind.DATASET: client.list_datasets,
        Kind.DATABASE: client.list_databases,
    }
    rows: dict[Kind, list[Any]] = {}
    for done, (kind, read) in enumerate(listing.items()):
        if progress is not None:
            progress(f"Listing {kind.plural}", done, len(listing))
        rows[kind] = read()
    return rows


def record(
    environment: Environment, rows: Mapping[Kind, list[Any]], *, seen_at: datetime | None = None
) -> Difference:
    """Make the inventory say what the lists say: all four kinds, complete. Unchanged rows are not rewritten."""
    seen_at = seen_at or timezone.now()
    wanted = {(asset.kind, asset.uuid): asset for asset in _assets(environment, rows, seen_at)}
    # Values and not rows: an object for each of ten thousand would take as long as all the rest.
    columns = environment.assets.values_list("kind", "uuid", "pk", *COMPARED).iterator(chunk_size=2000)
    known = {(kind, uuid): (pk, values) for kind, uuid, pk, *values in columns}
    new, changed = [], []
    altered: set[Key] = set()
    touched: set[Key] = set()
    for key, asset in wanted.items():
        old = known.get(key)
        if old is None:
            new.append(asset)
        elif old[1] != [getattr(asset, name) for name in COMPARED]:
            moved = {
                name for name, then in zip(COMPARED, old[1], strict=True) if getattr(asset, name) != then
            }
            (touched if moved <= TIMES else altered).add(key)
            changed.append(asset)
    gone = {key: pk for key, (pk, _values) in known.items() if key not in wanted}
    counts = {kind.value: len(rows[kind]) for kind in Kind}
    tags = sorted({tag for asset in wanted.values() for tag in asset.tags}, key=lambda tag: (fold(tag), tag))
    with transaction.atomic():
        _forget_gone(environment, [asset.uuid for asset in new])
        lost = list(gone.values())
        for start in range(0, len(lost), 500):
            rows_gone = Asset.objects.filter(pk__in=lost[start : start + 500])
            _remember(
                environment, rows_gone.only("kind", "uuid", "title", "document_id", "last_seen_at"), seen_at
            )
            rows_gone.delete()
        # Upserts: two readings of one environment may end at the same time, and both are right.
        Asset.objects.bulk_create(
            [*new, *changed],
            update_conflicts=True,
            unique_fields=["environment", "kind", "uuid"],
            update_fields=[*WRITTEN, "last_seen_at"],
            batch_size=1000,
        )
        environment.assets.update(last_seen_at=seen_at)
        Environment.objects.filter(pk=environment.pk).update(
            asset_counts=counts, asset_tags=tags, inventory_at=seen_at, inventory_error=None
        )
    environment.asset_counts, environment.asset_tags = counts, tags
    environment.inventory_at, environment.inventory_error = seen_at, None
    added = frozenset((asset.kind, asset.uuid) for asset in new)
    return Difference(counts, added, frozenset(altered), frozenset(touched), frozenset(gone))


def _forget_gone(environment: Environment, back: Sequence[str]) -> None:
    """What is there again is not gone."""
    for start in range(0, len(back), 500):
        environment.gone_assets.filter(uuid__in=back[start : start + 500]).delete()


def _remember(environment: Environment, gone: Iterable[Asset], gone_at: datetime) -> None:
    """What is gone leaves a row with what it was last."""
    rows = [
        GoneAsset(
            environment=environment,
            kind=asset.kind,
            uuid=asset.uuid,
            title=asset.title,
            document_id=asset.document_id,
            last_seen_at=asset.last_seen_at,
            gone_at=gone_at,
        )
        for asset in gone
    ]
    GoneAsset.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["environment", "kind", "uuid"],
        update_fields=["title", "document", "last_seen_at", "gone_at"],
        batch_size=1000,
    )


def _assets(environment: Environment, rows: Mapping[Kind, list[Any]], seen_at: datetime) -> list[Asset]:
    databases = {row.id: row.uuid for row in rows[Kind.DATABASE]}
    datasets = {row.id: row for row in rows[Kind.DATASET]}
    dashboards = {row.id: row.uuid for row in rows[Kind.DASHBOARD]}
    assets = []
    for kind in Kind:
        for row in rows[kind]:
            if not row.uuid:  # nothing could name it anywhere else; never seen on 4.1.4 to 6.1.0
                continue
            asset = Asset(
                environment=environment,
                kind=kind.value,
                uuid=row.uuid,
                superset_id=row.id,
                title=clean(_title(kind, row), TITLE_LENGTH),
                changed_on=row.changed_on,
                changed_by=clean(row.changed_by, 150),
                first_seen_at=seen_at,
                last_seen_at=seen_at,
                url_path=URL_PATHS[kind].format(uuid=row.uuid, id=row.id),
            )
            if kind == Kind.DATABASE:
                asset.backend = clean(row.backend, 100)
            else:
                asset.owners = [
                    {"name": clean(o.name, 200), "email": clean(o.email or "", 320)} for o in row.owners
                ]
            if kind in (Kind.DASHBOARD, Kind.CHART):
                asset.tags = [clean(tag, 250) for tag in row.tags]
            if kind == Kind.DASHBOARD:
                asset.slug, asset.published = clean(row.slug or "", 255), row.published
            elif kind == Kind.CHART:
                asset.viz_type = clean(row.viz_type, 250)
                dataset = datasets.get(row.dataset_id)
                if dataset is not None:
                    asset.dataset_uuid = dataset.uuid
                    asset.database_uuid = databases.get(dataset.database_id, "")
                asset.dashboard_uuids = sorted(dashboards[i] for i in row.dashboard_ids if i in dashboards)
            elif kind == Kind.DATASET:
                asset.schema, asset.catalog = clean(row.schema or "", 255), clean(row.catalog or "", 256)
                asset.is_virtual = row.is_virtual
                asset.database_uuid = databases.get(row.database_id, "")
            asset.fill_derived()
            assets.append(asset)
    return assets


def _title(kind: Kind, row: Any) -> str:
    title = row.title if kind == Kind.DASHBOARD else row.name
    return str(title or row.uuid)
