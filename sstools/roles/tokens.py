"""Tokens for programs."""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from sstools.audit import services as audit
from sstools.errors import Invalid, NotAllowed, NotFoundError
from sstools.resources import EVERYTHING

from . import accounts, places, policy
from .models import ApiToken, Source
from .permissions import Permission

TOKEN_MARK = "sst_"  # noqa: S105  what our tokens begin with: secret scanners can look for it
LAST_USED_STEP = timedelta(minutes=1)  # `last_used_at` is written at most this often


#: What forms offer: days and words.
LIVES = [("7", "a week"), ("30", "30 days"), ("90", "90 days"), ("365", "a year"), ("", "for ever")]


@transaction.atomic
def create_token(
    user: Any,
    *,
    name: str,
    days: int | None = None,
    permissions: Iterable[str] = (),
    scopes: Iterable[str] = (),
    actor: Any = None,
    source: str = "page",
) -> tuple[ApiToken, str]:
    """A new token of `user`: the row, and the text that is shown this once. It lives `days`, or for ever.

    permissions, scopes (resource names): what it may do at most, and where; empty: as much as the user may. Both are
    held against the user's rights at each use, so a token never outlives a right. actor: who makes it; of somebody else
    only for service accounts, with `access:edit`.
    Raises NotAllowed; Invalid.
    """
    actor = actor or user
    if actor.pk != user.pk:
        policy.require(actor, Permission.ACCESS_EDIT)
        if accounts.source_of(user) != Source.PROGRAM:
            raise NotAllowed(
                "Nobody makes tokens of somebody else.",
                remedy="They make their own; programs have service accounts.",
            )
    if policy.is_narrowed(actor):
        raise NotAllowed(
            "A token that was narrowed makes no tokens.", code="token_narrowed", remedy="Sign in to make one."
        )
    wanted, places_wanted = sorted(set(permissions)), sorted(set(scopes) - {EVERYTHING})
    errors: dict[str, list[str]] = {}
    if unknown := set(wanted) - {str(permission) for permission in Permission}:
        errors["permissions"] = [f"There is no permission {sorted(unknown)[0]}."]
    known = {place.resource_name for place in places.seen_by(actor)}
    if foreign := set(places_wanted) - known:
        errors["scopes"] = [f"There is no {sorted(foreign)[0]}, or you may not see it."]
    if settings.TOKEN_MAX_DAYS and (days is None or days > settings.TOKEN_MAX_DAYS):
        errors["days"] = [f"At most {settings.TOKEN_MAX_DAYS} days here."]
    if errors:
        raise Invalid("Some values are not right.", errors=errors)
    text = TOKEN_MARK + secrets.token_urlsafe(32)
    row = ApiToken.objects.create(
        user=user,
        name=name.strip()[:100] or "token",
        prefix=text[:12],
        hash=_hash(text),
        expires_at=timezone.now() + timedelta(days=days) if days else None,
        permissions=wanted,
        scopes=places_wanted,
        created_by=actor,
    )
    data = {"name": row.name, "days": days, "of": user.get_username(), "rights": wanted, "on": places_wanted}
    audit.record("token:create", row, actor=actor, data=data, source=source)
    return row, text


@transaction.atomic
def revoke_token(token_id: int, *, actor: Any, source: str = "page") -> None:
    """End a token at once. One's own; anybody's with `access:edit`. Raises NotFoundError; ending it twice is fine."""
    rows = (
        ApiToken.objects.all()
        if policy.can(actor, Permission.ACCESS_EDIT)
        else ApiToken.objects.filter(user=actor)
    )
    row = rows.filter(pk=token_id).first()
    if row is None:
        raise NotFoundError()
    if row.revoked_at is None:
        row.revoked_at = timezone.now()
        row.save(update_fields=["revoked_at"])
        audit.record("token:revoke", row, actor=actor, data={"name": row.name}, source=source)


def token_for(text: str) -> ApiToken | None:
    """The usable token that `text` is, its user loaded; None if there is none or its user is disabled."""
    if not text.startswith(TOKEN_MARK):
        return None
    token = ApiToken.objects.select_related("user").filter(hash=_hash(text)).first()
    if token is None or not token.is_usable or not token.user.is_active:
        return None
    policy.narrow(token.user, token.permissions, token.scopes)
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > LAST_USED_STEP:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
