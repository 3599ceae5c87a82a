"""What plugins are written against: a `Plugin` and what it brings. Standard library only.

A package names its `Plugin` by an entry point of the group `ss_tools.plugins`. Its functions are called in a process of
their own, with plain values, a deadline and a limit of memory: they have no database, no Django and none of ss-tools'
settings. What they are given and what they may answer is in this module, and docs/plugins.md shows a whole package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

#: Of this module. A plugin says which ones it fits (`Plugin.fits`); another first number takes something away.
INTERFACE = "1.0"
GROUP = "ss_tools.plugins"


class FieldKind(StrEnum):
    TEXT = "text"
    LONG_TEXT = "long_text"
    NUMBER = "number"
    FLAG = "flag"
    CHOICE = "choice"
    SECRET = "secret"  # of settings only: stored encrypted, written and never shown  # noqa: S105


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Event(StrEnum):
    """What a job may follow (`Job.on`): it is then done for who made the plan or asked for the run."""

    PLAN_MADE = "plan_made"
    RUN_VERIFIED = "run_verified"


@dataclass(frozen=True)
class Field:
    """One setting of a plugin, or one field of a job's form. Its values are str, float or int, bool, or None.

    `choices`: (value, label) of a CHOICE. `minimum`, `maximum`: of a NUMBER. `pattern`: a regular expression that the
    whole TEXT must fit. A `default` is what counts while nobody said something else.
    """

    name: str
    label: str
    kind: FieldKind = FieldKind.TEXT
    required: bool = False
    default: str | float | bool | None = None
    help_text: str = ""
    choices: Sequence[tuple[str, str]] = ()
    minimum: float | None = None
    maximum: float | None = None
    pattern: str = ""


@dataclass(frozen=True)
class Place:
    """An environment: a Superset that ss-tools manages. `position`: dev 1, stage 2, prod 3; `version` of Superset."""

    uuid: str
    slug: str
    name: str
    url: str
    position: int = 0
    is_protected: bool = False
    version: str = ""


@dataclass(frozen=True)
class Asset:
    """A dashboard, chart, dataset or database as ss-tools last read it: `body` is its canonical document, without
    numbers that mean something on one Superset only (docs/canonical-form.md).
    """

    kind: str
    uuid: str
    title: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class PlannedItem:
    """One line of a plan. `action`: create, update, unchanged, remove, blocked, left_out …; `uuid` is the source's,
    `target_uuid` what it is on the target. `wanted`: the body it would have there; `present`: the one it has.
    """

    kind: str
    uuid: str
    target_uuid: str
    title: str
    action: str
    wanted: Mapping[str, Any] | None = None
    present: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Finding:
    """Something worth saying. `code` is stable; `uuid` of the asset it is about, `where` in it
    ("metrics.0.expression"), `remedy` what to do. As the answer of a plan check an ERROR stops an apply unless somebody
    overrides it.
    """

    severity: Severity
    code: str
    text: str
    uuid: str = ""
    kind: str = ""
    title: str = ""
    where: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Table:
    """Rows for people: every row has as many texts or numbers as there are columns."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]


@dataclass(frozen=True)
class Result:
    """What came of a job, and its page shows. `summary`: one sentence. `numbers`: by name; those of one job over time
    are a trend on the plugin's page. `data`: JSON that is kept with it and not shown.
    """

    summary: str
    findings: Sequence[Finding] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class JobCall:
    """What a job's function is given. `settings` has the secrets in plain text: they belong in no answer and no log.

    `values`: of the job's form. `environment` and `assets`: what was chosen, and of it the kinds that `Job.reads`
    names. `event`: why it runs where nobody asked (Event.PLAN_MADE: {"event", "migration", "plan", "target"};
    Event.RUN_VERIFIED: {"event", "migration", "run", "target", "verdicts"}), else empty. `actor`: in whose name.
    """

    settings: Mapping[str, Any]
    values: Mapping[str, Any]
    environment: Place | None
    assets: Sequence[Asset]
    event: Mapping[str, Any]
    actor: str
    step: Callable[..., None]  # step(title, done=None, total=None): what is being done now
    log: Callable[[str, str], None]  # log("info" | "warning" | "error", text): a line in the job's log


@dataclass(frozen=True)
class PlanCall:
    """What a plan check is given. `source` is None where a plan has none (files, backups, rolling back)."""

    settings: Mapping[str, Any]
    source: Place | None
    target: Place
    items: Sequence[PlannedItem]


@dataclass(frozen=True)
class PanelCall:
    """What a panel is given: the asset whose page it stands on."""

    settings: Mapping[str, Any]
    environment: Place
    asset: Asset


@dataclass(frozen=True)
class Panel:
    """A card on the pages of assets of these kinds. `show` answers a Result; it is asked when somebody looks."""

    name: str
    title: str
    kinds: Sequence[str]
    show: Callable[[PanelCall], Result]
    seconds: float = 10


@dataclass(frozen=True)
class PlanCheck:
    """Looks at every plan for an environment on which the plugin is enabled. What it finds stands in the plan; that it
    failed or took longer than `seconds` stands there, too.
    """

    name: str
    title: str
    check: Callable[[PlanCall], Iterable[Finding]]
    seconds: float = 30


@dataclass(frozen=True)
class Job:
    """A kind of job: with a form of `fields`, on an environment where `reads` names kinds of assets ("dashboard",
    "chart", "dataset", "database"), by hand, by schedule, and after the events of `on`.

    It acts in the name of who started it: that person needs `plugin:run` on the environment, and `asset:view` for what
    it reads. What follows events gets the defaults of its fields.
    """

    name: str
    title: str
    run: Callable[[JobCall], Result]
    text: str = ""
    fields: Sequence[Field] = ()
    reads: Sequence[str] = ()
    on: Sequence[Event] = ()
    seconds: float = 600


@dataclass(frozen=True)
class Plugin:
    """What a package brings. `name`: lower-case letters, digits and hyphens, for good. `fits`: the versions of the
    interface (">=1.0,<2"). `health(settings)`: "" if all is well, else what is not; asked with every look at plugins.
    """

    name: str
    title: str
    version: str
    fits: str
    summary: str = ""
    settings: Sequence[Field] = ()
    jobs: Sequence[Job] = ()
    plan_checks: Sequence[PlanCheck] = ()
    panels: Sequence[Panel] = ()
    health: Callable[[Mapping[str, Any]], str] | None = None
