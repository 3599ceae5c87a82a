"""Everything that changes backups. Page, API, admin and commands call these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from environments import store
from environments.canonical.documents import Kind
from environments.models import Environment, Snapshot
from environments.words import clean
from sstools.audit import services as audit
from sstools.errors import Conflict, Invalid, NotFoundError
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, Source
from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import hooks, retention
from .models import Backup, BackupReason, BackupState, Policy
from .retention import policy_of
from .storages import named
from .taking import describe

TAKE, VERIFY, VERIFY_ALL = "backups.take", "backups.verify", "backups.verify_all"
TITLE_LENGTH, NOTES_LENGTH, REASON_LENGTH, MOST_CHOSEN = 200, 2000, 200, 10_000
POLICY_FIELDS = (
    "enabled",
    "keep_last",
    "daily",
    "weekly",
    "monthly",
    "restore_point_days",
    "quota_bytes",
    "quota_action",
)


# --- Asking ---------------------------------------------------------------------------------------------------


@transaction.atomic
def request_backup(
    environment: Environment,
    *,
    actor: Any,
    title: str = "",
    selection: Iterable[str] | None = None,
    storage: str | None = None,
    notes: str = "",
    source: str = Source.PAGE,
    idempotency_key: str | None = None,
) -> Job:
    """Back an environment up in the background: all of it, or with `selection` ("dashboard:<uuid>", …) these assets and
    what they stand on. The job's result has its number: {"backup": 318, "state": "good"}.

    `storage`: the name of one, None for the default. Asking for the same while it runs gives the same job.
    Raises NotAllowed; Invalid for a selection that names nothing here; StorageNotSetUp; Conflict("quota") where the
    environment's backups take more than they may.
    """
    policy.require(actor, Permission.BACKUP_CREATE, environment)
    chosen = None if selection is None else _chosen(environment, selection)
    title, notes = clean(title, TITLE_LENGTH), clean(notes, NOTES_LENGTH)
    retention.refuse_over_quota(environment)
    params: dict[str, Any] = {"environment": str(environment.uuid)}
    storage = named.require(storage or named.default())
    elsewhere = storage if storage != named.default() else None
    given = {"title": title, "selection": chosen, "storage": elsewhere, "notes": notes}
    params |= {name: value for name, value in given.items() if value}
    return jobs.enqueue(
        TAKE,
        params,
        actor=actor,
        locks=[environment],
        join_key=None if len(params) > 1 else f"{TAKE}:{environment.uuid}",
        idempotency_key=idempotency_key,
        title=f"Back up {environment.name}" + (f": {title}" if title else ""),
        source=source,
    )


@transaction.atomic
def request_verification(
    backup: Backup, *, actor: Any, source: str = Source.PAGE, idempotency_key: str | None = None
) -> Job:
    """Check every document of a backup in the background. Raises NotAllowed; Conflict for one that holds nothing."""
    policy.require(actor, Permission.BACKUP_CREATE, backup.environment)
    must_be_readable(backup)
    return jobs.enqueue(
        VERIFY,
        {"backup": backup.pk},
        actor=actor,
        about=[backup.environment],
        join_key=f"{VERIFY}:{backup.pk}",
        idempotency_key=idempotency_key,
        title=f"Verify backup {backup.pk} of {backup.environment.name}",
        source=source,
    )


@transaction.atomic
def request_verification_of_all(
    environment: Environment | None,
    *,
    actor: Any,
    percent: int | None = None,
    source: str = Source.PAGE,
    idempotency_key: str | None = None,
) -> Job:
    """Check all backups of an environment, None for those of every environment, in the background. `percent`: of the
    documents of each, by chance. `actor` None: the schedule that comes with ss-tools. Raises NotAllowed.
    """
    if actor is not None:
        policy.require(actor, Permission.BACKUP_CREATE, environment)
    params: dict[str, Any] = {} if environment is None else {"environment": str(environment.uuid)}
    if percent is not None:
        params["percent"] = percent
    return jobs.enqueue(
        VERIFY_ALL,
        params,
        actor=actor,
        about=[] if environment is None else [environment],
        join_key=f"{VERIFY_ALL}:{params.get('environment', '*')}:{percent or ''}",
        idempotency_key=idempotency_key,
        title="Verify backups" + ("" if environment is None else f" of {environment.name}"),
        source=source,
    )


def verifiable(environment: Any = None) -> QuerySet[Backup]:
    """Backups that hold something, newest first; of one environment (its uuid) or all."""
    rows = Backup.objects.readable().select_related("snapshot__environment", "environment")
    return rows.filter(environment__uuid=environment) if environment else rows


def _chosen(environment: Environment, selection: Iterable[str]) -> list[str]:
    """The selection, sorted, each of it known here. Raises Invalid."""
    asked = sorted({str(item).strip().lower() for item in selection})
    if not asked:
        raise Invalid("Nothing is chosen.", errors={"selection": ["Choose at least one asset."]})
    if len(asked) > MOST_CHOSEN:
        text = f"At most {MOST_CHOSEN:,}; back the whole environment up instead."
        raise Invalid("Too much is chosen.", errors={"selection": [text]})
    kinds = {kind.value for kind in Kind}
    rows = environment.assets.values_list("kind", "uuid")
    known = {f"{kind}:{uuid}" for kind, uuid in rows.iterator(chunk_size=2000)}
    errors = []
    for item in asked:
        kind, _, uuid = item.partition(":")
        if kind not in kinds or not uuid:
            errors.append(f"“{clean(item, 80)}” is no asset: write it as dashboard:<uuid>.")
        elif item not in known:
            errors.append(f"{environment.name} had no {kind} {clean(uuid, 40)} when it was last read.")
    if errors:
        raise Invalid("Some of what is chosen is not there.", errors={"selection": errors[:20]})
    return asked


def must_be_readable(backup: Backup) -> None:
    if not backup.is_readable:
        raise Conflict(
            f"Backup {backup.pk} is {backup.state}: it holds nothing.",
            code="backup_not_readable",
            remedy="Wait for its end." if backup.state == BackupState.RUNNING else "Take another one.",
        )


# --- Looking --------------------------------------------------------------------------------------------------


def find_backup(number: Any, user: Any) -> Backup:
    """A backup that `user` may see. Raises NotFoundError: absent and forbidden look alike."""
    found: Backup | None = None
    if str(number).isdecimal() and int(number) < 2**63:
        rows = Backup.objects.visible_to(user).select_related(
            "environment", "snapshot__environment", "created_by"
        )
        found = rows.filter(pk=int(number)).first()
    if found is None:
        raise NotFoundError("There is no such backup, or you may not see it.")
    return found


def latest_good(environment: Environment) -> Backup | None:
    """The newest good backup of the whole environment."""
    rows = environment.backups.filter(state=BackupState.GOOD, whole=True)
    return rows.select_related("snapshot__environment").order_by("-pk").first()


# --- Keeping --------------------------------------------------------------------------------------------------


@transaction.atomic
def set_policy(
    environment: Environment, values: Mapping[str, Any], *, actor: Any, source: str = Source.PAGE
) -> Policy:
    """Change the given fields of `POLICY_FIELDS`. Removes nothing by itself: tidying does, `retention.preview` says
    what. Raises NotAllowed; Invalid with the errors by field.
    """
    policy.require(actor, Permission.BACKUP_EDIT, environment)
    row = changed_policy(environment, values)
    known = Policy.objects.filter(environment=environment).first()
    before = {name: getattr(known or Policy(environment=environment), name) for name in POLICY_FIELDS}
    row.updated_by = actor if getattr(actor, "pk", None) else None
    row.save(force_insert=known is None)
    after = {name: getattr(row, name) for name in POLICY_FIELDS}
    changed = {
        name: {"before": before[name], "after": after[name]} for name in after if before[name] != after[name]
    }
    if changed:
        audit.record("backup_policy:update", environment, actor=actor, data=changed, source=source)
    return row


def changed_policy(environment: Environment, values: Mapping[str, Any]) -> Policy:
    """The policy as it would be, not saved: for a preview. Raises Invalid with the errors by field."""
    row = policy_of(environment)
    if unknown := sorted(set(values) - set(POLICY_FIELDS)):
        raise Invalid("There is no such rule.", errors={name: ["There is no such rule."] for name in unknown})
    for name, value in values.items():
        setattr(row, name, value)
    try:
        row.clean_fields(exclude=["environment", "updated_by"])
    except ValidationError as exc:
        raise Invalid("Some values are not right.", errors=exc.message_dict) from None
    return row


@transaction.atomic
def pin(backup: Backup, *, actor: Any, reason: str = "", source: str = Source.PAGE) -> Backup:
    """Keep it whatever the rules say, until somebody unpins or deletes it.

    Raises NotAllowed; Conflict for one that failed.
    """
    policy.require(actor, Permission.BACKUP_PIN, backup.environment)
    backup = _locked(backup)
    if backup.state == BackupState.FAILED:
        must_be_readable(backup)
    reason = clean(reason, REASON_LENGTH)
    if not backup.pinned or backup.pinned_reason != reason:
        backup.pinned, backup.pinned_reason = True, reason
        backup.save(update_fields=["pinned", "pinned_reason"])
        _record("backup:pin", backup, actor, source, reason=reason)
    return backup


@transaction.atomic
def unpin(backup: Backup, *, actor: Any, source: str = Source.PAGE) -> Backup:
    """From now on the rules decide. Raises NotAllowed."""
    policy.require(actor, Permission.BACKUP_EDIT, backup.environment)
    backup = _locked(backup)
    if backup.pinned:
        backup.pinned, backup.pinned_reason = False, ""
        backup.save(update_fields=["pinned", "pinned_reason"])
        _record("backup:unpin", backup, actor, source)
    return backup


@transaction.atomic
def edit_backup(
    backup: Backup, values: Mapping[str, Any], *, actor: Any, source: str = Source.PAGE
) -> Backup:
    """Change the given ones of `title`, `notes` and `keep_until`: until when it is kept at least, aware; None: the
    rules alone decide. Raises NotAllowed; Conflict for one that failed; Invalid for a moment that has passed.
    """
    policy.require(actor, Permission.BACKUP_EDIT, backup.environment)
    backup = _locked(backup)
    given = dict(values)
    for name, length in (("title", TITLE_LENGTH), ("notes", NOTES_LENGTH)):
        if name in given:
            given[name] = clean(given[name], length)
    changed = {name: value for name, value in given.items() if value != getattr(backup, name)}
    if until := changed.get("keep_until"):
        if backup.state == BackupState.FAILED:
            must_be_readable(backup)
        if until <= timezone.now():
            text = "This has passed. Name a moment to come, or none."
            raise Invalid("Some values are not right.", errors={"keep_until": [text]})
    if changed:
        for name, value in changed.items():
            setattr(backup, name, value)
        backup.save(update_fields=list(changed))
        said = {name: None if value is None else str(value) for name, value in changed.items()}
        _record("backup:update", backup, actor, source, **said)
    return backup


@transaction.atomic
def delete_backup(
    backup: Backup, *, actor: Any, confirm: str | None = None, source: str = Source.PAGE
) -> None:
    """Forget a backup now. Its documents go with the next tidying, unless something else needs them; nothing of the
    Superset is touched. `confirm`: what people and programs typed, the slug of the environment; None: nobody is asked.

    Raises NotAllowed; Invalid("not_confirmed"); Conflict: it is pinned ("pinned"), at work ("backup_running"), or
    needed ("backup_needed").
    """
    policy.require(actor, Permission.BACKUP_EDIT, backup.environment)
    if confirm is not None and confirm.strip() != backup.environment.slug:
        raise Invalid(
            f"To delete backup {backup.pk}, type {backup.environment.slug}.",
            code="not_confirmed",
            remedy="Nothing was deleted.",
            errors={"confirm": [f"Type {backup.environment.slug}."]},
        )
    backup = _locked(backup)
    if backup.pinned:
        raise Conflict(
            f"Backup {backup.pk} is pinned.", code="pinned", remedy="Unpin it first, if it really may go."
        )
    if backup.state == BackupState.RUNNING:
        raise Conflict(
            f"Backup {backup.pk} is being taken.", code="backup_running", remedy="Cancel its job first."
        )
    if (needed := hooks.needed_by([backup.pk]).get(backup.pk)) is not None:
        raise Conflict(
            f"Backup {backup.pk} is needed: {needed}.",
            code="backup_needed",
            remedy="Bring that to its end first.",
        )
    _record("backup:delete", backup, actor, source, title=backup.title, digest=backup.digest)
    retention.remove(backup)


def keep_restore_point(snapshot: Snapshot, *, actor: Any = None) -> Backup:
    """The backup of a restore point that was just taken; called by the run, in its own transaction. Again: the same."""
    backup, is_new = Backup.objects.get_or_create(
        pk=snapshot.pk,
        defaults={
            "environment": snapshot.environment,
            "reason": BackupReason.RESTORE_POINT,
            "state": BackupState.GOOD,
            "whole": False,
            "started_at": snapshot.created_at,
            "ended_at": timezone.now(),
            "created_by": actor if getattr(actor, "pk", None) else None,
        },
    )
    if is_new:
        backup.snapshot = snapshot
        rows = (store.entries_of(snapshot), store.companion_entries_of(snapshot))
        describe(backup, [sha for held in rows for sha in held.values_list("document_id", flat=True) if sha])
        backup.save()
    return backup


def _locked(backup: Backup) -> Backup:
    """Its row, for this transaction alone. Raises NotFoundError where somebody removed it meanwhile."""
    rows = Backup.objects.select_for_update(of=("self",)).select_related("environment", "snapshot")
    found = rows.filter(pk=backup.pk).first()
    if found is None:
        raise NotFoundError(f"Backup {backup.pk} is gone.")
    return found


def _record(action: str, backup: Backup, actor: Any, source: str, **data: Any) -> None:
    audit.record(action, backup, actor=actor, data=data, source=source)


__all__ = [
    "TAKE",
    "VERIFY",
    "VERIFY_ALL",
    "changed_policy",
    "delete_backup",
    "edit_backup",
    "find_backup",
    "keep_restore_point",
    "latest_good",
    "pin",
    "policy_of",
    "request_backup",
    "request_verification",
    "request_verification_of_all",
    "set_policy",
    "unpin",
    "verifiable",
]
