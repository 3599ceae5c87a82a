"""Publishing notices, and who wants which."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from sstools import outbound
from sstools.audit import services as audit
from sstools.audit.redact import redact, redact_text
from sstools.errors import Conflict, Invalid, NotAllowed
from sstools.resources import EVERYTHING, resource_name
from sstools.roles import places, policy
from sstools.roles.permissions import Permission

from . import events, sending
from .models import Delivery, DeliveryState, Notice, Webhook, Wish

TITLE_LENGTH = 300


@transaction.atomic
def publish(
    event: str,
    *,
    title: str,
    text: str = "",
    path: str = "",
    about: Iterable[Any] = (),
    people: Iterable[Any] = (),
    webhooks: Iterable[Webhook] = (),
    data: dict[str, Any] | None = None,
) -> Notice | None:
    """Tell of something; in the transaction of the deed, so that one is told of it exactly if it happened.

    about: objects or resource names that it concerns; decides which webhooks and which other people are told.
    people: whose own matter it is. webhooks: told in any case, as a route says.
    Returns None if nobody wants to know. Raises KeyError for an event that nobody registered.
    """
    known = events.find(event)
    names = [resource_name(obj) for obj in about]
    readers = _readers(known, names, [user for user in people if user is not None])
    hooks = {hook.pk: hook for hook in _webhooks(event, names)} | {hook.pk: hook for hook in webhooks}
    if not readers and not hooks:
        return None
    notice = Notice.objects.create(
        event=event,
        title=redact_text(" ".join(title.split()))[:TITLE_LENGTH],
        text=redact_text(text),
        path=path,
        data=redact(data or {}),
    )
    Delivery.objects.bulk_create(
        [Delivery(notice=notice, user=user) for user in readers]
        + [Delivery(notice=notice, webhook=hook) for hook in hooks.values()]
    )
    sending.ask_for_sending()
    return notice


def _readers(event: events.Event, names: list[str], people: list[Any]) -> list[Any]:
    """Whose own matter it is, unless they do not want that; and whoever wants to know of all and may see it."""
    if not settings.MAIL_ENABLED:
        return []
    mine = {user.pk: user for user in people}
    wishes = {wish.user_id: wish for wish in Wish.objects.filter(event=event.key).select_related("user")}
    found = [
        user
        for pk, user in mine.items()
        if user.is_active and (wishes[pk].mine if pk in wishes else event.mails_you)
    ]
    found += [
        wish.user
        for pk, wish in wishes.items()
        if wish.others and pk not in mine and wish.user.is_active and _may_see(wish.user, event, names)
    ]
    return [user for user in found if user.email]


def _may_see(user: Any, event: events.Event, names: list[str]) -> bool:
    where = policy.scopes(user, event.permission)
    return where.everything or any(name in where.resources for name in names)


def _webhooks(event: str, names: list[str]) -> list[Webhook]:
    rows = Webhook.objects.filter(is_enabled=True, scope__in=[EVERYTHING, *names])
    return [hook for hook in rows if not hook.events or event in hook.events]


# --- What one wants to be told -----------------------------------------------------------------------------------


def wishes_of(user: Any) -> list[Wish]:
    """One per event, as it counts now."""
    rows = {wish.event: wish for wish in Wish.objects.filter(user=user)}
    return [
        rows.get(event.key) or Wish(user=user, event=event.key, mine=event.mails_you)
        for event in events.all_events()
        if event is not events.TEST
    ]


@transaction.atomic
def set_wishes(user: Any, mine: Iterable[str], others: Iterable[str]) -> None:
    """What `user` is mailed of from now on, by keys of events. Raises Invalid for one that there is not; NotAllowed for
    a token that was narrowed: whoever found it must not be able to silence its owner.
    """
    if policy.is_narrowed(user):
        raise NotAllowed("A token that was narrowed changes no notices.", code="token_narrowed")
    known = {event.key for event in events.all_events()}
    mine, others = set(mine), set(others)
    if unknown := (mine | others) - known:
        raise Invalid(f"There is no event {sorted(unknown)[0]}.")
    for key in known - {events.TEST.key}:
        Wish.objects.update_or_create(
            user=user, event=key, defaults={"mine": key in mine, "others": key in others}
        )


# --- Webhooks ------------------------------------------------------------------------------------------------------


def save_webhook(
    webhook: Webhook | None, values: dict[str, Any], *, actor: Any, source: str = "page"
) -> Webhook:
    """Make or change a webhook. values: name, url, secret, events, scope, is_enabled; what is absent stays.

    An empty url or secret keeps the stored one. Raises NotAllowed; AddressRefused; Invalid.
    """
    before = _shown(webhook) if webhook is not None else None
    hook = webhook or Webhook(created_by=actor)
    if webhook is not None:
        policy.require(actor, Permission.WEBHOOK_EDIT, webhook.scope)
    for name in ("name", "events", "scope", "is_enabled"):
        if name in values:
            setattr(hook, name, values[name])
    policy.require(actor, Permission.WEBHOOK_EDIT, hook.scope)
    _check(hook, actor)
    url = str(values.get("url") or "").strip()
    if not url and not hook.url:
        raise Invalid("Some values are not right.", errors={"url": ["The address is missing."]})
    if url:
        outbound.check(url)  # looks the name up: not inside of the transaction
        hook.url, hook.host = url, urlsplit(url).hostname or ""
    if values.get("secret"):
        hook.secret = str(values["secret"])
    try:
        with transaction.atomic():
            hook.save()
            hidden = {name: "changed" for name in ("url", "secret") if values.get(name)}
            data = {"after": _shown(hook)} | ({"before": before} if before else {}) | hidden
            audit.record(
                "webhook:update" if before else "webhook:create", hook, actor=actor, data=data, source=source
            )
    except IntegrityError:
        raise Invalid(
            "Some values are not right.", errors={"name": ["There is such a webhook already."]}
        ) from None
    return hook


def _check(hook: Webhook, actor: Any) -> None:
    errors: dict[str, list[str]] = {}
    hook.name = hook.name.strip()
    if not hook.name or len(hook.name) > 100:
        errors["name"] = ["A name of at most 100 characters."]
    known = {event.key for event in events.all_events()}
    if not isinstance(hook.events, list) or not set(map(str, hook.events)) <= known:
        errors["events"] = ["There is no such event."]
    if hook.scope != EVERYTHING and places.find(hook.scope, actor) is None:
        errors["scope"] = ["There is no such environment, or you may not see it."]
    if errors:
        raise Invalid("Some values are not right.", errors=errors)


def _shown(hook: Webhook) -> dict[str, Any]:
    return {
        "name": hook.name,
        "host": hook.host,
        "events": hook.events,
        "scope": hook.scope,
        "is_enabled": hook.is_enabled,
    }


@transaction.atomic
def delete_webhook(webhook: Webhook, *, actor: Any, source: str = "page") -> None:
    """Raises NotAllowed."""
    policy.require(actor, Permission.WEBHOOK_EDIT, webhook.scope)
    audit.record("webhook:delete", webhook, actor=actor, data=_shown(webhook), source=source)
    webhook.delete()


@transaction.atomic
def try_webhook(webhook: Webhook, *, actor: Any, source: str = "page") -> Delivery:
    """Send it a notice now, whatever it wants to know of. Raises NotAllowed."""
    policy.require(actor, Permission.WEBHOOK_EDIT, webhook.scope)
    notice = Notice.objects.create(
        event=events.TEST.key,
        title=f"{actor.get_username()} tries the webhook {webhook.name}",
        text="If you can read this, it works.",
    )
    delivery = Delivery.objects.create(notice=notice, webhook=webhook)
    audit.record("webhook:test", webhook, actor=actor, source=source)
    sending.ask_for_sending()
    return delivery


@transaction.atomic
def send_again(delivery: Delivery, *, actor: Any, source: str = "page") -> None:
    """Try once more what was given up. Raises NotAllowed; Conflict("not_given_up")."""
    hook = delivery.webhook
    policy.require(actor, Permission.WEBHOOK_EDIT, hook.scope if hook else None)
    again = Delivery.objects.filter(pk=delivery.pk, state=DeliveryState.FAILED)
    if not again.update(state=DeliveryState.WAITING, attempts=0, next_at=timezone.now()):
        raise Conflict("This was not given up.", code="not_given_up")
    audit.record("webhook:again", hook or "notice", actor=actor, source=source)
    sending.ask_for_sending()


def mail_problem(user: Any) -> str:
    """Why `user` gets no mail, in words; "" if nothing is in the way."""
    if not settings.MAIL_ENABLED:
        return "Mail is not configured here (SSTOOLS_MAIL_URL)."
    return "" if user.email else "Your account has no mail address."
