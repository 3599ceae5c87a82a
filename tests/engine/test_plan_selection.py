"""A selection that the source cannot fulfil is an error of the plan, never a silent omission."""

from environments.canonical.documents import Document, Kind, Note
from migrations_app.engine.plan import PlanInput, make_plan

GONE, HERE = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"


def test_a_selected_asset_that_is_gone_is_an_error() -> None:
    plan = make_plan(PlanInput(source={}, target={}, selection=[GONE]))
    assert [(problem.severity, problem.code, problem.uuid) for problem in plan.problems] == [
        ("error", "selection_gone", GONE)
    ]


def test_a_selected_asset_that_cannot_be_read_says_why() -> None:
    note = Note("unreadable", HERE, "This chart cannot be read: ValueError: nested deeper than 200 levels")
    plan = make_plan(PlanInput(source={}, target={}, selection=[HERE], source_notes=(note,)))
    assert "nested deeper" in plan.problems[0].text


def test_what_is_there_is_no_problem() -> None:
    database = Document(Kind.DATABASE, HERE, {"database_name": "x", "sqlalchemy_uri": "sqlite://"})
    assert make_plan(PlanInput(source={HERE: database}, target={}, selection=[HERE])).problems == ()
