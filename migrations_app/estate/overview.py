"""What the overview shows of the estate: the matrix, and how far the last environment on the way has drifted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, QueryDict
from django.urls import reverse

from environments.filters import tag_widget
from environments.models import Environment
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.texts import counted
from sstools.web.home import Fact, Main

from . import matrix, selections
from .filters import ATTENTION, DEFAULT_SORT, DIFFERENT, KINDS, STATES, SyncStateFilter
from .models import NEEDS_ATTENTION, SavedView, SyncState

WORDS = dict(STATES)
PLURALS = {**dict(KINDS), "all": "assets"}
SINGULARS = {**{kind: kind for kind, _ in KINDS}, "all": "asset"}


def visible_environments(user: Any) -> list[Environment]:
    """Those whose assets `user` may see, along the way to production."""
    if not policy.can_anywhere(user, Permission.ASSET_VIEW):
        return []
    scopes = policy.scopes(user, Permission.ASSET_VIEW)
    rows = Environment.objects.visible_to(user)
    if not scopes.everything:
        rows = rows.filter(uuid__in=scopes.uuids("environment"))
    return list(rows.in_order())


def facts(user: Any) -> Iterable[Fact]:
    """What was edited on the environment at the end of the way, against the one at its beginning."""
    environments = visible_environments(user)
    ends = ends_of(environments)
    if ends is None:
        return
    first, last = ends
    edited = SyncState.objects.filter(source=first, target=last).aggregate(
        urgent=Count("pk", filter=Q(attention__gte=NEEDS_ATTENTION)),
        behind=Count("pk", filter=Q(state__in=("behind", "absent"))),
    )
    number = edited["urgent"]
    url = matrix.overview_url(
        ref=first.slug, env=last.slug, type="all", state=ATTENTION if number else DIFFERENT
    )
    note = f"{edited['behind']} of {first.name} not there yet"
    yield Fact(f"Drift on {last.name}", number, note, url, "drifted" if number else "", order=10)


def ends_of(environments: Sequence[Environment]) -> tuple[Environment, Environment] | None:
    """The first and the last on the way to production that were read."""
    way = [item for item in environments if item.position and item.inventory_at is not None]
    return (way[0], way[-1]) if len(way) > 1 else None


def main(request: HttpRequest) -> Main | None:
    """The matrix, once two environments were read."""
    user: Any = request.user
    environments = visible_environments(user)
    found = matrix.build(user, environments, request.GET)
    if found is None:
        return None
    query = request.GET.copy()
    query.pop("page", None)
    state = found.filter.form.cleaned_data.get("state", "") if found.filter.form.is_valid() else ""
    kind = found.filter.form.cleaned_data.get("type", "") if found.filter.form.is_valid() else ""
    _offer_environments(found.filter, environments)
    found.filter.form.fields["tag"].widget = tag_widget(environments, request.GET.get("tag", "").strip())
    basket = bulk(user, found.reference, found.states, request.GET.urlencode(), environments)
    for row in found.rows:
        row.is_chosen = row.key in basket["chosen"]
    total = found.page.paginator.count
    context = {
        "matrix": found,
        "filter": found.filter,
        "page": found.page,
        "rows": found.rows,
        "columns": found.columns,
        "reference": found.reference,
        "references": [item for item in environments if item.inventory_at is not None],
        "noun": SINGULARS.get(kind, "asset"),
        "nouns": PLURALS.get(kind, "assets"),
        "chips": _chips(request.GET, found, environments),
        "urgent_url": matrix.overview_url(
            **{**query.dict(), "state": "" if state == ATTENTION else ATTENTION}
        ),
        "is_urgent_only": state == ATTENTION,
        "sort": request.GET.get("sort", ""),
        "default_sort": DEFAULT_SORT,
        "shown": ",".join(row.key for row in found.rows if row.is_on_reference),
        "matching": found.matching,
        "views": list(SavedView.objects.filter(user_id=user.pk, page="web:home")),
        "read_url": reverse("estate:read_all"),
        "can_read": policy.can_anywhere(user, Permission.ENVIRONMENT_TEST),
        "per_page": matrix.page_size(request.GET),
        "page_sizes": matrix.PAGE_SIZES,
        "live_text": counted(total, SINGULARS.get(kind, "asset")),
        **basket,
    }
    return Main("estate/_overview.html", "estate/_matrix.html", "estate/_read.html", context)


def _offer_environments(filters: SyncStateFilter, environments: Sequence[Environment]) -> None:
    """Let the form name the environments there are."""
    names = [(item.slug, item.name) for item in environments]
    read = [(item.slug, item.name) for item in environments if item.inventory_at is not None]
    filters.form.fields["ref"].widget = forms.Select(choices=read)
    filters.form.fields["env"].widget = forms.Select(choices=[("", "any"), *names])


def bulk(
    user: Any,
    source: Environment,
    states: QuerySet[SyncState],
    query: str,
    environments: Sequence[Environment] | None = None,
) -> dict[str, Any]:
    """What the bar below the table says: how much is selected, and how much of it the filter does not show."""
    keys = selections.selected(user, source)
    others = visible_environments(user) if environments is None else environments
    return {
        "reference": source,
        "chosen": set(keys),
        "chosen_count": len(keys),
        "outside": selections.outside(keys, states),
        "compare_with": compared_with(source, others, QueryDict(query).get("env", "")),
        "query": query,
        "can_plan": policy.can_anywhere(user, Permission.MIGRATION_PLAN),
        "can_back_up": policy.can(user, Permission.BACKUP_CREATE, source),
    }


def compared_with(source: Environment, others: Sequence[Environment], asked: str) -> Environment | None:
    """What a selection is compared with: the environment that the list is filtered by, else the next on the way."""
    read = [item for item in others if item != source and item.inventory_at is not None]
    after = [item for item in read if item.position > source.position]
    return next((item for item in read if item.slug == asked), next(iter([*after, *read]), None))


def _chips(
    data: QueryDict, found: matrix.Matrix, environments: Sequence[Environment]
) -> list[dict[str, str]]:
    """The filters that are on, each with the address without it."""
    names = {item.slug: item.name for item in environments}
    words: dict[str, dict[str, str]] = {"type": PLURALS, "state": WORDS, "env": names, "ref": names}
    chips = []
    for name, field in found.filter.form.fields.items():
        value = data.get(name, "").strip()
        if name == "sort" or not value:
            continue
        rest = data.copy()
        rest.pop(name, None)
        rest.pop("page", None)
        label = f"{field.label}: {words.get(name, {}).get(value, value)}"
        chips.append({"label": label, "remove_url": f"?{rest.urlencode()}"})
    return chips
