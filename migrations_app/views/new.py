"""Choosing what to bring where. The basket travels in the form: it survives paging and filters without a session."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from environments.models import Asset, Environment
from environments.words import fold
from migrations_app import services
from migrations_app.forms import NewForm, PickForm
from migrations_app.models import Migration, MigrationState
from sstools.errors import Invalid, NotAllowed, SSToolsError
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.htmx import go_to, render_page

from .common import find_migration, page_context, split_list
from .members import closure_of

PAGE_SIZE = 50
#: The same person asking for the same twice within this time clicked twice.
DOUBLE_CLICK = timedelta(seconds=30)
SHOWN_IN_BASKET = 200
#: What a session that ended takes along to the login page and back, besides the basket.
KEPT = ("source", "target", "title", "kind", "q")
LONGEST_ADDRESS = 6_000  # of characters; servers and proxies take 8 KB and up


def _signed_out(request: HttpRequest) -> HttpResponse:
    """To the login page, and back with what was selected, as far as an address holds it."""
    data = request.POST if request.method == "POST" else request.GET
    kept = {name: data[name] for name in KEPT if data.get(name)}
    shown = set(split_list(data.get("shown", "")))
    basket = [uuid for uuid in split_list(data.get("basket", "")) if uuid not in shown] + data.getlist("pick")
    assets = data.getlist("asset")
    query = QueryDict(mutable=True)
    query.update(kept)
    if basket:
        query["basket"] = ",".join(basket)
    query.setlist("asset", assets)
    address = f"{request.path}?{query.urlencode()}" if query else request.path
    return redirect_to_login(address if len(address) <= LONGEST_ADDRESS else request.path)


@require_http_methods(["GET", "HEAD", "POST"])
def migration_new(request: HttpRequest) -> HttpResponse:
    """GET shows the choice; POST changes the basket (fragment for htmx) or, with `do=create`, makes the migration.

    The list of assets posts here with repeated `asset=<environment>:<kind>:<uuid>`.
    """
    if not request.user.is_authenticated:
        return _signed_out(request)
    data = request.POST if request.method == "POST" else request.GET
    environments = list(Environment.objects.visible_to(request.user).in_order())
    plannable = [item for item in environments if policy.can(request.user, Permission.MIGRATION_PLAN, item)]
    arrived, source, problem = _arrived(data, environments)
    source = source or _named(data.get("source"), environments) or _first_source(environments)
    target = _named(data.get("target"), environments)
    if target is None or target == source:
        target = _first_target(source, plannable or environments)
    status = 422 if problem else 200
    context: dict[str, Any] = {
        "environments": environments,
        "plannable": {item.pk for item in plannable},
        "source": source,
        "target": target,
        "problem": problem,
    }
    if source is None or target is None:
        return render_page(request, "migrations_app/new.html", None, context, status=status)
    basket = _basket(data, source, arrived)
    form = NewForm(_options(data))
    if request.method == "POST" and data.get("do") == "create" and not problem:
        if form.is_valid():
            try:
                return _create(request, source, target, basket, form.cleaned_data)
            except NotAllowed:
                raise
            except SSToolsError as error:
                context["problem"], status = error, error.status
        else:
            status = 422
    context |= {
        "form": form,
        "refused": status == 422 and not context["problem"],
        "is_new": True,
        **_picker(data, source, basket, with_dependencies=bool(form["with_dependencies"].value())),
    }
    return render_page(
        request, "migrations_app/new.html", "migrations_app/_picker.html", context, status=status
    )


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def migration_add(request: HttpRequest, number: int) -> HttpResponse:
    """Change what an open migration selects, with the same list."""
    migration = find_migration(request, number)
    if migration.source is None:
        return go_to(request, "migrations_app:select", migration.number)
    policy.require(request.user, Permission.ENVIRONMENT_VIEW, migration.source)
    data = request.POST if request.method == "POST" else request.GET
    fresh = "basket" not in data
    basket = list(migration.selection) if fresh else _basket(data, migration.source, [])
    context, status = page_context(request, migration, "select"), 200
    if request.method == "POST" and data.get("do") == "save":
        try:
            services.update_migration(migration, actor=request.user, selection=basket)
        except NotAllowed:
            raise
        except SSToolsError as error:
            context["problem"], status = error, error.status
        else:
            messages.success(request, "The selection is saved. Make a plan of it.")
            return go_to(request, "migrations_app:select", migration.number)
    context |= _picker(data, migration.source, basket, with_dependencies=migration.with_dependencies)
    return render_page(
        request, "migrations_app/add.html", "migrations_app/_picker.html", context, status=status
    )


# --- Environments ---------------------------------------------------------------------------------------------------
def _named(slug: Any, environments: Iterable[Environment]) -> Environment | None:
    return next((item for item in environments if item.slug == slug), None)


def _first_source(environments: list[Environment]) -> Environment | None:
    """The first on the way to production that was read; `in_order` sorts them so."""
    return next(
        (item for item in environments if item.asset_counts), environments[0] if environments else None
    )


def _first_target(source: Environment | None, candidates: list[Environment]) -> Environment | None:
    """The next one on the way after the source."""
    others = [item for item in candidates if item != source]
    position = source.position if source else 0
    return next((item for item in others if item.position > position), others[0] if others else None)


# --- The basket -----------------------------------------------------------------------------------------------------
def _arrived(
    data: QueryDict, environments: list[Environment]
) -> tuple[list[str], Environment | None, SSToolsError | None]:
    """What `asset=<environment>:<kind>:<uuid>` says: uuids, and the one environment they are of."""
    given = [text.split(":") for text in data.getlist("asset") if text.count(":") == 2]
    slugs = list(dict.fromkeys(slug for slug, _, _ in given))
    if len(slugs) > 1:
        error = Invalid(
            f"The selection is of several environments ({', '.join(slugs)}); a migration has one source.",
            code="several_sources",
            remedy=f"Only what is of {slugs[0]} was taken. Make a migration of its own for each.",
        )
    else:
        error = None
    source = _named(slugs[0], environments) if slugs else None
    uuids = [uuid.lower() for slug, kind, uuid in given if slug == slugs[0] and kind != "database"]
    return (uuids if source else []), source, error


def _basket(data: QueryDict, source: Environment, arrived: list[str]) -> list[str]:
    """What is chosen after this request: the basket, less what the page showed, plus what is ticked on it."""
    if data.get("source_before") and data["source_before"] != source.slug:
        return []  # of another environment
    shown, ticked = set(split_list(data.get("shown", ""))), [uuid.lower() for uuid in data.getlist("pick")]
    basket = [uuid for uuid in split_list(data.get("basket", "")) if uuid not in shown]
    basket += [*ticked, *arrived]
    do = data.get("do", "")
    if do == "all":
        basket += list(_listed(data, source).values_list("uuid", flat=True))
    elif do == "none":
        basket = []
    elif do.startswith("drop:"):
        basket = [uuid for uuid in basket if uuid != do.removeprefix("drop:")]
    return list(dict.fromkeys(basket))


def _options(data: QueryDict) -> dict[str, Any]:
    """The options of this request; at the first look the usual ones."""
    if "shown" not in data:
        return {
            "title": data.get("title", ""),
            "with_dependencies": True,
            "verify": True,
            "roll_back_when_red": False,
        }
    return {
        "title": data.get("title", ""),
        **{name: data.get(name) == "on" for name in ("with_dependencies", "verify", "roll_back_when_red")},
    }


# --- The list -------------------------------------------------------------------------------------------------------
def _listed(data: QueryDict, source: Environment) -> Any:
    rows = Asset.objects.filter(environment=source).exclude(kind="database")
    kind = _kind(data)
    if kind != "all":
        rows = rows.filter(kind=kind)
    for word in fold(data.get("q", "")[:200]).split():
        rows = rows.filter(search_text__contains=word)
    return rows


def _kind(data: QueryDict) -> str:
    kind = data.get("kind", "dashboard")
    return kind if kind in ("dashboard", "chart", "dataset", "all") else "dashboard"


def _picker(
    data: QueryDict, source: Environment, basket: list[str], *, with_dependencies: bool
) -> dict[str, Any]:
    page = Paginator(_listed(data, source), PAGE_SIZE).get_page(_page(data))
    chosen = set(basket)
    rows = list(page.object_list)
    for asset in rows:
        asset.is_chosen = asset.uuid in chosen
    known = list(
        Asset.objects.filter(environment=source, uuid__in=chosen)
        .exclude(kind="database")
        .order_by("-kind", "sort_key")
    )
    pulled = closure_of(source, [asset.uuid for asset in known]) if with_dependencies else []
    counts = Counter(member.kind for member in pulled if not member.is_selected)
    return {
        "source": source,
        "pick_form": PickForm({"q": data.get("q", ""), "kind": _kind(data)}),
        "page": page,
        "assets": rows,
        "shown": ",".join(asset.uuid for asset in rows),
        "basket": ",".join(asset.uuid for asset in known),
        "chosen": known[:SHOWN_IN_BASKET],
        "chosen_count": len(known),
        "not_here": len(known) - sum(asset.is_chosen for asset in rows),
        "pulled": {kind: counts[kind] for kind in ("chart", "dataset")},
        "with_dependencies": with_dependencies,
        "was_read": source.inventory_at is not None or bool(source.asset_counts) or bool(rows) or bool(known),
        "live_text": f"{page.paginator.count} shown, {len(known)} selected",
    }


def _page(data: QueryDict) -> str:
    """Buttons that page say `go`; any other change of the filters starts again at the first page."""
    if data.get("go"):
        return str(data["go"])
    if data.get("filter_before") == f"{_kind(data)}:{data.get('q', '')}":
        return str(data.get("page_before") or 1)
    return str(data.get("page") or 1)


# --- Making it ------------------------------------------------------------------------------------------------------
def _create(
    request: HttpRequest, source: Environment, target: Environment, basket: list[str], options: dict[str, Any]
) -> HttpResponse:
    migration = _just_made(request.user, source, target, basket)
    if migration is None:
        migration = services.create_migration(
            source,
            target,
            selection=basket,
            actor=request.user,
            title=options["title"].strip(),
            with_dependencies=options["with_dependencies"],
            verify=options["verify"],
            roll_back_when_red=options["roll_back_when_red"],
        )
        services.request_plan(migration, actor=request.user)
    return go_to(request, "migrations_app:plan", migration.number)


def _just_made(user: Any, source: Environment, target: Environment, basket: list[str]) -> Migration | None:
    last = Migration.objects.filter(
        created_by=user, source=source, target=target, created_at__gte=timezone.now() - DOUBLE_CLICK
    ).first()
    same = last is not None and last.state == MigrationState.DRAFT and set(last.selection) == set(basket)
    return last if same else None
