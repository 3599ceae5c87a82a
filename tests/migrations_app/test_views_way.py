"""The whole way by pages, over two small Supersets in this process, without JavaScript: forms and redirects alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from migrations_app.models import Mapping, Migration, MigrationState, Run, RunState
from sstools.jobs.models import Job
from tests.factories import uuid_for
from tests.fakes.pair import FakePair, fake_pair
from tests.fakes.superset import FakeSuperset

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def pair() -> Iterator[FakePair]:
    with fake_pair(protected=True) as made:
        yield made


@pytest.fixture
def lead(signed_in: Callable[[Any], Client], release_lead: Any) -> Client:
    return signed_in(release_lead)


def text_of(client: Client, url: str, status: int = 200) -> str:
    response = client.get(url)
    assert response.status_code == status, (url, response.status_code, response.get("Location"))
    return response.content.decode()


def go(client: Client, url: str, data: dict[str, Any] | None = None) -> str:
    """Send a form; where it leads."""
    response = client.post(url, data or {})
    assert response.status_code == 302, response.content.decode()[:3000]
    return str(response["Location"])


def new(client: Client, **fields: Any) -> str:
    """Choose the dashboard Sales on the page and make a plan: the address of the plan."""
    page = text_of(client, "/migrations/new/?source=dev&target=prod")
    shown = re.search(r'name="shown" value="([^"]*)"', page)
    assert shown
    assert uuid_for("Sales") in shown[1]
    form = {
        "source": "dev",
        "target": "prod",
        "source_before": "dev",
        "shown": shown[1],
        "basket": "",
        "pick": [uuid_for("Sales")],
        "with_dependencies": "on",
        "verify": "on",
        "do": "create",
    }
    return go(client, "/migrations/new/", {**form, **fields})


def planned(client: Client, run_jobs: Callable[[], int], **fields: Any) -> Migration:
    """A migration that is mapped and planned."""
    new(client, **fields)
    run_jobs()
    migration = Migration.objects.latest("number")
    target = {f"target:{uuid_for('Warehouse DEV')}": uuid_for("Warehouse PROD")}
    go(client, f"/migrations/{migration.number}/map/", target)
    run_jobs()
    migration.refresh_from_db()
    assert migration.state == MigrationState.PLANNED, migration.job and migration.job.error
    return migration


def apply(client: Client, migration: Migration, run_jobs: Callable[[], int]) -> Run:
    assert migration.plan is not None
    form = {"plan": migration.plan.hash, "confirmation": "prod"}
    to = go(client, f"/migrations/{migration.number}/apply/", form)
    assert to == f"/migrations/{migration.number}/verify/"
    run_jobs()
    return Run.objects.latest("number")


def edit(superset: FakeSuperset, chart: str, fields: dict[str, Any]) -> None:
    """What somebody does in Superset itself, just now."""
    [record] = [row for row in superset.assets["chart"].values() if row["data"]["uuid"] == uuid_for(chart)]
    record["data"] |= fields
    record["changed_on"] = datetime.now(UTC)


def test_from_the_choice_to_the_verdicts_and_back(
    pair: FakePair, lead: Client, run_jobs: Callable[[], int]
) -> None:
    plan_url = new(lead, title="Bring Sales")
    page = text_of(lead, plan_url)
    assert "Waiting for a worker" in page
    assert 'http-equiv="refresh"' in page  # without JavaScript the page asks by itself

    run_jobs()
    migration = Migration.objects.get()
    assert migration.title == "Bring Sales"
    assert lead.get(f"/migrations/{migration.number}/")["Location"].endswith(
        "/map/"
    )  # what is in the way first
    page = text_of(lead, plan_url)
    assert "1 database of Dev is not mapped" in page
    assert "Go on to apply" not in page

    page = text_of(lead, f"/migrations/{migration.number}/map/")
    assert "Warehouse DEV" in page
    assert (
        f'<option value="{uuid_for("Warehouse PROD")}" selected>' in page
    )  # suggested, and in the field already
    assert "1 of 1 table found" in page
    target = {f"target:{uuid_for('Warehouse DEV')}": uuid_for("Warehouse PROD")}
    assert go(lead, f"/migrations/{migration.number}/map/", target).endswith("/map/")
    run_jobs()

    page = text_of(lead, plan_url)
    assert "<b>4</b> create" in page
    assert "Go on to apply 4" in page
    page = text_of(lead, f"/migrations/{migration.number}/select/")
    assert "pulled in by dashboard “Sales”" in page
    assert "pulled in by chart “Regions”, chart “Revenue”" in page

    page = text_of(lead, f"/migrations/{migration.number}/apply/")
    assert "Write <b>4</b> assets" in page
    assert 'pattern="prod"' in page
    migration.refresh_from_db()
    run = apply(lead, migration, run_jobs)
    assert run.state == RunState.APPLIED, run.error

    page = text_of(lead, f"/migrations/{migration.number}/verify/")
    assert "Applied: 4 assets on Prod, all as planned" in page
    assert "4 of 4 equal to the plan" in page
    assert page.count(">Revenue<") >= 1
    assert "Roll back…" in page

    rollback_url = go(lead, f"/migrations/{migration.number}/rollback/", {"run": run.number})
    assert go(lead, f"/migrations/{migration.number}/rollback/", {"run": run.number}) == rollback_url
    run_jobs()
    rollback = Migration.objects.latest("number")
    page = text_of(lead, rollback_url)
    assert "<b>4</b> remove" in page
    assert "before run" in page
    assert lead.get(f"/migrations/{rollback.number}/map/").status_code == 302  # nothing to map
    assert apply(lead, rollback, run_jobs).state == RunState.APPLIED
    page = text_of(lead, f"/migrations/{rollback.number}/verify/")
    assert f"Prod is as it was before run {run.number}" in page
    page = text_of(lead, f"/migrations/{migration.number}/verify/")
    assert "Rolled back: Prod is as it was before" in page


def test_a_second_time_there_is_nothing_to_do(
    pair: FakePair, lead: Client, run_jobs: Callable[[], int]
) -> None:
    apply(lead, planned(lead, run_jobs), run_jobs)
    again = planned(lead, run_jobs)
    page = text_of(lead, f"/migrations/{again.number}/plan/")
    assert "There is nothing to do" in page
    assert "4 assets the same on both sides, not written" in page
    assert "Go on to apply" not in page


def test_a_doubled_click_makes_one_migration_and_one_run(
    pair: FakePair, lead: Client, run_jobs: Callable[[], int]
) -> None:
    assert new(lead) == new(lead)
    assert Migration.objects.count() == 1
    run_jobs()
    migration = planned(lead, run_jobs)
    assert migration.plan is not None
    form = {"plan": migration.plan.hash, "confirmation": "prod"}
    for _ in range(2):
        go(lead, f"/migrations/{migration.number}/apply/", form)
    assert Run.objects.count() == 1


def test_the_name_of_a_protected_target_is_asked_for_again_by_the_server(
    pair: FakePair, lead: Client, run_jobs: Callable[[], int]
) -> None:
    migration = planned(lead, run_jobs)
    assert migration.plan is not None
    for typed in ("", "PROD", "dev"):
        form = {"plan": migration.plan.hash, "confirmation": typed}
        response = lead.post(f"/migrations/{migration.number}/apply/", form, headers={"HX-Request": "true"})
        assert response.status_code == 422
        assert "type its name, prod" in response.content.decode()
        assert 'role="alert"' in response.content.decode()
    assert not Run.objects.exists()


def test_a_plan_that_changed_after_it_was_opened_is_not_applied(
    pair: FakePair, lead: Client, run_jobs: Callable[[], int]
) -> None:
    migration = planned(lead, run_jobs)
    form = {"plan": "0" * 64, "confirmation": "prod"}
    response = lead.post(f"/migrations/{migration.number}/apply/", form)
    assert response.status_code == 409
    assert "The plan changed after you opened it" in response.content.decode()
    assert not Run.objects.exists()


def test_a_target_that_moved_makes_the_plan_stale_and_the_page_leads_to_another_plan(
    pair: FakePair, lead: Client, run_jobs: Callable[[], int]
) -> None:
    apply(lead, planned(lead, run_jobs), run_jobs)
    edit(pair.dev, "Revenue", {"slice_name": "Revenue, net"})
    migration = planned(lead, run_jobs)
    page = text_of(lead, f"/migrations/{migration.number}/plan/")
    assert "<b>1</b> update" in page
    edit(pair.prod, "Revenue", {"description": "edited meanwhile"})
    run = apply(lead, migration, run_jobs)
    assert run.state == RunState.STOPPED
    page = text_of(lead, f"/migrations/{migration.number}/verify/")
    assert "Stopped before writing: Prod was not touched" in page
    page = text_of(lead, f"/migrations/{migration.number}/plan/")
    assert "This plan is stale" in page
    assert "A stale plan cannot be applied" in page


def test_an_edit_on_the_target_is_asked_about_and_the_answer_makes_another_plan(
    pair: FakePair, lead: Client, run_jobs: Callable[[], int]
) -> None:
    apply(lead, planned(lead, run_jobs), run_jobs)
    edit(pair.prod, "Revenue", {"description": "edited on prod"})
    migration = planned(lead, run_jobs)
    assert migration.plan is not None
    url, uuid = f"/migrations/{migration.number}/plan/", uuid_for("Revenue")
    page = text_of(lead, url)
    assert "1 conflict to answer" in page
    assert "edited on the target" in page
    assert "Keep what Prod has" in page
    assert "Answer 1 conflict" in page

    old = {"plan": "0" * 64, f"answer:{uuid}": "take"}
    assert lead.post(f"{url}answer/", old).status_code == 409
    nothing = lead.post(f"{url}answer/", {"plan": migration.plan.hash})
    assert nothing.status_code == 422
    assert "Nothing was answered yet" in nothing.content.decode()
    wrong = lead.post(f"{url}answer/", {"plan": migration.plan.hash, f"answer:{uuid}": "rename"})
    assert wrong.status_code == 422
    assert "does not settle this" in wrong.content.decode()

    go(lead, f"{url}answer/", {"plan": migration.plan.hash, f"answer:{uuid}": "take"})
    run_jobs()
    page = text_of(lead, url)
    assert "1 conflict answered" in page
    assert "Go on to apply 1" in page


def test_leaving_something_out_and_taking_it_in_again(
    pair: FakePair, lead: Client, run_jobs: Callable[[], int]
) -> None:
    migration = planned(lead, run_jobs)
    url = f"/migrations/{migration.number}/select/"
    names = ("Sales", "Revenue", "Regions", "orders")
    shown = ",".join(uuid_for(name) for name in names)
    taken = [uuid_for(name) for name in names if name != "Regions"]
    form = {"shown": shown, "take": taken, "options": "1", "with_dependencies": "on"}
    go(lead, url, {**form, "do": "plan"})
    run_jobs()
    assert "left out" in text_of(lead, url)
    assert "<b>3</b> create" in text_of(lead, f"/migrations/{migration.number}/plan/")
    go(lead, url, {**form, "take": [uuid_for(name) for name in names], "do": "plan"})
    run_jobs()
    assert "<b>4</b> create" in text_of(lead, f"/migrations/{migration.number}/plan/")


def test_an_unreachable_environment_is_said_with_its_remedy_and_tried_again(
    pair: FakePair, lead: Client, run_jobs: Callable[[], int]
) -> None:
    plan_url = new(lead)
    Job.objects.update(
        state="failed", error={"code": "unreachable", "message": "Dev does not answer.", "remedy": "Later."}
    )
    page = text_of(lead, plan_url)
    assert "The plan could not be made" in page
    assert "Dev does not answer." in page
    assert "Nothing was written anywhere" in page
    go(lead, plan_url)
    run_jobs()
    assert "The plan could not be made" not in text_of(lead, plan_url)


def test_a_pattern_that_does_not_work_is_shown_where_it_was_entered(
    pair: FakePair, lead: Client, run_jobs: Callable[[], int]
) -> None:
    migration = planned(lead, run_jobs)
    url = f"/migrations/{migration.number}/map/"
    form = {
        f"target:{uuid_for('Warehouse DEV')}": uuid_for("Warehouse PROD"),
        "find": ["dev_schema", "(unclosed"],
        "replace": ["prod_schema", ""],
        "how": ["text", "pattern"],
        "do": "save",
    }
    response = lead.post(url, form)
    assert response.status_code == 422
    page = response.content.decode()
    assert "This pattern does not work" in page
    assert 'value="dev_schema"' in page  # what was typed is still there
    assert Mapping.objects.get().substitutions == []

    more = lead.post(url, {**form, "do": "add"}).content.decode()
    assert more.count('name="find"') == 4
    fewer = lead.post(url, {**form, "do": "drop:1"}).content.decode()
    assert "(unclosed" not in fewer
    assert Mapping.objects.get().substitutions == []

    go(lead, url, {**form, "find": ["dev_schema"], "replace": ["prod_schema"], "how": ["text"]})
    assert Mapping.objects.get().substitutions == [
        {"find": "dev_schema", "replace": "prod_schema", "is_pattern": False}
    ]
    assert 'value="dev_schema"' in text_of(lead, url)


def test_cancelling_the_plan(pair: FakePair, lead: Client) -> None:
    plan_url = new(lead)
    migration = Migration.objects.get()
    go(lead, f"/migrations/{migration.number}/cancel/")
    assert "The plan was cancelled" in text_of(lead, plan_url)
    assert lead.post(f"/migrations/{migration.number}/cancel/").status_code == 409
