"""Pages: the list, one asset, the rules, uploads. Everything that a page shows is in its address."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import unified_diff
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from environments.canonical import rules
from environments.canonical.documents import Kind
from environments.filters import tag_widget
from environments.models import Environment
from environments.store import StoreDamaged
from migrations_app import services as migrations
from sstools.errors import Conflict, Invalid, SSToolsError
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.texts import counted
from sstools.web.htmx import go_to, render_page, wants_fragment

from . import services, uploads
from .beside import beside_of
from .details import Detail, connection_of, detail_of
from .forms import FilterForm, UploadForm
from .lines import CONTEXT_LINES, as_lines, compare_lines
from .listing import KINDS, PLANNABLE, STATES, Comparison, NotCompared, compare, select
from .models import UploadedBundle
from .places import NoSuchPlace, PlaceContents, choices, read_place

PAGE_SIZE = 50
#: Above so many changed lines the lines stay closed until they are asked for (?long=open).
MOST_LINES = 2_000
LABELS = {"dashboard": "Dashboards", "chart": "Charts", "dataset": "Datasets"}


@dataclass
class Asked:
    """The two places that an address names, or the usual ones; `problem`: why one of them cannot be shown."""

    user: Any
    left_text: str
    right_text: str
    left: PlaceContents | None = None
    right: PlaceContents | None = None
    problem: SSToolsError | None = None

    @classmethod
    def of(cls, request: HttpRequest, data: QueryDict) -> Asked:
        left, right = data.get("left", "").strip()[:200], data.get("right", "").strip()[:200]
        if not left or not right:
            usual = [f"env:{item.slug}" for item in _environments(request.user)]
            left = left or next((place for place in usual if place != right), "")
            right = right or next((place for place in usual if place != left), "")
        asked = cls(request.user, left, right)
        for side, text in (("left", left), ("right", right)):
            try:
                setattr(asked, side, read_place(text, request.user) if text else None)
            except SSToolsError as error:
                asked.problem = asked.problem or error
        return asked

    def compared(self) -> Comparison | None:
        """None where a side is missing, or where what is stored is damaged; then `problem` says so."""
        if self.left is None or self.right is None or self.left.place == self.right.place:
            return None
        try:
            return compare(self.left, self.right)
        except (StoreDamaged, NotCompared) as error:
            self.problem = error
            return None

    def required(self) -> Comparison:
        """Raises what is wrong with the sides."""
        comparison = self.compared()
        if self.problem is not None:
            raise self.problem
        if self.left is None or self.right is None:
            raise NoSuchPlace("There are no two places to compare.")
        if comparison is None:
            raise Invalid("Choose two different places.", code="same_place")
        return comparison

    @property
    def query(self) -> str:
        return urlencode({"left": self.left_text, "right": self.right_text})


def _environments(user: Any) -> list[Environment]:
    visible = Environment.objects.visible_to(user).in_order()
    return [item for item in visible if policy.can(user, Permission.ASSET_VIEW, item)]


# --- The list -------------------------------------------------------------------------------------------------------
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def compare_list(request: HttpRequest) -> HttpResponse:
    """GET shows the list. POST, to the same address, makes a migration: `what=ticked` of the rows in `pick`, `what=all`
    of what the filters show, if that still are `count` assets.
    """
    asked = Asked.of(request, request.GET)
    return _planned(request, asked) if request.method == "POST" else _list(request, asked)


def _list(request: HttpRequest, asked: Asked, status: int = 200) -> HttpResponse:
    comparison = asked.compared()
    form = FilterForm({**request.GET.dict(), "left": asked.left_text, "right": asked.right_text})
    sides = [side for side in (asked.left, asked.right) if side is not None]
    groups = choices(request.user, *sides)
    places = [side.environment for side in sides if side.environment is not None]
    form.fields["tag"].widget = tag_widget(places, request.GET.get("tag", "").strip())
    context: dict[str, Any] = {
        "asked": asked,
        "comparison": comparison,
        "form": form,
        "choices": groups,
        "known": {place for _, options in groups for place, _ in options},
        "sides": [("left", asked.left_text, "Left"), ("right", asked.right_text, "Right")],
        "read_sides": sides,
        "swap": urlencode({"left": asked.right_text, "right": asked.left_text}),
        "ignored": rules.IGNORED_IN_COMPARISON,
        "can_add": policy.can(request.user, Permission.ENVIRONMENT_EDIT),
        "may_read": services.may_read(request.user, *sides),
        "any_live": any(side.is_live for side in sides),
        "is_uncompared": isinstance(asked.problem, NotCompared),
    }
    if comparison is not None:
        context |= _rows(request, comparison, form)
    return render_page(request, "comparing/list.html", "comparing/_list.html", context, status=status)


def _rows(request: HttpRequest, comparison: Comparison, form: FilterForm) -> dict[str, Any]:
    found = select(comparison, **form.filters)
    page = Paginator(found, PAGE_SIZE).get_page(request.GET.get("page"))
    viewed = services.viewed_by(request.user, comparison)
    different = [row for row in comparison.rows if row.state != "same"]
    kinds = [(kind, list(rows)) for kind, rows in groupby(page.object_list, key=lambda row: row.kind)]
    counts = comparison.counts
    total = page.paginator.count
    return {
        "page": page,
        "groups": [(kind, LABELS[kind], rows) for kind, rows in kinds],
        "counts": [
            (kind.value, LABELS[kind.value], [(state, counts[kind.value][state]) for state in STATES])
            for kind in KINDS
        ],
        "states": STATES,
        "totals": comparison.totals,
        "total": len(comparison.rows),
        "different": len(different),
        "viewed": viewed,
        "viewed_count": sum(row.uuid in viewed for row in different),
        "plannable": len(services.plannable(found)),
        "plannable_states": PLANNABLE,
        "why_no_plan": services.why_no_plan(comparison, request.user),
        "connections": comparison.connections(),
        "live_text": counted(total, "asset") if wants_fragment(request) else "",
    }


# --- One asset ------------------------------------------------------------------------------------------------------
@require_safe
@login_required
def compare_asset(request: HttpRequest, kind: str, uuid: str) -> HttpResponse:
    """?view=split|unified, ?lines=all, ?open=<name of a folded row>, repeated. To htmx what is asked for: the
    lines, or the words that open inside the list.
    """
    asked = Asked.of(request, request.GET)
    if asked.problem is not None and isinstance(asked.problem, NoSuchPlace):
        raise asked.problem
    comparison = asked.required()
    uuid = uuid.lower()
    if kind == Kind.DATABASE:
        return _connection(request, asked, comparison, uuid)
    row = comparison.row_of(uuid)
    if row is None or row.kind != kind:
        raise Http404(f"Neither side has this {kind if kind in LABELS else 'asset'}.")
    detail = detail_of(comparison, row)
    around = select(comparison, **FilterForm(request.GET).filters)
    place = next((number for number, other in enumerate(around) if other.uuid == row.uuid), None)
    viewed = services.viewed_by(request.user, comparison)
    different = [other for other in comparison.rows if other.state != "same"]
    context = {
        "asked": asked,
        "comparison": comparison,
        "detail": detail,
        "row": row,
        "swap": urlencode({"left": asked.right_text, "right": asked.left_text}),
        "before": around[place - 1] if place else None,
        "after": around[place + 1] if place is not None and place + 1 < len(around) else None,
        "place": place + 1 if place is not None else None,
        "around": len(around),
        "viewed": viewed,
        "viewed_count": sum(other.uuid in viewed for other in different),
        "different": len(different),
        "why_no_plan": services.why_no_plan(comparison, request.user),
        "can_plan": row.state in PLANNABLE and bool(row.left_uuid),
        "links": _links(comparison, detail),
        **_documents(request, detail),
    }
    is_lines = wants_fragment(request) and request.headers.get("HX-Target") == "documents"
    partial = "comparing/_documents.html" if is_lines else "comparing/_words.html"
    return render_page(request, "comparing/asset.html", partial, context)


def _connection(request: HttpRequest, asked: Asked, comparison: Comparison, uuid: str) -> HttpResponse:
    connection = connection_of(comparison, uuid)
    if connection is None:
        raise Http404("There is no such connection.")
    context = {"asked": asked, "comparison": comparison, "connection": connection}
    return render_page(request, "comparing/connection.html", None, context)


def _links(comparison: Comparison, detail: Detail) -> list[tuple[str, str]]:
    """(environment, address that leads to the asset in its Superset), for sides that are environments."""
    links = []
    for side, asset in ((comparison.left, detail.left), (comparison.right, detail.right)):
        if side.is_live and side.environment is not None and asset is not None:
            address = reverse("environments:go", args=[side.environment.slug, asset.kind, asset.uuid])
            links.append((side.environment.name, address))
    return links


def _documents(request: HttpRequest, detail: Detail) -> dict[str, Any]:
    """Both documents line by line, on the left what is there now."""
    now = as_lines(detail.now) if detail.now is not None else []
    then = as_lines(detail.then) if detail.then is not None else []
    everything = request.GET.get("lines") == "all"
    opened = request.GET.getlist("open")
    one_sided = detail.now is None or detail.then is None
    rows = list(compare_lines(now, then, None if everything or one_sided else CONTEXT_LINES, opened))
    changed = 0 if one_sided else sum(row.kind in ("added", "removed", "changed") for row in rows)
    query = request.GET.copy()
    for number, line in enumerate(rows):
        if line.kind == "gap":
            query.setlist("open", [*opened, line.name])
            rows[number] = replace(line, url=f"?{query.urlencode()}")
    closed = changed > MOST_LINES and request.GET.get("long") != "open"
    return {
        "rows": [] if closed else rows,
        "changed_lines": changed,
        "one_sided": one_sided,
        "view": "unified" if one_sided or request.GET.get("view") == "unified" else "split",
        "everything": everything,
        "opened": opened,
        "too_long": closed,
    }


@require_safe
@login_required
def compare_diff(request: HttpRequest, kind: str, uuid: str) -> HttpResponse:
    """The same as a text, for `patch` and for mails."""
    comparison = Asked.of(request, request.GET).required()
    row = comparison.row_of(uuid.lower())
    if row is None or row.kind != kind:
        raise Http404("Neither side has this asset.")
    detail = detail_of(comparison, row)
    now = as_lines(detail.now) if detail.now is not None else []
    then = as_lines(detail.then) if detail.then is not None else []
    names = (f"{comparison.right.label}/{row.title}", f"{comparison.left.label}/{row.title}")
    text = "\n".join(unified_diff(now, then, *names, lineterm="")) + "\n"
    response = HttpResponse(text, content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = str(content_disposition_header(True, f"{row.title[:80]}.diff"))
    return response


@require_POST
@login_required
def compare_viewed(request: HttpRequest) -> HttpResponse:
    asked = Asked.of(request, request.POST)
    comparison = asked.required()
    row = comparison.row_of(request.POST.get("uuid", "").lower())
    if row is None:
        raise Http404("Neither side has this asset.")
    services.mark_viewed(comparison, row, user=request.user, viewed=request.POST.get("viewed") == "on")
    if wants_fragment(request):
        viewed = services.viewed_by(request.user, comparison)
        different = [other for other in comparison.rows if other.state != "same"]
        context = {
            "asked": asked,
            "comparison": comparison,
            "row": row,
            "viewed": viewed,
            "viewed_count": sum(other.uuid in viewed for other in different),
            "different": len(different),
        }
        return render_page(request, "comparing/asset.html", "comparing/_viewed.html", context)
    return go_to(request, f"{reverse('comparing:asset', args=[row.kind, row.uuid])}?{asked.query}")


# --- What comes of it -----------------------------------------------------------------------------------------------
def _planned(request: HttpRequest, asked: Asked) -> HttpResponse:
    comparison = asked.required()
    data = request.POST
    if data.get("what") == "all":
        rows = select(comparison, **FilterForm(request.GET).filters)
        expected = int(count) if (count := data.get("count", "")).isascii() and count.isdigit() else -1
    else:
        picked = set(data.getlist("pick"))
        rows, expected = [row for row in comparison.rows if row.uuid in picked], len(picked)
    try:
        migration = services.plan_migration(comparison, rows, actor=request.user, expected=expected)
    except (Conflict, Invalid) as error:
        asked.problem = error
        return _list(request, asked, status=error.status)
    migrations.request_plan(migration, actor=request.user)
    return go_to(request, "migrations_app:plan", migration.number)


@require_POST
@login_required
def compare_read(request: HttpRequest) -> HttpResponse:
    """Read the environments of this comparison again, in the background; `what=compare` compares what was read."""
    asked = Asked.of(request, request.POST)
    if request.POST.get("what") == "compare":
        if asked.left is None or asked.right is None:
            raise asked.problem or NoSuchPlace("There are no two places to compare.")
        job = services.compare_in_background(asked.left, asked.right, actor=request.user)
        return go_to(request, "jobs:detail", job.uuid)
    comparison = asked.required()
    jobs = services.read_again(comparison.left, comparison.right, actor=request.user)
    if jobs:
        names = " and ".join(job.title.removeprefix("Read ") for job in jobs)
        messages.success(
            request, f"{names} {'is' if len(jobs) == 1 else 'are'} being read. Load this page again then."
        )
    return go_to(request, f"{reverse('comparing:list')}?{asked.query}")


@require_safe
@login_required
def compare_beside(request: HttpRequest) -> HttpResponse:
    """What goes with the assets of two places: owners, rules, alerts. ?state=same for what is the same."""
    asked = Asked.of(request, request.GET)
    comparison = asked.required()
    found = beside_of(comparison)
    shows_same = request.GET.get("state") == "same"
    rows = [row for row in found.rows if (row.state == "same") == shows_same]
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    sides = [(side, held) for side, held in ((comparison.left, found.left), (comparison.right, found.right))]
    context = {
        "asked": asked,
        "comparison": comparison,
        "beside": found,
        "sides": sides,
        "page": page,
        "shows_same": shows_same,
        "live_text": counted(len(rows), "row"),
    }
    return render_page(request, "comparing/beside.html", None, context)


@require_safe
@login_required
def compare_rules(request: HttpRequest) -> HttpResponse:
    """What a comparison leaves out, with the reasons: the tables of the code."""
    dropped = [(kind.value, rules.DROPPED[kind]) for kind in reversed(Kind)]
    dropped += [
        ("metadata of a dashboard", rules.DROPPED_METADATA),
        ("form data of a chart", rules.DROPPED_PARAMS),
        ("address that a chart was last saved under", rules.DROPPED_URL_PARAMS),
    ]
    context = {"ignored": rules.IGNORED_IN_COMPARISON, "dropped": dropped}
    return render_page(request, "comparing/rules.html", None, context)


# --- Uploads --------------------------------------------------------------------------------------------------------
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def compare_files(request: HttpRequest) -> HttpResponse:
    """One's uploads, and a new one; with `side` and `other` it goes on to the comparison that asked for it."""
    policy.require_anywhere(request.user, Permission.ASSET_VIEW)
    data = request.POST if request.method == "POST" else None
    first = {name: request.GET.get(name, "") for name in ("side", "other")}
    slugs = [item.pk for item in _environments(request.user)]
    origins = Environment.objects.filter(pk__in=slugs).order_by("name")
    form = UploadForm(data, request.FILES if data is not None else None, initial=first, origins=origins)
    if data is not None and form.is_valid():
        given = form.cleaned_data
        try:
            kept = uploads.store_upload(
                given["file"], given["file"].name, actor=request.user, origin=given["origin"]
            )
        except Invalid as error:
            form.add_error(
                "file" if "file" in error.errors else None, f"{error.message} {error.remedy}".strip()
            )
        else:
            side = given["side"] or "left"
            other = "right" if side == "left" else "left"
            return go_to(
                request, f"{reverse('comparing:list')}?{urlencode({side: kept.place, other: given['other']})}"
            )
    context = {
        "form": form,
        "bundles": UploadedBundle.objects.visible_to(request.user).select_related("origin", "uploaded_by"),
        "most_mib": uploads.MAX_BYTES // 2**20,
    }
    return render_page(request, "comparing/files.html", None, context, status=422 if form.errors else 200)


@require_POST
@login_required
def compare_file_remove(request: HttpRequest, uuid: str) -> HttpResponse:
    bundle = get_object_or_404(UploadedBundle.objects.visible_to(request.user), uuid=uuid)
    uploads.remove_upload(bundle, actor=request.user)
    messages.success(request, f"{bundle.name} is removed.")
    return go_to(request, "comparing:files")
