"""The inventory: one list of all assets that were read, on all environments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_safe

from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.texts import counted
from sstools.web.htmx import render_page, wants_fragment
from sstools.web.navigation import first_url

from . import damage, extras
from .canonical.documents import Kind
from .filters import KINDS, AssetFilter, ordering, tag_widget
from .models import Asset, Environment
from .usage import USE_CHOICES

PAGE_SIZE = 50
NEWEST = "-changed"  # the order of the inventory if none is asked for, as in Superset's own lists
SELECT = "estate:select"  # takes query, matching and do=listed
NEW_MIGRATION = ("migrations_app:create", "migrations_app:new")  # takes ?asset=<slug>:<kind>:<uuid>, repeated

#: Columns besides the title: name in the address, heading, and whether it shows if none is asked for.
COLUMNS = (
    ("type", "Type", True),
    ("env", "Environment", True),
    ("state", "State", True),
    ("details", "Details", True),
    ("owner", "Owner", True),
    ("tags", "Tags", False),
    ("changed", "Changed", True),
    ("seen", "First seen", False),
    ("id", "Id in Superset", False),
    ("uuid", "Uuid", False),
)


@dataclass(frozen=True)
class Column:
    name: str
    label: str
    is_shown: bool


@require_safe
@login_required
def asset_list(request: HttpRequest) -> HttpResponse:
    """?columns=type,env shows these alone; the filters are those of REST (filters.py)."""
    if "col" in request.GET:  # from the form of columns; its boxes are one parameter in addresses
        rest = request.GET.copy()
        rest["columns"] = ",".join(rest.pop("col"))
        return HttpResponseRedirect(f"?{rest.urlencode(safe=',')}")
    rows = (
        Asset.objects.visible_to(request.user)
        .select_related("environment")
        .defer("search_text", "dashboard_uuids")
    )
    environments = list(Environment.objects.visible_to(request.user).in_order())
    found = AssetFilter(request.GET, queryset=rows, request=request)
    choices = [("", "all"), *((row.slug, row.name) for row in environments)]
    found.form.fields["env"].widget = forms.Select(choices=choices)
    found.form.fields["tag"].widget = tag_widget(environments, request.GET.get("tag", "").strip())
    page = Paginator(_ordered(found.qs, found), PAGE_SIZE).get_page(request.GET.get("page"))
    total = page.paginator.count
    # It filters nothing, and has to outlive a change of the filters: it goes along in their form.
    found.form.fields["columns"] = forms.CharField(required=False, widget=forms.HiddenInput)
    columns = columns_of(request.GET)
    shown = {column.name for column in columns if column.is_shown}
    only = next((row for row in environments if row.slug == request.GET.get("env")), None)
    select_url = _select_url(only)
    page.object_list = list(page.object_list)
    if "state" in shown:
        _add_states(page.object_list, request.user)
    chips = _chips(request, found, environments)
    context = {
        "filter": found,
        "page": page,
        "chips": chips,
        "wider": _wider(request, rows, found, chips) if not total else [],
        "columns": columns,
        "shown": shown,
        "kept": [
            (name, value) for name, value in request.GET.items() if name not in ("columns", "page", "col")
        ],
        "environments": environments,
        "read_any": any(row.inventory_at for row in environments),
        "new_migration_url": first_url(*NEW_MIGRATION),
        "only": only,
        "select_url": select_url,
        "matching": found.qs.order_by().exclude(kind=Kind.DATABASE).count() if select_url else 0,
        "can_plan": policy.can_anywhere(request.user, Permission.MIGRATION_PLAN),
        "can_back_up": policy.can_anywhere(request.user, Permission.BACKUP_CREATE),
        "can_add": policy.can(request.user, Permission.ENVIRONMENT_EDIT),
        "sort": request.GET.get("sort", ""),
        "default_sort": NEWEST,
        "live_text": counted(total, "asset") if wants_fragment(request) else "",
    }
    return render_page(request, "environments/assets.html", "environments/_assets.html", context)


def _select_url(environment: Environment | None) -> str:
    """Where all that is listed of one environment can be selected; "" where there is no such page."""
    try:
        return reverse(SELECT, args=[environment.slug]) if environment is not None else ""
    except NoReverseMatch:
        return ""


def columns_of(asked: QueryDict) -> list[Column]:
    """`columns=type,env` from an address, `col=type&col=env` from the form; unknown names are left out, and without any
    the usual ones show.
    """
    names = [name for part in asked.get("columns", "").split(",") if (name := part.strip())] or asked.getlist(
        "col"
    )
    wanted = set(names) & {name for name, _, _ in COLUMNS}
    has_states = extras.states() is not None
    return [
        Column(name, label, name in wanted if wanted else usual)
        for name, label, usual in COLUMNS
        if name != "state" or has_states
    ]


def _add_states(assets: Sequence[Asset], user: Any) -> None:
    provider = extras.states()
    if provider is None or not assets:
        return
    standings = provider.standings(assets, user)
    for asset in assets:
        asset.standing = standings.get(asset.pk)  # type: ignore[attr-defined]


def _ordered(rows: QuerySet[Asset], found: AssetFilter) -> QuerySet[Asset]:
    is_sorted = found.form.is_valid() and found.form.cleaned_data.get("sort")
    return rows if is_sorted else rows.order_by(*ordering(NEWEST))


def _chips(request: HttpRequest, found: AssetFilter, environments: list[Environment]) -> list[dict[str, str]]:
    """The filters that are on, each with the address without it."""
    names = {row.slug: row.name for row in environments}
    provider = extras.states()
    words = {
        "type": dict(KINDS),
        "env": names,
        "use": dict(USE_CHOICES),
        "damage": dict(damage.CHOICES),
        "state": dict(provider.STATE_CHOICES) if provider else {},
    }
    chips = []
    for name, field in found.form.fields.items():
        value = request.GET.get(name, "").strip()
        if name in ("sort", "columns") or not value:
            continue
        rest: QueryDict = request.GET.copy()
        rest.pop(name, None)
        rest.pop("page", None)
        shown = words.get(name, {}).get(value, value)
        chips.append({"name": name, "label": f"{field.label}: {shown}", "remove_url": f"?{rest.urlencode()}"})
    return chips


def _wider(
    request: HttpRequest, rows: QuerySet[Asset], found: AssetFilter, chips: list[dict[str, str]]
) -> list[dict[str, Any]]:
    """Where nothing matches: how many there would be without each of the filters, most first."""
    if len(chips) < 2 or not found.form.is_valid():
        return []
    wider = []
    for chip in chips:
        rest = request.GET.copy()
        rest.pop(chip["name"], None)
        number = AssetFilter(rest, queryset=rows, request=request).qs.order_by().count()
        if number:
            wider.append({**chip, "number": number})
    return sorted(wider, key=lambda one: -int(one["number"]))
