"""Pages: repositories, one of them, committing to it, bringing a commit of it to an environment."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from environments.models import Environment
from migrations_app import services as migrations
from migrations_app.files import sources
from sstools.errors import Conflict, Invalid, NotAllowed, SSToolsError
from sstools.jobs.models import Job
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.htmx import go_to, render_page

from . import forges, services
from .changes import changes_between, different
from .forms import CommitForm, DeployForm, RepositoryForm
from .models import CommitReading, Forge, Repository

SHOWN = 500
READINGS_SHOWN = 20
PULLS_SHOWN = 10


def _allowed(user: Any, permission: Permission) -> Any:
    visible = Environment.objects.visible_to(user)
    allowed = [item.pk for item in visible if policy.can(user, permission, item)]
    return Environment.objects.filter(pk__in=allowed).order_by("position", "name")


def _may(user: Any) -> dict[str, Any]:
    """What somebody may do here; why not, where it is not."""
    edit = policy.explain(user, Permission.REPOSITORY_EDIT)
    return {
        "can_edit": edit.allowed,
        "why_not_edit": "" if edit.allowed else edit.sentence,
        "can_test": policy.can_anywhere(user, Permission.ENVIRONMENT_TEST),
        "can_read": policy.can_anywhere(user, Permission.ENVIRONMENT_TEST),
        "can_commit": policy.can_anywhere(user, Permission.REPOSITORY_COMMIT),
        "can_plan": policy.can_anywhere(user, Permission.MIGRATION_PLAN),
    }


@require_safe
@login_required
def repository_list(request: HttpRequest) -> HttpResponse:
    policy.require(request.user, Permission.REPOSITORY_VIEW)
    rows = Repository.objects.visible_to(request.user).select_related("environment")
    return render_page(request, "git/list.html", None, {"repositories": rows, **_may(request.user)})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def repository_new(request: HttpRequest) -> HttpResponse:
    policy.require(request.user, Permission.REPOSITORY_EDIT)
    form = RepositoryForm(request.POST or None, environments=_allowed(request.user, Permission.ASSET_VIEW))
    if request.method == "POST" and form.is_valid():
        try:
            row = services.register_repository(
                form.values(),
                actor=request.user,
                secret=form.new_secret() or "",
                forge_secret=form.new_secret("forge_secret") or "",
            )
        except (Invalid, Conflict) as error:
            _add(form, error)
        else:
            services.request_check(row, actor=request.user)
            messages.success(request, f"{row.name} is registered. It is being tested.")
            return go_to(request, row)
    return _form_page(request, form, None)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def repository_edit(request: HttpRequest, slug: str) -> HttpResponse:
    row = services.find_repository(slug, request.user)
    policy.require(request.user, Permission.REPOSITORY_EDIT)
    environments = _allowed(request.user, Permission.ASSET_VIEW)
    form = RepositoryForm(request.POST or None, environments=environments, repository=row)
    if request.method == "POST" and form.is_valid():
        try:
            services.update_repository(
                row,
                form.values(),
                actor=request.user,
                secret=form.new_secret(),
                forge_secret=form.new_secret("forge_secret"),
            )
        except (Invalid, Conflict) as error:
            _add(form, error)
            row.refresh_from_db()
        else:
            services.request_check(row, actor=request.user)
            messages.success(request, f"{row.name} is saved. It is being tested.")
            return go_to(request, row)
    return _form_page(request, form, row)


def _add(form: RepositoryForm, error: Invalid | Conflict) -> None:
    if isinstance(error, Invalid):
        form.add_invalid(error)
    else:
        form.add_error(
            "slug" if error.code == "slug_taken" else None, f"{error.message} {error.remedy}".strip()
        )


def _form_page(request: HttpRequest, form: RepositoryForm, row: Repository | None) -> HttpResponse:
    context = {"form": form, "repository": row}
    return render_page(request, "git/form.html", None, context, status=422 if form.errors else 200)


@require_safe
@login_required
def repository_detail(request: HttpRequest, slug: str) -> HttpResponse:
    """Branches and tags as last seen, and what was read of them."""
    row = services.find_repository(slug, request.user)
    read = {one.sha: one for one in row.readings.filter(folder=row.folder)}
    branches = [(name, sha, read.get(sha)) for name, sha in [*row.branches.items(), *row.tags.items()]]
    at_work = Job.objects.visible_to(request.user).filter(
        params__repository=str(row.uuid), finished_at__isnull=True
    )
    context = {
        "repository": row,
        "branches": branches[:100],
        "more_branches": max(0, len(branches) - 100),
        "readings": list(read.values())[:READINGS_SHOWN],
        "at_work": list(at_work[:5]),
        "in_use": bool(services.shas_in_use(row)),
        "forge": forges.NAMES.get(Forge(kind)) if (kind := forges.kind_of(row)) else "",
        "pulls": list(row.pull_requests.select_related("created_by")[:PULLS_SHOWN]),
        "holds": list(row.holds.standing().visible_to(request.user).select_related("target", "created_by")),
        **_may(request.user),
    }
    return render_page(request, "git/detail.html", None, context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def repository_remove(request: HttpRequest, slug: str) -> HttpResponse:
    row = services.find_repository(slug, request.user)
    policy.require(request.user, Permission.REPOSITORY_EDIT)
    error: Conflict | None = None
    if request.method == "POST":
        try:
            services.remove_repository(row, actor=request.user)
        except Conflict as conflict:
            error = conflict
        else:
            messages.success(request, f"{row.name} is removed. Nothing was changed on its server.")
            return go_to(request, "git:list")
    context = {"repository": row, "error": error}
    return render_page(request, "git/remove.html", None, context, status=error.status if error else 200)


@require_POST
@login_required
def repository_check(request: HttpRequest, slug: str) -> HttpResponse:
    row = services.find_repository(slug, request.user)
    return go_to(request, "jobs:detail", uuid=services.request_check(row, actor=request.user).uuid)


@require_POST
@login_required
def repository_read(request: HttpRequest, slug: str) -> HttpResponse:
    """Reads the commit that `ref` names; none: the repository's branch."""
    row = services.find_repository(slug, request.user)
    job = services.request_reading(row, request.POST.get("ref", ""), actor=request.user)
    return go_to(request, "jobs:detail", uuid=job.uuid)


# --- Both directions --------------------------------------------------------------------------------------------------


def _at(request: HttpRequest, row: Repository) -> tuple[str, CommitReading | None, str]:
    """(ref, what was read of it, the commit that it pointed to when last seen or "")."""
    ref = (request.POST.get("at") or request.GET.get("at") or row.branch)[:200]
    reading = services.reading_of(row, ref)
    seen = row.refs.get(f"refs/heads/{ref}") or row.refs.get(f"refs/tags/{ref}") or ""
    return ref, reading, seen


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def commit(request: HttpRequest, slug: str) -> HttpResponse:
    """?from=dev&at=main: what differs, to be ticked and committed. POST `pick`, or `what=all` if that still
    are `count`; `base` and the form.
    """
    row = services.find_repository(slug, request.user)
    allowed = _allowed(request.user, Permission.REPOSITORY_COMMIT) & _allowed(
        request.user, Permission.ASSET_VIEW
    )
    policy.require_anywhere(request.user, Permission.REPOSITORY_COMMIT)
    ref, reading, seen = _at(request, row)
    asked = request.POST.get("from") or request.GET.get("from") or (row.environment and row.environment.slug)
    environment = allowed.filter(slug=asked).first() if asked else allowed.first()
    problem: SSToolsError | None = None
    changes = []
    is_empty = row.fetched_at is not None and not row.refs
    if environment is not None and (reading is not None or is_empty):
        changes = changes_between(environment, reading)
    found = different(changes)
    picked = set(request.POST.getlist("pick"))
    everything = request.POST.get("what") == "all"
    chosen = [change for change in found if change.uuid in picked] or found
    suggested = services.suggested_message(chosen, environment) if environment is not None else ""
    data = request.POST if request.method == "POST" else None
    usual = {"message": suggested, "branch": ref, "with_dependencies": True}
    form = CommitForm(data, initial=usual, has_forge=bool(forges.kind_of(row)))
    if data is not None and form.is_valid() and environment is not None:
        try:
            _must_be_the_same(data.get("base", ""), reading)
            if everything:
                _must_be_as_many(data.get("count", ""), len(found))
                picked = {change.uuid for change in found}
            job = services.request_commit(
                row, environment, uuids=picked, actor=request.user, base=reading, **form.cleaned_data
            )
        except NotAllowed:
            raise
        except SSToolsError as error:
            problem = error
        else:
            return go_to(request, "jobs:detail", uuid=job.uuid)
    context = {
        "repository": row,
        "tab": "commit",
        "ref": ref,
        "reading": reading,
        "seen": seen,
        "is_empty": is_empty,
        "is_behind": bool(reading and seen and reading.sha != seen),
        "environment": environment,
        "environments": allowed,
        "changes": found[:SHOWN],
        "left_off": max(0, len(found) - SHOWN),
        "total": len(found),
        "everything": everything,
        "same": sum(change.state == "same" for change in changes),
        "not_read": sum(change.state == "not_read" for change in changes),
        "picked": picked,
        "form": form,
        "problem": problem,
        **_may(request.user),
    }
    status = problem.status if problem else 422 if form.errors else 200
    return render_page(request, "git/commit.html", None, context, status=status)


def _must_be_the_same(base: str, reading: CommitReading | None) -> None:
    """Raises Conflict where git was read anew since the page was opened: what is ticked may differ otherwise by now."""
    now = reading.sha if reading is not None else ""
    if base != now:
        raise Conflict(
            f"The branch was read again since, and is at {now[:10]}.",
            code="changed_meanwhile",
            remedy="Nothing was committed. Look at the difference as it is now, then commit.",
        )


def _must_be_as_many(shown: str, now: int) -> None:
    """Raises Conflict where the environment was read anew since the page was opened, and more or less differs."""
    if shown != str(now):
        raise Conflict(
            f"The page listed {shown[:10] or 'none'}, and {now} differ by now: the environment was read again.",
            code="changed_meanwhile",
            remedy="Nothing was committed. Look at what differs now, then commit.",
        )


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def deploy(request: HttpRequest, slug: str) -> HttpResponse:
    """?at=main&target=prod: a migration of what a commit holds. POST `what=all`, or the uuids of `pick`."""
    row = services.find_repository(slug, request.user)
    ref, reading, seen = _at(request, row)
    targets = _allowed(request.user, Permission.MIGRATION_PLAN)
    policy.require_anywhere(request.user, Permission.MIGRATION_PLAN)
    data = request.POST if request.method == "POST" else None
    usual = {"with_dependencies": True, "verify": True, "target": request.GET.get("target")}
    form = DeployForm(data, targets=targets, initial=usual)
    problem: SSToolsError | None = None
    if data is not None and reading is not None and form.is_valid():
        given = dict(form.cleaned_data)
        picked = data.getlist("pick")
        try:
            _must_be_the_same(data.get("base", ""), reading)
            if data.get("what") != "all" and not picked:
                raise Invalid(
                    "Nothing is ticked.",
                    code="empty_selection",
                    remedy="Tick what to bring, or bring everything.",
                )
            selection = () if data.get("what") == "all" else picked
            target = given.pop("target")
            migration = sources.create_migration(
                reading, target, actor=request.user, selection=selection, **given
            )
            migrations.request_plan(migration, actor=request.user)
        except NotAllowed:
            raise
        except SSToolsError as error:
            problem = error
        else:
            return go_to(request, "migrations_app:plan", migration.number)
    rows = sources.assets_of(reading) if reading is not None else []
    context = {
        "repository": row,
        "tab": "deploy",
        "ref": ref,
        "reading": reading,
        "seen": seen,
        "is_behind": bool(reading and seen and reading.sha != seen),
        "form": form,
        "problem": problem,
        "assets": rows[:SHOWN],
        "total": len(rows),
        "left_off": max(0, len(rows) - SHOWN),
        "picked": set(data.getlist("pick")) if data is not None else set(),
        "everything": data is None or data.get("what") == "all",
        **_may(request.user),
    }
    return render_page(
        request,
        "git/deploy.html",
        None,
        context,
        status=problem.status if problem else 422 if form.errors else 200,
    )
