"""What reading and writing companions carry along."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

from environments.canonical.companions import Companion, CompanionKind, Person, companion_uuid, person_name
from environments.canonical.documents import Kind, Note
from environments.canonical.ids import IdTable
from environments.superset.client import SupersetClient
from environments.superset.errors import SupersetRefused

from .people import People, list_people, list_roles

#: Id of a companion in one Superset: of a facet its asset's, of an embedded dashboard the uuid that the embedding page
#: names, else a row's.
CompanionId = int | str

_COLUMNS = {
    Kind.DASHBOARD: ("id", "uuid", "roles.name", "tags.name", "tags.type"),
    Kind.CHART: ("id", "uuid", "tags.name", "tags.type"),
    Kind.DATASET: ("id", "uuid"),
    Kind.DATABASE: ("id", "uuid"),
}
#: What `Reader.rows` wants of whole lists beside what the inventory reads of them.
MORE_COLUMNS = {Kind.CHART.value: ("params",)}
_OWNERS = ("owners.id", "owners.first_name", "owners.last_name", "owners.email")


def refuse(text: str, code: str = "invalid") -> NoReturn:
    """For what is known before anything is sent."""
    raise SupersetRefused(text, code=code)


@dataclass
class Reader:
    """Reads one Superset once: what several kinds need is asked for a single time.

    `assets`: uuids of the assets that matter; None: everything. `unmoved`: dashboards that did not change since
    somebody read which theme they have -> the uuid of that theme.
    """

    client: SupersetClient
    ids: IdTable
    assets: frozenset[str] | None
    kinds: frozenset[CompanionKind]
    found: dict[str, tuple[Companion, CompanionId]] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    unmoved: Mapping[str, str | None] = field(default_factory=dict)
    _rows: dict[Kind, list[dict[str, Any]]] = field(default_factory=dict)
    _unknown: set[tuple[Kind, int]] = field(default_factory=set)

    def add(self, companion: Companion, number: CompanionId) -> None:
        """Keep one. Of two with one natural key the older stays: Superset's CSS templates may share a name."""
        if companion.uuid in self.found:
            text = f"There are two called “{companion.title}”; only the older one is carried."
            self.notes.append(Note("doubled_name", companion.uuid, text))
            return
        self.found[companion.uuid] = (companion, number)

    def note(self, code: str, uuid: str, text: str) -> None:
        self.notes.append(Note(code, uuid, text))

    @cached_property
    def people(self) -> People:
        return list_people(self.client)

    def persons(self, owners: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Owners of a row as people: their addresses are not in lists before 6.1."""
        found = []
        for owner in owners:
            user = self.people.get(int(owner["id"]))
            names = {name: str(owner.get(name) or "") for name in ("first_name", "last_name")}
            email = owner.get("email") or (user.email if user else None)
            found.append({"username": user.username if user else None, "email": email, **names})
        return found

    def wanted(self, kind: Kind) -> list[int] | None:
        """The ids of the assets of this kind that matter, None for all."""
        if self.assets is None:
            return None
        found = (self.ids.id_of(kind, uuid) for uuid in self.assets)
        return sorted(number for number in found if number is not None)

    def matters(self, uuids: Iterable[str]) -> bool:
        return self.assets is None or any(uuid in self.assets for uuid in uuids)

    def rows(self, kind: Kind) -> list[dict[str, Any]]:
        """The rows of the assets that matter, with all that any of the kinds reads from lists; one request per 100."""
        if kind not in self._rows and self.assets is None and kind.value in self.client.lists:
            self._rows[kind] = self.client.lists[kind.value]
            return self._rows[kind]
        if kind not in self._rows:
            columns = list(_COLUMNS[kind])
            if CompanionKind.OWNERS in self.kinds and kind != Kind.DATABASE:
                columns += _OWNERS
            if kind == Kind.CHART and self.kinds & {
                CompanionKind.ANNOTATION_USE,
                CompanionKind.ANNOTATION_LAYER,
            }:
                columns.append("params")
            self._rows[kind] = self._listed(kind, columns, self.wanted(kind))
            for row in self._rows[kind]:
                self.ids.add(kind, row["id"], str(row["uuid"]).lower())
        return self._rows[kind]

    def uuid_of(self, kind: Kind, number: object) -> str | None:
        """The uuid of an asset; asks Superset for one that the table of ids does not have, once."""
        known = self.ids.uuid_of(kind, number)
        if known is not None or type(number) is not int or (kind, number) in self._unknown:
            return known
        self._unknown.add((kind, number))
        for row in self._listed(kind, ("id", "uuid"), [number]):
            self.ids.add(kind, row["id"], str(row["uuid"]).lower())
        return self.ids.uuid_of(kind, number)

    def _listed(self, kind: Kind, columns: Iterable[str], ids: list[int] | None) -> list[dict[str, Any]]:
        """Connections are few, and their list cannot be asked for some by id (400, L6.1)."""
        if kind != Kind.DATABASE:
            return self.client.list_rows(kind.value, columns, ids)
        rows = self.client.list_rows(kind.value, columns)
        return rows if ids is None else [row for row in rows if row["id"] in ids]

    @cached_property
    def themes(self) -> dict[int, int]:
        """The id of each dashboard's theme; one request per dashboard, because no list has it (6.0.0, 6.1.0). Of those
        that are `unmoved` nothing is asked, nor is anything said here.
        """
        found = {}
        rows = [row for row in self.rows(Kind.DASHBOARD) if str(row["uuid"]).lower() not in self.unmoved]
        for row, said in zip(
            rows, self.client.get_each(("dashboard", row["id"]) for row in rows), strict=True
        ):
            theme = (said or {}).get("theme")
            if isinstance(theme, Mapping) and type(theme.get("id")) is int:
                found[row["id"]] = theme["id"]
        return found

    @cached_property
    def roles(self) -> dict[str, int]:
        return list_roles(self.client)

    @cached_property
    def layers(self) -> list[dict[str, Any]]:
        return self.client.list_rows("annotation_layer", ("id", "name", "descr"))


@dataclass
class Lookup:
    """What companions name, in the Superset that they are written to.

    `assets`: the ids of its assets. `ids`: those of its companions by uuid, as `read_companions` found them;
    `write_companion` adds what it wrote. `people` and `roles` are asked for when first needed, unless given. `seen`:
    what was read of companions before: a rule that is not like that any more is not written.
    """

    client: SupersetClient
    assets: IdTable
    ids: dict[str, CompanionId] = field(default_factory=dict)
    known_people: People | None = None
    known_roles: Mapping[str, int] | None = None
    seen: Mapping[str, Companion] = field(default_factory=dict)

    @property
    def people(self) -> People:
        if self.known_people is None:
            self.known_people = list_people(self.client)
        return self.known_people

    @property
    def roles(self) -> Mapping[str, int]:
        if self.known_roles is None:
            self.known_roles = list_roles(self.client)
        return self.known_roles

    def asset(self, kind: Kind, uuid: object) -> int:
        """The id of an asset. Raises SupersetRefused(unknown_asset)."""
        number = self.assets.id_of(kind, str(uuid))
        if number is None:
            refuse(f"This Superset has no {kind.value} {uuid}. Nothing was written.", "unknown_asset")
        return number

    def users(self, people: Iterable[Person]) -> list[int]:
        """The ids of these people. Raises SupersetRefused(unknown_user)."""
        found = []
        for person in people:
            user = self.people.find(person)
            if user is None:
                refuse(
                    f"Nobody in this Superset is {person_name(person)}. Nothing was written; say who it is there, "
                    "or leave this person out.",
                    "unknown_user",
                )
            found.append(user.id)
        return sorted(set(found))

    def role_ids(self, names: Iterable[str]) -> list[int]:
        """The ids of these roles. Raises SupersetRefused(unknown_role)."""
        names = sorted(set(names))
        missing = [name for name in names if name not in self.roles]
        if missing:
            refuse(
                f"This Superset has no role {', '.join(missing)}. Nothing was written; make it there, say which role "
                "stands for it, or leave it out.",
                "unknown_role",
            )
        return sorted(self.roles[name] for name in names)

    def row(self, kind: CompanionKind, name: str) -> int | None:
        """The id of a companion that others name, by its key: known, or looked up in its list."""
        uuid = companion_uuid(kind, name)
        if uuid not in self.ids:
            resource, column = _NAMED[kind]
            for item in self.client.list_rows(resource, ("id", column, "type")):
                if item.get("type", 1) in (1, "custom"):  # of tags only those that people made
                    self.ids.setdefault(companion_uuid(kind, str(item.get(column))), item["id"])
        number = self.ids.get(uuid)
        return number if isinstance(number, int) else None


_NAMED = {
    CompanionKind.TAG: ("tag", "name"),
    CompanionKind.ANNOTATION_LAYER: ("annotation_layer", "name"),
    CompanionKind.THEME: ("theme", "uuid"),
    CompanionKind.CSS_TEMPLATE: ("css_template", "template_name"),
    CompanionKind.RLS: ("rowlevelsecurity", "name"),
}

Write = Callable[[SupersetClient, Companion, "CompanionId | None", Lookup], CompanionId]
Delete = Callable[[SupersetClient, Companion, CompanionId], None]


@dataclass(frozen=True)
class Adapter:
    """How one kind is read, written and removed. What removing means for a facet: it says nothing any more."""

    read: Callable[[Reader], None]
    write: Write
    delete: Delete


def parsed(text: Any) -> Any:
    """JSON kept in a text, as a value; {} for what is no JSON."""
    if not isinstance(text, str):
        return text if text is not None else {}
    try:
        return json.loads(text)
    except ValueError:
        return {}
