"""Which kinds of companions have to be read for a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from environments.canonical.charts import lost_annotations
from environments.canonical.companions import FACETS, CompanionKind
from environments.canonical.documents import Document, Kind
from migrations_app.engine.carrying import Carrying
from migrations_app.engine.plan import PlanItem

from .model import TAKEN


def kinds_to_read(
    carrying: Carrying, items: Iterable[PlanItem], sources: Mapping[str, Document]
) -> set[CompanionKind]:
    """The kinds that matter to these items of a plan: what none of them can have costs no request. `sources`: the
    source's documents by uuid.
    """
    taken = [item for item in items if item.action in TAKEN]
    have = {item.kind for item in taken}
    wanted: set[CompanionKind] = set()
    for kind in CompanionKind:
        if not carrying.asks(kind) or not taken:
            continue
        if kind in FACETS and not have & {*FACETS[kind]}:
            continue
        if kind == CompanionKind.RLS and Kind.DATASET not in have:
            continue
        has = _HAVE.get(kind)
        if has is None or any(has(item, sources) for item in taken):
            wanted.add(kind)
    return wanted


def _has_annotations(item: PlanItem, sources: Mapping[str, Document]) -> bool:
    documents = (sources.get(item.uuid), item.present)
    return item.kind == Kind.CHART and any(
        document is not None and lost_annotations(document.body["params"]) for document in documents
    )


def _has_theme(item: PlanItem, sources: Mapping[str, Document]) -> bool:
    document = sources.get(item.uuid)
    return item.kind == Kind.DASHBOARD and document is not None and bool(document.body.get("theme_uuid"))


_HAVE: Mapping[CompanionKind, Callable[[PlanItem, Mapping[str, Document]], bool]] = {
    CompanionKind.ANNOTATION_LAYER: _has_annotations,
    CompanionKind.ANNOTATION_USE: _has_annotations,
    CompanionKind.THEME: _has_theme,
    CompanionKind.THEME_USE: _has_theme,
}
