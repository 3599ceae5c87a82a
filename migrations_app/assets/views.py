"""Pages of one asset over all environments."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from environments.backups import holding
from environments.canonical.documents import Kind
from environments.models import Environment
from migrations_app import pairings
from sstools.errors import SSToolsError
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.htmx import go_to, render_page

from . import cards, checks, contents, drawing, history, impact, panels, suggesting
from .families import Family, Member, find_family, page_url, visible_environments
from .links import compare_url, migration_url
from .reach import reach_of

TABS = (
    ("detail", "Contents"),
    ("graph", "Graph"),
    ("history", "History"),
    ("checks", "Checks"),
    ("backups", "Backups"),
)
PAGE_SIZE = 50
#: Bringing it over makes sense from the reference to here, and the other way round.
PROMOTABLE = frozenset({"behind", "absent", "differs", "diverged"})
TAKEABLE = frozenset({"drifted", "diverged", "differs"})


View = Callable[..., HttpResponse]  # (request, family, reference), and what else the address has


def _of_family(tab: str) -> Callable[[View], Callable[..., HttpResponse]]:
    """A view of one asset: it gets the family and its reference (?ref=). Another uuid of the family leads to its key;
    404 for what is nowhere among the environments whose assets the user may see.
    """

    def decorate(view: View) -> Callable[..., HttpResponse]:
        @wraps(view)
        @login_required
        def found(request: HttpRequest, kind: Kind, uuid: str, **rest: Any) -> HttpResponse:
            family = find_family(kind, uuid.lower(), visible_environments(request.user))
            if family is None:
                raise Http404(f"No {kind.value} with this uuid was ever read, or you may not see it.")
            if family.key != uuid and request.method in ("GET", "HEAD"):
                query = request.META.get("QUERY_STRING", "")
                return HttpResponseRedirect(page_url(kind, family.key, tab) + (f"?{query}" if query else ""))
            return view(request, family, family.reference(request.GET.get("ref", "")), **rest)

        return found

    return decorate


def _context(request: HttpRequest, family: Family, reference: Member | None, tab: str) -> dict[str, Any]:
    """What stands above the tabs: one card for each environment, and what may be done."""
    made = cards.cards_of(family, reference, request.user)
    for card in made:
        _offer(request, family, reference, card)
    suffix = f"?ref={request.GET['ref']}" if request.GET.get("ref") in family.by_slug else ""
    can_plan = policy.can_anywhere(request.user, Permission.MIGRATION_PLAN)
    return {
        "family": family,
        "kind": family.kind,
        "reference": reference,
        "cards": made,
        "tab": tab,
        "suffix": suffix,
        "tabs": [
            {
                "label": label,
                "url": page_url(family.kind, family.key, name) + suffix,
                "is_current": name == tab,
            }
            for name, label in TABS
        ],
        "promotable": next((card for card in made if card.promote_url), None),
        "is_movable": family.kind != Kind.DATABASE,
        "why_no_plan": "" if can_plan else policy.explain(request.user, Permission.MIGRATION_PLAN).sentence,
        "inventory_url": f"{reverse('environments:assets')}?type={family.kind.value}",
    }


def _offer(request: HttpRequest, family: Family, reference: Member | None, card: cards.Card) -> None:
    if reference is None or card.is_reference:
        return
    here, there = reference.environment, card.environment
    card.may_pair = pairings.right_to_pair(request.user, here, there)
    if card.state not in ("absent", "unknown", "in_sync") and card.member.is_there:
        card.diff_url = compare_url(family.kind, reference.uuid, here, there)
    if family.kind == Kind.DATABASE:
        return
    if card.state in PROMOTABLE and cards.may_promote(request.user, there):
        card.promote_url = migration_url(family.kind, reference.uuid, here, there)
    if card.state in TAKEABLE and cards.may_promote(request.user, here):
        card.take_url = migration_url(family.kind, card.member.uuid, there, here)


@require_safe
@_of_family("detail")
def asset_detail(request: HttpRequest, family: Family, reference: Member | None) -> HttpResponse:
    tables = contents.tables_of(family, reference)
    pages = []
    for index, table in enumerate(tables):
        param = "page" if index == 0 else f"page{index + 1}"
        pages.append((table, Paginator(table.rows, PAGE_SIZE).get_page(request.GET.get(param)), param))
    context = {
        **_context(request, family, reference, "detail"),
        "tables": pages,
        "panels": panels.panels_of(family, reference, request.user),
    }
    return render_page(request, "assets/detail.html", None, context)


@require_safe
@_of_family("detail")
def asset_panel(
    request: HttpRequest, family: Family, reference: Member | None, plugin: str, name: str
) -> HttpResponse:
    """The card of a plugin, of the asset as it is on ?env=; made when it is looked at."""
    member = family.by_slug.get(request.GET.get("env", "")) or reference
    known = panels.panels_of(family, member, request.user)
    card = next((one for one in known if (one.plugin.name, one.panel["name"]) == (plugin, name)), None)
    if card is None:
        raise Http404("There is no such card.")
    answer: dict[str, Any] = {}
    problem = ""
    try:
        answer = panels.shown(card, family)
    except SSToolsError as error:
        problem = error.message
    context = {
        **_context(request, family, reference, "detail"),
        "card": card,
        "answer": answer,
        "numbers": list(answer.get("numbers", {}).items()),
        "problem": problem,
    }
    return render_page(request, "assets/panel.html", "assets/_panel.html", context)


@require_safe
@_of_family("graph")
def asset_graph(request: HttpRequest, family: Family, reference: Member | None) -> HttpResponse:
    """?env= which environment is drawn; ?column= what would break without that column of the dataset."""
    drawn = family.by_slug.get(request.GET.get("env", ""))
    if drawn is None or not drawn.is_there:
        drawn = reference
    column = request.GET.get("column", "").strip()[:255] if family.kind == Kind.DATASET else ""
    context = _context(request, family, reference, "graph")
    if drawn is not None:
        reach = reach_of(drawn.environment, family.kind.value, drawn.uuid)
        graph = drawing.graph_of(reach, reference.environment if reference else None)
        context |= {"graph": graph, "picture": graph.picture, "drawn": drawn}
        impacts = impact.impacts_of(family, column)
        lines = impact.side_by_side(impacts, _names(family, reference))
        context |= {
            "impacts": impacts,
            "page": Paginator(lines, PAGE_SIZE).get_page(request.GET.get("page")),
            "column": column,
            "columns": impact.columns_of(family) if family.kind == Kind.DATASET else [],
            "column_is_known": any(one.has_column for one in impacts),
            "own_uses": [(one.environment, one.own) for one in impacts if one.own],
            "unread": sum(one.unread for one in impacts),
        }
    return render_page(request, "assets/graph.html", None, context)


def _names(family: Family, reference: Member | None) -> dict[int, dict[str, str]]:
    """Of each environment, its uuids that the reference has under others."""
    if reference is None:
        return {}
    return {
        member.environment.pk: {
            there: here
            for here, there in pairings.pairs_between(reference.environment, member.environment).items()
        }
        for member in family.present
        if member.environment.pk != reference.environment.pk
    }


@require_safe
@_of_family("history")
def asset_history(request: HttpRequest, family: Family, reference: Member | None) -> HttpResponse:
    """?env= of one environment alone. Any two contents of the page, and what is there now, are compared."""
    events = history.events_of(family, request.user)
    if (only := request.GET.get("env", "")) in family.by_slug:
        events = [event for event in events if event.environment and event.environment.slug == only]
    page = Paginator(events, PAGE_SIZE).get_page(request.GET.get("page"))
    places = [(f"env:{member.environment.slug}", member) for member in family.present]
    held = [event.place for event in page.object_list if event.place]
    context = {
        **_context(request, family, reference, "history"),
        "page": page,
        "only": only,
        "places": places,
        "is_comparable": family.kind != Kind.DATABASE and bool(held) and len(held) + len(places) > 1,
        "chosen": held[:1],
    }
    return render_page(request, "assets/history.html", None, context)


@require_safe
@_of_family("checks")
def asset_checks(request: HttpRequest, family: Family, reference: Member | None) -> HttpResponse:
    context = _context(request, family, reference, "checks")
    context["checked"] = checks.checks_of(family, request.user)
    return render_page(request, "assets/checks.html", None, context)


@require_safe
@_of_family("backups")
def asset_backups(request: HttpRequest, family: Family, reference: Member | None) -> HttpResponse:
    """Which backups hold it, with which contents; any two of them, and what is there now, are compared."""
    uuids = {member.environment: member.uuid for member in family.members}
    versions = holding.versions_of(uuids, family.kind.value, request.user)
    page = Paginator(versions, PAGE_SIZE).get_page(request.GET.get("page"))
    places = [(f"env:{member.environment.slug}", member) for member in family.present]
    can_create = [
        member
        for member in family.present
        if policy.can(request.user, Permission.BACKUP_CREATE, member.environment)
    ]
    context = {
        **_context(request, family, reference, "backups"),
        "page": page,
        "places": places,
        "is_comparable": family.kind != Kind.DATABASE and len(versions) + len(places) > 1,
        "can_create": can_create,
        "chosen": [version.newest.place for version in page.object_list][:1],
    }
    return render_page(request, "assets/backups.html", None, context)


@require_http_methods(["GET", "HEAD", "POST"])
@_of_family("pairing")
def asset_pairing(request: HttpRequest, family: Family, reference: Member | None) -> HttpResponse:
    """?env= the environment whose counterpart is chosen. POST `do=pair` with `target_uuid`, or `do=unpair`."""
    slug = request.POST.get("env", request.GET.get("env", ""))
    member = family.by_slug.get(slug)
    if reference is None or member is None or member.environment.pk == reference.environment.pk:
        raise Http404("Nothing can be paired there.")
    problem: SSToolsError | None = None
    if request.method == "POST":
        try:
            said = _pair(request, family, reference, member)
        except SSToolsError as error:
            if error.status in (403, 404):
                raise
            problem = error
        else:
            messages.success(request, said)
            return go_to(request, page_url(family.kind, reference.uuid))
    context = {
        **_context(request, family, reference, "pairing"),
        **_choice(request, family, reference, member.environment),
        "member": member,
        "problem": problem,
    }
    return render_page(
        request, "assets/pairing.html", None, context, status=problem.status if problem else 200
    )


def _pair(request: HttpRequest, family: Family, reference: Member, member: Member) -> str:
    here, there = reference.environment, member.environment
    if request.POST.get("do") == "unpair":
        row = member.pairing
        if row is None or {row.source_id, row.target_id} != {here.pk, there.pk}:
            raise Http404("There is no such pairing.")
        pairings.unpair(row, actor=request.user, via="page")
        return f"{family.title} on {there} is what has its uuid again."
    chosen = request.POST.get("target_uuid", "") or request.POST.get("other_uuid", "")
    pairings.pair(here, there, family.kind.value, reference.uuid, chosen, actor=request.user, via="page")
    return f"{family.title} on {there} is paired. States and new plans use it from now on."


def _choice(request: HttpRequest, family: Family, reference: Member, target: Environment) -> dict[str, Any]:
    assert reference.asset is not None
    words = request.GET.get("q", "").strip()[:200]
    return {
        "target": target,
        "may_pair": pairings.right_to_pair(request.user, reference.environment, target),
        "suggestions": suggesting.suggestions_for(reference.asset, target),
        "q": words,
        "found": suggesting.matching(reference.asset, target, words) if words else [],
        "same_uuid": target.assets.filter(kind=family.kind.value, uuid=reference.uuid).first(),
    }
