"""What may come along beside the assets of a migration, and how far: the options of a migration and of a route."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from environments.canonical.companions import CompanionKind

OFF, ON, WARN, CARRY, ACTIVE, KEEP, NOBODY = "off", "on", "warn", "carry", "active", "keep", "none"
_ADDRESS = re.compile(r"^[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s,;<>]+$")
MOST_ADDRESSES = 20


@dataclass(frozen=True)
class Option:
    """One thing to decide. `choices`: value -> what it means; the first is the default. `without`: what a plan says of
    it where it is off.
    """

    name: str
    label: str
    choices: Mapping[str, str]
    kinds: tuple[CompanionKind, ...]
    without: str = ""
    help: str = ""

    @property
    def default(self) -> str:
        return next(iter(self.choices))


_OFF_ON = {OFF: "stay behind", ON: "come along"}
_ON_OFF = {ON: "come along", OFF: "stay behind"}

OPTIONS: tuple[Option, ...] = (
    Option(
        "owners",
        "Owners",
        _OFF_ON,
        (CompanionKind.OWNERS,),
        "Owners: those of the target stay, and the account of ss-tools is added to what is written.",
        "Of dashboards, charts and datasets; matched by e-mail address, then by user name.",
    ),
    Option(
        "roles",
        "Roles of dashboards",
        _OFF_ON,
        (CompanionKind.ROLES,),
        "Roles of dashboards: a new dashboard can be opened by everybody who may read its data.",
        "Who may open a dashboard, where DASHBOARD_RBAC is on; matched by name.",
    ),
    Option(
        "rls",
        "Row-level security",
        {
            WARN: "warn if a rule is missing on the target",
            CARRY: "carry the rules",
            OFF: "do not look",
        },
        (CompanionKind.RLS,),
        "Row-level security rules.",
        "A dataset without its rule shows all of its rows.",
    ),
    Option(
        "access",
        "Access of roles to datasets",
        _OFF_ON,
        (CompanionKind.ACCESS,),
        "Permissions of roles on new datasets.",
        "Grants of roles on the datasets that are written; connections keep the grants they have.",
    ),
    Option(
        "tags",
        "Tags",
        _OFF_ON,
        (CompanionKind.TAG, CompanionKind.TAGS),
        "Tags.",
        "Those that people made, of dashboards and charts, where TAGGING_SYSTEM is on.",
    ),
    Option(
        "annotations",
        "Annotation layers",
        _ON_OFF,
        (CompanionKind.ANNOTATION_LAYER, CompanionKind.ANNOTATION_USE),
        "Annotation layers, and their use in charts.",
        "Layers that the charts show, with their annotations; every import deletes them from charts.",
    ),
    Option(
        "themes",
        "Themes",
        _ON_OFF,
        (CompanionKind.THEME, CompanionKind.THEME_USE),
        "Themes of dashboards: the target's assignment stays.",
        "Of dashboards that have one (6.0 and later).",
    ),
    Option(
        "reports",
        "Alerts and reports",
        {
            OFF: "stay behind",
            ON: "come along, switched off",
            ACTIVE: "come along, switched on where they are on",
        },
        (CompanionKind.REPORT,),
        "Alerts and reports.",
        "Those about the dashboards and charts that are written.",
    ),
    Option(
        "embedded",
        "Embedding",
        _OFF_ON,
        (CompanionKind.EMBEDDED,),
        "Embedded configuration: the embedded uuid is another on every instance.",
        "Domains that may embed a dashboard. Its embedded uuid is another on every Superset: the run lists both.",
    ),
    Option(
        "css", "CSS templates", _OFF_ON, (CompanionKind.CSS_TEMPLATE,), "CSS templates.", "All of the source."
    ),
    Option(
        "saved_queries",
        "Saved queries",
        _OFF_ON,
        (CompanionKind.SAVED_QUERY,),
        "Saved queries.",
        "Those that the account sees, on databases that are mapped.",
    ),
)
RECIPIENTS = "recipients"
#: Besides: who gets the mail of carried alerts and reports. Any other value is a list of e-mail addresses.
RECIPIENT_CHOICES = {KEEP: "the same as on the source", NOBODY: "nobody"}
BY_NAME: Mapping[str, Option] = {option.name: option for option in OPTIONS}
OPTION_OF: Mapping[CompanionKind, Option] = {kind: option for option in OPTIONS for kind in option.kinds}
#: All that can come along from a file.
SAVED_QUERIES = OPTION_OF[CompanionKind.SAVED_QUERY].name


@dataclass(frozen=True)
class Carrying:
    """The options of one migration. `chosen`: as kept with it; what it does not name has its default."""

    chosen: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.chosen.get(name) or (KEEP if name == RECIPIENTS else BY_NAME[name].default)

    def carries(self, kind: CompanionKind) -> bool:
        """Whether companions of this kind are written."""
        return self[OPTION_OF[kind].name] not in (OFF, WARN)

    def asks(self, kind: CompanionKind) -> bool:
        """Whether companions of this kind are read at all."""
        return self[OPTION_OF[kind].name] != OFF

    @property
    def addresses(self) -> tuple[str, ...]:
        """Who gets mail instead of the source's recipients; empty where that is not asked for."""
        value = self[RECIPIENTS]
        return () if value in RECIPIENT_CHOICES else tuple(_split(value))

    @property
    def words(self) -> list[tuple[str, str]]:
        """What is otherwise than usual: label and meaning."""
        said = [
            (option.label, option.choices[self[option.name]])
            for option in OPTIONS
            if self[option.name] != option.default
        ]
        mail = self[RECIPIENTS]
        return said + ([("Recipients", RECIPIENT_CHOICES.get(mail, mail))] if mail != KEEP else [])

    def to_json(self) -> dict[str, str]:
        """Every option with its value, defaults included."""
        return {name: self[name] for name in (*BY_NAME, RECIPIENTS)}


def checked(values: Mapping[str, object]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """What people entered, as it is kept (defaults left out), and by name what is wrong with it."""
    kept: dict[str, str] = {}
    errors: dict[str, list[str]] = {}
    for name, given in values.items():
        value = str(given).strip() if isinstance(given, (str, int)) else ""
        if name == RECIPIENTS:
            addresses = _split(value)
            if value in ("", KEEP):
                continue
            if value == NOBODY:
                kept[name] = value
            elif len(addresses) > MOST_ADDRESSES or not all(map(_ADDRESS.match, addresses)):
                errors[name] = [
                    f"{KEEP}, {NOBODY}, or at most {MOST_ADDRESSES} e-mail addresses, separated by commas."
                ]
            else:
                kept[name] = ", ".join(addresses)
        elif name not in BY_NAME:
            errors[name] = [f"There is no such option. Possible: {', '.join((*BY_NAME, RECIPIENTS))}."]
        elif value not in BY_NAME[name].choices:
            errors[name] = [f"One of {', '.join(BY_NAME[name].choices)}."]
        elif value != BY_NAME[name].default:
            kept[name] = value
    return kept, errors


def _split(value: str) -> list[str]:
    return [part for part in re.split(r"[,;\s]+", value) if part]
