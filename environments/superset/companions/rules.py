"""Row-level security: who sees which rows of a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from environments.canonical.companions import Companion, CompanionKind
from environments.canonical.documents import Kind
from environments.superset.client import SupersetClient
from environments.superset.errors import SupersetRefused

from .reading import Adapter, CompanionId, Lookup, Reader


def _read(reader: Reader) -> None:
    """One request per hundred rules. Asked for without columns: asking for them drops the description and the schemas,
    which only the list's own schema has (L4.1 L6.1).
    """
    for row in reader.client.list_rows("rowlevelsecurity", ()):
        tables = {
            int(table["id"]): reader.uuid_of(Kind.DATASET, table["id"]) for table in row.get("tables") or ()
        }
        if not reader.matters(uuid for uuid in tables.values() if uuid):
            continue
        rule = _rule(row, tables.values())
        if None in tables.values():
            text = f"The rule “{rule.title}” is about a dataset that the account does not see; it is carried without."
            reader.note("unresolved_id", rule.uuid, text)
        reader.add(rule, row["id"])


def _rule(row: Mapping[str, Any], tables: Iterable[str | None]) -> Companion:
    body = {
        "name": str(row["name"]),
        "description": row.get("description") or None,
        "filter_type": str(row.get("filter_type") or "Regular"),
        "clause": str(row.get("clause") or ""),
        "group_key": row.get("group_key") or None,
        "tables": sorted(uuid for uuid in tables if uuid),
        "roles": sorted({str(role["name"]) for role in row.get("roles") or ()}),
    }
    return Companion.of(CompanionKind.RLS, body)


def _write(
    client: SupersetClient, companion: Companion, existing: CompanionId | None, lookup: Lookup
) -> CompanionId:
    """Sets all datasets and roles of the rule: what the body does not name is not under it any more, except what the
    account does not see and so could not read. One that somebody edited since it was read is left as it is.
    """
    body = companion.body
    unseen: set[int] = set()
    if existing is not None:
        row = client.get("rowlevelsecurity", int(existing))
        _must_be_as_seen(row, companion, lookup)
        unseen = _unseen(client, row, lookup)
    fields = {
        "name": body["name"],
        "description": body["description"],
        "filter_type": body["filter_type"],
        "clause": body["clause"],
        "group_key": body["group_key"] or "",
        "tables": sorted({lookup.asset(Kind.DATASET, uuid) for uuid in body["tables"]} | unseen),
        "roles": lookup.role_ids(body["roles"]),
    }
    if existing is None:
        return client.create("rowlevelsecurity", fields)
    client.update("rowlevelsecurity", existing, fields)
    return existing


def _must_be_as_seen(row: Mapping[str, Any], companion: Companion, lookup: Lookup) -> None:
    """Raises SupersetRefused(edited_meanwhile). Nothing in Superset holds a rule still, so this is as close to the PUT
    as it gets.
    """
    seen = lookup.seen.get(companion.uuid)
    if seen is None:
        return
    assets = lookup.assets
    now = _rule(row, (assets.uuid_of(Kind.DATASET, int(table["id"])) for table in row.get("tables") or ()))
    if now.body != seen.body:
        text = f"Somebody edited the rule “{seen.title}” on this Superset while it was about to be written. It was not."
        raise SupersetRefused(text, code="edited_meanwhile")


def _unseen(client: SupersetClient, row: Mapping[str, Any], lookup: Lookup) -> set[int]:
    """Datasets that the rule protects and the account does not see: a PUT without them would open them."""
    tables = {int(table["id"]) for table in row.get("tables") or ()}
    unknown = {number for number in tables if lookup.assets.uuid_of(Kind.DATASET, number) is None}
    seen = {row["id"] for row in client.list_rows("dataset", ("id",), unknown)} if unknown else set()
    return unknown - seen


def _delete(client: SupersetClient, companion: Companion, existing: CompanionId) -> None:
    client.delete("rowlevelsecurity", existing)


RLS = Adapter(_read, _write, _delete)
