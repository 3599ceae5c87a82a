"""Writing history, proving that it is whole, and taking the oldest of it out."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from sstools import logs
from sstools.errors import Conflict
from sstools.resources import concerned_by, resource_name

from .models import GENESIS, AuditChain, AuditEvent
from .redact import redact

SEAL = "audit:seal"
SEAL_STEP = 5_000  # events taken out in one transaction: nobody writes history meanwhile


@transaction.atomic
def record(
    action: str, obj: Any, *, actor: Any, data: dict[str, Any] | None = None, source: str = ""
) -> AuditEvent:
    """Add a line to the history: `actor` (a user, or None for ss-tools itself) did `action` ("noun:verb") to `obj`.

    Request, client's address and job come from where the call is made. Call it last in the service's own transaction,
    so that the line and the deed commit together: from here to the commit all other writers of history wait.
    """
    chain = wait_for_turn()
    request, job = logs.request_id.get(), logs.job_id.get()
    concerns = concerned_by(obj)
    event = AuditEvent(
        number=chain.last_number + 1,
        at=timezone.now(),
        actor_id=getattr(actor, "pk", None),
        actor_name=actor.get_username() if actor is not None and hasattr(actor, "get_username") else "",
        source=source,
        action=action,
        object_name=resource_name(obj),
        object_label=str(obj)[:300],
        data=redact(data or {}),
        request_id="" if request == "-" else request,
        address=logs.address.get() if job == "-" else "",
        job="" if job == "-" else job,
        concerns=f" {' '.join(concerns)} " if concerns else "",
        prev_hash=chain.last_hash,
    )
    event.hash = event_hash(event)
    event.save()
    chain.last_number, chain.last_hash = event.number, event.hash
    chain.save()
    return event


def wait_for_turn() -> AuditChain:
    """The end of the chain, locked until the transaction ends: nobody else writes history meanwhile."""
    AuditChain.objects.get_or_create(pk=1)
    return AuditChain.objects.select_for_update().get(pk=1)


def event_hash(event: AuditEvent) -> str:
    """SHA-256 over the event's values and the hash before it, in a form that any program can repeat.

    The JSON array of the values below, keys sorted, no spaces, UTF-8; then, if any of them is not empty, an object of
    those among address, job, concerns that are not.
    """
    values: list[Any] = [
        event.prev_hash,
        event.number,
        event.at.isoformat(timespec="microseconds"),
        event.actor_id,
        event.actor_name,
        event.source,
        event.action,
        event.object_name,
        event.object_label,
        event.data,
        event.request_id,
    ]
    more = {"address": event.address, "job": event.job, "concerns": event.concerns}
    if said := {name: value for name, value in more.items() if value}:
        values.append(said)
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


# --- Is it whole? ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Head:
    """The newest event: note it down elsewhere, and whoever rewrites all of history can be proved wrong by it."""

    number: int
    hash: str

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"


def head() -> Head:
    chain = AuditChain.objects.filter(pk=1).first() or AuditChain()
    return Head(chain.last_number, chain.last_hash)


def broken_links(known: Head | None = None) -> Iterator[tuple[int, str]]:
    """The places where the history does not fit together: (number, what is wrong). Nothing if it is whole.

    known: a head that was noted down before; an event of that number with another hash is named too.
    """
    chain = AuditChain.objects.filter(pk=1).first() or AuditChain()
    before, number = chain.sealed_hash, chain.sealed_number
    sealed: dict[str, Any] | None = None
    for event in AuditEvent.objects.order_by("number").iterator(chunk_size=500):
        number += 1
        if event.number != number:
            yield number, _missing(number, event.number - 1)
            number = event.number
        elif event.prev_hash != before:
            yield event.number, "does not follow the event before it"
        if event_hash(event) != event.hash:
            yield event.number, f"{event.action} was changed after it was written"
        elif known is not None and event.number == known.number and event.hash != known.hash:
            yield event.number, "is not the event that was noted down: history was rewritten"
        if event.action == SEAL:
            sealed = event.data
        before = event.hash
    if (chain.last_number, chain.last_hash) != (number, before):
        yield number + 1, "the end of the history is missing"
    if known is not None and known.number > max(number, chain.last_number):
        yield known.number, "the event that was noted down is not there"
    if chain.sealed_number and (sealed or {}).get("up_to") != f"{chain.sealed_number}:{chain.sealed_hash}":
        yield (
            chain.sealed_number,
            "is not the seal that history tells of: the beginning was taken out otherwise",
        )


def _missing(first: int, last: int) -> str:
    return f"event {first} is missing" if first == last else f"events {first} to {last} are missing"


# --- Taking out what is too old -------------------------------------------------------------------------------------


def seal(before: datetime, *, actor: Any, source: str = "command") -> int:
    """Take out the events from before that moment, oldest first. Returns how many.

    The hash of the last of them stays as the beginning of the chain, and an event tells what was taken out; export
    them first. The newest event always stays. Raises Conflict("history_broken") where the oldest do not fit together:
    what may have been tampered with is evidence.
    """
    taken = 0
    while True:
        with transaction.atomic():
            chain = wait_for_turn()
            rows = AuditEvent.objects.filter(at__lt=before, number__lt=chain.last_number).order_by("number")
            events = list(rows[:SEAL_STEP])
            if not events:
                return taken
            _require_whole(chain, events)
            last = events[-1]
            # The manager refuses to delete history; this is the one way around it.
            AuditEvent.objects.filter(number__lte=last.number)._raw_delete(using="default")
            chain.sealed_number, chain.sealed_hash = last.number, last.hash
            chain.save()
            data = {
                "events": len(events),
                "up_to": f"{last.number}:{last.hash}",
                "last_at": last.at.isoformat(),
            }
            record(SEAL, "audit:chain", actor=actor, data=data, source=source)
            taken += len(events)


def _require_whole(chain: AuditChain, events: list[AuditEvent]) -> None:
    expected, number = chain.sealed_hash, chain.sealed_number
    for event in events:
        number += 1
        if event.number != number or event.prev_hash != expected or event_hash(event) != event.hash:
            raise Conflict(
                f"The history is broken at event {number}, so nothing of it is taken out.",
                code="history_broken",
                remedy="Look at it with manage.py verify_audit.",
            )
        expected = event.hash


__all__ = ["GENESIS", "SEAL", "Head", "broken_links", "event_hash", "head", "record", "seal", "wait_for_turn"]
