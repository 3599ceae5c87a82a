"""Row-level security: who sees which rows of a dataset."""

from __future__ import annotations

from environments.canonical.companions import Companion, CompanionKind
from environments.canonical.documents import Kind
from environments.superset.client import SupersetClient

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
        body = {
            "name": str(row["name"]),
            "description": row.get("description") or None,
            "filter_type": str(row.get("filter_type") or "Regular"),
            "clause": str(row.get("clause") or ""),
            "group_key": row.get("group_key") or None,
            "tables": sorted(uuid for uuid in tables.values() if uuid),
            "roles": sorted({str(role["name"]) for role in row.get("roles") or ()}),
        }
        rule = Companion.of(CompanionKind.RLS, body)
        if None in tables.values():
            text = f"The rule “{rule.title}” is about a dataset that the account does not see; it is carried without."
            reader.note("unresolved_id", rule.uuid, text)
        reader.add(rule, row["id"])


def _write(
    client: SupersetClient, companion: Companion, existing: CompanionId | None, lookup: Lookup
) -> CompanionId:
    """Sets all datasets and roles of the rule: what the body does not name is not under it any more, except what the
    account does not see and so could not read.
    """
    body = companion.body
    unseen = _unseen(client, int(existing), lookup) if existing is not None else set()
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


def _unseen(client: SupersetClient, rule: int, lookup: Lookup) -> set[int]:
    """Datasets that the rule protects and the account does not see: a PUT without them would open them."""
    tables = {int(table["id"]) for table in client.get("rowlevelsecurity", rule).get("tables") or ()}
    unknown = {number for number in tables if lookup.assets.uuid_of(Kind.DATASET, number) is None}
    seen = {row["id"] for row in client.list_rows("dataset", ("id",), unknown)} if unknown else set()
    return unknown - seen


def _delete(client: SupersetClient, companion: Companion, existing: CompanionId) -> None:
    client.delete("rowlevelsecurity", existing)


RLS = Adapter(_read, _write, _delete)
