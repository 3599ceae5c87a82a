"""Writing history."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from django.db import transaction
from django.utils import timezone

from sstools import logs
from sstools.resources import resource_name

from .models import GENESIS, AuditChain, AuditEvent
from .redact import redact


@transaction.atomic
def record(
    action: str, obj: Any, *, actor: Any, data: dict[str, Any] | None = None, source: str = ""
) -> AuditEvent:
    """Add a line to the history: `actor` (a user, or None for ss-tools itself) did `action` ("noun:verb") to `obj`.

    Call it last in the service's own transaction, so that the line and the deed commit together: from here to the
    commit all other writers of history wait.
    """
    chain = wait_for_turn()
    request = logs.request_id.get()
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
    """SHA-256 over the event's values and the hash before it, in a form that any program can repeat."""
    values = [
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
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def broken_links() -> Iterator[tuple[int, str]]:
    """The places where the history does not fit together: (number, what is wrong). Nothing if it is whole."""
    before, number = GENESIS, 0
    for event in AuditEvent.objects.order_by("number").iterator(chunk_size=500):
        number += 1
        if event.number != number:
            yield number, f"events {number} to {event.number - 1} are missing"
            number = event.number
        elif event.prev_hash != before:
            yield event.number, "does not follow the event before it"
        if event_hash(event) != event.hash:
            yield event.number, "was changed after it was written"
        before = event.hash
    chain = AuditChain.objects.filter(pk=1).first()
    if chain is not None and (chain.last_number, chain.last_hash) != (number, before):
        yield number + 1, "the end of the history is missing"
