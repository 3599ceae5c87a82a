"""What the overview is asked to do: selecting, saving a view, reading again. What it shows is in `overview.py`."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db import IntegrityError, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from environments import services as environment_services
from environments.backups import choices
from environments.filters import AssetFilter
from environments.models import Asset, Environment
from sstools.errors import Conflict, Invalid, SSToolsError
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.texts import counted
from sstools.web.htmx import go_to, wants_fragment
from sstools.web.views import show_overview

from . import matrix, overview, selections
from .filters import SyncStateFilter
from .models import SavedView, SyncState

CONFIRM_PAGE_SIZE = 500
MOST_VIEWS = 50
MOST_COMPARED = 100  # their uuids stand in the address
PAGES = {"web:home"}  # lists whose filters can be saved


# --- Selecting ------------------------------------------------------------------------------------------------------
@require_POST
@login_required
def select(request: HttpRequest, slug: str) -> HttpResponse:
    """`shown`, `pick`: what the page listed and what is ticked on it. `do`: all (with `matching`, the number that the
    page said), none, compare, backup, continue, or listed (all that the inventory lists of it). `query`: the filters
    of the page, to go back to.
    """
    user = request.user
    source = _source(request, slug)
    query = QueryDict(request.POST.get("query", "")[:2000])
    do = request.POST.get("do", "")
    if do == "listed":
        return _select_listed(request, source, query)
    status = 200
    try:
        if do == "all":
            states = _found(request, source, query)
            keys = selections.select_all(user, source, states, expected=_said(request))
            messages.success(request, f"{counted(len(keys), 'asset is', 'assets are')} selected.")
        elif do == "none":
            selections.change(user, source, clear=True)
        else:
            shown = filter(None, request.POST.get("shown", "").split(","))
            selections.change(user, source, shown=shown, ticked=request.POST.getlist("pick"))
    except (Conflict, Invalid) as error:
        messages.error(request, f"{error.message} {error.remedy}".strip())
        status = error.status
    if do == "compare" and status == 200 and (url := _comparison(request, source, query)):
        return go_to(request, url)
    if do == "backup" and status == 200 and (keys := selections.chosen(user, source).keys):
        return go_to(request, choices.keep(request, source, keys))
    if do == "continue" and status == 200:
        return go_to(request, "estate:selection", source.slug)
    if wants_fragment(request) and status == 200:
        context = overview.bulk(user, source, _found(request, source, query), query.urlencode())
        return render(request, "estate/_bulk.html", context | {"is_fragment": True})
    if status == 200:
        return HttpResponseRedirect(f"{reverse('web:home')}?{query.urlencode()}")
    request.GET = query
    return show_overview(request, status)


def _said(request: HttpRequest) -> int:
    """How many assets the page said that it listed. Raises Invalid."""
    expected = request.POST.get("matching", "")
    if not expected.isdigit():
        raise Invalid("The page did not say how many assets it listed.")
    return int(expected)


def _select_listed(request: HttpRequest, source: Environment, query: QueryDict) -> HttpResponse:
    visible = Asset.objects.visible_to(request.user)
    found = AssetFilter(query, queryset=visible, request=request)
    try:
        selections.select_found(request.user, source, found.qs, expected=_said(request))
    except (Conflict, Invalid) as error:
        messages.error(request, f"{error.message} {error.remedy}".strip())
        return go_to(request, f"{reverse('environments:assets')}?{query.urlencode()}")
    return go_to(request, "estate:selection", source.slug)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def selection(request: HttpRequest, slug: str) -> HttpResponse:
    """Lists exactly what is selected; POST with that `count` and `digest` makes a migration of it to `target`."""
    data = request.POST if request.method == "POST" else request.GET
    source = _source(request, slug)
    problem: SSToolsError | None = None
    if request.method == "POST":
        target = _targets(request, source).filter(slug=data.get("target", "")).first()
        try:
            if target is None:
                raise Invalid("Choose where to bring them.", errors={"target": ["Choose an environment."]})
            count = data.get("count", "")
            migration = selections.migrate(
                request.user,
                source,
                target,
                expected=int(count) if count.isdigit() else -1,
                digest=data.get("digest", ""),
                title=data.get("title", ""),
            )
        except (Conflict, Invalid) as error:
            problem = error
        else:
            return go_to(request, "migrations_app:plan", migration.number)
    now = selections.chosen(request.user, source)
    targets = list(_targets(request, source).in_order())
    plannable = {item.pk for item in targets if policy.can(request.user, Permission.MIGRATION_PLAN, item)}
    context = {
        "source": source,
        "chosen": now,
        "count": len(now.assets),
        "page": Paginator(now.assets, CONFIRM_PAGE_SIZE).get_page(data.get("page")),
        "targets": targets,
        "plannable": plannable,
        "target": data.get("target", "") or _next(source, targets, plannable),
        "title": data.get("title", ""),
        "problem": problem,
        "why_not": ""
        if plannable
        else policy.explain(
            request.user, Permission.MIGRATION_PLAN, targets[0] if targets else None
        ).sentence,
        "back_url": matrix.overview_url(ref=source.slug),
    }
    return render(request, "estate/selection.html", context, status=problem.status if problem else 200)


def _comparison(request: HttpRequest, source: Environment, query: QueryDict) -> str:
    """The address of the comparison of what is selected; "" and a message where there is none."""
    uuids = selections.chosen(request.user, source).uuids
    right = overview.compared_with(source, overview.visible_environments(request.user), query.get("env", ""))
    if right is None or not uuids:
        messages.error(request, "Nothing is selected that could be compared.")
    elif len(uuids) > MOST_COMPARED:
        messages.error(
            request,
            f"{counted(len(uuids), 'asset')} are too many to compare by name, {MOST_COMPARED} go. "
            "Compare the environments, and filter there.",
        )
    else:
        places = {"left": f"env:{source.slug}", "right": f"env:{right.slug}", "state": "all"}
        query_text = urlencode({**places, "assets": ",".join(uuids)}, safe=":,")
        return f"{reverse('comparing:list')}?{query_text}"
    return ""


def _found(request: HttpRequest, source: Environment, query: QueryDict) -> Any:
    """The cells that the filters of a page find now."""
    environments = list(Environment.objects.visible_to(request.user).in_order())
    cells = matrix.cells_of(request.user, source, environments)
    found = SyncStateFilter(matrix.filter_data(query, source), queryset=cells)
    return found.qs if found.form.is_valid() else SyncState.objects.none()


def _source(request: HttpRequest, slug: str) -> Environment:
    found: Environment = get_object_or_404(Environment.objects.visible_to(request.user), slug=slug)
    if not policy.can(request.user, Permission.ASSET_VIEW, found):
        raise Http404
    return found


def _targets(request: HttpRequest, source: Environment) -> Any:
    return Environment.objects.visible_to(request.user).exclude(pk=source.pk)


def _next(source: Environment, targets: list[Environment], plannable: set[int]) -> str:
    """The next environment on the way after the source that may be planned for."""
    may = [item for item in targets if item.pk in plannable]
    after = (item.slug for item in may if item.position > source.position)
    return next(after, may[0].slug if may else "")


# --- Saved views ----------------------------------------------------------------------------------------------------
@require_POST
@login_required
def save_view(request: HttpRequest) -> HttpResponse:
    """Give the filters of a list (`query`) a `name`. A name that is there already takes the new filters."""
    user = cast(Any, request.user)
    name, page = request.POST.get("name", "").strip()[:60], request.POST.get("page", "")
    query = QueryDict(request.POST.get("query", "")[:1000], mutable=True)
    for passing in ("page", "csrfmiddlewaretoken"):
        query.pop(passing, None)
    if page not in PAGES:
        raise Http404
    if not name:
        messages.error(request, "A view needs a name. Nothing was saved.")
    elif SavedView.objects.filter(user=user, page=page).exclude(name=name).count() >= MOST_VIEWS:
        messages.error(request, f"You have {MOST_VIEWS} views here. Remove one first.")
    else:
        try:
            with transaction.atomic():
                SavedView.objects.update_or_create(
                    user=user, page=page, name=name, defaults={"query": query.urlencode()[:1000]}
                )
        except IntegrityError:
            pass  # a second click, at the same moment
        messages.success(request, f"The view “{name}” is saved.")
    return HttpResponseRedirect(f"{reverse(page)}?{query.urlencode()}")


@require_POST
@login_required
def remove_view(request: HttpRequest, pk: int) -> HttpResponse:
    view = get_object_or_404(SavedView, pk=pk, user_id=request.user.pk)
    view.delete()
    messages.success(request, f"The view “{view.name}” is removed.")
    return HttpResponseRedirect(reverse(view.page))


# --- Reading again --------------------------------------------------------------------------------------------------
@require_POST
@login_required
def read_all(request: HttpRequest) -> HttpResponse:
    """Read every environment that the user may have read. One that is being read already is not read twice."""
    rows = Environment.objects.visible_to(request.user).in_order()
    may = [item for item in rows if policy.can(request.user, Permission.ENVIRONMENT_TEST, item)]
    for environment in may:
        environment_services.request_reading(environment, actor=request.user)
    if may:
        messages.success(request, f"Reading {', '.join(item.name for item in may)}.")
    else:
        messages.error(request, policy.explain(request.user, Permission.ENVIRONMENT_TEST, None).sentence)
    return HttpResponseRedirect(reverse("web:home"))
