"""What becomes of companions in a plan: who comes along as whom, what blocks, what is lost, and how it is put back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from environments.canonical.companions import Companion, CompanionKind
from environments.canonical.documents import Document, Kind
from migrations_app.engine.carrying import Carrying, checked
from migrations_app.engine.companions import (
    CompanionInput,
    CompanionItem,
    People,
    Side,
    Touched,
    general_losses,
    kinds_to_read,
    with_companions,
    with_restored,
)
from migrations_app.engine.edited import CompanionBase
from migrations_app.engine.mapping import AssetMapping, DatabaseTarget
from migrations_app.engine.plan import Action, Answer, Given, Plan, PlanInput, PlanItem, make_plan
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
D1, C1, E1 = uid("d", 1), uid("c", 1), uid("e", 1)
ADA = {"username": "ada", "email": "Ada@dev.example", "first_name": "Ada", "last_name": "L"}
ADA_THERE = {"username": "ada.prod", "email": "ada@DEV.example", "first_name": "Ada", "last_name": "L"}
BOB = {"username": "bob", "email": "bob@dev.example", "first_name": "Bob", "last_name": "B"}
EVERYTHING = {
    "owners": "on",
    "roles": "on",
    "rls": "carry",
    "access": "on",
    "tags": "on",
    "reports": "on",
    "embedded": "on",
}
PEOPLE = People(users=(ADA_THERE,), roles=frozenset({"Sales", "Gamma"}))


def owners(kind: Kind, uuid: str, *people: Any) -> Companion:
    return Companion.facet(CompanionKind.OWNERS, kind, uuid, users=list(people))


def rule(*roles: str, tables: tuple[str, ...] = (E1,), **more: Any) -> Companion:
    body = {
        "name": "Own region",
        "description": None,
        "filter_type": "Regular",
        "clause": "region = 'dev'",
        "group_key": None,
        "tables": list(tables),
        "roles": list(roles),
    }
    return Companion.of(CompanionKind.RLS, {**body, **more})


def report(**more: Any) -> Companion:
    body = {
        "type": "Alert",
        "name": "Too many",
        "active": True,
        "dashboard": D1,
        "chart": None,
        "database": None,
        "sql": None,
        "recipients": [{"type": "Email", "target": "boss@dev.example", "cc": "", "bcc": ""}],
        "owners": [ADA],
    }
    return Companion.of(CompanionKind.REPORT, {**body, **more})


@pytest.fixture
def plan() -> Plan:
    """Dashboard 1, chart 1 with an annotation layer, dataset 1: all new to the target."""
    params = {
        "annotation_layers": [{"name": "off", "annotationType": "EVENT", "sourceType": "NATIVE", "value": 3}]
    }
    source = read(
        raw_dashboard(1, layout([chart_node(1)])),
        raw_chart(1, params=params),
        raw_dataset(1),
        raw_database(1),
    ).documents
    connection = Document(
        Kind.DATABASE, TARGET_DB, {"database_name": "P", "sqlalchemy_uri": "postgresql://p/p"}
    )
    mapping = AssetMapping({uid("b", 1): DatabaseTarget(TARGET_DB)})
    return make_plan(PlanInput(source, {TARGET_DB: connection}, [D1], mapping))


def side(*companions: Companion, **more: Any) -> Side:
    return Side({one.uuid: one for one in companions}, **more)


def carried(plan: Plan, source: Side, target: Side = Side(), chosen: Any = EVERYTHING, **more: Any) -> Plan:  # noqa: B008
    given = {"people": PEOPLE, "exists": {D1, C1, E1}, **more}
    return with_companions(CompanionInput(plan, Carrying(chosen), source, target, **given))


def only(plan: Plan) -> CompanionItem:
    (item,) = plan.companions
    return item


def codes(plan: Plan) -> set[str]:
    return {problem.code for problem in plan.problems} | {loss.code for loss in plan.losses}


def test_people_are_found_by_address_whatever_its_case_and_whom_nobody_is_named(plan: Plan) -> None:
    item = only(found := carried(plan, side(owners(Kind.DASHBOARD, D1, ADA, BOB))))
    assert item.action == Action.CREATE
    assert item.wanted is not None
    assert [user["username"] for user in item.wanted.body["users"]] == ["ada.prod"]
    assert "Bob B (bob@dev.example)" in next(
        loss.text for loss in found.losses if loss.code == "owner_unknown"
    )


def test_what_somebody_decided_goes_before_what_looks_alike(plan: Plan) -> None:
    source = side(owners(Kind.DASHBOARD, D1, ADA, BOB))
    named = replace(PEOPLE, user_names={"ada@dev.example": "", "bob": "ada.prod"})
    wanted = only(carried(plan, source, people=named)).wanted
    assert wanted is not None
    assert [user["username"] for user in wanted.body["users"]] == ["ada.prod"]
    nobody = only(carried(plan, source, people=replace(named, user_names={"ada": "", "bob": ""})))
    assert (nobody.action, nobody.wanted) == (Action.LEAVE_OUT, None)
    assert "none of its owners" in nobody.reason


def test_a_dashboard_without_its_roles_or_a_rule_without_one_of_them_stops_the_plan(plan: Plan) -> None:
    roles = Companion.facet(CompanionKind.ROLES, Kind.DASHBOARD, D1, roles=["Analysts"])
    found = carried(plan, side(roles, rule("Sales", "Analysts")))
    assert [item.action for item in found.companions] == [Action.BLOCKED, Action.BLOCKED]
    errors = {problem.code for problem in found.problems if problem.severity == "error"}
    assert errors == {"roles_blocked", "rls_blocked"}
    mapped = carried(
        plan, side(roles, rule("Analysts")), people=replace(PEOPLE, role_names={"Analysts": "Sales"})
    )
    assert [item.wanted.roles for item in mapped.companions if item.wanted] == [("Sales",), ("Sales",)]


def test_a_rule_never_stops_protecting_what_it_protects_on_the_target(plan: Plan) -> None:
    there = rule("Sales", tables=("elsewhere",), clause="region = 'prod'")
    item = only(carried(plan, side(rule("Sales", tables=(E1, uid("e", 9)))), side(there)))
    assert item.action == Action.UPDATE
    assert item.wanted is not None
    assert item.wanted.body["tables"] == sorted([E1, "elsewhere"])  # the second one is not on the target
    shared = carried(plan, side(rule("Sales")), side(there)).problems
    assert [(one.severity, one.code, one.uuid) for one in shared] == [("error", "rls_shared", there.uuid)]
    alike = rule("Sales", tables=("elsewhere",), description="of prod")
    assert carried(plan, side(rule("Sales")), side(alike)).problems == ()


def test_what_could_never_be_read_back_as_written_is_not_planned(plan: Plan) -> None:
    access = Companion.facet(CompanionKind.ACCESS, Kind.DATASET, E1, roles=["Gamma", "Sales"])
    chosen = replace(PEOPLE, everything=frozenset({"Gamma"}))
    wanted = only(carried(plan, side(access), people=chosen)).wanted
    assert wanted is not None
    assert wanted.roles == ("Sales",)
    all_of_them = replace(PEOPLE, everything=frozenset({"Gamma", "Sales"}))
    assert only(carried(plan, side(access), people=all_of_them)).action == Action.LEAVE_OUT
    theirs = only(carried(plan, side(report(owners=[BOB])), side(report(owners=[ADA_THERE])))).wanted
    assert theirs is not None
    assert theirs.body["owners"] == [ADA_THERE]
    dark = {"uuid": uid("t", 1), "name": "THEME_DARK", "is_system": True}
    use, other = (
        Companion.facet(CompanionKind.THEME_USE, Kind.DASHBOARD, D1, theme={**dark, "uuid": uuid})
        for uuid in (uid("t", 1), uid("t", 2))
    )
    assert only(carried(plan, side(use), side(other))).action == Action.UNCHANGED


def test_a_reason_for_one_blocked_rule_is_none_for_the_next(plan: Plan) -> None:
    found = carried(plan, side(rule("Analysts"), rule("Analysts", name="Another")))
    assert len({(problem.code, problem.uuid) for problem in found.problems}) == 2


def test_a_webhook_of_the_target_is_never_written_over(plan: Plan) -> None:
    hook = {"type": "Webhook", "target": "https://hooks.example/…", "cc": "", "bcc": "", "withheld": True}
    mail = {"type": "Email", "target": "boss@prod.example", "cc": "", "bcc": ""}

    def action(source: list[Any], there: list[Any], **chosen: str) -> Action:
        given = side(report(recipients=source)), side(report(recipients=there, sql="select 1"))
        return only(carried(plan, *given, chosen={**EVERYTHING, **chosen})).action

    assert action([mail], [hook]) == Action.LEAVE_OUT
    assert action([hook], [hook], recipients="none") == Action.LEAVE_OUT
    assert action([hook], [hook, hook]) == Action.LEAVE_OUT
    assert (
        action([hook, hook, mail], [hook]) == Action.UPDATE
    )  # the second one stays behind: nobody has read it
    assert action([hook], [mail]) == Action.UPDATE


def test_by_default_a_rule_that_is_missing_is_a_warning_and_one_of_its_kind_is_none(plan: Plan) -> None:
    missing = carried(plan, side(rule("Sales")), chosen={})
    assert missing.companions == ()
    assert [problem.code for problem in missing.problems] == ["rls_missing"]
    there = rule("Gamma", name="Another name")
    assert codes(carried(plan, side(rule("Sales")), side(there), chosen={})) == {"annotation_layer"}


def test_alerts_arrive_switched_off_with_other_recipients_and_do_not_switch_off_what_is_on(
    plan: Plan,
) -> None:
    mail = {**EVERYTHING, "recipients": "release@prod.example"}
    new = only(carried(plan, side(report()), chosen=mail)).wanted
    assert new is not None
    assert new.body["active"] is False
    assert [row["target"] for row in new.body["recipients"]] == ["release@prod.example"]
    as_it_is = only(carried(plan, side(report()), chosen={"reports": "active", "recipients": "none"})).wanted
    assert as_it_is is not None
    assert (as_it_is.body["active"], as_it_is.body["recipients"]) == (True, [])
    theirs = only(carried(plan, side(report()), side(report(owners=[ADA_THERE]))))
    assert theirs.action == Action.UNCHANGED
    other = only(carried(plan, side(report()), side(report(dashboard=uid("d", 7)))))
    assert (other.action, "about something else" in other.reason) == (Action.LEAVE_OUT, True)


def test_layers_and_their_use_come_along_and_the_loss_is_gone(plan: Plan) -> None:
    layer = Companion.of(
        CompanionKind.ANNOTATION_LAYER, {"name": "Holidays", "description": None, "annotations": []}
    )
    unused = Companion.of(CompanionKind.ANNOTATION_LAYER, {**layer.body, "name": "Unused"})
    use = Companion.facet(
        CompanionKind.ANNOTATION_USE,
        Kind.CHART,
        C1,
        layers=[{"name": "off", "value": {"annotation_layer": "Holidays"}}],
    )
    assert "annotation_layer" in codes(plan)
    found = carried(plan, side(layer, unused, use), chosen={})
    assert [(item.title, item.action.value) for item in found.companions] == [
        ("Holidays", "create"),
        ("Chart 1", "create"),
    ]
    assert "annotation_layer" not in codes(found)
    without = carried(plan, side(use), chosen={})  # the layer could not be read
    assert "annotation_left_out" in codes(without)
    assert only(without).action == Action.LEAVE_OUT  # nothing that a reading could ever show as written
    updated = replace(plan, items=tuple(replace(item, action=Action.UPDATE) for item in plan.items))
    assert only(carried(updated, side(use.replace(layers=[])), side(use), chosen={})).action == Action.REMOVE
    off = carried(plan, side(layer, use), chosen={"annotations": "off"})
    assert (off.companions, "annotation_layer" in codes(off)) == ((), True)


def test_what_a_side_does_not_tell_stays_behind_with_the_reason(plan: Plan) -> None:
    told = side(unreadable={CompanionKind.RLS: "the account lacks the right.", CompanionKind.TAGS: "off"})
    found = carried(plan, side(rule("Sales")), told)
    assert found.companions == ()
    assert {"rls_unreadable", "tags_unreadable"} <= codes(found)
    assert [problem.severity for problem in found.problems if problem.code == "rls_unreadable"] == ["warning"]


def test_every_companion_is_part_of_what_an_approval_is_bound_to(plan: Plan) -> None:
    one = carried(plan, side(owners(Kind.DASHBOARD, D1, ADA)))
    other = carried(plan, side(owners(Kind.DASHBOARD, D1, ADA), owners(Kind.CHART, C1, ADA)))
    assert len({plan.fingerprint, one.fingerprint, other.fingerprint}) == 3
    assert carried(plan, side()).fingerprint == plan.fingerprint


def test_only_what_the_assets_can_have_is_asked_for(plan: Plan) -> None:
    assert kinds_to_read(Carrying(), plan.items, {}) == {CompanionKind.RLS}
    dashboards = [item for item in plan.items if item.kind == Kind.DASHBOARD]
    assert kinds_to_read(Carrying({"rls": "off"}), dashboards, {}) == set()
    assert CompanionKind.OWNERS in kinds_to_read(Carrying({"owners": "on"}), plan.items, {})


def test_a_roll_back_removes_what_came_restores_what_changed_and_says_what_was_edited(plan: Plan) -> None:
    was, left, edited = rule("Sales"), rule("Gamma"), rule("Sales", "Gamma")
    made = report()
    back = Plan(items=(), problems=(), losses=(), affected=(), unmapped_databases=())
    touched = [
        Touched(CompanionKind.RLS, was.uuid, "Own region", "", left),
        Touched(CompanionKind.REPORT, made.uuid, "Too many", "", made),
    ]
    found = with_restored(back, touched, {was.uuid: was}, side(left, made))
    assert [(item.kind.value, item.action.value) for item in found.companions] == [
        ("rls", "update"),
        ("report", "remove"),
    ]
    assert found.companions[0].wanted == was
    assert found.problems == ()
    since = with_restored(back, touched, {was.uuid: was}, side(edited, made))
    assert [problem.code for problem in since.problems] == ["companion_edited"]
    assert with_restored(back, touched, {was.uuid: was}, side(was)).companions[0].action == Action.UNCHANGED


def test_a_roll_back_opens_nothing_that_somebody_protected_since() -> None:
    back = Plan(items=(), problems=(), losses=(), affected=(), unmapped_databases=())
    left, now = rule("Sales"), rule("Sales", tables=(E1, uid("e", 7)))
    touched = [Touched(CompanionKind.RLS, left.uuid, "Own region", "", left)]
    wanted = only(with_restored(back, touched, {}, side(now))).wanted  # the run made it
    assert wanted == rule("Sales", tables=(uid("e", 7),))
    was = rule("Gamma", tables=(uid("e", 8),))
    wanted = only(with_restored(back, touched, {was.uuid: was}, side(now))).wanted
    assert wanted == rule("Gamma", tables=(uid("e", 7), uid("e", 8)))
    assert only(with_restored(back, touched, {}, side(left))).action == Action.REMOVE
    roles, closed = (
        Companion.facet(CompanionKind.ROLES, Kind.DASHBOARD, D1, roles=names)
        for names in (["Sales"], ["Boss"])
    )
    touched = [Touched(CompanionKind.ROLES, roles.uuid, "Sales", D1, roles)]
    found = with_restored(back, touched, {}, side(closed))
    assert (found.companions, [problem.code for problem in found.problems]) == ((), ["companion_edited"])
    assert only(with_restored(back, touched, {}, side(roles))).action == Action.REMOVE


@pytest.mark.parametrize("answer", [None, Answer.KEEP, Answer.TAKE])
def test_what_was_edited_on_the_target_since_the_last_run_is_a_question(
    plan: Plan, answer: Answer | None
) -> None:
    mine, brought = rule("Sales", clause="region = 'new'"), rule("Sales")
    theirs = rule("Sales", clause="region = 'theirs'")
    more: Any = {"bases": {brought.uuid: CompanionBase(brought, brought)}}
    more["answers"] = {mine.uuid: Given(answer)} if answer else {}
    plan = replace(
        plan, items=tuple(replace(item, action=Action.UPDATE) for item in plan.items)
    )  # rules of new assets are none of somebody's edits
    found = carried(plan, side(mine), side(theirs), {"rls": "carry"}, **more)
    item = only(found)
    assert item.conflict is not None
    assert (item.conflict.code, item.conflict.options) == ("beside_diverged", ("keep", "take"))
    expected = {None: Action.BLOCKED, Answer.KEEP: Action.KEEP, Answer.TAKE: Action.UPDATE}
    assert (item.action, found.is_blocked) == (expected[answer], answer is None)


def test_what_was_kept_stays_until_a_side_moves(plan: Plan) -> None:
    plan = replace(plan, items=tuple(replace(item, action=Action.UPDATE) for item in plan.items))
    brought, theirs = rule("Sales"), rule("Sales", clause="region = 'theirs'")
    bases = {brought.uuid: CompanionBase(brought, theirs)}  # as a run leaves it that was told to keep it
    chosen = {"rls": "carry"}
    still = carried(plan, side(brought), side(theirs), chosen, bases=bases)
    assert (only(still).action, still.is_blocked) == (Action.KEEP, False)
    taken = carried(
        plan, side(brought), side(theirs), chosen, bases=bases, answers={brought.uuid: Given(Answer.TAKE)}
    )
    assert only(taken).action == Action.UPDATE
    newer = rule("Sales", clause="region = 'newer'")
    for mine, now in ((newer, theirs), (brought, newer)):
        assert carried(plan, side(mine), side(now), chosen, bases=bases).is_blocked


def test_an_edit_that_the_run_does_not_touch_is_no_question(plan: Plan) -> None:
    """A dataset put under a rule stays there, and an alert that was switched on stays on."""
    plan = replace(plan, items=tuple(replace(item, action=Action.UPDATE) for item in plan.items))
    brought, dormant = rule("Sales"), report(active=False, owners=[ADA_THERE])
    bases = {one.uuid: CompanionBase(one, one) for one in (brought, dormant)}
    theirs = (rule("Sales", tables=(E1, uid("e", 9))), dormant.replace(active=True))
    mine = (rule("Sales", clause="region = 'new'"), report(crontab="5 4 * * *"))
    found = carried(plan, side(*mine), side(*theirs), bases=bases)
    assert {item.kind.value: item.action for item in found.companions} == {
        "rls": Action.UPDATE,
        "report": Action.UPDATE,
    }
    assert not any(item.conflict for item in found.companions)


def test_what_somebody_took_away_is_asked_for_unless_its_asset_is_new_again(plan: Plan) -> None:
    tags = Companion.facet(CompanionKind.TAGS, Kind.DASHBOARD, D1, tags=["gold"])
    bases = {tags.uuid: CompanionBase(tags, tags)}
    chosen = {"tags": "on"}
    again = carried(plan, side(tags), side(), chosen, bases=bases)
    assert only(again).action == Action.CREATE
    plan = replace(plan, items=tuple(replace(item, action=Action.UNCHANGED) for item in plan.items))
    asked = only(carried(plan, side(tags), side(), chosen, bases=bases))
    assert (asked.action, "removed on the target" in asked.reason) == (Action.BLOCKED, True)
    assert only(carried(plan, side(tags), side(), chosen)).action == Action.CREATE  # nobody knows of a run


def test_a_facet_of_an_asset_that_is_removed_is_left_to_it() -> None:
    facet = owners(Kind.DASHBOARD, D1, ADA)
    gone = PlanItem(Kind.DASHBOARD, D1, D1, "Sales", Action.REMOVE)
    back = Plan(items=(gone,), problems=(), losses=(), affected=(), unmapped_databases=())
    touched = [Touched(CompanionKind.OWNERS, facet.uuid, "Sales", D1, facet)]
    assert with_restored(back, touched, {}, side(facet)).companions == ()


def test_options_keep_what_differs_from_the_usual_and_say_what_is_wrong() -> None:
    kept, errors = checked(
        {"owners": "on", "rls": "warn", "recipients": "a@example.org;b@example.org", "themes": "off"}
    )
    assert (kept, errors) == (
        {"owners": "on", "recipients": "a@example.org, b@example.org", "themes": "off"},
        {},
    )
    _, errors = checked({"owners": "maybe", "colour": "red", "recipients": "nobody at all"})
    assert set(errors) == {"owners", "colour", "recipients"}
    assert "owners" in dict(general_losses(Carrying()))
    assert "owners" not in dict(general_losses(Carrying({"owners": "on"})))
