"""Where the pages of an asset lead to."""

from __future__ import annotations

from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse

from environments.canonical.documents import Kind
from environments.models import Environment


def compare_url(kind: Kind, uuid: str, left: Environment, right: Environment) -> str:
    """The comparison of one asset between two environments; "" where that page is not installed."""
    query = urlencode({"left": f"env:{left.slug}", "right": f"env:{right.slug}"})
    try:
        return f"{reverse('comparing:asset', args=[kind.value, uuid])}?{query}"
    except NoReverseMatch:
        return ""


def migration_url(kind: Kind, uuid: str, source: Environment, target: Environment) -> str:
    """A new migration with this asset in it."""
    asset = f"{source.slug}:{kind.value}:{uuid}"
    query = urlencode({"source": source.slug, "target": target.slug, "asset": asset})
    return f"{reverse('migrations_app:new')}?{query}"
