"""Form data and stored query contexts of charts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from environments.canonical.documents import Document, Kind
from environments.canonical.ids import IdTable
from environments.canonical.rendering import importable, render

from .builders import codes, one, raw_chart, raw_dataset, read, uid

FORMULA = {"name": "Twice", "annotationType": "FORMULA", "sourceType": "", "value": "x*2"}
FROM_CHART = {"name": "Events", "annotationType": "EVENT", "sourceType": "table", "value": 2}
NATIVE = {"name": "Holidays", "annotationType": "EVENT", "sourceType": "NATIVE", "value": 12}
TARGET = IdTable(
    [(Kind.CHART, 901, uid("c", 1)), (Kind.CHART, 902, uid("c", 2)), (Kind.DATASET, 801, uid("e", 1))]
)


def _rendered(document: Document) -> Any:
    return render([document], TARGET)[0]


def test_ids_of_the_instance_are_no_part_of_a_chart() -> None:
    params = {
        "viz_type": "table",
        "datasource": "1__table",
        "slice_id": 1,
        "dashboards": [4],
        "dashboardId": 4,
        "row_limit": 9,
    }
    assert one(raw_chart(1, params=params)).body["params"] == {"viz_type": "table", "row_limit": 9}


def test_parameters_of_the_address_it_was_saved_under_go_others_stay() -> None:
    address = {"slice_id": "1", "form_data_key": "k", "native_filters_key": "n", "country": "DE"}
    document = one(raw_chart(1, params={"url_params": address}))
    assert document.body["params"] == {"url_params": {"country": "DE"}}


def test_the_two_ways_to_have_no_annotations_are_one() -> None:
    """An import writes an empty list where there is none."""
    assert (
        one(raw_chart(1, params={"annotation_layers": []})).fingerprint
        == one(raw_chart(1, params={})).fingerprint
    )


def test_annotations_from_charts_name_them_by_uuid_and_formulas_and_native_layers_stay() -> None:
    document = one(raw_chart(1, params={"annotation_layers": [FORMULA, FROM_CHART, NATIVE]}), raw_chart(2))
    assert [layer["value"] for layer in document.body["params"]["annotation_layers"]] == [
        "x*2",
        uid("c", 2),
        12,
    ]
    assert [layer["value"] for layer in _rendered(document).data["params"]["annotation_layers"]] == [
        "x*2",
        902,
        12,
    ]


def test_an_annotation_of_a_deleted_chart_is_noted() -> None:
    reading = read(raw_chart(1, params={"annotation_layers": [{**FROM_CHART, "value": 99}]}))
    assert codes(reading) == {"stale_reference"}


def _with_context(**form_data: Any) -> Document:
    context = {
        "datasource": {"id": 1, "type": "table"},
        "force": True,
        "queries": [
            {"datasource": {"id": 1}, "metrics": ["count"], "annotation_layers": [FORMULA, FROM_CHART],
             "url_params": {"slice_id": "1"}},
            None,
        ],
        "form_data": {"datasource": "1__table", "slice_id": 1, "annotation_layers": [FROM_CHART], **form_data},
    }  # fmt: skip
    chart = raw_chart(
        1, params={"annotation_layers": [FORMULA, FROM_CHART]}, query_context=json.dumps(context)
    )
    return one(chart, raw_chart(2), raw_dataset(1))


def test_a_query_context_holds_no_id_of_the_source_and_gets_those_of_the_target() -> None:
    document = _with_context()
    context = document.body["query_context"]
    assert "datasource" not in context
    assert "force" not in context
    assert context["queries"][0]["annotation_layers"][1]["value"] == uid("c", 2)
    assert context["queries"][0]["url_params"] == {}
    assert context["form_data"] == {"annotation_layers": [{**FROM_CHART, "value": uid("c", 2)}]}
    rendered = json.loads(_rendered(document).data["query_context"])
    assert rendered["datasource"] == {"id": 801, "type": "table"}
    assert rendered["form_data"]["datasource"] == "801__table"
    assert rendered["queries"][0]["annotation_layers"][1]["value"] == 902
    assert rendered["queries"][1] is None


def test_what_imports_delete_is_gone_from_the_query_context_too() -> None:
    """The copies there would keep naming a chart by an id of the source, or wait for one that never comes."""
    wanted = importable(_with_context())
    assert wanted.body["params"]["annotation_layers"] == [FORMULA]
    assert wanted.body["query_context"]["queries"][0]["annotation_layers"] == [FORMULA]
    assert "annotation_layers" not in wanted.body["query_context"]["form_data"]
    assert uid("c", 2) not in json.dumps(wanted.body)
    alone = importable(one(raw_chart(1, params={"annotation_layers": [FROM_CHART]}), raw_chart(2)))
    assert "annotation_layers" not in alone.body["params"]


def test_layers_of_a_deck_keep_their_order_and_lose_deleted_charts() -> None:
    reading = read(raw_chart(1, params={"deck_slices": [3, 2, 99, uid("c", 2)]}), raw_chart(2), raw_chart(3))
    document = reading.documents[uid("c", 1)]
    assert document.body["params"]["deck_slices"] == [uid("c", 3), uid("c", 2), uid("c", 2)]
    assert codes(reading) == {"stale_reference"}
    item = _rendered(document)
    assert item.data["params"]["deck_slices"] == [902, 902]
    assert item.missing == {(Kind.CHART, uid("c", 3))}


@pytest.mark.parametrize("stored", ["{", "nothing", "[1]", "7", '"text"', ["x"], 7])
def test_a_broken_query_context_is_none(stored: Any) -> None:
    reading = read(raw_chart(1, query_context=stored))
    assert reading.documents[uid("c", 1)].body["query_context"] is None
    assert _rendered(reading.documents[uid("c", 1)]).data["query_context"] is None


def test_a_query_context_that_is_no_json_is_noted() -> None:
    assert codes(read(raw_chart(1, query_context="{"))) == {"broken_query_context"}
    assert codes(read(raw_chart(1, query_context=""))) == set()


def test_numbers_that_json_does_not_know_become_null() -> None:
    document = one(
        raw_chart(1, query_context='{"queries": [{"row_limit": NaN}]}', params={"x": float("inf")})
    )
    assert document.body["query_context"]["queries"] == [{"row_limit": None}]
    assert document.body["params"] == {"x": None}
    assert document.fingerprint


def test_a_chart_without_dataset_is_read_and_noted() -> None:
    reading = read(raw_chart(1, dataset=None))
    assert reading.documents[uid("c", 1)].body["dataset_uuid"] is None
    assert codes(reading) == {"lost_dataset"}


@pytest.mark.parametrize("params", [None, "", "{", [], 3])
def test_damaged_form_data_is_empty(params: Any) -> None:
    chart = raw_chart(1)
    chart.data["params"] = params
    assert one(chart).body["params"] == {}


def test_keys_that_yaml_made_of_numbers_and_booleans_are_texts() -> None:
    assert one(raw_chart(1, params={7: "a", True: "b", None: "c"})).body["params"] == {
        "7": "a",
        "true": "b",
        "null": "c",
    }


def test_a_dataset_of_a_version_before_6_is_known_by_its_charts() -> None:
    """File names tell no ids of datasets there; params.datasource beside dataset_uuid does."""
    reading = read(raw_chart(1, params={"datasource": "77__table"}))
    assert reading.ids.uuid_of(Kind.DATASET, 77) == uid("e", 1)
    known = IdTable([(Kind.DATASET, 5, uid("e", 1))])
    assert (
        read(raw_chart(1, params={"datasource": "77__table"}), ids=known).ids.uuid_of(Kind.DATASET, 77)
        is None
    )
