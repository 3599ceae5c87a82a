"""What a plan decides for each asset, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.documents import Document, Documents, Kind
from migrations_app.engine.checks import Severity
from migrations_app.engine.conflicts import ConflictCode
from migrations_app.engine.mapping import AssetMapping, DatabaseTarget
from migrations_app.engine.plan import (
    Action,
    Answer,
    Baseline,
    Edit,
    Given,
    Plan,
    PlanInput,
    PlanItem,
    make_plan,
    model_after,
    written_documents,
)
from tests.canonical.builders import (
    chart_node,
    layout,
    raw_chart,
    raw_dashboard,
    raw_database,
    raw_dataset,
    read,
    uid,
)

TARGET_DB = "77777777-0000-4000-8000-000000000001"
D1, C1, C2, E1 = uid("d", 1), uid("c", 1), uid("c", 2), uid("e", 1)


def _markdown(code: str) -> dict[str, Any]:
    return {"type": "MARKDOWN", "children": [], "meta": {"code": code}}


def _source(*more: Any, title: str = "Sales") -> Any:
    """Dashboard 1 with charts 1 and 2 on dataset 1."""
    dashboard = raw_dashboard(1, layout([chart_node(1), chart_node(2)]), dashboard_title=title, slug="sales")
    return read(dashboard, raw_chart(1), raw_chart(2), raw_dataset(1), raw_database(1), *more).documents


def _target(*documents: Document, title: str = "Warehouse PROD") -> dict[str, Document]:
    connection = Document(
        Kind.DATABASE, TARGET_DB, {"database_name": title, "sqlalchemy_uri": "postgresql://p/p"}
    )
    return {TARGET_DB: connection, **{document.uuid: document for document in documents}}


def _given(
    source: Documents, target: Documents | None = None, selection: Iterable[str] = (D1,), **more: Any
) -> PlanInput:
    mapping = more.pop("mapping", AssetMapping({uid("b", 1): DatabaseTarget(TARGET_DB)}))
    return PlanInput(source, target or _target(), list(selection), mapping, **more)


def _items(plan: Plan) -> dict[str, PlanItem]:
    return {item.uuid: item for item in plan.items}


def _actions(plan: Plan) -> dict[str, str]:
    return {item.uuid: item.action.value for item in plan.items}


def _moved(source: Documents) -> dict[str, Document]:
    """A target that has all of it already."""
    return {**_target(), **written_documents(make_plan(_given(source, selection=list(source))))}


def _baselines(target: Documents) -> dict[str, Baseline]:
    return {
        uuid: Baseline(comparison_fingerprint(item), comparison_fingerprint(item))
        for uuid, item in target.items()
    }


def _edited(target: dict[str, Document], uuid: str, **fields: Any) -> dict[str, Document]:
    return {**target, uuid: target[uuid].replace(**fields)}


def test_everything_new_is_created_in_the_order_in_which_it_stands_on_each_other() -> None:
    plan = make_plan(_given(_source()))
    assert [(item.kind.value, item.action.value) for item in plan.items] == [
        ("dataset", "create"), ("chart", "create"), ("chart", "create"), ("dashboard", "create"),
    ]  # fmt: skip
    assert _items(plan)[D1].reasons == ()
    assert _items(plan)[C1].reasons == (D1,)
    assert _items(plan)[E1].reasons == (C1, C2)
    assert plan.has_changes
    assert not plan.is_blocked
    assert plan.counts == {
        "create": 4,
        "update": 0,
        "remove": 0,
        "unchanged": 0,
        "keep": 0,
        "leave_out": 0,
        "blocked": 0,
    }
    assert written_documents(plan)[E1].body["database_uuid"] == TARGET_DB


def test_what_is_there_already_is_unchanged_and_one_changed_chart_is_one_update() -> None:
    target = _moved(_source())
    assert set(_actions(make_plan(_given(_source(), target))).values()) == {"unchanged"}
    source = {**_source(), C1: _source()[C1].replace(slice_name="Renamed")}
    plan = make_plan(_given(source, target))
    assert _actions(plan) == {E1: "unchanged", C1: "update", C2: "unchanged", D1: "unchanged"}
    assert [(change.path, change.before, change.after) for change in _items(plan)[C1].changes] == [
        (("slice_name",), "Chart 1", "Renamed")
    ]


def test_an_unmapped_connection_blocks_its_datasets_and_what_stands_on_them() -> None:
    plan = make_plan(_given(_source(), mapping=AssetMapping()))
    assert set(_actions(plan).values()) == {"blocked"}
    assert plan.unmapped_databases == (uid("b", 1),)
    items = _items(plan)
    assert items[E1].blocked_by == "The database “Warehouse 1” is not mapped to one of the target."
    assert items[C1].blocked_by.startswith("Stands on the dataset “table_1”")
    assert items[D1].blocked_by == "Its chart “Chart 1” is blocked."
    left = make_plan(_given(_source(), mapping=AssetMapping(), left_out=[E1, C1, C2, D1]))
    assert left.unmapped_databases == ()


def test_a_dashboard_goes_without_the_charts_that_are_left_out_unless_the_target_has_them() -> None:
    plan = make_plan(_given(_source(), left_out=[C1]))
    assert _actions(plan) == {E1: "create", C1: "leave_out", C2: "create", D1: "create"}
    assert C1 not in str(_items(plan)[D1].wanted)
    assert [(problem.code, problem.uuid) for problem in plan.problems] == [("charts_left_out", D1)]
    target = _moved(_source())
    del target[D1]
    there = make_plan(_given(_source(), target, left_out=[C1]))
    assert C1 in str(_items(there)[D1].wanted)
    assert there.problems == ()


def test_a_chart_without_its_dataset_is_blocked() -> None:
    plan = make_plan(_given(_source(), left_out=[E1]))
    assert _actions(plan)[C1] == "blocked"
    lost = read(raw_chart(1, dataset=None)).documents
    plan = make_plan(_given(lost, selection=[C1]))
    assert "does not exist any more" in _items(plan)[C1].blocked_by


def test_datasets_that_read_new_datasets_are_not_blocked_by_the_order_of_names() -> None:
    source = read(
        raw_dataset(1, table_name="a", sql="select * from {{ dataset(2) }}"),
        raw_dataset(2, table_name="z"),
        raw_database(1),
    ).documents
    plan = make_plan(_given(source, selection=[E1]))
    assert [(item.title, item.action.value) for item in plan.items] == [("a", "create"), ("z", "create")]
    out = make_plan(_given(source, selection=[E1], left_out=[uid("e", 2)]))
    assert _actions(out)[E1] == "blocked"


def test_a_uuid_that_is_another_kind_there_is_blocked() -> None:
    source = _source()
    plan = make_plan(
        _given(
            source, _target(Document(Kind.DASHBOARD, C1, read(raw_dashboard(5)).documents[uid("d", 5)].body))
        )
    )
    assert "this uuid is a dashboard" in _items(plan)[C1].blocked_by


def test_what_cannot_be_read_there_is_not_overwritten() -> None:
    plan = make_plan(_given(_source(), unreadable_target=[C1]))
    assert "cannot be read" in _items(plan)[C1].blocked_by


# --- edits on the target


def _drifted(source_moved: bool, **more: Any) -> Plan:
    target = _moved(_source())
    baselines = _baselines(target)
    target = _edited(target, C1, description="by hand")
    source = {**_source(), C1: _source()[C1].replace(slice_name="New name")} if source_moved else _source()
    edits = {C1: Edit("Ada", "2026-11-20T09:30:00+00:00")}
    return make_plan(_given(source, target, baselines=baselines, target_edits=edits, **more))


@pytest.mark.parametrize(
    ("source_moved", "code"), [(False, ConflictCode.DRIFTED), (True, ConflictCode.DIVERGED)]
)
def test_an_edit_on_the_target_is_a_conflict_with_both_sides(source_moved: bool, code: ConflictCode) -> None:
    item = _items(_drifted(source_moved))[C1]
    assert item.action == Action.BLOCKED
    assert item.conflict is not None
    assert item.conflict.code == code
    assert item.conflict.options == ("keep", "take", "leave_out")
    assert (item.conflict.who, item.conflict.when) == ("Ada", "2026-11-20T09:30:00+00:00")
    assert "edited by Ada on 2026-11-20 09:30 UTC" in item.conflict.text
    assert item.changes


@pytest.mark.parametrize(
    ("answer", "action"),
    [(Answer.TAKE, Action.UPDATE), (Answer.KEEP, Action.KEEP), (Answer.LEAVE_OUT, Action.LEAVE_OUT)],
)
def test_each_answer_to_an_edit_does_what_it_says(answer: Answer, action: Action) -> None:
    plan = _drifted(True, answers={C1: Given(answer)})
    assert _items(plan)[C1].action == action
    assert not plan.is_blocked
    assert (C1 in written_documents(plan)) == (answer == Answer.TAKE)


def test_an_edit_that_was_taken_over_on_the_source_is_none() -> None:
    target = _moved(_source())
    baselines = _baselines(target)
    target = _edited(target, C1, description="both")
    source = {**_source(), C1: _source()[C1].replace(description="both")}
    assert set(_actions(make_plan(_given(source, target, baselines=baselines))).values()) == {"unchanged"}


def test_without_anything_brought_before_a_difference_is_an_update() -> None:
    target = _edited(_moved(_source()), C1, description="whoever")
    assert _actions(make_plan(_given(_source(), target)))[C1] == "update"


# --- unrelated assets in the way


THEIRS = uid("e", 9)


def _table_taken(**more: Any) -> Plan:
    other = read(raw_dataset(9, table_name="table_1")).documents[THEIRS].replace(database_uuid=TARGET_DB)
    return make_plan(_given(_source(), _target(other), **more))


def test_a_dataset_on_a_taken_table_is_blocked_with_what_stands_on_it() -> None:
    plan = _table_taken()
    assert set(_actions(plan).values()) == {"blocked"}
    conflict = _items(plan)[E1].conflict
    assert conflict is not None
    assert (conflict.code, conflict.other_uuid) == (ConflictCode.TABLE_TAKEN, THEIRS)


def test_adopting_writes_into_the_targets_own_and_keeping_leaves_it() -> None:
    adopted = _table_taken(answers={E1: Given(Answer.ADOPT)})
    assert (_items(adopted)[E1].action, _items(adopted)[E1].target_uuid) == (Action.UNCHANGED, THEIRS)
    assert written_documents(adopted)[C1].body["dataset_uuid"] == THEIRS
    assert adopted.mapping.pairs == {E1: THEIRS}
    source = {**_source(), E1: _source()[E1].replace(description="ours")}
    other = read(raw_dataset(9, table_name="table_1")).documents[THEIRS].replace(database_uuid=TARGET_DB)
    for answer, action in ((Answer.ADOPT, Action.UPDATE), (Answer.KEEP, Action.KEEP)):
        plan = make_plan(_given(source, _target(other), answers={E1: Given(answer)}))
        assert _items(plan)[E1].action == action
        assert written_documents(plan)[C1].body["dataset_uuid"] == THEIRS


def test_renaming_brings_ours_beside_it() -> None:
    plan = _table_taken(answers={E1: Given(Answer.RENAME)})
    wanted = written_documents(plan)[E1]
    assert (wanted.body["table_name"], wanted.body["sql"]) == ("table_1_2", "SELECT * FROM public.table_1")
    assert plan.mapping.renames[E1]["table_name"] == "table_1_2"


def test_a_new_name_that_is_taken_as_well_is_a_conflict_again() -> None:
    """Nothing may be overwritten because somebody typed the name of another asset."""
    theirs = read(raw_dashboard(8, slug="sales"), raw_dashboard(9, slug="theirs")).documents
    given = _given(_source(), _target(*theirs.values()), answers={D1: Given(Answer.RENAME, "theirs")})
    item = _items(make_plan(given))[D1]
    assert item.action == Action.BLOCKED
    assert item.conflict is not None
    assert item.conflict.other_uuid == uid("d", 9)
    free = make_plan(replace(given, answers={D1: Given(Answer.RENAME, "ours")}))
    assert written_documents(free)[D1].body["slug"] == "ours"


@pytest.mark.parametrize("answer", [Answer.TAKE, Answer.KEEP])
def test_an_answer_that_does_not_fit_settles_nothing(answer: Answer) -> None:
    theirs = read(raw_dashboard(8, slug="sales")).documents
    plan = make_plan(_given(_source(), _target(*theirs.values()), answers={D1: Given(answer)}))
    assert _actions(plan)[D1] == "blocked"


def test_of_two_on_one_table_one_can_be_left_out() -> None:
    source = _source(raw_dataset(2, schema="other", table_name="table_1"))
    mapping = AssetMapping({uid("b", 1): DatabaseTarget(TARGET_DB, schemas={"other": "public"})})
    given = _given(source, selection=[E1, uid("e", 2)], mapping=mapping)
    plan = make_plan(given)
    assert _actions(plan) == {E1: "create", uid("e", 2): "blocked"}
    assert _actions(make_plan(replace(given, left_out=[E1]))) == {E1: "leave_out", uid("e", 2): "create"}
    both = make_plan(replace(given, answers={uid("e", 2): Given(Answer.RENAME)}))
    assert {item.body["table_name"] for item in written_documents(both).values()} == {"table_1", "table_1_2"}


# --- links and mentions


def _linking(code: str, *more: Any) -> Any:
    return read(raw_dashboard(1, layout([_markdown(code)])), raw_dashboard(2, slug="two"), *more).documents


def test_a_link_to_what_stays_away_is_planned_as_it_will_be_read() -> None:
    source = _linking("[x](/superset/dashboard/2/)")
    alone = make_plan(_given(source))
    assert [problem.code for problem in alone.problems] == ["mention_outside"]
    assert "lead nowhere" in alone.problems[0].text
    assert "/superset/dashboard/0/" in str(_items(alone)[D1].wanted)
    together = make_plan(_given(source, selection=[D1, uid("d", 2)]))
    assert f"⟦dashboard:{uid('d', 2)}⟧" in str(_items(together)[D1].wanted)
    assert together.problems == ()
    later = make_plan(_given(source, {**model_after(_target(), alone)}, selection=[D1, uid("d", 2)]))
    assert _actions(later) == {D1: "update", uid("d", 2): "create"}


def test_a_link_to_the_targets_own_address_is_read_there_as_a_link_to_itself() -> None:
    source = _linking(
        "[prod](https://prod.example.org/superset/dashboard/70/) [other](https://x.org/superset/dashboard/70/)"
    )
    theirs = read(raw_dashboard(7)).documents[uid("d", 7)]
    target_ids = read().ids
    target_ids.add(Kind.DASHBOARD, 70, theirs.uuid)
    plan = make_plan(
        _given(source, _target(theirs), target_ids=target_ids, target_url="https://prod.example.org")
    )
    code = _items(plan)[D1].wanted.body["position"]["MARKDOWN-0-0"]["meta"]["code"]  # type: ignore[union-attr]
    assert (
        code
        == f"[prod](⟦base⟧/superset/dashboard/⟦dashboard:{uid('d', 7)}⟧/) [other](https://x.org/superset/dashboard/70/)"
    )


def test_what_the_source_does_not_have_is_named() -> None:
    filters = {"native_filter_configuration": [{"id": "f", "targets": [{"datasetUuid": uid("e", 99)}]}]}
    plan = make_plan(_given(read(raw_dashboard(1, metadata=filters)).documents))
    assert ("dangling_reference", Severity.WARNING) in [(item.code, item.severity) for item in plan.problems]
    assert _actions(plan)[D1] == "blocked"


def test_notes_of_the_reading_are_told_for_what_is_moved() -> None:
    reading = read(
        raw_dashboard(1, layout([chart_node(88, sliceName="Gone")])),
        raw_dashboard(2, layout([chart_node(88)])),
    )
    plan = make_plan(_given(reading.documents, source_notes=reading.notes))
    assert [(item.code, item.uuid, item.severity) for item in plan.problems] == [
        ("ghost_chart", D1, Severity.WARNING)
    ]


# --- what an import leaves behind


def test_a_theme_is_not_carried_and_the_targets_own_stays() -> None:
    source = read(raw_dashboard(1, theme_uuid=uid("b", 5))).documents
    new = make_plan(_given(source))
    assert [loss.code for loss in new.losses] == ["theme"]
    assert _items(new)[D1].wanted.body["theme_uuid"] is None  # type: ignore[union-attr]
    theirs = read(raw_dashboard(1, theme_uuid=uid("b", 6))).documents
    assert _actions(make_plan(_given(source, _target(*theirs.values())))) == {D1: "unchanged"}


def test_fields_that_the_targets_version_does_not_know_are_not_wanted_there() -> None:
    """They would be missed when the target is read back."""
    columns = [{"column_name": "a", "datetime_format": "%Y"}]
    source = read(raw_dataset(1, currency_code_column="c", columns=columns), raw_database(1)).documents
    old = {Kind.DATASET: {"currency_code_column": "no currency", "columns.datetime_format": "guessed dates"}}
    plan = make_plan(_given(source, selection=[E1], unknown_fields=old))
    wanted = _items(plan)[E1].wanted
    assert wanted is not None
    assert "%Y" not in str(wanted.body)
    assert len(plan.losses) == 2
    there = (
        read(raw_dataset(1, columns=[{"column_name": "a"}])).documents[E1].replace(database_uuid=TARGET_DB)
    )
    again = make_plan(_given(source, _target(there), selection=[E1], unknown_fields=old))
    assert _actions(again) == {E1: "unchanged"}
    assert _actions(make_plan(_given(source, _target(there), selection=[E1]))) == {E1: "update"}


def test_settings_of_a_dashboard_that_the_targets_pages_could_not_save_are_not_wanted_there() -> None:
    source = read(raw_dashboard(1, metadata={"show_chart_timestamps": True, "color_scheme": "d3"})).documents
    old = {Kind.DASHBOARD: {"metadata.show_chart_timestamps": "no times"}}
    plan = make_plan(_given(source, unknown_fields=old))
    wanted = _items(plan)[D1].wanted
    assert wanted is not None
    assert wanted.body["metadata"] == {"color_scheme": "d3"}
    assert [loss.code for loss in plan.losses] == ["unknown_field"]


def test_a_chart_type_that_the_target_cannot_draw_blocks_with_the_reason() -> None:
    source = read(
        raw_dashboard(1, layout([chart_node(1), chart_node(2)])),
        raw_chart(1, viz_type="gantt_chart"),
        raw_chart(2),
        raw_dataset(1),
        raw_database(1),
    ).documents
    old = {"gantt_chart": "Superset 5.0.0 has no charts of the type gantt_chart."}
    plan = make_plan(_given(source, undrawable=old))
    assert _actions(plan) == {E1: "create", C1: "blocked", C2: "create", D1: "blocked"}
    assert old["gantt_chart"] in _items(plan)[C1].blocked_by
    without = make_plan(_given(source, undrawable=old, left_out=[C1]))
    assert _actions(without) == {E1: "create", C1: "leave_out", C2: "create", D1: "create"}
    flagged = make_plan(_given(source, flagged={"gantt_chart": "It needs a flag."}))
    assert _actions(flagged)[C1] == "create"
    assert [problem.code for problem in flagged.problems] == ["viz_type_flag"]
    # A target whose pages were extended shows such charts already.
    theirs = read(raw_chart(7, viz_type="gantt_chart")).documents
    extended = make_plan(_given(source, _target(*theirs.values()), undrawable=old))
    assert _actions(extended)[C1] == "create"
    assert [problem.code for problem in extended.problems] == ["viz_type_unknown"]


def test_a_chart_type_of_no_release_is_a_warning_unless_the_target_has_such_charts() -> None:
    source = read(
        raw_dashboard(1, layout([chart_node(1)])),
        raw_chart(1, viz_type="acme_3d"),
        raw_dataset(1),
        raw_database(1),
    ).documents
    plan = make_plan(_given(source, released={"table"}))
    assert _actions(plan)[C1] == "create"
    assert [(one.code, one.severity) for one in plan.problems] == [("viz_type_own", "warning")]
    theirs = read(raw_chart(7, viz_type="acme_3d")).documents
    assert not make_plan(_given(source, _target(*theirs.values()), released={"table"})).problems
    assert not make_plan(_given(source, released={"acme_3d"})).problems


def test_what_superset_turned_into_another_type_is_unchanged_until_a_side_moves() -> None:
    source = read(raw_chart(1, viz_type="line"), raw_dataset(1), raw_database(1)).documents
    wanted = _moved(source)
    made = wanted[C1].replace(viz_type="echarts_timeseries_smooth", params={"x_axis": "ds"})
    there = {**wanted, C1: made}
    left = {C1: Baseline(comparison_fingerprint(wanted[C1]), comparison_fingerprint(made))}
    assert _actions(make_plan(_given(source, there, [C1], baselines=left)))[C1] == "unchanged"
    assert _actions(make_plan(_given(source, there, [C1])))[C1] == "update"  # nobody knows who made it so
    edited = make_plan(_given(source, _edited(there, C1, description="Mine"), [C1], baselines=left))
    conflict = _items(edited)[C1].conflict
    assert conflict is not None
    assert conflict.code == ConflictCode.DRIFTED
    moved = make_plan(_given(_edited(source, C1, cache_timeout=5), there, [C1], baselines=left))
    assert _actions(moved)[C1] == "update"


# --- what else is affected, and removals


def test_assets_of_the_target_that_stand_on_a_written_one_are_named() -> None:
    target = _moved(_source())
    bystander = read(
        raw_dashboard(5, layout([chart_node(7)]), dashboard_title="Theirs"), raw_chart(7), raw_dataset(1)
    ).documents
    target |= {uid("d", 5): bystander[uid("d", 5)], uid("c", 7): bystander[uid("c", 7)]}
    source = {**_source(), E1: _source()[E1].replace(description="new")}
    plan = make_plan(_given(source, target))
    assert [(item.kind.value, item.uuid, item.by) for item in plan.affected] == [
        ("dashboard", uid("d", 5), E1),
        ("chart", uid("c", 7), E1),
    ]
    assert make_plan(_given(_source(), target)).affected == ()


def _removal(target: Documents, *uuids: str, **more: Any) -> Plan:
    return make_plan(PlanInput({}, target, (), removals=list(uuids), with_dependencies=False, **more))


def test_removals_come_from_the_top_down() -> None:
    target = _moved(_source())
    plan = _removal(target, E1, C1, C2, D1)
    assert [item.kind.value for item in plan.items] == ["dashboard", "chart", "chart", "dataset"]
    assert {item.action for item in plan.items} == {Action.REMOVE}
    assert set(model_after(target, plan)) == {TARGET_DB}
    assert _removal(_target(), E1).items == ()


def test_what_others_use_is_not_removed_unasked() -> None:
    target = _moved(_source())
    item = _items(_removal(target, E1, C1))[C1]
    assert item.conflict is not None
    assert (item.action, item.conflict.code) == (Action.BLOCKED, ConflictCode.IN_USE)
    assert "dashboard “Sales”" in item.conflict.text
    assert _actions(_removal(target, C1, answers={C1: Given(Answer.TAKE)}))[C1] == "remove"
    assert _actions(_removal(target, C1, answers={C1: Given(Answer.KEEP)}))[C1] == "keep"


def test_what_somebody_edited_after_the_run_is_not_removed_unasked() -> None:
    target = _moved(_source())
    baselines = _baselines(target)
    edited = _edited(target, D1, description="mine")
    plan = _removal(edited, D1, baselines=baselines, target_edits={D1: Edit("Ada", "")})
    assert _items(plan)[D1].action == Action.BLOCKED
    assert "Ada" in _items(plan)[D1].blocked_by
    assert _actions(_removal(target, D1, baselines=baselines))[D1] == "remove"


# --- what an approval is bound to


def _variants() -> list[tuple[str, PlanInput]]:
    source = _source()
    target = _moved(source)
    base = _given(source, _edited(target, C1, description="x"))
    other_db = "77777777-0000-4000-8000-000000000002"
    return [
        ("as it is", base),
        ("source", replace(base, source={**source, C2: source[C2].replace(slice_name="y")})),
        ("source, in a cache", replace(base, source={**source, C2: source[C2].replace(query_context={"queries": []})})),
        ("target", replace(base, target=_edited(target, C1, description="z"))),
        ("selection", replace(base, selection=[C1])),
        ("left out", replace(base, left_out=[C2])),
        ("answer", replace(base, answers={C1: Given(Answer.KEEP)})),
        ("other answer", replace(base, answers={C1: Given(Answer.TAKE)})),
        ("name in the answer", replace(base, answers={C1: Given(Answer.TAKE, "x")})),
        ("mapping", replace(base, mapping=AssetMapping({uid("b", 1): DatabaseTarget(other_db)}))),
        ("removal", replace(base, removals=[TARGET_DB])),
    ]  # fmt: skip


def test_every_input_changes_the_fingerprint() -> None:
    prints = {name: make_plan(given).fingerprint for name, given in _variants()}
    assert len(set(prints.values())) == len(prints), prints
    assert make_plan(_variants()[0][1]).fingerprint == prints["as it is"]
