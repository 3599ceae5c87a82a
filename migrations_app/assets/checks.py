"""What the charts of an asset answered when they were last run on an environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from environments.canonical.documents import Kind
from environments.models import Environment
from migrations_app.models import Run, Verdict

from .families import Family, Member, page_url
from .reach import chunks, reach_of


@dataclass
class Check:
    """The last verdict of one chart on one environment."""

    environment: Environment
    verdict: Verdict
    url: str


@dataclass
class Checks:
    environment: Environment
    checks: list[Check]
    counts: Mapping[str, int]
    unchecked: int  # charts that no run has verified yet


def checks_of(family: Family, user: Any) -> list[Checks]:
    """For a dashboard its charts, for a chart itself, for a dataset or connection the charts that stand on it."""
    return [_on(family.kind, member, user) for member in family.present]


def _on(kind: Kind, member: Member, user: Any) -> Checks:
    charts = _charts(kind, member)
    runs = Run.objects.visible_to(user).filter(migration__target=member.environment)
    last: dict[str, Verdict] = {}
    for some in chunks(charts):
        rows = (
            Verdict.objects.filter(run__in=runs, uuid__in=some)
            .select_related("run__migration")
            .order_by("run__number")
        )
        last.update({row.uuid: row for row in rows})
    checks = [Check(member.environment, row, page_url(Kind.CHART, row.uuid)) for row in last.values()]
    checks.sort(key=lambda check: (check.verdict.status == "ok", check.verdict.title))
    counts: dict[str, int] = {}
    for check in checks:
        counts[check.verdict.status] = counts.get(check.verdict.status, 0) + 1
    return Checks(member.environment, checks, counts, len(charts) - len(last))


def _charts(kind: Kind, member: Member) -> list[str]:
    if kind == Kind.CHART:
        return [member.uuid]
    reach = reach_of(member.environment, kind.value, member.uuid)
    keys = reach.needs if kind == Kind.DASHBOARD else reach.users
    return [uuid for one, uuid in keys if one == Kind.CHART and (one, uuid) in reach.assets]
