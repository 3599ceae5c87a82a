"""Readings of environments: one from its beginning to its end, its history, and what of the store is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Exists, ForeignObjectRel, OuterRef, QuerySet
from django.utils import timezone

from sstools.errors import SSToolsError, as_expected

from . import damage, store
from .canonical.documents import Kind
from .connections import connect
from .inventory import Key, Progress
from .models import Document, Environment, Reading, ReadingMode, ReadingState, Reason, Snapshot
from .reading import last_reading, read_for_store
from .superset.client import SupersetClient
from .superset.versions import Capabilities

APP = Environment._meta.app_label

SWEEP_PERIOD = timedelta(days=1)  # in which all of an environment is exported again, whatever its lists say
SWEEP_SMALLEST = 20  # files: what is due is put off until it is worth a request
SWEEP_LARGEST = 0.05  # of all files in one reading, where it is seldom read; but not less than
SWEEP_ALWAYS = 50

KEPT_SNAPSHOTS = 10  # of readings and plans, of each environment, that nothing refers to
KEPT_READINGS = 500  # of each environment, in its history
FORGOTTEN_AFTER = timedelta(days=1)  # what nothing refers to may be about to be referred to
BATCH = 500
MOST_REFUSED = 10  # portions of a tidying that others were using

BeforeRequest = Callable[[str, str], None]


def run(
    environment: Environment,
    progress: Progress | None = None,
    *,
    job: UUID | None = None,
    before_request: BeforeRequest | None = None,
    client: SupersetClient | None = None,
) -> Reading:
    """Read an environment now, into the store and the inventory: its lists, and an export of what they say has changed.

    Whatever ends it early leaves the last good reading as it is, and a row that tells why. `client`: that of a caller
    who goes on with it; else one is made for this reading.
    Raises SupersetError, CredentialMissing, what `progress` and `before_request` raise.
    """
    _close_lost(environment)
    stored = last_reading(environment, bodies=False)
    row = Reading.objects.create(
        environment=environment,
        job=job,
        mode=ReadingMode.FIRST if stored is None else ReadingMode.CHANGES,
    )
    try:
        using = connect(environment, before_request=before_request) if client is None else nullcontext(client)
        with using as client:
            try:
                if environment.known_capabilities is None:
                    keep_capabilities(environment, client.detect())
                found = read_for_store(
                    client,
                    environment,
                    stored,
                    sweep=sweep_due(environment, row.started_at),
                    progress=progress,
                )
                row.swept = len(found.swept)
                before = dict(_contents(environment))
                row.snapshot = store.take_snapshot(environment, found, Reason.READING)
                row.found = _found(environment, before)
                damage.look_if_it_answers(environment, client, progress or (lambda what, done, total: None))
            finally:
                row.requests = {"other": len(client.log)}
        row.requests = _requests(found, row.requests["other"])
    except BaseException as exc:
        _failed(row, exc)
        raise
    row.state, row.ended_at = ReadingState.DONE, timezone.now()
    row.save()
    Environment.objects.filter(pk=environment.pk).update(last_reached_at=row.ended_at)
    forget_snapshots(environment)
    return row


def keep_capabilities(environment: Environment, found: Capabilities) -> None:
    """Remember which Superset this is: what clients made from now on go by."""
    environment.version, environment.capabilities = found.version[:50], found.to_dict()
    Environment.objects.filter(pk=environment.pk).update(
        version=environment.version, capabilities=environment.capabilities
    )


def _requests(found: store.EnvironmentReading, total: int) -> dict[str, int]:
    counted = {purpose: found.purposes[purpose] for purpose in ("list", "export", "sweep")}
    return {**counted, "other": total - sum(counted.values())}


def _failed(row: Reading, exc: BaseException) -> None:
    """Tell what happened, in the reading and, unless somebody ended it, beside the age of the last good one."""
    error = as_expected(exc)
    if error is not None and error.code == "cancelled":
        row.state = ReadingState.CANCELLED
    elif isinstance(exc, Exception):
        row.state = ReadingState.FAILED
        row.error = (
            error or SSToolsError("Something unexpected happened; the log of the job has it.")
        ).as_dict()
        if error is not None:
            Environment.objects.filter(pk=row.environment_id).update(inventory_error=row.error)
    else:
        return  # another worker has it now, or this process ends: nothing is known here, see _close_lost
    row.ended_at = timezone.now()
    row.save()


def _close_lost(environment: Environment) -> None:
    """Readings whose worker died: there is only one job at a time, and this is it."""
    error = {"code": "worker_lost", "message": "Its worker was lost on the way.", "remedy": ""}
    environment.readings.filter(state=ReadingState.RUNNING).update(
        state=ReadingState.FAILED, ended_at=timezone.now(), error=error
    )


# --- What was found -------------------------------------------------------------------------------------------

_SHOWN = (
    "title",
    "slug",
    "published",
    "viz_type",
    "schema",
    "catalog",
    "backend",
    "owner_text",
    "document_id",
)


def _contents(environment: Environment) -> Iterable[tuple[Key, tuple[Any, ...]]]:
    for kind, uuid, *values in environment.assets.values_list("kind", "uuid", *_SHOWN).iterator(
        chunk_size=2000
    ):
        yield (kind, uuid), tuple(values)


def _found(environment: Environment, before: dict[Key, tuple[Any, ...]]) -> dict[str, dict[str, int]]:
    """By kind, against what was known. Who changed something and when is no change, nor is content new to us."""
    found = {kind.value: dict.fromkeys(("added", "changed", "gone", "same"), 0) for kind in Kind}
    for key, now in _contents(environment):
        then = before.pop(key, None)
        if then is None:
            found[key[0]]["added"] += 1
        else:
            is_same = then == now or (then[-1] is None and then[:-1] == now[:-1])
            found[key[0]]["same" if is_same else "changed"] += 1
    for kind, _uuid in before:
        found[kind]["gone"] += 1
    return found


# --- The sweep ------------------------------------------------------------------------------------------------


def sweep_due(environment: Environment, now: datetime) -> int:
    """How many files to export although no list says that they changed, so that all are within SWEEP_PERIOD.

    What is due grows with the time since the last sweep, so readings in quick succession sweep nothing.
    """
    total = sum(environment.asset_counts.values())
    done = environment.readings.filter(state=ReadingState.DONE)
    last = done.filter(swept__gt=0).first() or done.filter(mode=ReadingMode.FIRST).first() or done.last()
    if last is None or not total:
        return 0
    due = int(total * ((now - last.started_at) / SWEEP_PERIOD))
    if due < min(SWEEP_SMALLEST, total):
        return 0
    return min(due, max(SWEEP_ALWAYS, int(total * SWEEP_LARGEST)))


# --- Keeping --------------------------------------------------------------------------------------------------


def forget_snapshots(environment: Environment) -> int:
    """Snapshots of readings and plans that nothing refers to, but the newest of them. Returns how many went."""
    kept = environment.snapshots.filter(reason__in=store.REPEATABLE).order_by("-number")[:KEPT_SNAPSHOTS]
    oldest = min((snapshot.number for snapshot in kept), default=0)
    latest = store.latest_complete(environment)
    rows = environment.snapshots.filter(reason__in=store.REPEATABLE, number__lt=oldest)
    if latest is not None:
        rows = rows.exclude(pk=latest.pk)
    rows = _unreferred(rows, Snapshot)
    removed = 0
    for snapshot in rows:
        snapshot.delete()
        removed += 1
    return removed


def forget_readings() -> int:
    """What is old in the histories of readings, and documents that nothing refers to. Returns how many rows went."""
    removed = 0
    for environment in Environment.objects.all():
        removed += forget_snapshots(environment)
        numbers = environment.readings.values_list("pk", flat=True)[KEPT_READINGS : KEPT_READINGS + 1]
        for newest_forgotten in numbers:
            removed += environment.readings.filter(pk__lte=newest_forgotten).delete()[0]
    return removed


def forget_documents() -> int:
    """Documents that nothing refers to any more. Returns how many went."""
    before = timezone.now() - FORGOTTEN_AFTER
    removed = refused = 0
    rows = _unreferred(Document.objects.filter(kept_at__lt=before), Document)
    while found := list(rows.values_list("pk", flat=True)[:BATCH]):
        # Asked again in the statement that deletes: what was kept meanwhile has another `kept_at`.
        gone = _unreferred(Document.objects.filter(pk__in=found, kept_at__lt=before), Document)
        try:
            with transaction.atomic():
                count = gone._raw_delete(gone.db)
        except IntegrityError:
            # Somebody who began before this statement refers to one of them now, and the database keeps it. The others
            # go with the next round, or tomorrow.
            refused += 1
            if refused > MOST_REFUSED:
                break
            continue
        removed += count
        if not count:
            break
    return removed


def _unreferred(rows: QuerySet[Any], model: Any) -> QuerySet[Any]:
    """Those that no row refers to. A snapshot's own entries, the reading that took it, and copies do not count."""
    own = {"SnapshotEntry", "SnapshotCompanion", "Reading"} if model is Snapshot else {"DocumentCopy"}
    for relation in model._meta.get_fields(include_hidden=True):
        if isinstance(relation, ForeignObjectRel) and relation.related_model.__name__ not in own:
            others = relation.related_model._base_manager.filter(**{relation.field.name: OuterRef("pk")})
            rows = rows.exclude(Exists(others))
    return rows
