"""What is part of a migration and why, from the inventory before there is a plan, from the plan after."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from environments.models import Asset, Environment
from migrations_app.models import Migration
from migrations_app.restoring.services import assets_in


@dataclass
class Member:
    """One asset. `reasons` are (kind, title) of what pulled it in; nothing for one that was selected itself."""

    kind: str
    uuid: str
    title: str
    is_selected: bool
    sub: str = ""
    reasons: list[tuple[str, str]] = field(default_factory=list)
    is_out: bool = False
    action: str = ""


def closure_of(source: Environment, selection: Iterable[str]) -> list[Member]:
    """The selection with the charts of its dashboards and the datasets of its charts, as the inventory knows them.

    The plan reads the assets themselves and may find more (datasets of filters). Three queries.
    """
    chosen = set(selection)
    if not chosen:
        return []
    members: dict[str, Member] = {}
    dashboards: dict[str, str] = {}
    charts: list[tuple[str, str, str]] = []  # uuid, title, dataset
    selected = Asset.objects.filter(environment=source, uuid__in=chosen).exclude(kind="database")
    for kind, uuid, title, slug, dataset in selected.values_list(
        "kind", "uuid", "title", "slug", "dataset_uuid"
    ):
        members[uuid] = Member(kind, uuid, title, True, slug)
        if kind == "dashboard":
            dashboards[uuid] = title
        elif kind == "chart":
            charts.append((uuid, title, dataset))
    if dashboards:
        rows = Asset.objects.filter(environment=source, kind="chart")
        for uuid, title, dataset, boards, viz in rows.values_list(
            "uuid", "title", "dataset_uuid", "dashboard_uuids", "viz_type"
        ):
            because = [("dashboard", dashboards[board]) for board in boards if board in dashboards]
            if not because:
                continue
            if uuid not in members:
                members[uuid] = Member("chart", uuid, title, False, viz)
                charts.append((uuid, title, dataset))
            members[uuid].reasons += because
    titles: dict[str, list[str]] = {}
    for _, title, dataset in charts:
        if dataset:
            titles.setdefault(dataset, []).append(title)
    if titles:
        for uuid, title, schema in Asset.objects.filter(environment=source, kind="dataset").values_list(
            "uuid", "title", "schema"
        ):
            if uuid in titles:
                member = members.setdefault(uuid, Member("dataset", uuid, title, False, schema))
                member.reasons += [("chart", chart) for chart in titles[uuid]]
    return sorted(members.values(), key=lambda member: (_ORDER.get(member.kind, 9), member.title.casefold()))


_ORDER = {"dashboard": 0, "chart": 1, "dataset": 2}


def _of_backup(migration: Migration, chosen: set[str]) -> list[Member]:
    """What is selected of a backup; the plan finds out what that stands on."""
    if migration.backup is None:
        return []
    rows = assets_in(migration.backup).values_list("kind", "uuid", "document__title")
    members = [Member(kind, uuid, title, True) for kind, uuid, title in rows if uuid in chosen]
    return sorted(members, key=lambda member: (_ORDER.get(member.kind, 9), member.title.casefold()))


def members_of(migration: Migration) -> list[Member]:
    """Everything that a migration takes or could take, with what is left out; of the plan if there is one."""
    chosen, out = set(migration.selection), set(migration.left_out)
    if migration.plan is not None:
        rows = migration.plan.items.values_list("kind", "uuid", "title", "action", "reasons")
        members = [
            Member(
                kind,
                uuid,
                title,
                uuid in chosen or migration.maps_nothing,
                reasons=[(reason["kind"], reason["title"]) for reason in reasons],
                action=action,
            )
            for kind, uuid, title, action, reasons in rows
        ]
        members.sort(key=lambda member: (_ORDER.get(member.kind, 9), member.title.casefold()))
    elif migration.is_rollback:
        members = []
    elif migration.is_of_file:
        held = migration.file.assets.filter(uuid__in=chosen) if migration.file is not None else None
        named = held.values_list("kind", "uuid", "document__title") if held is not None else ()
        members = [Member(kind, uuid, title, True) for kind, uuid, title in named]
        members.sort(key=lambda member: (_ORDER.get(member.kind, 9), member.title.casefold()))
    elif migration.is_of_backup:
        members = _of_backup(migration, chosen)
    elif migration.with_dependencies and migration.source is not None:
        members = closure_of(migration.source, chosen)
    else:
        where = migration.source or migration.target
        selected = Asset.objects.filter(environment=where, uuid__in=chosen)
        members = [
            Member(asset.kind, asset.uuid, asset.title, True, asset.slug or asset.schema)
            for asset in selected
        ]
    for member in members:
        member.is_out = member.uuid in out or member.action == "leave_out"
    return members
