"""Who there is in one Superset: users and roles, and which of them somebody means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from environments.canonical.companions import Person
from environments.superset.client import SupersetClient
from environments.superset.errors import SupersetRefused

_USER_COLUMNS = ("id", "username", "email", "first_name", "last_name", "active")


@dataclass(frozen=True, slots=True)
class User:
    """An account of one Superset. `username` is None where the security API is off (4.1 and 5.0 as installed)."""

    id: int
    username: str | None
    email: str | None
    first_name: str
    last_name: str
    is_active: bool = True

    @property
    def person(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("username", "email", "first_name", "last_name")}


class People:
    """The users of one Superset."""

    def __init__(self, users: Iterable[User] = ()) -> None:
        self.users = tuple(sorted(users, key=lambda user: user.id))
        self._by_id = {user.id: user for user in self.users}

    def get(self, number: int) -> User | None:
        return self._by_id.get(number)

    def find(self, person: Person) -> User | None:
        """Who this is here: by e-mail address, else by user name. None if nobody, or more than one, fits."""
        for field in ("email", "username"):
            wanted = str(person.get(field) or "").lower()
            fitting = [
                user for user in self.users if wanted and str(getattr(user, field) or "").lower() == wanted
            ]
            if fitting:
                return fitting[0] if len(fitting) == 1 else None
        return None


def list_people(client: SupersetClient) -> People:
    """All users: from the security API, or where that is off (404) or closed to the account, from those who may own a
    dashboard, which tells no user names (superset-api.md 4.2).
    """
    try:
        rows = client.list_rows("security/users", _USER_COLUMNS)
    except SupersetRefused as exc:
        if exc.code not in ("not_found", "forbidden", "not_superset"):
            raise
        return People(_related_user(item) for item in client.related("dashboard", "owners"))
    return People(
        User(
            row["id"],
            row.get("username") or None,
            row.get("email") or None,
            str(row.get("first_name") or ""),
            str(row.get("last_name") or ""),
            bool(row.get("active", True)),
        )
        for row in rows
    )


def _related_user(item: dict[str, Any]) -> User:
    extra = item.get("extra") or {}
    first, _, last = str(item.get("text") or "").partition(" ")
    return User(item["value"], None, extra.get("email") or None, first, last, bool(extra.get("active", True)))


def list_roles(client: SupersetClient) -> dict[str, int]:
    """The ids of all roles by name; on every version also for accounts that are not Admin (`dashboard/related/roles`,
    L4.1 L6.1).
    """
    return {str(item["text"]): item["value"] for item in client.related("dashboard", "roles")}
