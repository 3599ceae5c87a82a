"""Single pages of migrations: what each shows and refuses, who sees what, and what it costs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from environments.models import Environment
from migrations_app.comparing.lines import compare_lines
from migrations_app.models import Migration, MigrationState, Run
from sstools.jobs.models import Job
from sstools.resources import resource_name
from tests.factories import (
    conflict,
    database_row,
    make_environment,
    make_estate,
    make_item,
    make_job,
    make_migration,
    make_plan,
    make_run,
    make_verdict,
    uuid_for,
)

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}
SignIn = Callable[[Any], Client]


@pytest.fixture
def lead(signed_in: SignIn, release_lead: Any) -> Client:
    return signed_in(release_lead)


def text_of(client: Client, url: str, status: int = 200, **headers: Any) -> str:
    response = client.get(url, **headers)
    assert response.status_code == status, (url, response.status_code, response.get("Location"))
    return response.content.decode()


def queries_of(client: Client, url: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as context:
        text_of(client, url)
    return len(context)


STEPS = ("select", "map", "plan", "apply", "edit", "discard")


# --- Who ------------------------------------------------------------------------------------------------------------
def test_nothing_is_shown_to_people_who_are_not_signed_in() -> None:
    migration = make_migration()
    for url in (
        "/migrations/",
        "/migrations/new/",
        *(f"/migrations/{migration.number}/{step}/" for step in STEPS),
    ):
        assert Client().get(url)["Location"].startswith("/login/")
        assert Client().get(url, **HTMX).status_code == 401


def test_what_one_may_not_see_is_not_there(signed_in: SignIn, stranger: Any) -> None:
    migration = make_migration(title="Secret plans")
    make_run(migration)
    client = signed_in(stranger)
    assert "Secret plans" not in text_of(client, "/migrations/")
    number = migration.number
    for step in (*STEPS, "verify", f"items/{uuid_for('Revenue 1.1')}", "verify/1/progress", "plan/progress"):
        assert client.get(f"/migrations/{number}/{step}/").status_code == 404, step
    for step in (
        "select",
        "map",
        "plan",
        "plan/answer",
        "plan/override",
        "apply",
        "rollback",
        "cancel",
        "discard",
        "verify/again",
    ):
        assert client.post(f"/migrations/{number}/{step}/").status_code == 404, step
    migration.refresh_from_db()
    assert migration.state == MigrationState.DONE


def test_a_migration_is_seen_by_those_who_see_its_target_alone(
    make_user: Callable[..., Any], signed_in: SignIn
) -> None:
    seen, hidden = (
        make_migration(title="Seen"),
        make_migration(target=make_environment("stage"), title="Hidden"),
    )
    client = signed_in(make_user("one", "viewer", on=resource_name(seen.target)))
    page = text_of(client, "/migrations/")
    assert "Seen" in page
    assert "Hidden" not in page
    assert client.get(f"/migrations/{hidden.number}/plan/").status_code == 404


def is_denied(page: str, label: str) -> bool:
    """The button is there, disabled, and says why in a text that is there too."""
    found = re.search(rf'<button[^>]* disabled aria-describedby="([^"]+)">(?:<svg.*?</svg>)?{label}', page)
    return found is not None and f'id="{found[1]}"' in page


def test_a_viewer_sees_every_step_and_the_missing_right_in_words(signed_in: SignIn, viewer: Any) -> None:
    migration = make_migration()
    make_plan(migration)
    client = signed_in(viewer)
    for step in ("select", "map", "edit", "discard"):
        page = text_of(client, f"/migrations/{migration.number}/{step}/")
        assert "migration:plan" in page, step
        assert "Author, Release lead, Admin" in page, step
    page = text_of(client, f"/migrations/{migration.number}/plan/")
    assert "migration:apply" in page
    assert is_denied(page, "Plan again")
    assert is_denied(page, "Discard…")
    page = text_of(client, f"/migrations/{migration.number}/apply/")
    assert "somebody else has to apply it" in page
    assert 'name="confirmation"' not in page
    assert is_denied(text_of(client, "/migrations/"), "New migration")


@pytest.mark.parametrize(
    ("step", "data"),
    [
        ("select", {"shown": "", "take": []}),
        ("map", {"do": "save"}),
        ("plan", {}),
        ("plan/override", {"reason": "because we know better"}),
        ("apply", {"confirmation": "prod"}),
        ("discard", {}),
        ("edit", {"title": "Other"}),
    ],
)
def test_what_a_viewer_posts_is_refused_with_the_missing_right(
    signed_in: SignIn, viewer: Any, step: str, data: dict[str, Any]
) -> None:
    migration = make_migration()
    plan = make_plan(migration)
    response = signed_in(viewer).post(f"/migrations/{migration.number}/{step}/", {"plan": plan.hash, **data})
    assert response.status_code == 403
    assert "migration:" in response.content.decode()
    migration.refresh_from_db()
    assert (migration.state, migration.title, migration.override_reason) == (
        "planned",
        "Q4 finance fixes",
        "",
    )
    assert not Run.objects.exists()


def test_an_author_plans_and_does_not_apply(signed_in: SignIn, author: Any) -> None:
    migration = make_migration()
    plan = make_plan(migration)
    client = signed_in(author)
    page = text_of(client, f"/migrations/{migration.number}/plan/")
    assert "Plan again" in page
    assert "migration:apply on Prod" in page
    form = {"plan": plan.hash, "confirmation": "prod"}
    assert client.post(f"/migrations/{migration.number}/apply/", form).status_code == 403
    run = make_run(migration)
    assert "migration:rollback" in text_of(client, f"/migrations/{migration.number}/verify/")
    assert client.post(f"/migrations/{migration.number}/rollback/", {"run": run.number}).status_code == 403


# --- The list -------------------------------------------------------------------------------------------------------
def test_the_list_is_filtered_by_state_environment_owner_and_words(
    lead: Client, release_lead: Any, author: Any
) -> None:
    mine = make_migration(actor=release_lead, title="Quarterly numbers")
    other = make_migration(actor=author, title="Weekly mails", target=make_environment("stage"))
    make_run(make_migration(title="Applied long ago"))
    cases = {
        "": {"Quarterly numbers", "Weekly mails", "Applied long ago"},
        "state=open": {"Quarterly numbers", "Weekly mails"},
        "state=done": {"Applied long ago"},
        "environment=stage": {"Weekly mails"},
        "mine=on": {"Quarterly numbers"},
        "q=weekly": {"Weekly mails"},
        f"q=%23{mine.number}": {"Quarterly numbers"},
        "state=done&q=weekly": set(),
    }
    for query, expected in cases.items():
        page = text_of(lead, f"/migrations/?{query}", **HTMX)
        found = {
            title
            for title in ("Quarterly numbers", "Weekly mails", "Applied long ago")
            if f">{title}<" in page
        }
        assert found == expected, query
    assert "No migration matches" in text_of(lead, "/migrations/?q=nothing")
    assert f'href="/migrations/{other.number}/"' in text_of(lead, "/migrations/")


def test_the_list_is_paged_and_costs_the_same_for_any_number(lead: Client) -> None:
    for _ in range(5):
        make_plan(make_migration(), items=[])
    queries_of(lead, "/migrations/")
    few = queries_of(lead, "/migrations/")
    for number in range(60):
        make_migration(title=f"Number {number}")
    assert queries_of(lead, "/migrations/") == few
    assert "1–50 of 65 migrations" in text_of(lead, "/migrations/")
    assert "51–65 of 65" in text_of(lead, "/migrations/?page=999")


def test_the_empty_list_says_what_to_do_first(lead: Client) -> None:
    assert "A migration needs two environments" in text_of(lead, "/migrations/")
    assert "A migration needs two environments" in text_of(lead, "/migrations/new/")
    make_environment("dev")
    make_environment("prod")
    assert "No migrations yet" in text_of(lead, "/migrations/")


@pytest.mark.parametrize(
    ("prepare", "step"),
    [
        (lambda m: None, "select"),
        (lambda m: make_plan(m), "plan"),
        (lambda m: make_plan(m, databases=[database_row()]), "map"),
        (lambda m: make_run(m, "writing"), "verify"),
        (lambda m: make_run(m), "verify"),
        (lambda m: make_run(m, "needs_attention"), "verify"),
        (lambda m: make_run(m, "stopped"), "plan"),
    ],
)
def test_the_bare_address_leads_to_where_it_stands(
    lead: Client, prepare: Callable[[Migration], Any], step: str
) -> None:
    migration = make_migration()
    prepare(migration)
    assert (
        lead.get(f"/migrations/{migration.number}/")["Location"] == f"/migrations/{migration.number}/{step}/"
    )


# --- Choosing -------------------------------------------------------------------------------------------------------
@pytest.fixture
def estate(db: None) -> dict[str, Any]:
    make_environment("prod", protected=True)
    return make_estate(make_environment("dev", asset_counts={"dashboard": 60}), dashboards=60, charts=2)


def basket_of(page: str) -> set[str]:
    found = re.search(r'name="basket" value="([^"]*)"', page)
    assert found
    return set(filter(None, found[1].split(",")))


def choose(client: Client, **data: Any) -> str:
    form = {
        "source": "dev",
        "target": "prod",
        "source_before": "dev",
        "with_dependencies": "on",
        "verify": "on",
    }
    response = client.post("/migrations/new/", {**form, **data}, **HTMX)
    assert response.status_code == 200
    return response.content.decode()


def test_the_basket_survives_paging_filters_and_kinds(lead: Client, estate: dict[str, Any]) -> None:
    one, two, chart = estate["Sales 1"].uuid, estate["Sales 60"].uuid, estate["Revenue 9.1"].uuid
    page = choose(lead, shown=one, pick=[one], basket="", go="2")
    assert basket_of(page) == {one}
    page = choose(lead, shown=two, pick=[two], basket=one, q="Revenue", kind="chart")
    assert basket_of(page) == {one, two}
    assert "2 not in this list" in page
    page = choose(lead, shown=chart, pick=[chart], basket=f"{one},{two}", kind="dashboard")
    assert basket_of(page) == {one, two, chart}
    assert "Brings along 4 charts and 3 datasets" in page
    page = choose(lead, shown=one, pick=[], basket=f"{one},{two}")  # its tick was taken away
    assert basket_of(page) == {two}
    page = choose(lead, shown="", basket=f"{one},{two}", do=f"drop:{two}")
    assert basket_of(page) == {one}
    assert basket_of(choose(lead, shown="", basket=one, do="none")) == set()


def test_all_that_match_are_selected_and_nothing_else(lead: Client, estate: dict[str, Any]) -> None:
    page = choose(lead, shown="", basket="", q="Revenue 7.1", kind="chart", do="all")
    assert basket_of(page) == {asset.uuid for title, asset in estate.items() if "7.1" in title}
    assert len(basket_of(choose(lead, shown="", basket="", kind="dashboard", do="all"))) == 60


def test_a_selection_arrives_from_the_list_of_assets(lead: Client, estate: dict[str, Any]) -> None:
    key = estate["Sales 3"].key
    page = lead.post("/migrations/new/", {"asset": [key, estate["DWH"].key]}).content.decode()
    assert basket_of(page) == {estate["Sales 3"].uuid}  # a database is mapped, never brought over
    assert '<option value="dev" selected>' in page
    assert basket_of(text_of(lead, f"/migrations/new/?asset={key}")) == {estate["Sales 3"].uuid}
    both = lead.post("/migrations/new/", {"asset": [key, f"prod:chart:{uuid_for('x')}"]})
    assert both.status_code == 422
    assert "several environments (dev, prod)" in both.content.decode()


def test_the_basket_is_emptied_with_another_source(lead: Client, estate: dict[str, Any]) -> None:
    page = choose(
        lead, source="prod", target="dev", source_before="dev", basket=estate["Sales 1"].uuid, shown=""
    )
    assert basket_of(page) == set()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"basket": ""}, "Nothing is selected"),
        ({"verify": "", "roll_back_when_red": "on"}, "needs the verification"),
    ],
)
def test_what_cannot_be_made_is_said_and_keeps_what_was_chosen(
    lead: Client, estate: dict[str, Any], data: dict[str, Any], words: str
) -> None:
    chosen = estate["Sales 1"].uuid
    form = {
        "source": "dev",
        "target": "prod",
        "source_before": "dev",
        "shown": "",
        "basket": chosen,
        "do": "create",
    }
    response = lead.post("/migrations/new/", {**form, "verify": "on", **data}, **HTMX)
    assert response.status_code == 422
    assert words in response.content.decode()
    assert basket_of(response.content.decode()) == ({chosen} if "basket" not in data else set())
    assert not Migration.objects.exists()


def test_nobody_plans_for_a_target_without_the_right(
    make_user: Callable[..., Any], signed_in: SignIn, estate: dict[str, Any]
) -> None:
    dev = estate["Sales 1"].environment
    client = signed_in(make_user("half", "author", on=resource_name(dev)))
    assert "A migration needs two environments" in text_of(client, "/migrations/new/")
    both = make_user("both", "viewer")
    client = signed_in(both)
    assert "needs migration:plan there" in text_of(client, "/migrations/new/?source=dev&target=prod")
    form = {
        "source": "dev",
        "target": "prod",
        "shown": "",
        "basket": estate["Sales 1"].uuid,
        "do": "create",
        "verify": "on",
    }
    assert client.post("/migrations/new/", form).status_code == 403


def test_choosing_costs_the_same_for_any_number_of_assets(lead: Client, estate: dict[str, Any]) -> None:
    url = f"/migrations/new/?source=dev&target=prod&asset={estate['Sales 1'].key}"
    queries_of(lead, url)
    one = queries_of(lead, url)
    more = "&".join(f"asset={estate[f'Sales {number}'].key}" for number in range(1, 40))
    assert queries_of(lead, f"/migrations/new/?source=dev&target=prod&{more}") == one


def test_the_selection_of_a_draft_is_changed_with_the_same_list(lead: Client, estate: dict[str, Any]) -> None:
    dev = estate["Sales 1"].environment
    migration = make_migration(dev, selection=[estate["Sales 1"].uuid])
    url = f"/migrations/{migration.number}/select/add/"
    assert basket_of(text_of(lead, url)) == {estate["Sales 1"].uuid}
    both = f"{estate['Sales 1'].uuid},{estate['Sales 2'].uuid}"
    assert (
        lead.post(url, {"basket": both, "shown": "", "source_before": "dev", "do": "save"}).status_code == 302
    )
    migration.refresh_from_db()
    assert set(migration.selection) == set(both.split(","))
    page = text_of(lead, f"/migrations/{migration.number}/select/")
    assert "2 selected, 6 pulled in" in page
    assert "pulled in by dashboard “Sales 2”" in page


# --- The plan -------------------------------------------------------------------------------------------------------
def test_the_plan_says_everything_that_matters(lead: Client) -> None:
    migration = make_migration()
    make_plan(
        migration,
        [
            ("dataset", "sales_fact_1", "update"),
            ("dataset", "scratch", "blocked", {"blocked_by": "The database “scratch” is not mapped."}),
            ("chart", "Revenue 1.1", "update"),
            ("chart", "Diverged", "blocked", {"conflict": conflict("diverged"), "blocked_by": "x"}),
            ("chart", "Same", "unchanged"),
            ("dashboard", "Sales 1", "create", {"answer": {"answer": "rename", "value": "sales-b"}}),
        ],
        problems=[
            {
                "severity": "error",
                "code": "column_missing",
                "uuid": uuid_for("Revenue 1.1"),
                "text": "The column net_amount does not exist.",
                "remedy": "Add it.",
            }
        ],
        losses=[
            {"uuid": uuid_for("Revenue 1.1"), "code": "annotation_layer", "text": "The annotation is lost."}
        ],
        affected=[
            {"kind": "chart", "uuid": uuid_for("P&L"), "title": "P&L", "by": uuid_for("sales_fact_1")},
        ],
    )
    page = text_of(lead, f"/migrations/{migration.number}/plan/")
    for words in (
        "<b>2</b> update",
        "<b>1</b> create",
        "<b>2</b> blocked",
        "1 conflict to answer",
        "both edited",
        "edited by J. Doe",
        "Take what is in Dev",
        "1 blocked by something else",
        "The database “scratch” is not mapped.",
        "1 answer given",
        "sales-b",
        "The column net_amount does not exist.",
        "P&amp;L",
        "through dataset sales_fact_1",
        "The annotation is lost.",
        "1 asset the same on both sides",
        "DWH → DWH_PROD",
        "Blocked: 1 conflict not answered.",
    ):
        assert words in page, words
    assert "Go on to apply" not in page


def test_only_the_answers_that_a_conflict_takes_are_offered(lead: Client) -> None:
    migration = make_migration()
    make_plan(
        migration,
        [("dashboard", "Sales 1", "blocked", {"conflict": conflict("slug_taken"), "blocked_by": "x"})],
    )
    page = text_of(lead, f"/migrations/{migration.number}/plan/")
    name = f"answer:{uuid_for('Sales 1')}"
    offered = re.findall(rf'name="{name}" value="(\w+)"', page)
    assert offered == ["adopt", "rename", "leave_out"]
    assert f'name="name:{uuid_for("Sales 1")}"' in page


def test_many_conflicts_of_a_kind_are_answered_at_once(lead: Client) -> None:
    migration = make_migration()
    names = [f"Chart {number}" for number in range(70)]
    blocked = {"conflict": conflict("drifted"), "blocked_by": "x"}
    plan = make_plan(migration, [("chart", name, "blocked", blocked) for name in names])
    page = text_of(lead, f"/migrations/{migration.number}/plan/")
    assert "70 × edited on the target" in page
    assert "20 more conflicts" in page
    form = {"plan": plan.hash, "all": "drifted:keep"}
    assert lead.post(f"/migrations/{migration.number}/plan/answer/", form).status_code == 302
    migration.refresh_from_db()
    assert migration.answers == {uuid_for(name): {"answer": "keep", "value": ""} for name in names}


def test_an_answer_is_taken_back(lead: Client) -> None:
    given = {"answer": "rename", "value": "sales-b"}
    migration = make_migration(answers={uuid_for("Sales 1"): given})
    plan = make_plan(migration, [("dashboard", "Sales 1", "create", {"answer": given})])
    form = {"plan": plan.hash, "back": uuid_for("Sales 1")}
    assert lead.post(f"/migrations/{migration.number}/plan/answer/", form).status_code == 302
    migration.refresh_from_db()
    assert migration.answers == {}


def test_failed_checks_are_overridden_with_a_reason_and_stop_it_again(lead: Client) -> None:
    migration = make_migration()
    failed = {"severity": "error", "code": "x", "uuid": "", "text": "The table is missing.", "remedy": ""}
    make_plan(migration, problems=[failed])
    url = f"/migrations/{migration.number}/plan/"
    assert "1 check failed." in text_of(lead, url)
    response = lead.post(f"{url}override/", {"reason": " "}, **HTMX)
    assert response.status_code == 422
    assert "This field is required" in response.content.decode()
    assert lead.post(f"{url}override/", {"reason": "the table comes tonight"}).status_code == 302
    page = text_of(lead, url)
    assert "the table comes tonight" in page
    assert "Go on to apply" in page
    assert "the table comes tonight" in text_of(lead, f"/migrations/{migration.number}/apply/")
    lead.post(f"{url}override/", {"do": "stop"})
    assert "1 check failed." in text_of(lead, url)


def test_the_plan_costs_the_same_for_any_number_of_assets(lead: Client) -> None:
    def plan_of(count: int) -> str:
        migration = make_migration()
        items: list[Any] = []
        for number in range(count):
            items += [
                ("chart", f"Update {number}", "update"),
                (
                    "chart",
                    f"Conflict {number}",
                    "blocked",
                    {"conflict": conflict("drifted"), "blocked_by": "x"},
                ),
                ("dataset", f"Blocked {number}", "blocked", {"blocked_by": "y"}),
                ("dashboard", f"Same {number}", "unchanged"),
            ]
        problem = {"severity": "warning", "code": "x", "text": "t", "remedy": ""}
        make_plan(
            migration,
            items,
            problems=[{**problem, "uuid": uuid_for(f"Update {number}")} for number in range(count)],
            affected=[
                {
                    "kind": "chart",
                    "uuid": uuid_for(f"A{number}"),
                    "title": f"A{number}",
                    "by": uuid_for("Update 0"),
                }
                for number in range(count)
            ],
        )
        return f"/migrations/{migration.number}/plan/"

    small, large = plan_of(2), plan_of(30)
    queries_of(lead, small)
    assert queries_of(lead, small) == queries_of(lead, large)
    for query in ("?kind=chart", "?action=unchanged", "?problems=all"):
        assert queries_of(lead, small + query) == queries_of(lead, large + query), query


def test_a_kind_of_many_is_listed_on_numbered_pages(lead: Client) -> None:
    migration = make_migration()
    make_plan(migration, [("chart", f"Chart {number:03}", "create") for number in range(130)])
    url = f"/migrations/{migration.number}/plan/"
    assert "80 more charts" in text_of(lead, url)
    page = text_of(lead, f"{url}?kind=chart&page=2")
    assert "101–130 of 130 assets" in page
    assert "Chart 129" in page
    assert "Chart 001" not in page


def test_an_item_opens_in_the_plan_and_on_a_page_of_its_own(lead: Client) -> None:
    migration = make_migration()
    make_plan(migration)
    url = f"/migrations/{migration.number}/items/{uuid_for('Revenue 1.1')}/"
    fragment = text_of(lead, url, **HTMX)
    assert "<html" not in fragment
    assert "metrics: SUM(amount) → SUM(net_amount)" in fragment
    assert "SUM(<del>amount</del>)" in fragment
    assert "SUM(<ins>net_amount</ins>)" in fragment
    page = text_of(lead, url)
    assert "Whole documents" in page
    assert "SUM(<del>amount</del>)" in page
    assert "unchanged line" in page
    assert "unchanged line" not in text_of(lead, f"{url}?same=all")
    assert 'class="is-removed"' in text_of(lead, f"{url}?view=unified")
    assert "What is written" in text_of(
        lead, f"/migrations/{migration.number}/items/{uuid_for('Revenue 1.2')}/"
    )
    assert lead.get(f"/migrations/{migration.number}/items/{uuid_for('nothing')}/").status_code == 404


def test_folded_lines_are_counted_and_every_line_is_there_once() -> None:
    left = [f"line {number}" for number in range(40)]
    right = [*left[:20], "other", *left[21:]]
    rows = list(compare_lines(left, right, 3))
    assert [row.gap for row in rows if row.kind == "gap"] == [17, 16]
    assert [row.left_number for row in rows if row.left_number] == list(range(18, 25))
    assert sum(row.gap or 1 for row in rows) == 40
    assert len(list(compare_lines(left, right, None))) == 40
    assert [row.kind for row in compare_lines([], ["a"], 3)] == ["added"]
    assert [row.kind for row in compare_lines(["a"], [], 3)] == ["removed"]
    assert [row.gap for row in compare_lines(left, left, 3)] == [40]


def test_text_of_assets_is_shown_and_never_run(lead: Client) -> None:
    evil = "<script>alert(1)</script>"
    migration = make_migration(title=evil)
    plan = make_plan(
        migration,
        [
            (
                "chart",
                evil,
                "blocked",
                {"conflict": conflict("drifted", who=evil, text=evil), "blocked_by": evil},
            )
        ],
    )
    change = {"path": ["css"], "before": evil, "after": "a" + evil, "sentence": evil}
    make_item(plan, "dashboard", "Board", "update", changes=[change])
    make_verdict(make_run(make_migration()), evil, "failed", reason=evil)
    for url in (
        "/migrations/",
        f"/migrations/{migration.number}/plan/",
        f"/migrations/{migration.number}/select/",
        f"/migrations/{migration.number}/items/{uuid_for('Board')}/",
        f"/migrations/{Run.objects.get().migration_id}/verify/",
    ):
        assert evil not in text_of(lead, url), url


# --- Work in the background -----------------------------------------------------------------------------------------
def test_a_plan_in_the_making_is_asked_for_until_it_is_there(lead: Client) -> None:
    migration = make_migration()
    migration.job = make_job(params={"migration": str(migration.uuid)})
    migration.save()
    url = f"/migrations/{migration.number}/plan/progress/"
    fragment = text_of(lead, url, **HTMX)
    assert 'hx-trigger="every 2s"' in fragment
    migration.job.state = "succeeded"
    migration.job.save()
    make_plan(migration)
    assert lead.get(url, **HTMX)["HX-Redirect"] == f"/migrations/{migration.number}/plan/"
    assert lead.get(url)["Location"] == f"/migrations/{migration.number}/plan/"


def test_a_failed_plan_is_no_longer_asked_for(lead: Client) -> None:
    error = {"code": "unreachable", "message": "Prod does not answer.", "remedy": "Look whether it is up."}
    migration = make_migration(job=make_job(state="failed", error=error))
    fragment = text_of(lead, f"/migrations/{migration.number}/plan/progress/", **HTMX)
    assert "hx-trigger" not in fragment
    assert "Prod does not answer." in fragment
    assert "Try again" in fragment


@pytest.mark.parametrize("state", ["waiting", "restore_point", "writing", "reading_back", "verifying"])
def test_a_run_at_work_shows_its_steps_and_stops_being_asked_for(lead: Client, state: str) -> None:
    migration = make_migration()
    run = make_run(
        migration, state, job=make_job("migrations_app.apply_plan", progress_done=3, progress_total=13)
    )
    page = text_of(lead, f"/migrations/{migration.number}/verify/")
    assert "every 2s" in page
    assert "3 of 13" in page
    assert "Verify each chart on source and target" in page  # begun, or still to come
    url = f"/migrations/{migration.number}/verify/{run.number}/progress/"
    assert "run-progress" in text_of(lead, url, **HTMX)
    run.state = "applied"
    run.save()
    assert lead.get(url, **HTMX)["HX-Redirect"] == f"/migrations/{migration.number}/verify/"


# --- The result -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("state", "headline"),
    [
        ("applied", "Applied: 3 assets on Prod, all as planned"),
        ("rolled_back", "Rolled back: Prod is as it was before"),
        ("stopped", "Stopped before writing: Prod was not touched"),
        ("needs_attention", "Needs attention. Failed: 0 written, 3 not as planned"),
    ],
)
def test_each_end_of_a_run_has_its_headline_and_its_ways_on(lead: Client, state: str, headline: str) -> None:
    migration = make_migration()
    error = {"code": "refused", "message": "Superset said no.", "remedy": "Ask it why."}
    run = make_run(migration, state, error=None if state == "applied" else error)
    page = text_of(lead, f"/migrations/{migration.number}/verify/")
    assert headline in page
    assert ("Superset said no." in page) == (state != "applied")
    assert ("Roll back…" in page) == (state in ("applied", "needs_attention"))
    assert ("Verify again" in page) == (state == "applied")
    if state == "needs_attention":
        for way in ("Write the 3 left…", "Look again", "Leave it as it is"):
            assert way in page
        assert "chart “Revenue 1.2”, create" in page
    assert ("put back" in page) == (state == "rolled_back")
    response = lead.post(f"/migrations/{migration.number}/rollback/", {"run": run.number})
    assert response.status_code == (302 if state in ("applied", "needs_attention") else 409)


def test_a_plan_that_no_longer_counts_is_said_to_be_gone_with_the_reason(lead: Client) -> None:
    migration = make_migration()
    url = f"/migrations/{migration.number}/plan/"
    assert "The one before no longer counts" not in text_of(lead, url)
    make_plan(migration)
    Migration.objects.update(plan=None, state="draft")
    assert "The one before no longer counts" in text_of(lead, url)


def test_a_step_that_a_lost_worker_left_behind_is_not_at_work(lead: Client) -> None:
    migration = make_migration()
    run = make_run(migration, "verifying", job=make_job("migrations_app.apply_plan"))
    run.steps.filter(name="write").update(state="running", finished_at=None, result={})
    url = f"/migrations/{migration.number}/verify/{run.number}/progress/"
    page = text_of(lead, url, **HTMX)
    assert page.count('class="is-running"') == 1
    assert "Its worker was lost." in page


def test_what_was_just_written_opens_before_the_inventory_knows_it(lead: Client) -> None:
    migration = make_migration()
    make_plan(migration, [("dashboard", "Sales", "create"), ("chart", "Revenue", "create")])
    run = make_run(migration)
    make_verdict(run, "Revenue")
    url = f"/migrations/{migration.number}/verify/"
    target = run.plan.items.get(kind="chart").target_uuid
    soon = f'href="/go/{migration.target.slug}/chart/{target}/"'
    page = text_of(lead, url)
    assert soon in page
    assert f"Open in {migration.target}" in page
    Environment.objects.filter(pk=migration.target_id).update(inventory_at=timezone.now())
    assert soon not in text_of(lead, url)  # read since, and not there: no link to nothing


def test_a_stale_run_leads_to_a_new_plan_at_once(lead: Client) -> None:
    migration = make_migration()
    make_plan(migration, [("chart", "Revenue", "create")])
    assert migration.plan
    migration.plan.stale_reason = "Revenue changed."
    migration.plan.save()
    make_run(migration, "stopped", error={"code": "stale", "message": "The plan is stale.", "remedy": ""})
    page = text_of(lead, f"/migrations/{migration.number}/verify/")
    assert re.search(r'action="/migrations/\d+/plan/">(?s:.)*?Plan again', page)


def test_verdicts_are_sorted_by_trouble_filtered_and_found(lead: Client) -> None:
    migration = make_migration()
    run = make_run(migration)
    for title, status in (
        ("Alpha", "ok"),
        ("Beta", "failed"),
        ("Gamma", "differs"),
        ("Delta", "not_checkable"),
    ):
        make_verdict(run, title, status)
    make_verdict(
        run, "Slow one", details={"slower": True, "queries": [{"rows": {"source": 1204, "target": 1204}}]}
    )
    url = f"/migrations/{migration.number}/verify/"
    page = text_of(lead, url)
    assert "all as planned; 1 chart fails there" in page
    order = [page.index(f">{title}<") for title in ("Beta", "Gamma", "Delta", "Alpha")]
    assert order == sorted(order)
    assert "Superset said: unknown column net_amount." in page
    assert "slower" in page
    assert page.count("1,204") == 2
    fragment = text_of(lead, f"{url}?status=failed", **HTMX, HTTP_HX_TARGET="verdicts")
    assert ">Beta<" in fragment
    assert ">Alpha<" not in fragment
    assert "<html" not in fragment
    fragment = text_of(lead, f"{url}?q=alph", **HTMX, HTTP_HX_TARGET="verdicts")
    assert ">Alpha<" in fragment
    assert ">Beta<" not in fragment


def test_verifying_again_is_followed_until_the_new_verdicts_are_there(lead: Client) -> None:
    migration = make_migration()
    run = make_run(migration)
    url = f"/migrations/{migration.number}/verify/"
    assert lead.post(f"{url}again/", {"run": run.number}).status_code == 302
    page = text_of(lead, url)
    assert "The charts are asked again" in page
    poll = re.search(r'hx-get="([^"]*verifying)"', page)
    assert poll
    address = poll[1].replace("&amp;", "&")
    assert lead.get(address, **HTMX).status_code == 204
    Job.objects.update(state="succeeded")
    assert lead.get(address, **HTMX)["HX-Redirect"] == url
    assert "The charts are asked again" not in text_of(lead, url)


def test_the_result_costs_the_same_for_any_number_of_charts(lead: Client) -> None:
    def result_of(count: int) -> str:
        migration = make_migration()
        make_plan(migration, [("chart", f"Chart {number}", "create") for number in range(count)])
        run = make_run(migration)
        for number in range(count):
            make_verdict(run, f"Chart {number}")
        return f"/migrations/{migration.number}/verify/"

    small, large = result_of(2), result_of(60)
    queries_of(lead, small)
    assert queries_of(lead, small) == queries_of(lead, large)
    assert "1–50 of 60 charts" in text_of(lead, large)
    assert "51–60 of 60" in text_of(lead, f"{large}?written=2")


def test_what_was_applied_is_not_changed_any_more(lead: Client) -> None:
    migration = make_migration()
    make_run(migration)
    number = migration.number
    assert lead.get(f"/migrations/{number}/apply/").status_code == 302
    for step, data in (("select", {"shown": "", "do": "plan"}), ("plan", {}), ("apply", {"plan": "x" * 64})):
        response = lead.post(f"/migrations/{number}/{step}/", data, **HTMX)
        assert response.status_code == 409, step
        assert 'role="alert"' in response.content.decode()
    assert lead.post(f"/migrations/{number}/discard/").status_code == 409
    assert "is done" in text_of(lead, f"/migrations/{number}/edit/")


# --- Small things ---------------------------------------------------------------------------------------------------
def test_a_title_is_changed_and_a_draft_discarded(lead: Client) -> None:
    migration = make_migration()
    number = migration.number
    assert lead.post(f"/migrations/{number}/edit/", {"title": ""}).status_code == 422
    both = {"title": "Better", "verify": "on", "roll_back_when_red": "on"}
    assert lead.post(f"/migrations/{number}/edit/", both).status_code == 302
    migration.refresh_from_db()
    assert (migration.title, migration.verify, migration.roll_back_when_red) == ("Better", True, True)
    assert "Keep it" in text_of(lead, f"/migrations/{number}/discard/")
    assert lead.post(f"/migrations/{number}/discard/").status_code == 302
    migration.refresh_from_db()
    assert migration.state == MigrationState.DISCARDED


def test_the_band_of_a_protected_target_is_on_every_step_that_leads_to_a_write(lead: Client) -> None:
    migration = make_migration()
    make_plan(migration)
    for step in STEPS:
        assert 'class="band' in text_of(lead, f"/migrations/{migration.number}/{step}/"), step
    free = make_migration(target=make_environment("stage"))
    make_plan(free)
    page = text_of(lead, f"/migrations/{free.number}/apply/")
    assert 'class="band' not in page
    assert 'name="confirmation"' not in page
    make_run(migration)
    assert 'class="band' not in text_of(
        lead, f"/migrations/{migration.number}/verify/"
    )  # nothing is written from here


def test_no_page_has_script_or_style_of_its_own(lead: Client, estate: dict[str, Any]) -> None:
    migration = make_migration(estate["Sales 1"].environment)
    make_plan(migration, databases=[database_row()])
    ready = make_migration()
    make_plan(ready)
    ran = make_migration()
    make_verdict(make_run(ran))
    urls = [
        "/migrations/",
        "/migrations/new/",
        f"/migrations/{ran.number}/verify/",
        f"/migrations/{ready.number}/apply/",
    ]
    urls += [
        f"/migrations/{migration.number}/{step}/"
        for step in ("select", "select/add", "map", "plan", "edit", "discard")
    ]
    urls.append(f"/migrations/{ready.number}/items/{uuid_for('Revenue 1.1')}/")
    for url in urls:
        page = text_of(lead, url)
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|hx-on", page), url
