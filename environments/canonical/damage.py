"""Damage that tools leave in a dashboard: found in what Superset has stored, and mended.

An export hides some of it (it takes `datasetId` for `datasetUuid`, and gives charts without a place a row), so this
looks at `position_json` and `json_metadata` as the single GET of a dashboard answers them (4.1.4 to 6.1.0).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from .context import ReadContext
from .dashboards import chart_uuids, filter_targets, map_chart_references, read_metadata, without_nodes
from .documents import Document, Kind
from .ids import IdTable, as_id
from .trees import as_list, as_mapping, plain

#: Codes, with what each means. Of BROKEN people see something wrong; the rest waits for the next export or copy.
MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "wrong_chart": "a place in the layout shows another chart than it was made for",
        "missing_chart": "a place in the layout stays empty: its id names no chart here, its uuid does",
        "unclear_chart": "id and uuid of a place in the layout name different charts, and either may be meant",
        "stale_uuid": "a place shows the right chart and stores the uuid of another, which an export carries",
        "ghost_chart": "a place in the layout is for a chart that does not exist any more",
        "unlinked_chart": "a chart is in the layout and not a member of the dashboard: its place stays empty",
        "unplaced_chart": "a chart is a member and has no place in the layout: it hangs on at the end",
        "broken_layout": "rows or tabs of the layout name parts that are not there",
        "foreign_ids": "the settings name charts by the ids of another instance",
        "stale_reference": "the settings name charts that the dashboard does not show",
        "stale_scope": "the scope of a filter names charts that the dashboard does not show",
        "filter_without_dataset": "a filter knows its dataset by uuid only, so that it offers no values",
        "lost_filter_target": "the dataset of a filter does not exist any more",
        "unreadable": "layout or settings are not JSON",
    }
)
BROKEN = frozenset(
    {
        "wrong_chart",
        "missing_chart",
        "unclear_chart",
        "ghost_chart",
        "unlinked_chart",
        "foreign_ids",
        "filter_without_dataset",
        "lost_filter_target",
        "unreadable",
    }
)
#: Nobody but a person knows what belongs there.
NOT_MENDED = frozenset({"lost_filter_target", "unreadable"})
#: The key of a document's body that says what is damaged in it. No reading for the store has it, and no import gets it.
MARK = "damage"
BY_UUID, BY_ID = "by_uuid", "by_id"


@dataclass(frozen=True, order=True)
class Damage:
    """One thing that is wrong in a dashboard: `code` of MEANINGS, a sentence, and where (path, or empty)."""

    code: str
    text: str
    where: str = ""

    @property
    def is_broken(self) -> bool:
        return self.code in BROKEN


@dataclass(frozen=True)
class Stored:
    """A dashboard as its instance stores it. `position`, `metadata`: parsed, None where they are not JSON. `members`:
    uuids of the charts that are linked to it. `titles`: of charts, by uuid.
    """

    position: Mapping[str, Any] | None
    metadata: Mapping[str, Any] | None
    members: frozenset[str]
    ids: IdTable
    titles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """A place for a chart. `by_id`, `by_uuid`: the charts that its id and its uuid name here, None for none."""

    node: str
    number: int | None
    stored: str
    by_id: str | None
    by_uuid: str | None
    name: str

    @property
    def is_torn(self) -> bool:
        return self.by_id is not None and self.by_uuid is not None and self.by_id != self.by_uuid


@dataclass(frozen=True)
class Examined:
    """What is wrong with a dashboard. `truth`: which of the two names in torn places is right, "" if a person has to
    say; `why`: the reason in words, for what is decided and for what is not. `suggested`: what names speak for.
    """

    stored: Stored
    places: tuple[Place, ...]
    damage: tuple[Damage, ...]
    truth: str
    why: str = ""
    suggested: str = ""

    @property
    def codes(self) -> frozenset[str]:
        return frozenset(entry.code for entry in self.damage)


def examine(stored: Stored, choice: str = "") -> Examined:
    """Find what is wrong. `choice`: BY_UUID or BY_ID where somebody said what torn places mean."""
    if stored.position is None or stored.metadata is None:
        what = "layout" if stored.position is None else "settings"
        damage = (Damage("unreadable", f"The {what} of this dashboard cannot be read: it is no JSON."),)
        return Examined(stored, (), damage, BY_ID)
    places = tuple(_places(stored))
    truth, why, suggested = _truth(places, stored.members, stored.titles)
    truth = choice or truth
    damage_found = [
        *_of_places(places, stored, truth),
        *_of_layout(stored.position),
        *_of_metadata(stored, places, truth),
        *_of_filters(stored),
    ]
    return Examined(stored, places, tuple(sorted(set(damage_found))), truth, why, suggested)


def marked(document: Document, damage: Iterable[Damage]) -> Document:
    """The document with its damage in it, so that everything that compares documents sees it."""
    marks = sorted({f"{entry.code} {entry.where}".strip() for entry in damage})
    return document.replace(**{MARK: marks}) if marks else document


def unmarked(document: Document) -> Document:
    if MARK not in document.body:
        return document
    body = {key: value for key, value in document.body.items() if key != MARK}
    return Document(document.kind, document.uuid, body)


def mended(document: Document, found: Examined, base_url: str = "") -> Document:
    """The dashboard as it should be: `document` is its canonical form as read, `found` what is wrong with it.

    What only a person can mend stays, and stays marked. With torn places and no truth these stay as people see them.
    """
    left = [entry for entry in found.damage if entry.code in NOT_MENDED]
    stored = found.stored
    if stored.position is None or stored.metadata is None:
        return marked(unmarked(document), left)
    meant = {place.node: chart for place in found.places if (chart := _meant(place, stored, found.truth))}
    gone = {place.node for place in found.places if place.node not in meant}
    position: dict[str, Any] = {}
    for node_id, node in document.body["position"].items():
        if isinstance(node, Mapping) and node_id in meant:
            node = {**node, "meta": {**as_mapping(node.get("meta")), "uuid": meant[node_id]}}
        position[node_id] = node
    position = _without_missing_parts(without_nodes(position, gone & position.keys()))
    layout = chart_uuids(position)
    context = ReadContext(stored.ids, base_url.rstrip("/"), document.uuid)
    foreign = _foreign(stored, found.places, found.truth)
    settings = dict(stored.metadata)
    if foreign:  # digits in a text are an id as well, and sort with uuids
        settings = map_chart_references(
            settings, lambda reference: foreign.get(as_id(reference) or 0) or str(reference)
        )
    metadata = read_metadata(context.texts(settings, "metadata"), layout, context)
    return marked(unmarked(document).replace(position=position, metadata=metadata), left)


# --- The layout -----------------------------------------------------------------------------------------------


def _places(stored: Stored) -> Iterable[Place]:
    assert stored.position is not None
    for node_id, node in stored.position.items():
        if not isinstance(node, Mapping) or node.get("type") != "CHART":
            continue
        meta = as_mapping(node.get("meta"))
        uuid = str(meta.get("uuid") or "")
        number = as_id(meta.get("chartId"))
        by_id = stored.ids.uuid_of(Kind.CHART, number)
        by_uuid = uuid if stored.ids.id_of(Kind.CHART, uuid) is not None else None
        name = str(meta.get("sliceName") or "")
        yield Place(node_id, number, uuid, by_id, by_uuid, name)


def _truth(
    places: Collection[Place], members: frozenset[str], titles: Mapping[str, str]
) -> tuple[str, str, str]:
    """(truth or "", why, what names speak for) of the torn places.

    The members were never touched by a tool that writes layouts: that reading of the layout is right which shows
    exactly them. A copy made with its charts has the ids right (copy_dashboard in superset/daos/dashboard.py changes
    chartId and leaves uuid, 6.1.0); a layout that was put as it was exported has the uuids right.
    """
    torn = [place for place in places if place.is_torn]
    lost = [place for place in places if place.by_id is None and place.by_uuid is not None]
    if not torn:
        return (BY_UUID if lost else BY_ID), "", ""
    by_uuid = {place.by_uuid or place.by_id for place in places} - {None}
    by_id = {place.by_id or place.by_uuid for place in places} - {None}
    fits_uuid, fits_id = by_uuid == members, by_id == members
    if fits_uuid != fits_id:
        which = "uuids" if fits_uuid else "ids"
        why = f"The {which} in the layout are exactly the {len(members)} charts that belong to the dashboard."
        return (BY_UUID if fits_uuid else BY_ID), why, ""
    strangers_id = {place.by_id for place in torn} - members
    strangers_uuid = {place.by_uuid for place in torn} - members
    if bool(strangers_id) != bool(strangers_uuid):
        which, other = ("uuids", "ids") if strangers_id else ("ids", "uuids")
        why = f"Some {other} in the layout name charts of other dashboards; all {which} name charts of this one."
        return (BY_UUID if strangers_id else BY_ID), why, ""
    names = Counter(
        BY_UUID if place.name == titles.get(place.by_uuid or "") else BY_ID
        for place in torn
        if (place.name == titles.get(place.by_uuid or "")) != (place.name == titles.get(place.by_id or ""))
    )
    why = (
        f"{len(torn)} of {len(places)} places name one chart by id and another by uuid, "
        "and both belong to the dashboard."
    )
    if names:
        why += (
            f" Names in the layout are those of the uuids {names[BY_UUID]} times, of the ids {names[BY_ID]}."
        )
    suggested = BY_UUID if names[BY_UUID] > names[BY_ID] else BY_ID if names[BY_ID] > names[BY_UUID] else ""
    return "", why, suggested


def _meant(place: Place, stored: Stored, truth: str) -> str | None:
    if place.is_torn:
        return place.by_uuid if truth == BY_UUID else place.by_id
    return place.by_uuid or place.by_id


def _of_places(places: Collection[Place], stored: Stored, truth: str) -> Iterable[Damage]:
    def title(uuid: str | None) -> str:
        return f"“{stored.titles.get(uuid or '', uuid)}”"

    shown: set[str] = set()
    for place in places:
        where = f"position.{place.node}"
        meant = _meant(place, stored, truth)
        if meant is None:
            yield Damage("ghost_chart", f"A place is for {_name(place)}, which is not here any more.", where)
            continue
        shown.add(meant)
        if place.is_torn and not truth:
            text = f"A place has the id of {title(place.by_id)} and the uuid of {title(place.by_uuid)}."
            yield Damage("unclear_chart", text, where)
        elif place.is_torn and truth == BY_UUID:
            text = (
                f"A place for {title(meant)} shows {title(place.by_id)}: its id is that of another instance."
            )
            yield Damage("wrong_chart", text, where)
        elif place.by_id is None:
            text = f"The place for {title(meant)} stays empty: no chart here has the id {place.number}."
            yield Damage("missing_chart", text, where)
        elif place.stored != meant:
            yield Damage(
                "stale_uuid", f"The place for {title(meant)} stores the uuid of another chart.", where
            )
    for uuid in sorted(shown - stored.members):
        text = f"{title(uuid)} is in the layout and not a member of the dashboard: its place stays empty."
        yield Damage("unlinked_chart", text, uuid)
    for uuid in sorted(stored.members - shown):
        yield Damage("unplaced_chart", f"{title(uuid)} is a member and has no place in the layout.", uuid)


def _name(place: Place) -> str:
    return f"“{place.name}”" if place.name else f"a chart ({place.stored or place.number})"


def _of_layout(position: Mapping[str, Any]) -> Iterable[Damage]:
    for node_id, node in position.items():
        lost = [
            child for child in as_list(as_mapping(node).get("children")) if not _is_there(child, position)
        ]
        if lost:
            text = f"{len(lost)} of the parts of “{node_id}” are not there."
            yield Damage("broken_layout", text, f"position.{node_id}")


def _is_there(child: object, position: Mapping[str, Any]) -> bool:
    return isinstance(child, str) and isinstance(position.get(child), Mapping)


def _without_missing_parts(position: dict[str, Any]) -> dict[str, Any]:
    tidy: dict[str, Any] = {}
    for node_id, node in position.items():
        if isinstance(node, Mapping) and any(
            not _is_there(one, position) for one in as_list(node.get("children"))
        ):
            node = {
                **node,
                "children": [one for one in as_list(node["children"]) if _is_there(one, position)],
            }
        tidy[node_id] = node
    return tidy


# --- The settings ---------------------------------------------------------------------------------------------


def _foreign(stored: Stored, places: Collection[Place], truth: str) -> dict[int, str]:
    """id of another instance -> uuid, if the settings speak in such; else empty. The layout of a dashboard that was put
    as it was exported tells which id of the other instance is which chart.
    """
    told = {place.number: place.by_uuid for place in places if place.number is not None and place.by_uuid}
    is_foreign = truth == BY_UUID and any(place.by_id != place.by_uuid for place in places)
    if not is_foreign or stored.metadata is None:
        return {}
    named = {number for reference, _ in _named(stored.metadata) if (number := as_id(reference)) is not None}
    own = {stored.ids.id_of(Kind.CHART, uuid) for uuid in told.values()}
    if named and named <= own and not named <= told.keys():
        return {}  # somebody saved the settings here since
    return {number: uuid for number, uuid in told.items() if uuid}


def _named(metadata: Mapping[str, Any]) -> list[tuple[Any, str]]:
    """Every chart that the settings name, with where."""
    found: list[tuple[Any, str]] = []

    def note(reference: Any, where: str) -> Any:
        found.append((reference, where))

    map_chart_references(metadata, note, with_paths=True)
    return found


def _of_metadata(stored: Stored, places: Collection[Place], truth: str) -> Iterable[Damage]:
    assert stored.metadata is not None
    layout = {_meant(place, stored, truth) for place in places} | stored.members
    foreign = _foreign(stored, places, truth)
    lost: Counter[str] = Counter()
    strange: Counter[str] = Counter()
    for reference, where in _named(stored.metadata):
        number = as_id(reference)
        own = stored.ids.uuid_of(Kind.CHART, reference) or (reference if isinstance(reference, str) else None)
        if number in foreign:
            if foreign[number] != own:
                strange[_place_of(where)] += 1
        elif own not in layout:
            lost[where] += 1
    for where, number in strange.items():
        text = f"{_many(number)} named by the ids of another instance; the layout tells which ones are meant."
        yield Damage("foreign_ids", text, where)
    for where, number in lost.items():
        is_scope = where.endswith("chartsInScope")
        code = "stale_scope" if is_scope else "stale_reference"
        yield Damage(code, f"{_many(number)} named that the dashboard does not show.", where)


def _many(number: int) -> str:
    return "1 chart is" if number == 1 else f"{number} charts are"


def _place_of(where: str) -> str:
    return ".".join(where.split(".")[:2])


def _of_filters(stored: Stored) -> Iterable[Damage]:
    assert stored.metadata is not None
    for name, target, key, where in filter_targets(stored.metadata):
        number, uuid = target.get(key), target.get("datasetUuid")
        if as_id(number) is not None:
            if stored.ids.uuid_of(Kind.DATASET, number) is None:
                text = f"The filter “{name}” reads the dataset {number}, which is not here."
                yield Damage("lost_filter_target", text, where)
        elif isinstance(uuid, str):
            if stored.ids.id_of(Kind.DATASET, uuid) is None:
                text = f"The filter “{name}” reads a dataset that is not here ({uuid})."
                yield Damage("lost_filter_target", text, where)
            else:
                text = f"The filter “{name}” names its dataset by uuid only, which the page does not read."
                yield Damage("filter_without_dataset", text, where)


def parsed(text: Any) -> dict[str, Any] | None:
    """`position_json` or `json_metadata`; empty is an empty mapping, None: it is no JSON."""
    if text in (None, ""):
        return {}
    try:
        found = plain(text if isinstance(text, Mapping) else json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
