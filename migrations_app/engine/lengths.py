"""Names that an import refuses, or that Superset has no room for: it answers 422 or 500, and writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from environments.canonical.documents import Document, Documents, Kind
from environments.canonical.ids import IdTable

from .checks import Problem, Severity

if TYPE_CHECKING:
    from .plan import PlanItem

#: Characters that there is room for (superset/models and connectors/sqla/models.py, the same from 4.1.4 to 6.1.0).
_ROOM: Mapping[Kind, Mapping[str, int]] = {
    Kind.DASHBOARD: {"dashboard_title": 500, "slug": 255},
    Kind.CHART: {"slice_name": 250},
    Kind.DATASET: {"table_name": 250, "schema": 255},
}
#: Of a permission's name. That of a dataset is made of the connection's name, its own and its id (get_dataset_perm in
#: superset/security/manager.py), so it may fit on one instance and not on another. ab_view_menu.name, seen at 6.1.0.
_PERMISSION = 255
_NEW_ID = 10_000  # what a new one may well get


#: What every import asks for (the schemas of imports, the same from 4.1.4 to 6.1.0); Superset's own tables do not.
_REQUIRED: Mapping[Kind, tuple[str, ...]] = {
    Kind.DASHBOARD: ("dashboard_title",),
    Kind.CHART: ("slice_name", "viz_type"),
    Kind.DATASET: ("table_name",),
}


def what_it_lacks(document: Document) -> str:
    """Why no import takes it, as far as names are concerned; "" if one does."""
    for field in _REQUIRED.get(document.kind, ()):
        if not isinstance(document.body.get(field), str):
            return (
                f"It has no {field}, and no import takes a {document.kind.value} without one. Give it one on the "
                "source, or leave it out."
            )
    return ""


def length_problems(items: Iterable[PlanItem], target: Documents, ids: IdTable) -> Iterator[Problem]:
    """An error for each name that is too long for the target; `ids` are the target's."""
    for item in items:
        wanted = item.wanted
        if wanted is None or not item.action.writes:
            continue
        for field, room in _ROOM.get(wanted.kind, {}).items():
            length = len(str(wanted.body.get(field) or ""))
            if length > room:
                yield Problem(
                    Severity.ERROR,
                    "name_too_long",
                    item.uuid,
                    f"“{item.title[:60]}…”: its {field} has {length} characters, and Superset has room for {room}.",
                    "Shorten it on the source, or leave it out.",
                )
        if wanted.kind == Kind.DATASET and (database := target.get(str(wanted.body.get("database_uuid")))):
            number = ids.id_of(Kind.DATASET, wanted.uuid) or _NEW_ID
            permission = f"[{database.title}].[{wanted.title}](id:{number})"
            if len(permission) > _PERMISSION:
                yield Problem(
                    Severity.ERROR,
                    "name_too_long",
                    item.uuid,
                    f"“{wanted.title[:60]}…” on “{database.title}”: Superset names a dataset's permission after both, "
                    f"and has room for {_PERMISSION} characters; these are {len(permission)}.",
                    "Shorten the dataset's name on the source, or the connection's on the target.",
                )
