"""Companions: what goes with assets and is in no export, as documents of their own.

Two sorts. A *facet* says one thing about one asset (its owners, its tags); an *object* stands by itself under a natural
key (a rule for rows, an annotation layer). Both speak in portable terms only: assets by uuid, people as
`{"username", "email", "first_name", "last_name"}` (what an environment does not tell is None), roles, tags and layers
by name. Never an id, never a secret.

    facet           of which assets            body, beside `asset` = {"kind", "uuid"}
    owners          dashboard, chart, dataset  users: [person]
    roles           dashboard                  roles: [name], who may open it (DASHBOARD_RBAC)
    tags            dashboard, chart           tags: [name], custom ones only
    embedded        dashboard                  allowed_domains: [text]; an empty list lets every domain embed it
    theme_use       dashboard                  theme: {"uuid", "name", "is_system"}
    annotation_use  chart                      layers: all of its layers in order; the `value` of one that takes its
                                               rows from elsewhere is {"annotation_layer": name} or {"chart": uuid}
    access          dataset, database          roles: [name]; of a database also schemas: {schema: [name]}

    object            key        body
    tag               name       name, description
    rls               name       name, description, filter_type ("Regular", "Base"), clause, group_key,
                                 tables: [dataset uuid], roles: [name]
    annotation_layer  name       name, description, annotations: [{"name", "description", "start", "end", "metadata"}]
    css_template      name       name, css
    theme             uuid       uuid, name, json_data
    saved_query       uuid       uuid, label, description, sql, catalog, schema, database: uuid
    report            type:name  type ("Alert", "Report"), name, active and more: `REPORT_FIELDS`

A facet that says nothing (no owners, no tags) is no document: where its kind was read, absence means empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any
from uuid import UUID, uuid5

from .documents import Kind, fingerprint_of

#: Of all names made here; a change of it would make every stored companion another one.
NAMESPACE = UUID("9a0a1c52-3f0e-5d0c-9a53-7c4c3c1f6d2b")


class CompanionKind(StrEnum):
    """In the order in which they are written: what others name comes first."""

    TAG = "tag"
    ANNOTATION_LAYER = "annotation_layer"
    CSS_TEMPLATE = "css_template"
    THEME = "theme"
    RLS = "rls"
    ACCESS = "access"
    ROLES = "roles"
    OWNERS = "owners"
    TAGS = "tags"
    THEME_USE = "theme_use"
    ANNOTATION_USE = "annotation_use"
    EMBEDDED = "embedded"
    SAVED_QUERY = "saved_query"
    REPORT = "report"


#: Of which assets there are facets of each kind; all other kinds are objects with a key of their own.
FACETS: Mapping[CompanionKind, tuple[Kind, ...]] = {
    CompanionKind.ACCESS: (Kind.DATASET, Kind.DATABASE),
    CompanionKind.ROLES: (Kind.DASHBOARD,),
    CompanionKind.OWNERS: (Kind.DATASET, Kind.CHART, Kind.DASHBOARD),
    CompanionKind.TAGS: (Kind.CHART, Kind.DASHBOARD),
    CompanionKind.THEME_USE: (Kind.DASHBOARD,),
    CompanionKind.ANNOTATION_USE: (Kind.CHART,),
    CompanionKind.EMBEDDED: (Kind.DASHBOARD,),
}

#: Who may see rows, who may see assets, who gets mail: these travel only where somebody said so.
SENSITIVE = frozenset(
    {
        CompanionKind.OWNERS,
        CompanionKind.ROLES,
        CompanionKind.ACCESS,
        CompanionKind.RLS,
        CompanionKind.REPORT,
        CompanionKind.EMBEDDED,
    }
)

#: All fields of a report's body. `dashboard`, `chart`, `database` are uuids or None; `recipients` are
#: {"type": "Email" | "Slack" | "SlackV2" | "Webhook", "target", "cc", "bcc"}, of a webhook only where it goes, because
#: its address is a key (`withheld`); `extra` and `validator_config` are JSON objects; times are seconds,
#: `log_retention` days.
REPORT_FIELDS = (
    "type",
    "name",
    "description",
    "active",
    "crontab",
    "timezone",
    "dashboard",
    "chart",
    "database",
    "sql",
    "validator_type",
    "validator_config",
    "grace_period",
    "working_timeout",
    "log_retention",
    "report_format",
    "force_screenshot",
    "custom_width",
    "email_subject",
    "context_markdown",
    "creation_method",
    "extra",
    "recipients",
    "owners",
)

Person = Mapping[str, Any]


def companion_uuid(kind: CompanionKind, key: str) -> str:
    """The uuid of a companion: the same on every environment for the same kind and natural key (`key_of`)."""
    return str(uuid5(NAMESPACE, f"{kind.value}\n{key}"))


def facet_key(kind: Kind, uuid: str) -> str:
    """The natural key of a facet of this asset."""
    return f"{kind.value}:{uuid}"


def key_of(kind: CompanionKind, body: Mapping[str, Any]) -> str:
    """The natural key that a body has. Raises KeyError for a body of another kind."""
    if kind in FACETS:
        return facet_key(Kind(body["asset"]["kind"]), str(body["asset"]["uuid"]))
    if kind in (CompanionKind.THEME, CompanionKind.SAVED_QUERY):
        return str(body["uuid"])
    if kind == CompanionKind.REPORT:
        return f"{body['type']}:{body['name']}"
    return str(body["name"])


def person_key(person: Person) -> str:
    """What tells one person from another wherever both are known: the e-mail address, else the user name, else the
    name; in small letters.
    """
    named = " ".join(str(person[part]) for part in ("first_name", "last_name") if person.get(part))
    return str(person.get("email") or person.get("username") or named).lower()


def person_name(person: Person) -> str:
    """For people: "Ada Lovelace (ada@example.org)", as far as it is known."""
    named = " ".join(str(person[part]) for part in ("first_name", "last_name") if person.get(part))
    address = str(person.get("email") or person.get("username") or "")
    return f"{named} ({address})" if named and address else named or address


@dataclass(frozen=True)
class Companion:
    """One companion. `body` is plain JSON data and is never changed in place."""

    kind: CompanionKind
    uuid: str
    body: Mapping[str, Any]

    @classmethod
    def of(cls, kind: CompanionKind, body: Mapping[str, Any]) -> Companion:
        """With the uuid of its natural key."""
        return cls(kind, companion_uuid(kind, key_of(kind, body)), body)

    @classmethod
    def facet(cls, kind: CompanionKind, asset: Kind, uuid: str, **body: Any) -> Companion:
        """What `kind` says about one asset."""
        return cls.of(kind, {"asset": {"kind": asset.value, "uuid": uuid}, **body})

    @cached_property
    def fingerprint(self) -> str:
        """Content fingerprint: the key of the store."""
        return fingerprint_of(self.to_json())

    @property
    def asset(self) -> tuple[Kind, str] | None:
        """Of a facet: whose it is. None of an object."""
        if self.kind not in FACETS:
            return None
        return Kind(self.body["asset"]["kind"]), str(self.body["asset"]["uuid"])

    @property
    def title(self) -> str:
        """The name a person knows an object by; of a facet the uuid of its asset."""
        if self.kind in FACETS:
            return str(self.body["asset"]["uuid"])
        return str(self.body.get("name") or self.body.get("label") or self.uuid)

    @property
    def assets(self) -> frozenset[tuple[Kind, str]]:
        """Every asset that it names."""
        found: set[tuple[Kind, str]] = set()
        if (whose := self.asset) is not None:
            found.add(whose)
        if self.kind == CompanionKind.RLS:
            found.update((Kind.DATASET, str(uuid)) for uuid in self.body["tables"])
        elif self.kind == CompanionKind.ANNOTATION_USE:
            values = (layer.get("value") for layer in self.body["layers"])
            found.update(
                (Kind.CHART, str(v["chart"])) for v in values if isinstance(v, Mapping) and "chart" in v
            )
        elif self.kind in (CompanionKind.REPORT, CompanionKind.SAVED_QUERY):
            for kind in (Kind.DASHBOARD, Kind.CHART, Kind.DATABASE):
                if uuid := self.body.get(kind.value):
                    found.add((kind, str(uuid)))
        return frozenset(found)

    @property
    def needs(self) -> frozenset[str]:
        """The uuids of companions that it cannot be written without: layers, themes, tags. System themes come with a
        Superset and are none.
        """
        found: set[str] = set()
        if self.kind == CompanionKind.ANNOTATION_USE:
            values = (layer.get("value") for layer in self.body["layers"])
            found.update(
                companion_uuid(CompanionKind.ANNOTATION_LAYER, str(value["annotation_layer"]))
                for value in values
                if isinstance(value, Mapping) and "annotation_layer" in value
            )
        elif self.kind == CompanionKind.THEME_USE and not self.body["theme"].get("is_system"):
            found.add(companion_uuid(CompanionKind.THEME, str(self.body["theme"]["uuid"])))
        return frozenset(found)

    @property
    def people(self) -> tuple[Person, ...]:
        """The users that it names; recipients of mail are none."""
        field = {CompanionKind.OWNERS: "users", CompanionKind.REPORT: "owners"}.get(self.kind)
        return tuple(self.body[field]) if field else ()

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that it names, sorted."""
        found: set[str] = set()
        if self.kind in (CompanionKind.ROLES, CompanionKind.RLS, CompanionKind.ACCESS):
            found.update(self.body["roles"])
        if self.kind == CompanionKind.ACCESS:
            found.update(role for roles in self.body.get("schemas", {}).values() for role in roles)
        return tuple(sorted(found))

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind.value, "uuid": self.uuid, "body": self.body}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Companion:
        return cls(CompanionKind(data["kind"]), str(data["uuid"]), data["body"])

    def replace(self, **changes: Any) -> Companion:
        """The same with some fields changed; another uuid where the natural key changed."""
        return Companion.of(self.kind, {**self.body, **changes})


def withheld(companion: Companion) -> tuple[str, ...]:
    """What of it was not read because it is a secret, and so cannot be written elsewhere: webhooks ("https://host/…")."""
    recipients = companion.body.get("recipients", ())
    return tuple(str(item["target"]) for item in recipients if item.get("withheld"))


def sorted_people(people: Iterable[Person]) -> list[dict[str, Any]]:
    """Without doubles, in the order of their keys."""
    fields = ("username", "email", "first_name", "last_name")
    found = {person_key(person): {name: person.get(name) for name in fields} for person in people}
    return [found[key] for key in sorted(found)]


def mapped(
    companion: Companion,
    *,
    assets: Mapping[str, str] | None = None,
    person: Callable[[Person], Person | None] | None = None,
    role: Callable[[str], str | None] | None = None,
) -> Companion:
    """For another environment: asset uuids, people and roles exchanged. None of `person` or `role` leaves one out.

    Says nothing of what was left out, and writes a rule without roles or tables as readily as any other: ask
    `companion.people` and `companion.roles` before.
    """
    body = dict(companion.body)

    def uuid(value: Any) -> Any:
        return (assets or {}).get(value, value) if isinstance(value, str) else value

    def people(values: Iterable[Person]) -> list[dict[str, Any]]:
        if person is None:
            return sorted_people(values)
        return sorted_people(found for value in values if (found := person(value)) is not None)

    def roles(values: Iterable[str]) -> list[str]:
        if role is None:
            return sorted(set(values))
        return sorted({found for value in values if (found := role(value)) is not None})

    if companion.kind in FACETS:
        body["asset"] = {**body["asset"], "uuid": uuid(body["asset"]["uuid"])}
    if companion.kind == CompanionKind.OWNERS:
        body["users"] = people(body["users"])
    if companion.kind in (CompanionKind.ROLES, CompanionKind.RLS, CompanionKind.ACCESS):
        body["roles"] = roles(body["roles"])
    if companion.kind == CompanionKind.ACCESS and "schemas" in body:
        body["schemas"] = {schema: roles(names) for schema, names in body["schemas"].items()}
    if companion.kind == CompanionKind.RLS:
        body["tables"] = sorted(uuid(table) for table in body["tables"])
    if companion.kind in (CompanionKind.REPORT, CompanionKind.SAVED_QUERY):
        body |= {name: uuid(body[name]) for name in ("dashboard", "chart", "database") if name in body}
    if companion.kind == CompanionKind.REPORT:
        body["owners"] = people(body["owners"])
    if companion.kind == CompanionKind.ANNOTATION_USE:
        body["layers"] = [
            {**layer, "value": {"chart": uuid(layer["value"]["chart"])}}
            if isinstance(layer.get("value"), Mapping) and "chart" in layer["value"]
            else layer
            for layer in body["layers"]
        ]
    return Companion.of(companion.kind, body)


def comparable(companion: Companion) -> Mapping[str, Any]:
    """What of a body counts when two environments are compared: people by `person_key` (one version tells user names,
    another does not); of a report not whether it is switched on.
    """
    body = dict(companion.body)
    for field in ("users", "owners"):
        if field in body:
            body[field] = sorted(person_key(person) for person in body[field])
    if companion.kind == CompanionKind.REPORT:
        body.pop("active", None)
    if companion.kind == CompanionKind.THEME_USE and body["theme"].get("is_system"):
        body["theme"] = {
            "name": body["theme"]["name"],
            "is_system": True,
        }  # each Superset has its own uuid for it
    return body
