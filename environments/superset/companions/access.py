"""Which roles may use which datasets and connections, where the security API is on.

Permissions name the id ("[Warehouse].[orders](id:12)"), so a dataset that is new on a target has one that no role has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from environments.canonical.companions import FACETS, Companion, CompanionKind
from environments.canonical.documents import Kind
from environments.superset.client import SupersetClient

from .reading import Adapter, CompanionId, Lookup, Reader, refuse

_PERMISSION = {Kind.DATASET: "datasource_access", Kind.DATABASE: "database_access"}
_ENDS_IN_ID = re.compile(r"\(id:(\d+)\)$")
#: Roles with one of these may use everything; what else they have says nothing, so they are left as they are.
_EVERYTHING = frozenset({"all_datasource_access", "all_database_access"})


def _grants(client: SupersetClient, roles: Iterable[tuple[str, int]]) -> dict[str, list[dict[str, Any]]]:
    """What each role may do, one request per role; without the roles that may use everything."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, number in roles:
        grants = client.results(f"security/roles/{number}/permissions/")
        if not any(grant.get("permission_name") in _EVERYTHING for grant in grants):
            found[name] = grants
    return found


def roles_for_everything(client: SupersetClient, roles: Mapping[str, int]) -> frozenset[str]:
    """Which of these roles may use everything: a grant on one asset is neither written to them nor read of them."""
    return frozenset(roles) - frozenset(_grants(client, roles.items()))


def _is_for(grant: dict[str, Any], kind: Kind, number: int) -> bool:
    named = _ENDS_IN_ID.search(str(grant.get("view_menu_name")))
    return grant.get("permission_name") == _PERMISSION[kind] and named is not None and int(named[1]) == number


def _read(reader: Reader) -> None:
    kinds = {permission: kind for kind, permission in _PERMISSION.items()}
    roles: dict[tuple[Kind, int], set[str]] = {}
    for role, grants in _grants(reader.client, reader.roles.items()).items():
        for grant in grants:
            kind = kinds.get(str(grant.get("permission_name")))
            named = _ENDS_IN_ID.search(str(grant.get("view_menu_name")))
            if kind is not None and named is not None:
                roles.setdefault((kind, int(named[1])), set()).add(role)
    for kind in FACETS[CompanionKind.ACCESS]:
        for (of, number), names in sorted(roles.items()):
            uuid = reader.uuid_of(kind, number) if of == kind else None
            if uuid is not None and reader.matters([uuid]):
                reader.add(Companion.facet(CompanionKind.ACCESS, kind, uuid, roles=sorted(names)), number)


def _write(
    client: SupersetClient, companion: Companion, existing: CompanionId | None, lookup: Lookup
) -> CompanionId:
    whose = companion.asset
    assert whose is not None
    kind, number = whose[0], lookup.asset(*whose)
    wanted = set(companion.body["roles"])
    lookup.role_ids(wanted)
    _set(client, kind, number, wanted, lookup.roles)
    return number


def _delete(client: SupersetClient, companion: Companion, existing: CompanionId) -> None:
    whose = companion.asset
    assert whose is not None
    roles = {str(item["text"]): item["value"] for item in client.related("dashboard", "roles")}
    _set(client, whose[0], int(existing), set(), roles)


def _set(client: SupersetClient, kind: Kind, number: int, wanted: set[str], roles: Any) -> None:
    """A POST replaces all that a role may do (L6.1), so each role is read right before, and written if it differs."""
    permission: int | None = None
    for role, grants in _grants(client, roles.items()).items():
        has = [grant["id"] for grant in grants if _is_for(grant, kind, number)]
        if bool(has) == (role in wanted):
            continue
        ids = {grant["id"] for grant in grants} - set(has)
        if role in wanted:
            permission = permission or _permission(client, kind, number)
            ids.add(permission)
        client.post(f"security/roles/{roles[role]}/permissions", {"permission_view_menu_ids": sorted(ids)})


def _permission(client: SupersetClient, kind: Kind, number: int) -> int:
    """The id of the permission to use an asset."""
    ending = [{"col": "name", "opr": "ew", "value": f"(id:{number})"}]
    for resource in client.rows_where("security/resources", ("id", "name"), ending):
        of_it = [{"col": "view_menu", "opr": "rel_o_m", "value": resource["id"]}]
        columns = ("id", "permission.name", "view_menu.name")
        for row in client.rows_where("security/permissions-resources", columns, of_it):
            if row["permission"]["name"] == _PERMISSION[kind]:
                return int(row["id"])
    refuse(f"Superset has no permission for the {kind.value} {number}. Nothing was written.", "unknown_asset")


ACCESS = Adapter(_read, _write, _delete)
