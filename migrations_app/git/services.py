"""Everything that changes repositories, for pages, API and commands. What talks to a server is a job (work.py)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.text import slugify

from environments.models import Environment
from environments.words import clean
from sstools.audit import services as audit
from sstools.errors import Conflict, Invalid, NotFoundError
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, Source
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.texts import counted

from . import forges
from .address import check_branch, folder_of
from .changes import MISSING, Change, changes_between, chosen_of
from .models import CommitReading, Forge, Repository

CHECK, READ, COMMIT, PULL = "git.check", "git.read", "git.commit", "git.pull_request"
FIELDS = (
    "name", "slug", "url", "username", "host_key", "branch", "folder", "author_name", "author_email", "sign_off",
    "environment", "forge", "forge_url", "statuses",
)  # fmt: skip
MESSAGE_LENGTH = 5000
_SCP = re.compile(r"(?P<user>[\w.-]+)@(?P<host>[\w.-]+):(?!/)(?P<path>[^\s]+)")


def find_repository(slug: str, user: Any) -> Repository:
    """By slug. Raises NotFoundError: absent and forbidden look alike."""
    found = Repository.objects.visible_to(user).select_related("environment").filter(slug=slug).first()
    if found is None:
        raise NotFoundError("There is no such repository, or you may not see it.")
    return found


# --- Registering ------------------------------------------------------------------------------------------------------


def register_repository(
    values: Mapping[str, Any],
    *,
    actor: Any,
    secret: str = "",
    forge_secret: str = "",
    source: str = Source.PAGE,
) -> Repository:
    """A repository from the values of `FIELDS`; `name` and `url` are needed. Nothing is asked of the server.

    Raises NotAllowed; Invalid with `errors` by field; Conflict("slug_taken").
    """
    policy.require(actor, Permission.REPOSITORY_EDIT)
    row = Repository(created_by=actor)
    _fill(row, values)
    row.slug = row.slug or slugify(row.name)[:50] or "repository"
    row.secret, row.forge_secret = secret, forge_secret
    return _save(row, "repository:create", actor, source, changed=sorted(values))


def update_repository(
    repository: Repository,
    values: Mapping[str, Any],
    *,
    actor: Any,
    secret: str | None = None,
    forge_secret: str | None = None,
    source: str = Source.PAGE,
) -> Repository:
    """Change some of `FIELDS`. `secret`, `forge_secret`: None keeps it, "" forgets it. One that is kept is never sent
    to another host than it was entered for. Raises as `register_repository`; Invalid("secret_needed").
    """
    policy.require(actor, Permission.REPOSITORY_EDIT)
    before, api_before = _host_of(repository.url), _api_host(repository)
    known = (repository.url, repository.folder, repository.slug)
    in_use = bool(shas_in_use(repository))
    _fill(repository, values)
    if in_use and (repository.url, repository.folder.strip("/"), repository.slug) != known:
        raise Conflict(
            f"A migration takes its assets from {repository}: address, folder and short name stay until it is done.",
            code="in_use",
            remedy="Apply or discard that migration first.",
        )
    if secret is not None:
        repository.secret = secret
    elif repository.secret and _host_of(repository.url) != before:
        raise Invalid(
            "The address is on another host: enter the token or key again.",
            code="secret_needed",
            errors={"secret": ["Needed for another host."]},
        )
    if forge_secret is not None:
        repository.forge_secret = forge_secret
    elif _api_host(repository) != api_before and _api_token_is_kept(repository, secret):
        raise Invalid(
            "The forge's API is on another host: enter the token for it again.",
            code="secret_needed",
            errors={"forge_secret": ["Needed for another host."]},
        )
    if repository.url != known[0]:
        repository.refs, repository.fetched_at, repository.can_push, repository.error = {}, None, None, None
    return _save(repository, "repository:update", actor, source, changed=sorted(values))


@transaction.atomic
def remove_repository(repository: Repository, *, actor: Any, source: str = Source.PAGE) -> None:
    """Forget a repository, with its credential and what was read of it; nothing changes on the server.

    Raises NotAllowed; Conflict("in_use") while a migration is to be made of it.
    """
    policy.require(actor, Permission.REPOSITORY_EDIT)
    if shas_in_use(repository):
        raise Conflict(
            f"A migration takes its assets from {repository}.",
            code="in_use",
            remedy="Apply or discard that migration first.",
        )
    audit.record("repository:remove", repository, actor=actor, data={"slug": repository.slug}, source=source)
    repository.delete()


def _api_host(row: Repository) -> tuple[str, str | None, int | None]:
    return _host_of(forges.api_of(forges.kind_of(row), row.url, row.forge_url))


def _api_token_is_kept(row: Repository, secret: str | None) -> bool:
    """Whether the token for the API is one that was entered before."""
    if row.forge_secret:
        return True
    return bool(row.secret) and secret is None and not row.is_ssh


def _save(row: Repository, action: str, actor: Any, source: str, **data: Any) -> Repository:
    _check(row)
    try:
        with transaction.atomic():
            row.save()
            audit.record(action, row, actor=actor, data={"slug": row.slug, **data}, source=source)
    except IntegrityError:
        raise Conflict(
            f"There is a repository “{row.slug}” already.",
            code="slug_taken",
            remedy="Choose another short name.",
        ) from None
    return row


def _fill(row: Repository, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if name not in FIELDS:
            raise Invalid(f"A repository has no {name}.", errors={name: ["Unknown."]})
        setattr(row, name, value.strip() if isinstance(value, str) else value)


def _check(row: Repository) -> None:
    """Raises Invalid with what is wrong with which field. Brings the address and the folder into their form."""
    from .ssh import read_host_key, read_key  # half a second of a start, which most do not need

    errors: dict[str, list[str]] = {}
    if not row.name:
        errors["name"] = ["Needed."]
    if found := _SCP.fullmatch(row.url):
        row.url = f"ssh://{found['user']}@{found['host']}/{found['path']}"
    if problem := _problem_of_url(row.url):
        errors["url"] = [problem]
    row.folder = row.folder.strip("/")
    names = row.folder.split("/") if row.folder else []
    if any(not name or name[0] in "._" or not name.isprintable() or "\\" in name for name in names):
        errors["folder"] = ["Names with / between them; none begins with a dot or an underscore."]
    if re.search(r"[<>\n]", row.author_name) or not row.author_name:
        errors["author_name"] = ["A name, without < and >."]
    row.forge_url = row.forge_url.rstrip("/")
    if row.forge_url and (problem := _problem_of_url(row.forge_url, ("https", "http"), needs_path=False)):
        errors["forge_url"] = [problem]
    if row.forge not in ("", *Forge.values):
        errors["forge"] = [f"One of {', '.join(Forge.values)}."]
    try:
        validate_email(row.author_email.replace("@localhost", "@localhost.example"))
    except ValidationError:
        errors["author_email"] = ["Not an e-mail address."]
    checks: list[tuple[str, Callable[[], Any]]] = [("branch", partial(check_branch, row.branch))]
    if "url" not in errors and row.is_ssh:
        checks += [("secret", partial(read_key, str(row.secret)))] if row.secret else []
        checks += [("host_key", partial(read_host_key, row.host_key))] if row.host_key else []
    elif "url" not in errors and row.url.startswith("file:"):
        checks.append(("url", partial(folder_of, row.url)))
    for name, check in checks:
        try:
            check()
        except (Invalid, NotFoundError) as error:
            errors[name] = [f"{error.message} {error.remedy}".strip()]
    if errors:
        first = next(iter(errors.values()))[0]
        raise Invalid(f"Some values are not right: {first}", errors=errors)


def _problem_of_url(
    url: str, schemes: Sequence[str] = ("https", "http", "ssh", "file"), *, needs_path: bool = True
) -> str:
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        return "Not an address."
    if not url.isprintable() or " " in url or not port_is_fine or parts.scheme not in schemes:
        return "It begins with https://, ssh:// or file://." if needs_path else "It begins with https://."
    if parts.query or parts.fragment:
        return "Without ? and #."
    if parts.password is not None or (parts.scheme != "ssh" and parts.username is not None):
        return "Without user and password: they have fields of their own."
    if parts.scheme == "file":
        return "" if not parts.netloc else "Write it as file:///folder/repository.git."
    if (
        not parts.hostname
        or parts.hostname.startswith("-")
        or (needs_path and not parts.path.strip("/"))
        or "//" in parts.path
    ):
        return "The host and the repository's path are needed."
    return ""


def _host_of(url: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port
    except ValueError:
        return "", None, None


# --- Asking -----------------------------------------------------------------------------------------------------------


@transaction.atomic
def request_check(
    repository: Repository, *, actor: Any, source: str = Source.PAGE, idempotency_key: str | None = None
) -> Job:
    """Reach the server in the background: branches and tags, whether the account may push. Raises NotAllowed."""
    policy.require(actor, Permission.REPOSITORY_VIEW)
    policy.require_anywhere(actor, Permission.ENVIRONMENT_TEST)
    return jobs.enqueue(
        CHECK,
        {"repository": str(repository.uuid)},
        actor=actor,
        about=[repository],
        join_key=f"{CHECK}:{repository.uuid}",
        idempotency_key=idempotency_key,
        title=f"Test {repository.name}",
        source=source,
    )


@transaction.atomic
def request_reading(
    repository: Repository,
    ref: str = "",
    *,
    actor: Any,
    source: str = Source.PAGE,
    idempotency_key: str | None = None,
) -> Job:
    """Read the commit that a branch, tag or hash names, in the background. The job's result: {"place", "commit"}.

    `ref`: "" for the repository's branch. Raises NotAllowed; Invalid("branch_name").
    """
    policy.require(actor, Permission.REPOSITORY_VIEW)
    policy.require_anywhere(actor, Permission.ENVIRONMENT_TEST)
    ref = check_branch(ref.strip() or repository.branch)
    return jobs.enqueue(
        READ,
        {"repository": str(repository.uuid), "ref": ref},
        actor=actor,
        about=[repository],
        join_key=f"{READ}:{repository.uuid}:{ref}"[:200],
        idempotency_key=idempotency_key,
        title=f"Read {repository.name} at {ref}",
        source=source,
    )


@transaction.atomic
def request_commit(
    repository: Repository,
    environment: Environment,
    *,
    uuids: Iterable[str],
    message: str,
    actor: Any,
    branch: str = "",
    base: CommitReading | None = None,
    with_dependencies: bool = True,
    pull_request: bool = False,
    source: str = Source.PAGE,
    idempotency_key: str | None = None,
) -> Job:
    """Commit assets of an environment, as it was last read, and push them. What the environment no longer has is
    removed from git, if it is named. `base`: the commit that the difference was looked at with, None for a repository
    with nothing in it; a branch that is not there yet begins at it, one that is there must still point to it.
    `with_dependencies`: what chosen assets stand on comes along where git does not have it. `pull_request`: one of the
    branch into the repository's is opened with what changes as its text.

    The job's result: {"commit", "branch", "files", "place", "pull_request", "pull_request_error"}, or {"unchanged":
    true}. Raises NotAllowed; Invalid("empty_selection", "unknown_asset", "message_needed", "branch_name",
    "tree_unreadable", "pull_request_branch", "forge_unknown", "forge_no_token").
    """
    policy.require(actor, Permission.REPOSITORY_VIEW)
    policy.require(actor, Permission.REPOSITORY_COMMIT, environment)
    policy.require(actor, Permission.ASSET_VIEW, environment)
    message = message.replace("\r\n", "\n").strip()[:MESSAGE_LENGTH]
    if not message or "\0" in message:
        raise Invalid(
            "A commit needs a message.",
            code="message_needed",
            errors={"message": ["Say what changes, and why."]},
        )
    branch = check_branch(branch.strip() or repository.branch)
    if pull_request:
        check_pull(repository, branch, repository.branch)
    must_be_readable(base)
    changes = changes_between(environment, base)
    chosen = chosen_of(changes, uuids, environment, with_dependencies=with_dependencies)
    return jobs.enqueue(
        COMMIT,
        {
            "repository": str(repository.uuid),
            "environment": str(environment.uuid),
            "branch": branch,
            "base": base.sha if base is not None else "",
            "message": message,
            "assets": {change.uuid: change.sha for change in chosen},
            **({"pull_request": True} if pull_request else {}),
        },
        actor=actor,
        about=[environment],
        locks=[repository],
        idempotency_key=idempotency_key,
        title=f"Commit {counted(len(chosen), 'asset')} of {environment.name} to {repository.name}",
        source=source,
    )


def check_pull(repository: Repository, branch: str, into: str) -> None:
    """Whether a pull request of a branch into another can be asked for. Raises Invalid("pull_request_branch") and as
    `forges.address_of`.
    """
    if branch == into:
        raise Invalid(
            f"A request needs a branch of its own beside {into}.",
            code="pull_request_branch",
            errors={"branch": [f"Another one than {into}."]},
        )
    forges.address_of(repository)


@transaction.atomic
def request_pull(
    repository: Repository,
    branch: str,
    *,
    actor: Any,
    into: str = "",
    title: str = "",
    source: str = Source.PAGE,
    idempotency_key: str | None = None,
) -> Job:
    """Open a pull request of a branch that is there, in the background; one that is open already is found. `into`: ""
    for the repository's branch. The job's result: {"pull_request": {"number", "url", "is_new"}}.

    Raises NotAllowed; Invalid("pull_request_branch", "branch_name", "forge_unknown", "forge_no_token").
    """
    policy.require(actor, Permission.REPOSITORY_VIEW)
    policy.require_anywhere(actor, Permission.REPOSITORY_COMMIT)
    branch, into = check_branch(branch.strip()), check_branch(into.strip() or repository.branch)
    check_pull(repository, branch, into)
    return jobs.enqueue(
        PULL,
        {"repository": str(repository.uuid), "branch": branch, "into": into, "title": title.strip()[:200]},
        actor=actor,
        about=[repository],
        join_key=f"{PULL}:{repository.uuid}:{branch}"[:200],
        idempotency_key=idempotency_key,
        title=f"Open a pull request of {branch} in {repository.name}",
        source=source,
    )


def must_be_usable(reading: CommitReading, actor: Any) -> None:
    """Whether somebody may bring assets from a commit. Raises NotAllowed; Invalid("tree_unreadable")."""
    policy.require(actor, Permission.REPOSITORY_VIEW)
    must_be_readable(reading)


def must_be_readable(reading: CommitReading | None) -> None:
    """Raises Invalid("tree_unreadable") for a commit some of whose files cannot be read: nothing can be said of it."""
    if reading is not None and reading.problems:
        first = reading.problems[0]
        line = f", line {first['line']}" if first.get("line") else ""
        more = f" {len(reading.problems) - 1} more are not right either." if len(reading.problems) > 1 else ""
        raise Invalid(
            f"{first['path']}{line} {first['text']}.{more}".strip(),
            code="tree_unreadable",
            remedy="Mend it in the repository, then read it again.",
        )


def suggested_message(changes: Iterable[Change], environment: Environment) -> str:
    """A first line for a commit of these."""
    named = [change for change in changes if change.state != MISSING]
    if not named:
        return ""
    words = {"new": "Add", "changed": "Change", "removed": "Remove"}
    verbs = {change.state for change in named}
    verb = words[verbs.pop()] if len(verbs) == 1 else "Update"
    boards = [change for change in named if change.kind == "dashboard"]
    first = (boards or named)[0]
    more = f" and {len(named) - 1} more" if len(named) > 1 else ""
    return clean(f"{environment.name}: {verb.lower()} {first.title}{more}", 100)


# --- Readings ---------------------------------------------------------------------------------------------------------


def find_reading(text: str, user: Any) -> CommitReading:
    """What was read of `<repository>@<ref>`, ref a branch or tag as it was last seen, or a commit's hash (at least 7
    digits). Raises NotFoundError where there is nothing, or somebody may not see it.
    """
    slug, _, ref = text.partition("@")
    repository = find_repository(slug, user)
    policy.require_anywhere(user, Permission.ASSET_VIEW)
    found = reading_of(repository, ref or repository.branch)
    if found is None:
        raise NotFoundError(
            f"{repository} was not read at {ref or repository.branch}.", remedy="Read it there first."
        )
    return found


def reading_of(repository: Repository, ref: str) -> CommitReading | None:
    """What was read of the commit that a ref pointed to when it was last seen."""
    rows = repository.readings.select_related("repository__environment").filter(folder=repository.folder)
    sha = repository.refs.get(f"refs/heads/{ref}") or repository.refs.get(f"refs/tags/{ref}")
    if sha:
        return rows.filter(sha=sha).first()
    if re.fullmatch(r"[0-9a-f]{7,40}", ref):
        found = list(rows.filter(sha__startswith=ref)[:2])
        return found[0] if len(found) == 1 else None
    return None


def recent_readings(user: Any, most: int = 20) -> list[CommitReading]:
    """The last commits that were read, newest first."""
    if not policy.can(user, Permission.REPOSITORY_VIEW):
        return []
    return list(
        CommitReading.objects.filter(folder=F("repository__folder")).select_related("repository")[:most]
    )


def shas_in_use(repository: Repository) -> set[str]:
    """Commits that open migrations take their assets from."""
    from migrations_app.models import BUSY_STATES, OPEN_STATES, Migration

    prefix = f"git:{repository.slug}@"
    rows = Migration.objects.filter(source_place__startswith=prefix, state__in=OPEN_STATES + BUSY_STATES)
    return {place.removeprefix(prefix) for place in rows.values_list("source_place", flat=True)}


def forget_readings() -> int:
    """Readings of commits that no ref points to any more, once they are as old as uploads get: they are read again."""
    before = timezone.now() - timedelta(days=settings.UPLOAD_KEEP_DAYS)
    count = 0
    for repository in Repository.objects.all():
        kept = set(repository.refs.values()) | shas_in_use(repository)
        gone = repository.readings.filter(read_at__lt=before).exclude(sha__in=kept)
        count += gone.count()
        gone.delete()
    return count
