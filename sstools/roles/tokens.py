"""Tokens for programs."""

import hashlib
import secrets
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from sstools.audit import services as audit
from sstools.errors import NotFoundError

from . import policy
from .models import ApiToken
from .permissions import Permission

TOKEN_MARK = "sst_"  # noqa: S105  what our tokens begin with: secret scanners can look for it
LAST_USED_STEP = timedelta(minutes=1)  # `last_used_at` is written at most this often


@transaction.atomic
def create_token(
    user: Any, *, name: str, days: int | None = None, source: str = "page"
) -> tuple[ApiToken, str]:
    """A new token of `user`: the row, and the text that is shown this once. It lives `days`, or for ever."""
    text = TOKEN_MARK + secrets.token_urlsafe(32)
    row = ApiToken.objects.create(
        user=user,
        name=name[:100] or "token",
        prefix=text[:12],
        hash=_hash(text),
        expires_at=timezone.now() + timedelta(days=days) if days else None,
    )
    audit.record("token:create", row, actor=user, data={"name": row.name, "days": days}, source=source)
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
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > LAST_USED_STEP:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
