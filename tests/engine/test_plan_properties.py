"""What holds for every plan: over generated estates, on an empty target and on one that moved on."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.documents import Documents, Kind
from environments.canonical.reading import read_assets
from migrations_app.engine.checks import Severity
from migrations_app.engine.diff import field_changes
from migrations_app.engine.plan import Action, Answer, Given, Plan, PlanInput, make_plan, model_after
from migrations_app.engine.sentences import sentence
from tests.canonical.builders import example_files
from tests.canonical.estates import estates
from tests.canonical.model import ModelSuperset, without_databases

from .applying import carry_out, empty_target, identity, mapped

SLOW = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def _input(source: Documents, target: ModelSuperset, **more: Any) -> PlanInput:
    given = PlanInput(
        source=source,
        target=target.documents(),
        selection=sorted(without_databases(source)),
        mapping=mapped(source),
        target_ids=target.ids,
        target_url=target.url,
    )
    return replace(given, **more)


def _state(documents: Documents) -> dict[str, str]:
    return {uuid: comparison_fingerprint(item) for uuid, item in documents.items()}


def _edit(target: ModelSuperset, choose: Any) -> None:
    """Somebody works on the target: other names, charts off dashboards, whole assets gone."""
    for uuid, (kind, data) in list(target.rows.items()):
        what = choose(st.integers(0, 5))
        if kind == Kind.CHART and what == 0:
            data["slice_name"] = "edited 🛠"
        elif kind == Kind.DASHBOARD and what == 0:
            target.remove(uuid)
            target.members.pop(uuid)
        elif kind == Kind.DASHBOARD and what == 1:
            data["metadata"]["refresh_frequency"] = 77
        elif kind == Kind.DATASET and what == 0:
            data["metrics"] = []


@SLOW
@given(estates(), st.booleans())
def test_the_target_is_as_wanted_and_then_there_is_nothing_to_do(source: ModelSuperset, sparse: bool) -> None:
    documents, target = source.documents(), empty_target()
    plan = make_plan(_input(documents, target))
    assert not plan.is_blocked, [(item.title, item.blocked_by) for item in plan.items if item.blocked_by]
    model = model_after(target.documents(), plan)
    carry_out(plan, target, sparse=sparse)
    assert _state(target.documents()) == _state(model)
    again = make_plan(_input(documents, target))
    assert again.counts["unchanged"] == len(again.items)
    assert not again.has_changes
    for item in again.items:  # an import gives a dashboard the members that its layout shows
        if item.kind == Kind.DASHBOARD:
            assert target.members[item.target_uuid] == source.members[item.uuid]


@SLOW
@given(estates(), st.data(), st.booleans())
def test_an_edited_target_becomes_as_wanted_and_rolling_back_brings_the_edits_back(
    source: ModelSuperset, data: st.DataObject, sparse: bool
) -> None:
    documents, target = source.documents(), empty_target()
    chosen = data.draw(st.lists(st.sampled_from(sorted(without_databases(documents))), unique=True))
    carry_out(make_plan(_input(documents, target, selection=chosen)), target)
    _edit(target, data.draw)
    before = target.documents()
    restore_point = copy.deepcopy(dict(before))

    plan = make_plan(_input(documents, target))
    assert not plan.is_blocked, [(item.title, item.blocked_by) for item in plan.items if item.blocked_by]
    carry_out(plan, target, sparse=sparse)
    assert _state(target.documents()) == _state(model_after(before, plan))
    assert not make_plan(_input(documents, target)).has_changes

    touched = {item.target_uuid for item in plan.items if item.action.writes}
    created = {uuid for uuid in touched if uuid not in restore_point}
    back = make_plan(
        PlanInput(
            source=restore_point,
            target=target.documents(),
            selection=sorted(touched - created),
            mapping=identity(restore_point),
            removals=sorted(created),
            with_dependencies=False,
            target_ids=target.ids,
            target_url=target.url,
        )
    )
    assert not back.is_blocked, [(item.title, item.blocked_by) for item in back.items if item.blocked_by]
    carry_out(back, target, sparse=sparse)
    assert _state(target.documents()) == _state(restore_point)


@SLOW
@given(estates(), st.data())
def test_a_part_of_an_estate_moves_as_planned(source: ModelSuperset, data: st.DataObject) -> None:
    """Links to what is not selected lead nowhere, charts left out are off their dashboards: and the plan knew."""
    documents, target = source.documents(), empty_target()
    uuids = sorted(without_databases(documents))
    selection = data.draw(st.lists(st.sampled_from(uuids), unique=True))
    left_out = data.draw(st.lists(st.sampled_from(uuids), unique=True, max_size=2))
    given_input = _input(documents, target, selection=selection, left_out=left_out)
    plan = make_plan(given_input)
    if plan.is_blocked:
        answers = {item.uuid: Given(Answer.LEAVE_OUT) for item in plan.items if item.action == Action.BLOCKED}
        plan = make_plan(replace(given_input, answers=answers))
    while plan.is_blocked:
        answers |= {
            item.uuid: Given(Answer.LEAVE_OUT) for item in plan.items if item.action == Action.BLOCKED
        }
        plan = make_plan(replace(given_input, answers=answers))
    model = model_after(target.documents(), plan)
    carry_out(plan, target)
    assert _state(target.documents()) == _state(model)
    assert not {item.uuid for item in plan.items if item.action == Action.CREATE} & set(left_out)


@SLOW
@given(estates(), st.randoms())
def test_a_plan_does_not_depend_on_any_order(source: ModelSuperset, random: Any) -> None:
    documents, target = source.documents(), empty_target()
    carry_out(make_plan(_input(documents, target, selection=sorted(documents)[:3])), target)

    def shuffled(values: Any) -> Any:
        items = list(values.items() if isinstance(values, dict) else values)
        random.shuffle(items)
        return dict(items) if isinstance(values, dict) else items

    given_input = _input(documents, target)
    other = replace(
        given_input,
        source=shuffled(dict(documents)),
        target=shuffled(dict(given_input.target)),
        selection=shuffled(given_input.selection),
    )
    one, two = make_plan(given_input), make_plan(other)
    assert one.fingerprint == two.fingerprint
    assert _shown(one) == _shown(two)


def _shown(plan: Plan) -> list[Any]:
    items = [(item.uuid, item.action, item.reasons, item.changes, item.blocked_by) for item in plan.items]
    return [items, plan.problems, sorted(map(str, plan.losses)), plan.affected]


@SLOW
@given(estates(), st.data())
def test_two_documents_differ_if_and_only_if_there_is_a_change_to_show(
    source: ModelSuperset, data: st.DataObject
) -> None:
    documents = source.documents()
    document = documents[data.draw(st.sampled_from(sorted(documents)))]
    if document.kind == Kind.DATABASE:
        return
    body = copy.deepcopy(dict(document.body))
    key = data.draw(st.sampled_from(sorted(body)))
    value = st.one_of(st.none(), st.booleans(), st.integers(0, 1), st.sampled_from([0.0, 1.0, "", "x"]))
    if isinstance(body[key], dict) and body[key]:
        inner = data.draw(st.sampled_from(sorted(body[key])))
        body[key][inner] = data.draw(value)
    elif not isinstance(body[key], (dict, list)) and key not in ("dataset_uuid", "query_context"):
        body[key] = data.draw(value)
    changed = replace(document, body=body)
    changes = field_changes(document, changed)
    assert bool(changes) == (comparison_fingerprint(document) != comparison_fingerprint(changed))
    for change in changes:
        text = sentence(document.kind, change, documents)
        assert text.strip()
        assert "⟦" not in text


@pytest.mark.parametrize("sparse", [True, False])
def test_the_examples_move_and_go_back(sparse: bool) -> None:
    documents = read_assets(example_files(), None, "http://dev.example.org").documents
    target = empty_target()
    plan = make_plan(_input(documents, target))
    assert plan.counts["create"] == 22
    assert not [problem for problem in plan.problems if problem.severity != Severity.INFO]
    assert plan.losses == ()
    batches = carry_out(plan, target, sparse=sparse)
    assert [len(batch.writes) for batch in batches] == ([20, 2] if sparse else [2, 18, 2])
    assert not make_plan(_input(documents, target)).has_changes
    removal = make_plan(
        PlanInput({}, target.documents(), (), removals=sorted(without_databases(target.documents())))
    )
    carry_out(removal, target)
    assert _state(target.documents()) == _state(empty_target().documents())
