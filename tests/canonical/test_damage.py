"""Damage of other tools: what is found in a dashboard as it is stored, which truth counts, and what mends it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from environments.canonical.damage import BY_ID, BY_UUID, Stored, examine, marked, mended, parsed, unmarked
from environments.canonical.documents import Kind
from environments.canonical.ids import IdTable

from .builders import chart_node, layout, one, raw_chart, raw_dashboard, raw_dataset, uid

CHARTS = [raw_chart(number) for number in (1, 2, 3, 4)]
MEMBERS = frozenset(uid("c", number) for number in (1, 2, 3))
FILTER = {
    "id": "NATIVE_FILTER-1",
    "name": "Region",
    "targets": [{"datasetId": 1, "column": {"name": "region"}}],
    "chartsInScope": [1, 2, 3],
    "scope": {"rootPath": ["ROOT_ID"], "excluded": [3]},
}
METADATA: dict[str, Any] = {
    "native_filter_configuration": [FILTER],
    "chart_configuration": {"1": {"id": 1, "crossFilters": {"scope": "global", "chartsInScope": [2, 3]}}},
    "expanded_slices": {"2": True},
    "timed_refresh_immune_slices": [3],
}


def _ids() -> IdTable:
    rows = [(Kind.CHART, number, uid("c", number)) for number in (1, 2, 3, 4)]
    return IdTable([*rows, (Kind.DATASET, 1, uid("e", 1)), (Kind.DASHBOARD, 9, uid("d", 9))])


def _stored(
    nodes: list[Any], metadata: dict[str, Any] | None = None, members: frozenset[str] = MEMBERS
) -> Stored:
    titles = {uid("c", number): f"Chart {number}" for number in (1, 2, 3, 4)}
    return Stored(layout(nodes), copy.deepcopy(metadata or {}), members, _ids(), titles)


def _codes(stored: Stored, choice: str = "") -> dict[str, int]:
    found: dict[str, int] = {}
    for entry in examine(stored, choice).damage:
        found[entry.code] = found.get(entry.code, 0) + 1
    return found


def _document(stored: Stored) -> Any:
    asset = raw_dashboard(9, copy.deepcopy(dict(stored.position or {})), copy.deepcopy(stored.metadata))
    return one(asset, *CHARTS, raw_dataset(1))


SOUND = [chart_node(number, uid("c", number)) for number in (1, 2, 3)]


def test_a_sound_dashboard_has_no_damage() -> None:
    assert _codes(_stored(SOUND, METADATA)) == {}


def _foreign(metadata: dict[str, Any], shift: int) -> dict[str, Any]:
    """The settings as another instance exports them, whose ids are higher by `shift`."""
    one = metadata["native_filter_configuration"][0]
    moved = {key: value for key, value in one["targets"][0].items() if key != "datasetId"} | {
        "datasetUuid": uid("e", 1)
    }
    return {
        "native_filter_configuration": [
            {
                **one,
                "targets": [moved],
                "chartsInScope": [number + shift for number in one["chartsInScope"]],
                "scope": {**one["scope"], "excluded": [3 + shift]},
            }
        ],
        "chart_configuration": {
            str(1 + shift): {
                "id": 1 + shift,
                "crossFilters": {"scope": "global", "chartsInScope": [2 + shift, 3 + shift]},
            }
        },
        "expanded_slices": {str(2 + shift): True},
        "timed_refresh_immune_slices": [3 + shift],
    }


@pytest.mark.parametrize("shift", [1, 2, 70])
def test_a_layout_that_was_put_as_another_instance_exported_it_is_mended_by_its_uuids(shift: int) -> None:
    """As `preset-cli --no-cascade` does: every id is one of the other instance, some of which are charts here too."""
    sound = _document(_stored(SOUND, METADATA))
    nodes = [chart_node(number + shift, uid("c", number)) for number in (1, 2, 3)]
    stored = _stored(nodes, _foreign(METADATA, shift))
    found = examine(stored)
    assert found.truth == BY_UUID
    assert (
        {"foreign_ids", "filter_without_dataset"}
        <= found.codes
        <= {
            "foreign_ids",
            "filter_without_dataset",
            "wrong_chart",
            "missing_chart",
        }
    )
    assert sum(entry.code in ("wrong_chart", "missing_chart") for entry in found.damage) == 3
    assert mended(_document(stored), found).body == sound.body


def test_a_copy_with_new_charts_is_right_by_its_ids() -> None:
    nodes = [chart_node(number, uid("c", 4)) for number in (1, 2, 3)]
    found = examine(_stored(nodes))
    assert (found.truth, found.codes) == (BY_ID, {"stale_uuid"})
    fixed = mended(_document(_stored(nodes)), found)
    assert [
        node["meta"]["uuid"]
        for node in fixed.body["position"].values()
        if "meta" in node and "uuid" in node["meta"]
    ] == [
        uid("c", 1),
        uid("c", 2),
        uid("c", 3),
    ]


def test_where_both_may_be_meant_a_person_says() -> None:
    nodes = [chart_node(2, uid("c", 1)), chart_node(1, uid("c", 2)), chart_node(3, uid("c", 3))]
    nodes[0]["meta"]["sliceName"], nodes[1]["meta"]["sliceName"] = "Chart 1", "Chart 2"
    stored = _stored(nodes)
    found = examine(stored)
    assert (found.truth, found.suggested, found.codes) == ("", BY_UUID, {"unclear_chart"})
    assert "2 of 3" in found.why
    assert _codes(stored, BY_UUID) == {"wrong_chart": 2}
    assert _codes(stored, BY_ID) == {"stale_uuid": 2}
    for choice, first in ((BY_UUID, 1), (BY_ID, 2)):
        fixed = mended(_document(stored), examine(stored, choice))
        assert fixed.body["position"]["CHART-0-0"]["meta"]["uuid"] == uid("c", first)


def test_members_and_layout_that_disagree() -> None:
    assert _codes(_stored(SOUND, members=frozenset([uid("c", 1)]))) == {"unlinked_chart": 2}
    assert _codes(_stored(SOUND[:2])) == {"unplaced_chart": 1}
    ghost = _stored([*SOUND, chart_node(77, uid("c", 77))])
    assert _codes(ghost) == {"ghost_chart": 1}
    assert "77" not in str(mended(_document(ghost), examine(ghost)).body["position"])


def test_settings_that_name_what_is_not_there() -> None:
    metadata = copy.deepcopy(METADATA)
    metadata["native_filter_configuration"][0] |= {"chartsInScope": [1, 4, 99], "targets": [{"datasetId": 5}]}
    metadata["expanded_slices"] = {"98": True}
    stored = _stored(SOUND, metadata)
    assert _codes(stored) == {"stale_scope": 1, "stale_reference": 1, "lost_filter_target": 1}
    fixed = mended(_document(stored), examine(stored))
    assert fixed.body["metadata"]["native_filter_configuration"][0]["chartsInScope"] == [uid("c", 1)]
    assert fixed.body["metadata"]["expanded_slices"] == {}
    # Which dataset it should read nobody can know: it stays, and stays named.
    assert [mark.split()[0] for mark in fixed.body["damage"]] == ["lost_filter_target"]


def test_a_layout_with_parts_that_are_not_there() -> None:
    stored = _stored(SOUND)
    assert stored.position is not None
    row = next(
        node for node in stored.position.values() if isinstance(node, dict) and node.get("type") == "ROW"
    )
    row["children"] += [None, "CHART-gone"]
    assert _codes(stored) == {"broken_layout": 1}
    fixed = mended(_document(stored), examine(stored))
    assert fixed.body["position"] == _document(_stored(SOUND)).body["position"]


def test_what_is_no_json_is_said_and_left_alone() -> None:
    stored = Stored(parsed("{not json"), parsed(""), MEMBERS, _ids())
    found = examine(stored)
    assert found.codes == {"unreadable"}
    document = _document(_stored(SOUND))
    assert unmarked(mended(document, found)) == document
    assert marked(document, found.damage).fingerprint != document.fingerprint
