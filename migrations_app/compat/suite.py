"""The compatibility suite: what one Superset is, held against what the tables of releases let expect.

Reads only, unless it is told to write: then it brings a few marked assets of its own there and back. Needs no
environment, no job and no database of ours, so that a Superset can be tried before it is registered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from environments.canonical.companions import CompanionKind
from environments.canonical.documents import Kind
from environments.canonical.ids import IdTable
from environments.canonical.reading import read_assets
from environments.superset.bundle import Bundle
from environments.superset.client import SupersetClient
from environments.superset.companions import SUPPORT, read_companions, why_not
from environments.superset.connection import REMEDIES
from environments.superset.errors import SupersetError
from environments.superset.fields import new_fields
from environments.superset.probing import probe
from environments.superset.versions import CAPABILITIES, TESTED, Capabilities, Capability, version_tuple
from environments.superset.viz_types import KNOWN
from migrations_app.engine.conversion import successors

OK, NOTE, DIFFERS, FAILED, UNKNOWN = "ok", "note", "differs", "failed", "unknown"
SAMPLE = 25  # assets of each kind that are exported to look at their fields
#: What an instance may have switched on or off by its own configuration: no difference between releases.
_CONFIGURED = ("security_api", "tags_in_bundle")


@dataclass(frozen=True)
class Line:
    """One thing that was tried. `state`: ok; note (works, worth knowing); differs (not as the tables of releases say:
    works otherwise than ss-tools expects, or may); failed; unknown (could not be asked). `expected`: by the release's
    number, empty where nothing is.
    """

    group: str
    name: str
    state: str
    found: str
    expected: str = ""
    meaning: str = ""


@dataclass
class Report:
    url: str
    version: str = ""
    tested: bool = False
    lines: list[Line] = field(default_factory=list)

    @property
    def result(self) -> str:
        """ "failed", "differs" or "compatible"."""
        states = {line.state for line in self.lines}
        return FAILED if FAILED in states else DIFFERS if DIFFERS in states else "compatible"

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "result": self.result, "tested_versions": list(TESTED)}


def examine(client: SupersetClient) -> Report:
    """Everything that can be found out by reading. Besides signing in it sends GET requests; to a 6.0 also one import
    without a file, which is refused before anything is done and shows whether the account might import.

    Raises nothing for what the instance answers: it is in the report.
    """
    report = Report(client.url)
    checked = client.check()
    report.version = checked.version
    states = {True: OK, None: NOTE, False: FAILED}
    for stage in checked.stages:
        report.lines.append(
            Line("connection", stage.name, states[stage.ok], stage.text, meaning=stage.remedy)
        )
    if not checked.ok or checked.capabilities is None:
        return report
    report.tested = checked.capabilities.tested
    try:
        report.lines += _capabilities(client)
        sample = _sample(client)
        report.lines += _reading(client, sample)
        report.lines += _companions(client, sample)
    except SupersetError as error:
        report.lines.append(
            Line("reading", "stopped", FAILED, error.message, meaning=REMEDIES.get(error.code, ""))
        )
    return report


def _capabilities(client: SupersetClient) -> Iterable[Line]:
    found = probe(client)
    return [capability_line(line, client.capabilities, found.get(line.name)) for line in CAPABILITIES]


def capability_line(line: Capability, capabilities: Capabilities, found: bool | None) -> Line:
    number = version_tuple(capabilities.version)[:2]
    expects = number >= line.since if number != (0, 0) else None
    if line.name == "tags_in_bundle" and expects:
        expects = capabilities.feature_flags.get("TAGGING_SYSTEM", False)
    state = OK if found is None or expects in (None, found) else DIFFERS
    if found is None:
        state = UNKNOWN
    elif state == DIFFERS and line.name in _CONFIGURED:
        state = NOTE
    words = {True: "yes", False: "no", None: "not asked"}
    expected = "" if expects is None else words[expects]
    return Line("capabilities", line.name, state, words[found], expected, line.meaning)


# --- Reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sample:
    """Ids of everything that is listed, numbers by kind, and an export of some of each kind."""

    ids: IdTable
    counts: Mapping[str, int]
    bundle: Bundle


def _sample(client: SupersetClient) -> _Sample:
    rows: dict[Kind, Sequence[Any]] = {
        Kind.DATABASE: client.list_databases(),
        Kind.DATASET: client.list_datasets(),
        Kind.CHART: client.list_charts(),
        Kind.DASHBOARD: client.list_dashboards(),
    }
    ids = IdTable((kind, row.id, row.uuid) for kind, found in rows.items() for row in found)
    exports: dict[Kind, Callable[[Iterable[int]], Bundle]] = {
        Kind.DASHBOARD: client.export_dashboards,
        Kind.CHART: client.export_charts,
        Kind.DATASET: client.export_datasets,
    }
    bundles = [
        export([row.id for row in rows[kind][:SAMPLE]]) for kind, export in exports.items() if rows[kind]
    ]
    return _Sample(ids, {kind.value: len(found) for kind, found in rows.items()}, Bundle.merge(*bundles))


def _reading(client: SupersetClient, sample: _Sample) -> Iterator[Line]:
    listed = ", ".join(f"{number} {kind}" for kind, number in sample.counts.items())
    yield Line("reading", "lists", OK, listed)
    bundle = sample.bundle
    reading = read_assets(bundle.assets.values(), sample.ids, client.url)
    unreadable = [note.text for note in reading.notes if note.code == "unreadable"]
    looked = f"{len(reading.documents)} exported and read"
    if unreadable:
        yield Line("reading", "exports", DIFFERS, f"{looked}; {len(unreadable)} not: {unreadable[0]}")
    else:
        yield Line("reading", "exports", OK, looked if reading.documents else "nothing there to export")
    for kind in (Kind.DATASET, Kind.CHART, Kind.DASHBOARD, Kind.DATABASE):
        new: set[str] = set()
        for asset in bundle.of_kind(kind.value):
            new |= new_fields(kind.value, asset.data)
        name = f"fields of {kind.plural}"
        if new:
            meaning = "carried to instances of this release as they are; an older one refuses them"
            yield Line("reading", name, DIFFERS, f"not known here: {', '.join(sorted(new))}", meaning=meaning)
        else:
            yield Line("reading", name, OK, "all known")
    used = {str(asset.data.get("viz_type")) for asset in bundle.of_kind("chart")}
    own = sorted(used - KNOWN - {viz_type for viz_type in used if successors(viz_type)})
    if own:
        meaning = "somebody's own, or newer: make sure that a target has them"
        yield Line("reading", "chart types", NOTE, f"not known here: {', '.join(own)}", meaning=meaning)
    else:
        yield Line("reading", "chart types", OK, f"{len(used)} in use, all known")


def _companions(client: SupersetClient, sample: _Sample) -> Iterator[Line]:
    read = read_companions(client, list(CompanionKind), sample.ids, assets=set(sample.bundle.assets))
    for kind, support in SUPPORT.items():
        expected = why_not(kind, client.capabilities)
        reason = read.unreadable.get(kind)
        is_foreseen = reason is None or expected is not None or "lacks the right" in reason
        state = OK if reason is None else NOTE if is_foreseen else DIFFERS
        number = sum(companion.kind == kind for companion in read.documents.values())
        found = reason or f"{number} read with what is there"
        yield Line("companions", kind.value, state, found, "no" if expected else "yes", support.source)
