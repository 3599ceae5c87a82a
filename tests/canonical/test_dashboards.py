"""Layout and metadata of dashboards: what people see counts, ids become uuids, stale names go."""

# ruff: noqa: E501  one case, one line

from __future__ import annotations

import json
from typing import Any

import pytest

from environments.canonical.dashboards import chart_uuids, settled, without_charts
from environments.canonical.documents import Kind
from environments.canonical.ids import IdTable
from environments.canonical.references import with_uuids
from environments.canonical.rendering import render

from .builders import chart_node, codes, layout, one, raw_chart, raw_dashboard, raw_dataset, read, uid

CHARTS = [raw_chart(number) for number in (1, 2, 3, 4)]


def _nodes(body: Any) -> dict[str, str]:
    """Chart nodes: id of the node -> uuid."""
    return {
        node["id"]: node["meta"]["uuid"]
        for node in body["position"].values()
        if isinstance(node, dict) and node.get("type") == "CHART"
    }


def _rendered(document: Any, numbers: dict[str, int]) -> Any:
    kinds = {"c": Kind.CHART, "d": Kind.DASHBOARD, "e": Kind.DATASET}
    ids = IdTable((kinds[uuid[0]], number, uuid) for uuid, number in numbers.items())
    return render([document], ids, "https://prod.example.org")[0]


def test_a_node_shows_the_chart_of_its_id_whatever_uuid_is_stored() -> None:
    """ "Save as" with new charts changes the ids of the layout and leaves the old uuids."""
    reading = read(raw_dashboard(9, layout([chart_node(1, uid("c", 2))])), *CHARTS)
    assert _nodes(reading.documents[uid("d", 9)].body) == {"CHART-0-0": uid("c", 1)}
    assert codes(reading) == {"stale_chart_uuid"}


def test_a_node_without_a_known_id_shows_the_chart_of_its_uuid() -> None:
    document = one(raw_dashboard(9, layout([chart_node(777, uid("c", 2))])), *CHARTS)
    assert _nodes(document.body) == {"CHART-0-0": uid("c", 2)}
    assert "chartId" not in document.body["position"]["CHART-0-0"]["meta"]


def test_a_ghost_goes_with_the_row_that_it_leaves_empty() -> None:
    position = layout([chart_node(1)], [chart_node(88, uid("c", 88), sliceName="Gone")])
    reading = read(raw_dashboard(9, position), *CHARTS)
    body = reading.documents[uid("d", 9)].body
    assert codes(reading) == {"ghost_chart"}
    assert "“Gone”" in reading.notes[0].text
    assert body["position"]["GRID_ID"]["children"] == ["ROW-0"]
    assert "ROW-1" not in body["position"]


def test_an_emptied_tab_stays() -> None:
    position = layout([chart_node(88)])
    position["GRID_ID"]["children"] = ["TAB-a"]
    position["TAB-a"] = {"type": "TAB", "id": "TAB-a", "children": ["ROW-0"], "meta": {"text": "Leer"}}
    body = one(raw_dashboard(9, position), *CHARTS).body
    assert body["position"]["TAB-a"]["children"] == []


def test_rows_that_an_export_appends_have_the_same_names_every_time() -> None:
    def exported(row: str, names: list[str], order: list[int]) -> Any:
        position = layout([chart_node(1)])
        position["GRID_ID"]["children"].append(row)
        position[row] = {
            "type": "ROW",
            "id": row,
            "children": names,
            "parents": ["ROOT_ID", "GRID_ID"],
            "meta": {},
        }
        for name, number in zip(names, order, strict=True):
            node = chart_node(number, uid("c", number))
            position[name] = {"id": name, **node, "parents": ["ROOT_ID", "GRID_ID", row]}
        return one(raw_dashboard(9, position), *CHARTS)

    first = exported("ROW-N-A1B2C3D4", ["CHART-AAAAAAAA", "CHART-BBBBBBBB"], [2, 3])
    second = exported("ROW-N-ZZZZ9999", ["CHART-11111111", "CHART-22222222"], [3, 2])
    assert first.fingerprint == second.fingerprint
    # Saved and exported once more, what was appended is part of the layout: no other name for it then.
    assert settled(first).fingerprint == first.fingerprint


def test_charts_left_loose_beside_tabs_have_the_same_names_every_time() -> None:
    def exported(names: list[str], order: list[int]) -> Any:
        position = layout([chart_node(1)])
        position["ROOT_ID"]["children"] = ["TABS-x"]
        for name, number in zip(names, order, strict=True):
            position[name] = {"id": name, **chart_node(number, uid("c", number))}
        return one(raw_dashboard(9, position), *CHARTS)

    first, second = (
        exported(["CHART-QQQQQQQQ", "CHART-A7A7A7A7"], [2, 3]),
        exported(["CHART-ZZ", "CHART-X"], [2, 3]),
    )
    third = exported(["CHART-01234567", "CHART-89ABCDEF"], [3, 2])
    assert first.fingerprint == third.fingerprint
    assert second.fingerprint != first.fingerprint  # names of a page's making are kept
    assert set(_nodes(first.body).values()) == {uid("c", 1), uid("c", 2), uid("c", 3)}


def test_an_appended_chart_that_the_layout_shows_anyway_is_dropped() -> None:
    """A layout whose nodes lack uuids is exported with every chart twice."""
    position = layout([chart_node(1)])
    position["GRID_ID"]["children"].append("ROW-N-A1B2C3D4")
    position["ROW-N-A1B2C3D4"] = {
        "type": "ROW",
        "id": "ROW-N-A1B2C3D4",
        "children": ["CHART-AAAAAAAA"],
        "meta": {},
    }
    position["CHART-AAAAAAAA"] = {"id": "CHART-AAAAAAAA", **chart_node(1, uid("c", 1))}
    body = one(raw_dashboard(9, position), *CHARTS).body
    assert _nodes(body) == {"CHART-0-0": uid("c", 1)}
    assert not any(name.startswith("ROW-N") for name in body["position"])


def test_two_appended_places_of_one_chart_both_stay() -> None:
    position = layout([chart_node(1)])
    for row, name in (("ROW-N-A1B2C3D4", "CHART-AAAAAAAA"), ("ROW-N-FFFFFFFF", "CHART-BBBBBBBB")):
        position["GRID_ID"]["children"].append(row)
        position[row] = {"type": "ROW", "id": row, "children": [name], "meta": {}}
        position[name] = {"id": name, **chart_node(2, uid("c", 2))}
    body = one(raw_dashboard(9, position), *CHARTS).body
    assert list(_nodes(body).values()).count(uid("c", 2)) == 2
    assert len(body["position"]["GRID_ID"]["children"]) == 3


def _metadata() -> dict[str, Any]:
    return {
        "chart_configuration": {
            "1": {
                "id": 1,
                "crossFilters": {
                    "scope": {"rootPath": ["ROOT_ID"], "excluded": [2, 1]},
                    "chartsInScope": [3],
                },
            },
            "2": {"id": 2, "crossFilters": {"scope": "global", "chartsInScope": [1, 3]}},
        },
        "global_chart_configuration": {
            "scope": {"rootPath": ["ROOT_ID"], "excluded": [3]},
            "chartsInScope": [2, 1],
        },
        "expanded_slices": {"3": True},
        "timed_refresh_immune_slices": [3, 1],
        "native_filter_configuration": [
            {
                "id": "NATIVE_FILTER-a",
                "targets": [{"datasetUuid": uid("e", 5), "column": {"name": "region"}}, {}],
                "scope": {
                    "rootPath": ["ROOT_ID"],
                    "excluded": [2],
                    "selectedLayers": ["chart-1-layer-0", "chart-3-layer-2"],
                },
                "chartsInScope": [1, 3],
            }
        ],
        "chart_customization_config": [
            {"id": "c", "targets": [{"datasetId": 5}], "chartsInScope": [1], "customization": {"dataset": 5}},
            {"id": "d", "customization": {"dataset": "5"}},
        ],
    }


def _full(metadata: Any = None) -> Any:
    position = layout([chart_node(1), chart_node(2), chart_node(3)])
    return raw_dashboard(9, position, _metadata() if metadata is None else metadata), *CHARTS, raw_dataset(5)


def test_every_place_of_the_metadata_that_names_a_chart_or_dataset_becomes_a_uuid() -> None:
    reading = read(*_full())
    body = reading.documents[uid("d", 9)].body
    metadata = body["metadata"]
    assert set(metadata["chart_configuration"]) == {uid("c", 1), uid("c", 2)}
    first = metadata["chart_configuration"][uid("c", 1)]
    assert first == {
        "crossFilters": {
            "scope": {"rootPath": ["ROOT_ID"], "excluded": [uid("c", 1), uid("c", 2)]},
            "chartsInScope": [uid("c", 3)],
        }
    }
    assert metadata["chart_configuration"][uid("c", 2)]["crossFilters"]["scope"] == "global"
    assert metadata["global_chart_configuration"]["scope"]["excluded"] == [uid("c", 3)]
    assert metadata["expanded_slices"] == {uid("c", 3): True}
    assert metadata["timed_refresh_immune_slices"] == [uid("c", 1), uid("c", 3)]
    filters = metadata["native_filter_configuration"][0]
    assert filters["targets"] == [{"datasetUuid": uid("e", 5), "column": {"name": "region"}}, {}]
    assert filters["scope"]["excluded"] == [uid("c", 2)]
    assert metadata["chart_customization_config"][0]["targets"] == [{"datasetUuid": uid("e", 5)}]
    assert metadata["chart_customization_config"][1]["customization"] == {"datasetUuid": uid("e", 5)}
    assert not reading.notes


def test_rendering_writes_the_targets_ids_into_all_of_them() -> None:
    document = read(*_full()).documents[uid("d", 9)]
    item = _rendered(
        document, {uid("c", 1): 101, uid("c", 2): 102, uid("c", 3): 103, uid("e", 5): 205, uid("d", 9): 309}
    )
    metadata = item.data["metadata"]
    assert metadata["chart_configuration"]["101"] == {
        "id": 101,
        "crossFilters": {"scope": {"rootPath": ["ROOT_ID"], "excluded": [101, 102]}, "chartsInScope": [103]},
    }
    assert metadata["expanded_slices"] == {"103": True}
    assert metadata["timed_refresh_immune_slices"] == [101, 103]
    scope = metadata["native_filter_configuration"][0]["scope"]
    assert scope["excluded"] == [102]
    assert scope["selectedLayers"] == ["chart-101-layer-0", "chart-103-layer-2"]
    assert metadata["native_filter_configuration"][0]["targets"][0] == {
        "datasetId": 205,
        "column": {"name": "region"},
    }
    assert metadata["chart_customization_config"][0]["customization"] == {"dataset": 205}
    nodes = [node for node in item.data["position"].values() if isinstance(node, dict)]
    assert {node["meta"]["chartId"] for node in nodes if node["type"] == "CHART"} == {101, 102, 103}
    assert item.missing == frozenset()
    assert item.data["uuid"] == uid("d", 9)
    assert item.data["version"] == "1.0.0"


def test_what_the_target_has_no_id_for_is_named() -> None:
    document = read(*_full()).documents[uid("d", 9)]
    item = _rendered(document, {uid("c", 1): 101, uid("c", 2): 102})
    assert item.missing == {(Kind.CHART, uid("c", 3)), (Kind.DATASET, uid("e", 5))}


@pytest.mark.parametrize("reference", [uid("c", 1), "1", 1])
def test_charts_may_be_named_by_id_by_text_and_by_uuid(reference: Any) -> None:
    metadata = {
        "timed_refresh_immune_slices": [reference],
        "chart_configuration": {str(reference): {"id": reference}},
    }
    body = read(*_full(metadata)).documents[uid("d", 9)].body["metadata"]
    assert body["timed_refresh_immune_slices"] == [uid("c", 1)]
    assert body["chart_configuration"] == {uid("c", 1): {}}


@pytest.mark.parametrize("stale", [4, 999, "999", uid("c", 4), uid("c", 99), None, [], {}, True, 1.5])
def test_names_of_charts_that_the_layout_does_not_show_go_with_a_note(stale: Any) -> None:
    """An import answers 500 for a stale id in these lists."""
    metadata = {"timed_refresh_immune_slices": [1, stale]}
    reading = read(*_full(metadata))
    assert reading.documents[uid("d", 9)].body["metadata"] == {"timed_refresh_immune_slices": [uid("c", 1)]}
    assert codes(reading) == {"stale_reference"}
    assert reading.notes[0].where == "metadata.timed_refresh_immune_slices"


def test_a_stale_cache_of_charts_in_scope_is_not_worth_a_note() -> None:
    reading = read(*_full({"global_chart_configuration": {"scope": {}, "chartsInScope": [1, 999]}}))
    assert not reading.notes
    assert reading.documents[uid("d", 9)].body["metadata"]["global_chart_configuration"]["chartsInScope"] == [
        uid("c", 1)
    ]


def test_a_filter_whose_dataset_was_deleted_says_so() -> None:
    metadata = {
        "native_filter_configuration": [{"id": "a", "targets": [{"datasetId": 999, "column": {"name": "x"}}]}]
    }
    reading = read(*_full(metadata))
    assert codes(reading) == {"lost_filter_target"}
    filters = reading.documents[uid("d", 9)].body["metadata"]["native_filter_configuration"]
    assert filters[0]["targets"] == [{"column": {"name": "x"}}]


def test_what_belongs_to_filter_boxes_is_dropped_with_a_note() -> None:
    metadata = {
        "default_filters": json.dumps({"1": {"a": ["b"]}}),
        "filter_scopes": {"1": {}},
        "remote_id": 7,
    }
    reading = read(*_full({**metadata, "import_time": 1, "show_native_filters": True}))
    assert reading.documents[uid("d", 9)].body["metadata"] == {}
    assert codes(reading) == {"legacy_filters"}
    assert not read(*_full({"default_filters": "{}", "filter_scopes": {}})).notes


@pytest.mark.parametrize("position", [None, "", "{}", [], 7, {"ROOT_ID": None}, {"ROW-N-A1B2C3D4": None}, {"A": []},
                                      {"A": {"type": "CHART"}}, {"A": {"type": "CHART", "meta": "x"}},
                                      {"ROW-N-A1B2C3D4": {"type": "ROW", "children": [[], None, "B"]}, "B": None}])  # fmt: skip
def test_damaged_layouts_are_read(position: Any) -> None:
    data = raw_dashboard(9).data | {"position": position}
    asset = raw_dashboard(9)
    asset.data.update(data)
    reading = read(asset)
    body = reading.documents[uid("d", 9)].body
    assert chart_uuids(body["position"]) == frozenset()
    assert codes(reading) <= {"ghost_chart"}


@pytest.mark.parametrize("metadata", [None, "", "{", [], {"native_filter_configuration": None},
                                      {"native_filter_configuration": [None, "x", {"targets": None, "scope": []}]},
                                      {"chart_configuration": []}, {"chart_configuration": {"1": None, "x": 3}},
                                      {"expanded_slices": None}, {"timed_refresh_immune_slices": "1"},
                                      {"global_chart_configuration": None}, {"chart_customization_config": {}}])  # fmt: skip
def test_damaged_settings_are_read_and_rendered(metadata: Any) -> None:
    asset = raw_dashboard(9, layout([chart_node(1)]))
    asset.data["metadata"] = metadata
    reading = read(asset, *CHARTS)
    assert "unreadable" not in codes(reading)
    assert _rendered(reading.documents[uid("d", 9)], {uid("c", 1): 1}).data["metadata"] is not None


def test_a_dashboard_that_cannot_be_read_does_not_hide_the_others() -> None:
    deep: Any = {}
    for _ in range(300):
        deep = {"a": deep}
    reading = read(raw_dashboard(8, metadata=deep), raw_dashboard(9))
    assert set(reading.documents) == {uid("d", 9)}
    assert codes(reading) == {"unreadable"}
    assert "nested" in reading.notes[0].text


def test_a_dashboard_without_a_chart_names_it_nowhere() -> None:
    document = without_charts(read(*_full()).documents[uid("d", 9)], {uid("c", 1)})
    assert uid("c", 1) not in json.dumps(document.body)
    assert uid("c", 2) in document.body["metadata"]["chart_configuration"]
    assert chart_uuids(document.body["position"]) == {uid("c", 2), uid("c", 3)}
    scope = document.body["metadata"]["native_filter_configuration"][0]["scope"]
    assert scope["selectedLayers"] == [f"chart-⟦chart:{uid('c', 3)}⟧-layer-2"]


def test_exchanged_uuids_leave_no_order_of_the_old_ones() -> None:
    """An asset that was paired with one of another uuid: read from there, its lists are sorted by that uuid."""
    source = read(*_full()).documents[uid("d", 9)]
    pairs = {uid("c", 1): "cfffffff-0000-4000-8000-000000000000"}
    exchanged = with_uuids(source, pairs)
    there = {uid("c", 2): 2, uid("c", 3): 3, pairs[uid("c", 1)]: 1, uid("e", 5): 5}
    item = _rendered(exchanged, there)
    ids = IdTable(
        (Kind.DATASET if uuid == uid("e", 5) else Kind.CHART, number, uuid) for uuid, number in there.items()
    )
    asset = raw_dashboard(9)
    asset.data.clear()
    asset.data.update(item.data)
    assert (
        read(asset, ids=ids, url="https://prod.example.org").documents[uid("d", 9)].fingerprint
        == exchanged.fingerprint
    )
    assert exchanged.body["metadata"]["timed_refresh_immune_slices"] == [uid("c", 3), pairs[uid("c", 1)]]


def test_key_and_id_of_a_node_agree() -> None:
    position = layout([chart_node(88), chart_node(1)])
    position["CHART-0-0"]["id"] = "another"
    body = one(raw_dashboard(9, position), *CHARTS).body
    assert body["position"]["ROW-0"]["children"] == ["CHART-0-1"]


def test_an_empty_slug_is_none() -> None:
    """Files of other tools have it. Two dashboards with an empty slug are one dashboard to an import."""
    assert one(raw_dashboard(1, slug="")).body["slug"] is None
    assert one(raw_dashboard(1, slug="s")).body["slug"] == "s"
