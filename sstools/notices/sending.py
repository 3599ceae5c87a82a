"""Sending what waits: one job at a time, each delivery again and again with growing pauses, then given up."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import smtplib
import time
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from sstools import outbound
from sstools.audit.redact import HIDDEN, redact_text
from sstools.errors import SSToolsError
from sstools.jobs import services as jobs
from sstools.jobs.models import Priority

from .models import Delivery, DeliveryState, Notice, Webhook

logger = logging.getLogger(__name__)

KIND = "notices.send"
LOOK_SECONDS = 10
#: Minutes between attempts; after the last one it is given up.
PAUSES = (1, 2, 5, 15, 60, 180, 600)
AT_ONCE = 50  # deliveries of one job; the next job goes on
KEEP_DAYS = 90
SHORTEST_KEY = 6  # parts of an address that are shorter ("hook", "v1") are no keys


def ask_for_sending() -> None:
    """A job for what is due, unless one is at it already: that one looks again before it ends."""
    if Delivery.objects.filter(state=DeliveryState.WAITING, next_at__lte=timezone.now()).exists():
        jobs.enqueue(KIND, {}, actor=None, join_key=KIND, source="schedule", priority=Priority.NORMAL)


def send_due(ctx: Any) -> dict[str, int]:
    """Send what is due. A delivery that fails costs its own pause and nobody else's."""
    counts = {"sent": 0, "failed": 0}
    due = Delivery.objects.filter(state=DeliveryState.WAITING)
    for _ in range(AT_ONCE):
        row = due.filter(next_at__lte=timezone.now()).order_by("next_at", "pk").first()
        if row is None:
            break
        ctx.step("Send notices", done=sum(counts.values()))
        # Taken before it is sent: a worker that dies in between costs a pause, and not a second mail at once.
        pause = PAUSES[min(row.attempts, len(PAUSES) - 1)]
        with ctx.fenced():
            taken = due.filter(pk=row.pk, attempts=row.attempts).update(
                attempts=F("attempts") + 1, next_at=timezone.now() + timedelta(minutes=pause)
            )
        if not taken:
            continue
        delivery = Delivery.objects.select_related("notice", "user", "webhook").get(pk=row.pk)
        answer, is_sent = _attempt(delivery)
        counts["sent" if is_sent else "failed"] += 1
        values: dict[str, Any] = {"answer": redact_text(answer)[:300]}
        if is_sent:
            values |= {"state": DeliveryState.SENT, "sent_at": timezone.now()}
        elif delivery.attempts > len(PAUSES):
            values["state"] = DeliveryState.FAILED
        with ctx.fenced():
            Delivery.objects.filter(pk=delivery.pk).update(**values)
        if not is_sent:
            to = delivery.webhook or delivery.user
            ctx.log("warning", f"“{delivery.notice}” did not reach {to}: {answer}")
    return counts


def _attempt(delivery: Delivery) -> tuple[str, bool]:
    """(what became of it, whether it arrived)"""
    try:
        if delivery.webhook is not None:
            return _call(delivery)
        return _mail(delivery)
    except SSToolsError as error:
        return error.message, False
    except (smtplib.SMTPException, OSError) as error:
        return f"The mail server did not take it: {type(error).__name__}", False


def _call(delivery: Delivery) -> tuple[str, bool]:
    hook, notice = delivery.webhook, delivery.notice
    assert hook is not None
    if not hook.is_enabled and notice.event != "webhook.test":
        return "The webhook is switched off.", False
    body = json.dumps(payload(notice), ensure_ascii=False).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "ss-tools",
        "X-SSTools-Event": notice.event,
        "X-SSTools-Delivery": str(
            delivery.uuid
        ),  # the same at each attempt: by it the receiver knows a repetition
    }
    if hook.secret:
        headers["X-SSTools-Signature"] = sign(str(hook.secret), body, int(time.time()))
    status, text = outbound.post(str(hook.url), body, headers)
    if 200 <= status < 300:
        return str(status), True
    said = " ".join(_without_credentials(text, hook).split())[:100]
    return f"answered {status}{f': {said}' if said else ''}", False


def _without_credentials(text: str, hook: Webhook) -> str:
    """What the other side said, should it repeat the address (chat services have the key in it) or the secret."""
    url = urlsplit(str(hook.url))
    whole = [str(hook.url), url.path, url.query, url.netloc.rpartition("@")[0], str(hook.secret)]
    parts = {*whole, *url.path.split("/"), *(value for _, value in parse_qsl(url.query))}
    shapes = {shape for part in parts for shape in (part, quote(part), quote(part, safe=""), unquote(part))}
    for shape in sorted(shapes, key=len, reverse=True):
        if len(shape) >= SHORTEST_KEY:
            text = text.replace(shape, HIDDEN)
    return text


def payload(notice: Notice) -> dict[str, Any]:
    """What a webhook gets. `text` is what chat services show."""
    return {
        "id": str(notice.uuid),
        "event": notice.event,
        "at": notice.created_at.isoformat(),
        "title": notice.title,
        "text": f"{notice.title}\n{notice.text}".strip() + (f"\n{link}" if (link := address(notice)) else ""),
        "url": link,
        "data": notice.data,
    }


def sign(secret: str, body: bytes, moment: int) -> str:
    """ "t=<seconds>,v1=<hex>": HMAC-SHA256 of "<seconds>.<body>". A receiver refuses what is older than minutes."""
    mac = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256)
    return f"t={moment},v1={mac.hexdigest()}"


def address(notice: Notice) -> str:
    """The page about it; "" where ss-tools does not know its own address."""
    return f"{settings.PUBLIC_URL}{notice.path}" if settings.PUBLIC_URL and notice.path else ""


def _mail(delivery: Delivery) -> tuple[str, bool]:
    user, notice = delivery.user, delivery.notice
    assert user is not None
    if not user.is_active or not user.email:
        return "Switched off, or without an address.", False
    lines = [notice.title, "", *([notice.text, ""] if notice.text else [])]
    if link := address(notice):
        lines += [link, ""]
    lines += ["--", "ss-tools. What you are mailed of is your choice: "]
    lines[-1] += (
        f"{settings.PUBLIC_URL}{reverse('notices:mine')}" if settings.PUBLIC_URL else "Preferences, Notices."
    )
    with get_connection(timeout=outbound.READ_SECONDS) as connection:
        EmailMessage(
            subject=f"[ss-tools] {notice.title}"[:200],
            body="\n".join(lines),
            from_email=settings.DEFAULT_FROM_EMAIL,
            to=[user.email],
            headers={"Message-ID": f"<{delivery.uuid}@ss-tools>", "Auto-Submitted": "auto-generated"},
            connection=connection,
        ).send()
    return "sent", True


def forget_old() -> None:
    """Notices are news, not history: the audit keeps what happened."""
    Notice.objects.filter(created_at__lt=timezone.now() - timedelta(days=KEEP_DAYS)).exclude(
        deliveries__state=DeliveryState.WAITING
    ).delete()
