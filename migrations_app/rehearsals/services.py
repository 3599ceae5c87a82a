"""Asking for rehearsals, and finding them."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from environments.backups.models import Backup, BackupState
from environments.models import Environment
from migrations_app.errors import NotReady
from migrations_app.places import address_of
from sstools.audit import services as audit
from sstools.errors import Invalid, NotFoundError
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, Source
from sstools.roles import policy
from sstools.roles.permissions import Permission

from .models import Rehearsal

RUN = "rehearsals.run"
#: Needed on the scratch environment; on the one that was backed up it is `backup:view`.
NEEDED = (Permission.MIGRATION_PLAN, Permission.MIGRATION_APPLY, Permission.MIGRATION_ROLLBACK)


@transaction.atomic
def request_rehearsal(
    environment: Environment,
    scratch: Environment,
    *,
    actor: Any,
    backup: Backup | None = None,
    source: str = Source.PAGE,
    idempotency_key: str | None = None,
) -> Job:
    """Restore a backup of `environment` (None: its latest good one at that moment) into `scratch`, verify, report, and
    take it away again, in the background. One at a time in each scratch environment; asking for the same while it is
    at work gives the same job.

    Raises NotAllowed; Invalid("not_scratch", "same_superset", "not_its_backup"); NotReady without a good backup.
    """
    policy.require(actor, Permission.BACKUP_VIEW, environment)
    for permission in NEEDED:
        policy.require(actor, permission, scratch)
    must_be_scratch(scratch, environment)
    if backup is not None and backup.environment_id != environment.pk:
        raise Invalid(
            f"{backup} is none of {environment.name}.",
            code="not_its_backup",
            errors={"backup": [f"Choose one of {environment.name}."]},
        )
    chosen = backup or latest_good(environment)
    if chosen is None or not chosen.is_readable:
        raise NotReady(
            f"{environment.name} has no good backup to rehearse."
            if chosen is None
            else f"{chosen} is {chosen.get_state_display()}: there is nothing to rehearse.",
            remedy="Take a backup first.",
        )
    which = f"backup {backup.number}" if backup is not None else "the latest backup"
    params = {"environment": str(environment.uuid), "scratch": str(scratch.uuid)}
    if backup is not None:
        params["backup"] = str(backup.number)
    return jobs.enqueue(
        RUN,
        params,
        actor=actor,
        # Others write to it by the same locks as always; this one keeps rehearsals apart.
        locks=[f"rehearsal:{scratch.uuid}"],
        about=[environment, scratch],
        join_key=":".join([RUN, *params.values()]),
        idempotency_key=idempotency_key,
        title=f"Rehearse {which} of {environment.name} in {scratch.name}",
        source=source,
    )


def must_be_scratch(scratch: Environment, environment: Environment) -> None:
    """Raises Invalid for an environment in which not everything may be replaced."""
    others = [
        row for row in Environment.objects.exclude(pk=scratch.pk) if address_of(row) == address_of(scratch)
    ]
    if not scratch.scratch or scratch.protected or any(not row.scratch for row in others):
        raise Invalid(
            f"{scratch.name} is no scratch environment: a rehearsal replaces what is there.",
            code="not_scratch",
            remedy="Mark one as scratch in which everything may be replaced.",
            errors={"scratch": ["Choose a scratch environment."]},
        )
    if address_of(scratch) == address_of(environment):
        raise Invalid(
            f"{scratch.name} is the Superset that was backed up.",
            code="same_superset",
            errors={"scratch": ["Choose another one."]},
        )


def latest_good(environment: Environment) -> Backup | None:
    """The newest good backup of all of it."""
    rows = environment.backups.filter(state=BackupState.GOOD, whole=True)
    return rows.select_related("environment", "snapshot").order_by("-pk").first()


def find_backup(environment: Environment, number: str, user: Any) -> Backup:
    """Raises Invalid for one that is absent, hidden, or of another environment."""
    rows = Backup.objects.visible_to(user).filter(environment=environment)
    found = (
        rows.filter(pk=int(number)).first()
        if number.isascii() and number.isdigit() and len(number) < 19
        else None
    )
    if found is None:
        raise Invalid(
            f"{environment.name} has no such backup.",
            errors={"backup": [f"No backup of {environment.name}."]},
        )
    return found


@transaction.atomic
def begin(job: Job, environment: Environment, scratch: Environment, backup: Backup | None) -> Rehearsal:
    """The rehearsal of a job: made once, also where another worker goes on with it."""
    known = Rehearsal.objects.filter(job=job).first()
    if known is not None:
        return known
    row = Rehearsal.objects.create(
        environment=environment,
        scratch=scratch,
        backup=backup,
        backup_number=backup.number if backup is not None else None,
        job=job,
        created_by=job.actor,
    )
    data = {"backup": row.backup_number, "scratch": scratch.slug}
    audit.record("rehearsal:begin", row, actor=job.actor, data=data, source=job.source)
    return row


def find_rehearsal(number: Any, user: Any) -> Rehearsal:
    """Raises NotFoundError for what is absent or not visible."""
    rows = Rehearsal.objects.visible_to(user).select_related(
        "environment", "scratch", "backup", "migration", "run", "roll_back", "job", "created_by"
    )
    if (found := rows.filter(number=number).first()) is None:
        raise NotFoundError()
    return found


def scratches(user: Any) -> list[Environment]:
    """Where `user` may rehearse."""
    rows = Environment.objects.visible_to(user).filter(scratch=True).order_by("name")
    return [row for row in rows if all(policy.can(user, permission, row) for permission in NEEDED)]
