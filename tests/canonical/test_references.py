"""What stands on what, exchanging uuids, and when two documents say the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from environments.canonical.comparison import comparison_fingerprint, comparison_form
from environments.canonical.documents import Document, Kind, canonical_json
from environments.canonical.references import Reference, closure, references, with_uuids, without_mentions

from .builders import (
    chart_node,
    layout,
    one,
    raw_chart,
    raw_dashboard,
    raw_database,
    raw_dataset,
    read,
    uid,
)


def _markdown(code: str) -> dict[str, Any]:
    return {"type": "MARKDOWN", "children": [], "meta": {"code": code}}


def _estate() -> Any:
    """Dashboard 1 shows charts 1 and 2 (a deck of chart 3), filters by dataset 3 and links to dashboard 2."""
    filters = [{"id": "f", "targets": [{"datasetUuid": uid("e", 3)}]}]
    from_chart_4 = {"annotationType": "EVENT", "sourceType": "line", "value": 4}
    return read(
        raw_dashboard(
            1,
            layout([chart_node(1), chart_node(2), _markdown("[x](/superset/dashboard/2/)")]),
            {"native_filter_configuration": filters},
        ),
        raw_dashboard(2, layout([_markdown("[x](/superset/dashboard/1/) /explore/?slice_id=4")])),
        raw_chart(1),
        raw_chart(2, 2, params={"deck_slices": [3], "annotation_layers": [from_chart_4]}),
        raw_chart(3),
        raw_chart(4),
        raw_dataset(1),
        raw_dataset(2, sql="select * from {{ dataset(1) }}"),
        raw_dataset(3),
        raw_database(1),
    ).documents  # fmt: skip


def test_everything_that_an_asset_names_is_found_with_how_it_is_needed() -> None:
    documents = _estate()

    def found(uuid: str) -> set[tuple[str, str]]:
        return {(reference.uuid, reference.how) for reference in references(documents[uuid])}

    assert found(uid("d", 1)) == {
        (uid("c", 1), "needs"),
        (uid("c", 2), "needs"),
        (uid("e", 3), "needs"),
        (uid("d", 2), "mentions"),
    }
    assert found(uid("c", 2)) == {(uid("e", 2), "needs"), (uid("c", 3), "needs"), (uid("c", 4), "mentions")}
    assert found(uid("e", 2)) == {(uid("b", 1), "needs"), (uid("e", 1), "needs")}
    assert found(uid("d", 2)) == {(uid("d", 1), "mentions"), (uid("c", 4), "mentions")}
    assert found(uid("b", 1)) == set()
    assert references(documents[uid("d", 1)]) == tuple(sorted(references(documents[uid("d", 1)])))
    assert Reference(Kind.CHART, uid("c", 1), "needs") in references(documents[uid("d", 1)])


def test_a_selection_pulls_in_what_it_needs_and_says_for_what() -> None:
    pulled = closure([uid("d", 1)], _estate())
    assert pulled[uid("d", 1)] == ()
    assert set(pulled) == {
        uid("d", 1),
        uid("b", 1),
        *(uid("c", n) for n in (1, 2, 3)),
        *(uid("e", n) for n in (1, 2, 3)),
    }
    assert pulled[uid("e", 1)] == (uid("c", 1), uid("c", 3), uid("e", 2))
    assert pulled[uid("c", 3)] == (uid("c", 2),)
    assert uid("d", 2) not in pulled  # a link is no need


def test_what_was_selected_itself_has_no_other_reason() -> None:
    pulled = closure([uid("d", 1), uid("c", 1)], _estate())
    assert pulled[uid("c", 1)] == ()
    assert closure(["nothing"], _estate()) == {}


def test_datasets_that_read_each_other_end_the_closure() -> None:
    ring = [raw_dataset(1, sql="{{ dataset(2) }}"), raw_dataset(2, sql="{{ dataset(1) }}"), raw_database(1)]
    assert set(closure([uid("e", 1)], read(*ring).documents)) == {uid("e", 1), uid("e", 2), uid("b", 1)}


def test_uuids_are_exchanged_in_fields_keys_and_tokens() -> None:
    documents = _estate()
    new = "c0ffee00-0000-4000-8000-000000000000"
    renamed = with_uuids(
        documents[uid("d", 1)], {uid("c", 1): new, uid("e", 3): new[:-1] + "1", uid("d", 2): new[:-1] + "2"}
    )
    text = json.dumps(renamed.body, ensure_ascii=False)
    assert uid("c", 1) not in text
    assert uid("e", 3) not in text
    assert f"⟦dashboard:{new[:-1]}2⟧" in text
    assert renamed.uuid == uid("d", 1)
    assert with_uuids(documents[uid("d", 1)], {uid("d", 1): new}).uuid == new
    assert with_uuids(documents[uid("d", 1)], {}) is documents[uid("d", 1)]


def test_mentions_of_what_is_not_there_lead_nowhere() -> None:
    document = _estate()[uid("d", 2)]
    alone = without_mentions(document, lambda kind, uuid: kind == Kind.DASHBOARD)
    code = alone.body["position"]["MARKDOWN-0-0"]["meta"]["code"]
    assert code == f"[x](/superset/dashboard/⟦dashboard:{uid('d', 1)}⟧/) /explore/?slice_id=0"
    assert without_mentions(document, lambda kind, uuid: True) is document


# --- when two say the same


def _dashboard(metadata: dict[str, Any], **fields: Any) -> Document:
    return one(raw_dashboard(1, layout([chart_node(1)]), metadata, **fields), raw_chart(1))


@pytest.mark.parametrize(
    ("one_way", "other"),
    [
        ({"global_chart_configuration": {"chartsInScope": [1]}}, {"global_chart_configuration": {"chartsInScope": []}}),
        ({"map_label_colors": {"a": "b"}, "color_scheme_domain": ["x"], "shared_label_colors": ["y"]}, {}),
        ({"label_colors": {}, "color_scheme": "", "expanded_slices": {}}, {}),
        ({"native_filter_configuration": [{"id": "a", "chartsInScope": [1], "tabsInScope": ["T"]}]},
         {"native_filter_configuration": [{"id": "a"}]}),
        ({"refresh_frequency": 1.0}, {"refresh_frequency": 1}),
    ],
)  # fmt: skip
def test_caches_and_empty_settings_make_no_difference(one_way: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = _dashboard(one_way), _dashboard(other)
    assert first.fingerprint != second.fingerprint
    assert comparison_fingerprint(first) == comparison_fingerprint(second)


@pytest.mark.parametrize(
    ("one_way", "other"),
    [
        ({"refresh_frequency": 0}, {}),
        ({"cross_filters_enabled": False}, {}),
        ({"cross_filters_enabled": True}, {"cross_filters_enabled": 1}),
        ({"label_colors": {"a": "#fff"}}, {"label_colors": {"a": "#FFF"}}),
        ({"timed_refresh_immune_slices": [1]}, {}),
    ],
)
def test_real_settings_make_one(one_way: dict[str, Any], other: dict[str, Any]) -> None:
    assert comparison_fingerprint(_dashboard(one_way)) != comparison_fingerprint(_dashboard(other))


def test_a_stored_query_context_is_derived() -> None:
    assert comparison_fingerprint(one(raw_chart(1))) == comparison_fingerprint(
        one(raw_chart(1, query_context='{"queries": []}'))
    )
    assert comparison_fingerprint(one(raw_chart(1, description=""))) == comparison_fingerprint(
        one(raw_chart(1))
    )
    assert "query_context" not in comparison_form(one(raw_chart(1)))


def test_another_uuid_is_another_asset() -> None:
    assert comparison_fingerprint(one(raw_chart(1, slice_name="x"))) != comparison_fingerprint(
        one(raw_chart(2, slice_name="x"))
    )


def test_one_value_has_one_text() -> None:
    assert canonical_json({"b": 1, "a": [True, None, "ä⟦\ud83d"]}) == '{"a":[true,null,"ä⟦\ud83d"],"b":1}'
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json(float("nan"))
    assert Document(
        Kind.CHART, "x", {"slice_name": "\ud83d"}
    ).fingerprint  # half of a pair, as broken exports have it
