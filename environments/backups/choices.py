"""What somebody ticked on another page to back it up: thousands of names do not fit into an address or a form."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import HttpRequest
from django.urls import reverse

from environments.models import Environment
from sstools.errors import Conflict

_KEY = "backup_choice"


def keep(request: HttpRequest, environment: Environment, assets: Sequence[str]) -> str:
    """Remember these ("dashboard:<uuid>", …) for this person. Returns the address of the page that backs them up."""
    request.session[_KEY] = {"env": environment.slug, "assets": list(assets)}
    return f"{reverse('backups:new')}?chosen={environment.slug}"


def kept(request: HttpRequest) -> list[str] | None:
    """What `?chosen=<slug>` means; None where it is not asked for. Raises Conflict where it is not known any more: all
    of the environment would be something else.
    """
    slug = request.GET.get("chosen")
    if slug is None:
        return None
    found = request.session.get(_KEY) or {}
    if found.get("env") != slug:
        raise Conflict(
            "What was chosen is not known any more. No backup was taken.",
            code="choice_gone",
            remedy="Tick it again, and choose Back up.",
        )
    return [str(key) for key in found["assets"]]
