"""The page that restores a backup: what of it, where to, and how. It makes a migration and asks for its plan."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, QueryDict
from django.views.decorators.http import require_http_methods

from environments.backups.contents import COMPANION_KINDS, Contents, contents_of, select
from environments.backups.models import Backup
from environments.backups.services import find_backup
from environments.canonical.companions import SENSITIVE
from environments.canonical.documents import Kind
from environments.models import Environment
from migrations_app import services as migrations
from migrations_app.engine.carrying import OPTION_OF
from sstools.errors import Invalid, NotAllowed, SSToolsError
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.htmx import go_to, render_page

from .forms import BESIDE, OVER, RestoreForm
from .services import create_restore, is_own

PAGE_SIZE = 100
SHOWN_IN_BASKET = 100
_MOVABLE = [kind.value for kind in Kind if kind != Kind.DATABASE]


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def restore(request: HttpRequest, number: int) -> HttpResponse:
    """GET ?asset=<kind>:<uuid>, repeated, &target=, &q=, &kind=. POST the same with `what` (all, picked), `pick`, and
    `do=create`, which makes the migration.
    """
    backup = find_backup(number, request.user)
    if request.method == "POST":
        policy.require_anywhere(request.user, Permission.MIGRATION_PLAN)
    if not backup.is_readable:
        context: dict[str, Any] = {"backup": backup, "nothing": True}
        return render_page(request, "restoring/restore.html", None, context, status=409)
    data = request.POST if request.method == "POST" else request.GET
    held = contents_of(backup)
    targets = _targets(request.user, backup)
    basket = _basket(data, held)
    why_not = _why_not_remove(request.user, backup)
    is_asked = request.method == "POST" and data.get("do") == "create"
    form = RestoreForm(
        request.POST if is_asked else None,
        initial=_entered(data, backup),
        backup=backup,
        targets=targets,
        later=held.later,
        why_not_remove=why_not,
    )
    everything = data["what"] == "all" if "what" in data else not basket
    problem: SSToolsError | None = None
    if is_asked and form.is_valid():
        try:
            return _create(request, backup, form.cleaned_data, [] if everything else basket, everything)
        except NotAllowed:
            raise
        except SSToolsError as error:
            problem = error
    context = {
        "backup": backup,
        "environment": backup.environment,
        "form": form,
        "problem": problem,
        "targets": targets,
        "band": _band(form, targets),
        "everything": everything,
        "beside": _goes_with(backup, held),
        **_list(data, held, basket),
    }
    status = 422 if is_asked else 200
    return render_page(request, "restoring/restore.html", "restoring/_restore.html", context, status=status)


def _targets(user: Any, backup: Backup) -> Any:
    """Where somebody may plan a restore to, the backup's own environment first."""
    visible = Environment.objects.visible_to(user)
    allowed = [item.pk for item in visible if policy.can(user, Permission.MIGRATION_PLAN, item)]
    return Environment.objects.filter(pk__in=allowed).in_order()


def _why_not_remove(user: Any, backup: Backup) -> str:
    if not backup.whole:
        return "This backup is not of the whole environment."
    found = policy.explain(user, Permission.MIGRATION_PRUNE, backup.environment)
    return "" if found.allowed else str(found.sentence)


def _entered(data: QueryDict, backup: Backup) -> dict[str, Any]:
    """What stays in the form while the list is searched; at the first look the usual."""
    usual = {"target": backup.environment.slug, "how": OVER}
    texts = {name: str(data.get(name) or value) for name, value in usual.items()}
    if "shown" not in data:
        return {**texts, "with_dependencies": True, "verify": True}
    ticked = ("remove_later", "with_dependencies", "verify", "roll_back_when_red")
    more = {name: data[name] for name in ("title", "copy_title") if data.get(name)}
    return {**texts, **more, **{name: data.get(name) == "on" for name in ticked}}


def _band(form: RestoreForm, targets: Any) -> Environment | None:
    """The protected environment that this would write to."""
    slug = str(form["target"].value() or "")
    target = next((item for item in targets if item.slug == slug), None)
    return target if target is not None and target.protected else None


def _basket(data: QueryDict, held: Contents) -> list[str]:
    """uuids: the basket, less what the page showed, plus what is ticked on it or came by the address."""
    known = {item.uuid for item in held.items if item.kind in _MOVABLE and item.sha}
    shown = set(_split(data.get("shown", "")))
    basket = [uuid for uuid in _split(data.get("basket", "")) if uuid not in shown]
    basket += [uuid.lower() for uuid in data.getlist("pick")]
    basket += [text.rpartition(":")[2].lower() for text in data.getlist("asset")]
    dropped = str(data.get("do", "")).partition("drop:")[2]
    basket = [uuid for uuid in basket if uuid != dropped]
    return [uuid for uuid in dict.fromkeys(basket) if uuid in known]


def _split(text: str) -> list[str]:
    return [part for part in (piece.strip().lower() for piece in text.split(",")) if part]


def _list(data: QueryDict, held: Contents, basket: list[str]) -> dict[str, Any]:
    kind = data.get("kind", "") if data.get("kind") in _MOVABLE else ""
    state = "different" if data.get("state") == "different" else ""
    words = data.get("q", "")[:200]
    movable = [item for item in held.items if item.kind in _MOVABLE and item.sha]
    found = list(select(movable, kind=kind, state=state, words=words))
    page = Paginator(found, PAGE_SIZE).get_page(data.get("go") or 1)
    chosen = set(basket)
    by_uuid = {item.uuid: item for item in movable}
    return {
        "page": page,
        "rows": [(item, item.uuid in chosen) for item in page.object_list],
        "shown": ",".join(item.uuid for item in page.object_list),
        "basket": ",".join(basket),
        "chosen": [by_uuid[uuid] for uuid in basket[:SHOWN_IN_BASKET] if uuid in by_uuid],
        "chosen_count": len(basket),
        "total": len(movable),
        "unread": sum(1 for item in held.items if item.kind in _MOVABLE and not item.sha),
        "kinds": [(name, Kind(name).plural.capitalize()) for name in _MOVABLE],
        "kind": kind,
        "state": state,
        "q": words,
        "live_text": f"{page.paginator.count} shown, {len(basket)} selected",
    }


def _goes_with(backup: Backup, held: Contents) -> list[dict[str, Any]]:
    """What goes with assets, kind by kind: how many, or why this backup has none."""
    rows = []
    sensitive = {kind.value for kind in SENSITIVE}
    option = {kind.value: one.label for kind, one in OPTION_OF.items()}
    for kind, label in COMPANION_KINDS:
        why = backup.companions_read.get(kind)
        count = held.by_kind.get(kind, 0)
        if count or why:
            rows.append(
                {
                    "label": label,
                    "count": count,
                    "why": why or "",
                    "is_security": kind in sensitive,
                    "option": option.get(kind, ""),
                }
            )
    return rows


def _create(
    request: HttpRequest, backup: Backup, given: dict[str, Any], basket: list[str], everything: bool
) -> HttpResponse:
    if not everything and not basket:
        raise Invalid(
            "Nothing is ticked.",
            code="empty_selection",
            remedy="Tick what to restore, or restore everything.",
        )
    migration = create_restore(
        backup,
        given["target"],
        actor=request.user,
        selection=basket,
        beside=given["how"] == BESIDE,
        copy_title=given["copy_title"] if given["how"] == BESIDE else "",
        remove_later=given["remove_later"] and is_own(backup, given["target"]),
        title=given["title"],
        with_dependencies=given["with_dependencies"],
        verify=given["verify"],
        roll_back_when_red=given["roll_back_when_red"],
    )
    migrations.request_plan(migration, actor=request.user)
    return go_to(request, "migrations_app:plan", migration.number)
