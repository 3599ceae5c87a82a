"""What lists tell: whether the content of an asset is still what it was when it was exported."""

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from .canonical.dashboards import chart_uuids
from .canonical.documents import Document, Kind, canonical_json
from .canonical.ids import IdTable
from .store import EnvironmentReading

# The Date header has whole seconds and changed_on is written at the end of a transaction that may take a moment.
CLOCK_MARGIN = timedelta(seconds=2)


class Facts:
    """What lists say, looked at together."""

    def __init__(self, rows: Mapping[Kind, list[Any]], ids: IdTable) -> None:
        self.rows = rows
        self.ids = ids
        self.charts = {row.uuid for row in rows[Kind.CHART]}
        self.members: dict[int, set[str]] = {row.id: set() for row in rows[Kind.DASHBOARD]}
        for chart in rows[Kind.CHART]:
            for number in chart.dashboard_ids:
                self.members.setdefault(number, set()).add(chart.uuid)
        self.dataset_of: dict[int, int] = {}  # database -> one of its datasets
        for dataset in rows[Kind.DATASET]:
            self.dataset_of.setdefault(dataset.database_id, dataset.id)
        self.marks = {row.uuid: self._mark(kind, row) for kind in Kind for row in rows[kind]}

    def _mark(self, kind: Kind, row: Any) -> str:
        """A digest of all in a row that moves when the content moves, also where `changed_on` does not."""
        facts: list[Any] = [row.changed_on.isoformat() if row.changed_on else ""]
        if kind == Kind.DASHBOARD:
            facts += [row.title, row.slug, row.published, row.certified_by, sorted(self.members[row.id])]
        elif kind == Kind.CHART:
            # A chart whose dataset is gone is exported without it, and its own row stays as it was.
            dataset = self.ids.uuid_of(Kind.DATASET, row.dataset_id)
            facts += [row.name, row.viz_type, dataset]
        elif kind == Kind.DATASET:
            database = self.ids.uuid_of(Kind.DATABASE, row.database_id)
            facts += [row.name, row.schema, row.catalog, row.sql, database]
        else:
            facts += [row.name, row.backend, row.extra, row.allow_run_async, row.expose_in_sqllab]
            facts += [row.changed_on_local]
        return hashlib.sha1(
            canonical_json(facts).encode("utf-8", "surrogatepass"), usedforsecurity=False
        ).hexdigest()


def still_good(kind: Kind, row: Any, stored: EnvironmentReading, facts: Facts) -> bool:
    """Whether the stored document of an asset is what an export would give now, as far as lists can tell."""
    exported_at = stored.exported.get(row.uuid)
    if exported_at is None:
        return False
    document = stored.documents.get(row.uuid)
    if stored.kinds.get(row.uuid, document.kind if document is not None else kind) != kind:
        return False
    if kind != Kind.DATABASE and (row.changed_on is None or row.changed_on >= exported_at - CLOCK_MARGIN):
        return False
    if stored.ids.id_of(kind, row.uuid) not in (None, row.id):
        return False  # deleted and made anew
    if mark := stored.marks.get(row.uuid):
        return mark == facts.marks[row.uuid]
    # Exported without a list beside it (then its document is loaded): compare what both tell.
    return document is None or _agrees(kind, row, document, facts)


def _agrees(kind: Kind, row: Any, document: Document, facts: Facts) -> bool:
    body = document.body
    if kind == Kind.DASHBOARD:
        shown = chart_uuids(body["position"])
        return facts.members[row.id] <= shown <= facts.charts
    if kind == Kind.CHART:
        return bool(body.get("dataset_uuid") == facts.ids.uuid_of(Kind.DATASET, row.dataset_id))
    if kind == Kind.DATASET:
        return bool(body.get("database_uuid") == facts.ids.uuid_of(Kind.DATABASE, row.database_id))
    return bool(
        body.get("database_name") == row.name
        and bool(body.get("allow_run_async")) == row.allow_run_async
        and bool(body.get("expose_in_sqllab")) == row.expose_in_sqllab
    )
