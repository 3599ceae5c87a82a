"""Webhooks of forges: they say that something is new, and nothing that they say is believed beyond that."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from django.conf import settings
from django.db import transaction
from django.urls import reverse

from sstools.audit import services as audit
from sstools.jobs.models import Source
from sstools.roles import policy
from sstools.roles.permissions import Permission

from .following import look_at_branch
from .models import Repository

#: A push of very many commits is bigger: then the next poll finds it.
MOST_BYTES = 2 * 2**20
#: A delivery that was seen does nothing when it is sent again.
KEPT = 200


def address_of(repository: Repository, here: str) -> str:
    """Where a forge sends its webhooks: as SSTOOLS_PUBLIC_URL has it, else at `here` ("https://host/")."""
    return f"{settings.PUBLIC_URL or here.rstrip('/')}{reverse('git:hook', args=[repository.uuid])}"


@transaction.atomic
def make_secret(repository: Repository, *, actor: Any, source: str = Source.PAGE) -> str:
    """A new secret for the repository's webhooks, given once; the one before is taken no more. Raises NotAllowed."""
    policy.require(actor, Permission.REPOSITORY_EDIT)
    text = secrets.token_urlsafe(32)
    Repository.objects.filter(pk=repository.pk).update(hook_secret=text, hooks_seen=[])
    audit.record("repository:webhook_secret", repository, actor=actor, data={}, source=source)
    repository.refresh_from_db()
    return text


@transaction.atomic
def forget_secret(repository: Repository, *, actor: Any, source: str = Source.PAGE) -> None:
    """Take no webhooks any more. Raises NotAllowed."""
    policy.require(actor, Permission.REPOSITORY_EDIT)
    Repository.objects.filter(pk=repository.pk).update(hook_secret="", hooks_seen=[])
    audit.record("repository:webhook_off", repository, actor=actor, data={}, source=source)
    repository.refresh_from_db()


def receive(uuid: Any, body: bytes, headers: Mapping[str, str]) -> bool:
    """Whether a delivery is signed as it should be; then every follow of the branch that it names looks.

    The same answer, after the same work, for a repository that is not there, that takes no webhooks, and for a wrong
    signature. A delivery that was seen before does nothing.
    """
    row = Repository.objects.filter(uuid=uuid).first()
    secret = str(row.hook_secret or "") if row is not None else ""
    is_good = _is_signed(body, headers, secret or secrets.token_urlsafe(32))
    if row is None or not secret or not is_good:
        return False
    branch = _branch(body, headers)
    mark = hashlib.sha256(body).hexdigest()
    with transaction.atomic():
        row = Repository.objects.select_for_update().get(pk=row.pk)
        if branch and mark not in row.hooks_seen:
            row.hooks_seen = [*row.hooks_seen, mark][-KEPT:]
            row.save(update_fields=["hooks_seen"])
            look_at_branch(row, branch)
    return True


def _is_signed(body: bytes, headers: Mapping[str, str], secret: str) -> bool:
    """GitHub and Gitea sign the body, GitLab sends the secret along."""
    wanted = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    given = headers.get("X-Hub-Signature-256", "").removeprefix("sha256=") or headers.get(
        "X-Gitea-Signature", ""
    )
    token = headers.get("X-Gitlab-Token", "")
    is_signed = hmac.compare_digest(given.encode(), wanted.encode())
    has_token = hmac.compare_digest(token.encode(), secret.encode())
    return is_signed or has_token


def _branch(body: bytes, headers: Mapping[str, str]) -> str:
    """The branch that was pushed to, "" for anything else."""
    try:
        text = body.decode()
        if headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
            text = parse_qs(text).get("payload", [""])[0]
        found = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    ref = found.get("ref") if isinstance(found, dict) else None
    return ref.removeprefix("refs/heads/") if isinstance(ref, str) and ref.startswith("refs/heads/") else ""
