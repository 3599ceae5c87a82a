"""Companions in words: what differs between two, field by field."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from environments.canonical.companions import Companion, person_name
from environments.canonical.documents import canonical_json
from migrations_app.engine.sentences import shown

_FIELDS = {
    "users": "owners",
    "filter_type": "kind",
    "group_key": "group",
    "crontab": "schedule",
    "allowed_domains": "domains",
    "validator_config": "condition",
    "validator_type": "condition’s kind",
    "json_data": "content",
    "active": "switched on",
}


def sentences_of(before: Companion | None, after: Companion | None) -> tuple[str, ...]:
    """What a companion's own list of changes says, field by field."""
    return tuple(said for *_, said in changed_fields(before, after))


def changed_fields(before: Companion | None, after: Companion | None) -> list[tuple[str, str, str, str]]:
    """(field, before, after, sentence) of what differs, all for people; "" where it was not there."""
    one = before.body if before is not None else {}
    other = after.body if after is not None else {}
    found: list[tuple[str, str, str, str]] = []
    for name in (*other, *(key for key in one if key not in other)):
        if name in ("asset", "uuid", "type") or canonical_json(one.get(name)) == canonical_json(
            other.get(name)
        ):
            continue
        was, now = _value(name, one.get(name)), _value(name, other.get(name))
        label = _FIELDS.get(name, name.replace("_", " "))
        if before is None:
            if other.get(name) not in (None, "", [], {}):
                found.append((label, "", now, f"{label}: {now}"))
        elif after is None:
            if one.get(name) not in (None, "", [], {}):
                found.append((label, was, "", f"{label}: {was} removed"))
        elif was != now:
            found.append((label, was, now, f"{label}: {was} → {now}"))
        else:
            found.append((label, was, now, f"{label} changed"))
    return found


def _value(name: str, value: Any) -> str:
    if name in ("users", "owners") and isinstance(value, list):
        return some([person_name(one) for one in value]) or "nobody"
    if name == "recipients" and isinstance(value, list):
        return some([str(one.get("target")) for one in value]) or "nobody"
    if name == "tables" and isinstance(value, list):
        return f"{len(value)} {'dataset' if len(value) == 1 else 'datasets'}"
    if name == "theme" and isinstance(value, Mapping):
        return f"“{value.get('name')}”"
    if name == "allowed_domains" and value == []:
        return "every domain"
    return shown(value)


def some(names: Collection[str]) -> str:
    """The first five, and how many more."""
    listed = list(names)
    more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return ", ".join(listed[:5]) + more
