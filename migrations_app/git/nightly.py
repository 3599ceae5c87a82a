"""Committing a whole environment, as a schedule asks for it: what differs goes into one commit, in the name of who
changed it in Superset.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction

from environments import services as environments
from environments.models import Asset, Environment
from environments.words import clean
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, Source
from sstools.jobs.runner import JobContext
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.texts import counted

from .address import check_branch
from .changes import Change, changes_between, different
from .files import Person
from .models import Repository
from .services import must_be_readable, suggested_message

COMMIT_ENVIRONMENT = "git.commit_environment"
NAMED = 50


@transaction.atomic
def request_commit_environment(
    repository: Repository,
    environment: Environment,
    *,
    actor: Any,
    branch: str = "",
    source: str = Source.PAGE,
    idempotency_key: str | None = None,
) -> Job:
    """Read an environment and commit all that differs from a branch ("": the repository's), in the background.

    The job's result: as of a commit, with {"authors"}; {"unchanged": true} where nothing differs. Raises NotAllowed;
    Invalid("branch_name").
    """
    policy.require(actor, Permission.REPOSITORY_VIEW)
    for permission in (Permission.REPOSITORY_COMMIT, Permission.ENVIRONMENT_TEST, Permission.ASSET_VIEW):
        policy.require(actor, permission, environment)
    branch = check_branch(branch.strip() or repository.branch)
    return jobs.enqueue(
        COMMIT_ENVIRONMENT,
        {"repository": str(repository.uuid), "environment": str(environment.uuid), "branch": branch},
        actor=actor,
        about=[environment],
        locks=[repository],
        join_key=f"{COMMIT_ENVIRONMENT}:{repository.uuid}:{environment.uuid}:{branch}"[:200],
        idempotency_key=idempotency_key,
        title=f"Commit what changed on {environment.name} to {repository.name}",
        source=source,
    )


def run_commit_environment(
    ctx: JobContext, repository: Repository, environment: Environment, branch: str
) -> dict[str, Any]:
    """Reads both sides; no commit where nothing differs."""
    from .work import read_commit, refs_of, run_commit  # with what talks to servers

    def still_mine(method: str, path: str) -> None:
        ctx.still_mine()  # a worker that lost the job asks nothing more

    environments.run_reading(
        environment,
        lambda what, done, total: ctx.step(what, done, total),
        job=ctx.job.uuid,
        before_request=still_mine,
    )
    branch = branch or repository.branch
    refs = refs_of(repository)
    base = refs.get(f"refs/heads/{branch}") or refs.get(f"refs/heads/{repository.branch}") or ""
    reading = read_commit(repository, base) if base else None
    must_be_readable(reading)
    changes = different(changes_between(environment, reading))
    if not changes:
        ctx.log("info", "Nothing differs: git has it all.")
        return {"unchanged": True, "commit": base, "branch": branch}
    people = _people(environment, changes, repository)
    done = run_commit(
        ctx,
        repository,
        environment,
        branch=branch,
        base=base,
        message=_message(environment, changes, people[1:]),
        assets={change.uuid: change.sha for change in changes},
        author=people[0],
    )
    return {**done, "authors": [person.name for person in people], "assets": len(changes)}


def _people(environment: Environment, changes: Iterable[Change], repository: Repository) -> list[Person]:
    """Who changed it in Superset, who changed most first; ss-tools where Superset does not say."""
    names = Counter(change.changed_by for change in changes if change.changed_by)
    emails = _emails(environment, set(names))
    found = [
        Person(name, emails.get(name, repository.author_email))
        for name, _ in sorted(names.items(), key=lambda pair: (-pair[1], pair[0]))
    ]
    return found or [Person(repository.author_name, repository.author_email)]


def _emails(environment: Environment, names: set[str]) -> dict[str, str]:
    """As Superset tells of owners of the same name, else as accounts here of that name do; two of a name: nobody's."""
    found: dict[str, set[str]] = {}
    for owners in Asset.objects.filter(environment=environment).values_list("owners", flat=True).iterator():
        for owner in owners or ():
            if owner.get("name") in names and owner.get("email"):
                found.setdefault(owner["name"], set()).add(owner["email"])
    for user in get_user_model()._default_manager.filter(is_active=True).exclude(email=""):
        if (name := user.get_full_name()) in names - found.keys():
            found.setdefault(name, set()).add(user.email)
    return {name: emails.pop() for name, emails in found.items() if len(emails) == 1}


def _message(environment: Environment, changes: list[Change], others: list[Person]) -> str:
    words = {"new": "new", "changed": "changed", "removed": "removed"}
    lines = [suggested_message(changes, environment), ""]
    for change in changes[:NAMED]:
        by = f" by {clean(change.changed_by, 100)}" if change.changed_by else ""
        lines.append(
            f"- {change.kind} “{clean(change.title, 150)}” {words[change.state]}{by}".replace("\n", " ")
        )
    if len(changes) > NAMED:
        lines.append(f"- and {counted(len(changes) - NAMED, 'more asset')}")
    if others:
        lines.append("")
        lines += [f"Co-authored-by: {person.line().decode()}" for person in others]
    return "\n".join(lines)
