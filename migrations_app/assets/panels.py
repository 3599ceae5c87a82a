"""Cards of plugins on the pages of assets. Each is made in the plugin's process when somebody looks."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from environments.for_plugins import as_place
from environments.store import get_documents
from sstools.errors import Unavailable
from sstools.plugins import host, services
from sstools.plugins.models import Plugin
from sstools.resources import resource_name

from .families import Family, Member

#: At the same time in one process of the web server: panels that take long must leave threads for all other pages.
AT_ONCE = 2
_places = threading.BoundedSemaphore(AT_ONCE)
WAIT_SECONDS = 2.0


@dataclass(frozen=True)
class Card:
    """A panel that the reader may see, of the asset as it is on one environment."""

    plugin: Plugin
    panel: dict[str, Any]
    member: Member

    @property
    def id(self) -> str:
        return f"panel-{self.plugin.name}-{self.panel['name']}"


def panels_of(family: Family, member: Member | None, user: Any) -> list[Card]:
    """Those of plugins that are enabled there for the user; none for what was not read with its content."""
    if member is None or member.asset is None or member.asset.document_id is None:
        return []
    scope = resource_name(member.environment)
    return [
        Card(plugin, panel, member)
        for plugin in services.enabled_on(scope)
        if any(family.kind.value in one["kinds"] for one in plugin.manifest["panels"])
        and services.may_use(user, plugin, scope)
        for panel in plugin.manifest["panels"]
        if family.kind.value in panel["kinds"]
    ]


def shown(card: Card, family: Family) -> dict[str, Any]:
    """What it answers, as extension.Result in JSON. Raises PluginFailed; Unavailable while others are being made."""
    asset = card.member.asset
    assert asset is not None
    assert asset.document_id is not None
    given = {
        "settings": services.settings_of(card.plugin),
        "environment": as_place(card.member.environment),
        "asset": {
            "kind": family.kind.value,
            "uuid": asset.uuid,
            "title": asset.title,
            "body": get_documents([asset.document_id])[asset.document_id].body,
        },
    }
    if not _places.acquire(timeout=WAIT_SECONDS):
        raise Unavailable("Other panels are being made just now.", code="plugin_busy")
    try:
        answer: dict[str, Any] = host.call(
            card.plugin.found,
            "panel",
            item=card.panel["name"],
            given=given,
            seconds=float(card.panel["seconds"]),
            secrets=services.secrets_of(card.plugin),
        )
    except host.PluginFailed as failed:
        services.note_failure(card.plugin, f"panel {card.panel['name']}", failed)
        raise
    finally:
        _places.release()
    return answer
