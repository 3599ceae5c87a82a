"""What the API takes and refuses: rights, repeated requests, wrong input, filters, and the number of its queries."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from migrations_app.models import Migration, MigrationState, Run, RunState
from sstools.jobs.models import Job
from tests.factories import (
    conflict,
    make_environment,
    make_estate,
    make_migration,
    make_plan,
    make_run,
    make_verdict,
    uuid_for,
)

pytestmark = pytest.mark.django_db
Api = Callable[[Any], APIClient]
URL = "/api/v1/migrations/"


@pytest.fixture
def estate(db: None) -> dict[str, Any]:
    """dev with two dashboards, known to the inventory; prod, which is protected."""
    from django.utils import timezone

    dev, prod = make_environment("dev", inventory_at=timezone.now()), make_environment("prod", protected=True)
    return {"dev": dev, "prod": prod, **make_estate(dev)}


def ask(client: APIClient, method: str, url: str, body: Any = None, **headers: str) -> Any:
    return getattr(client, method)(url, body, format="json", headers=headers)


def body(**fields: Any) -> dict[str, Any]:
    return {"source": "dev", "target": "prod", "selection": [uuid_for("Sales 1")], **fields}


# --- Rights -------------------------------------------------------------------------------------------------

# 404: may not know of it; 403: may see it and not do that.
TABLE = [
    ("get", "/api/v1/migrations/{migration}/", None, (404, 200, 200, 200)),
    ("get", "/api/v1/migrations/{migration}/plan/", None, (404, 200, 200, 200)),
    ("get", "/api/v1/plans/{plan}/", None, (404, 200, 200, 200)),
    ("get", "/api/v1/plans/{plan}/items/", None, (404, 200, 200, 200)),
    ("get", "/api/v1/plans/{plan}/items/{item}/", None, (404, 200, 200, 200)),
    ("get", "/api/v1/runs/{run}/", None, (404, 200, 200, 200)),
    ("get", "/api/v1/mappings/dev/prod/", None, (404, 200, 200, 200)),
    ("post", "/api/v1/migrations/", "create", (400, 403, 201, 201)),
    ("patch", "/api/v1/migrations/{migration}/", {"title": "New"}, (404, 403, 200, 200)),
    ("post", "/api/v1/migrations/{migration}/plan/", {}, (404, 403, 202, 202)),
    ("post", "/api/v1/migrations/{migration}/answers/", {"answers": {"{item}": None}}, (404, 403, 200, 200)),
    ("post", "/api/v1/migrations/{migration}/apply/", "apply", (404, 403, 403, 202)),
    ("post", "/api/v1/migrations/{migration}/discard/", {}, (404, 403, 200, 200)),
    ("put", "/api/v1/mappings/dev/prod/", {}, (404, 403, 200, 200)),
    ("patch", "/api/v1/mappings/dev/prod/", {}, (404, 403, 200, 200)),
    ("post", "/api/v1/runs/{run}/roll-back/", {"plan": False}, (404, 403, 403, 201)),
    ("post", "/api/v1/runs/{run}/verify/", {}, (404, 403, 202, 202)),
]
ROLES = ("stranger", "viewer", "author", "release_lead")


@pytest.mark.parametrize(
    ("method", "url", "sent", "role", "expected"),
    [
        pytest.param(method, url, sent, role, expected, id=f"{role} {method} {url}")
        for method, url, sent, answers in TABLE
        for role, expected in zip(ROLES, answers, strict=True)
    ],
)
def test_who_may_do_what(
    request: pytest.FixtureRequest,
    api: Api,
    estate: Any,
    method: str,
    url: str,
    sent: Any,
    role: str,
    expected: int,
) -> None:
    migration = make_migration(estate["dev"], estate["prod"])
    plan = make_plan(migration)
    run = make_run(make_migration(estate["dev"], estate["prod"]))
    item = plan.items.first()
    assert item is not None
    names = {"migration": migration.uuid, "plan": plan.uuid, "run": run.uuid, "item": item.uuid}
    if sent == "create":
        sent = body()
    elif sent == "apply":
        sent = {"plan_hash": plan.hash, "confirmation": "prod"}
    elif sent and "answers" in sent:
        sent = {"answers": {item.uuid: None}}
    answer = ask(api(request.getfixturevalue(role)), method, url.format(**names), sent)
    assert answer.status_code == expected, answer.content
    if expected >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["code"] in ("not_found", "not_allowed", "invalid")


def test_without_signing_in_nothing_is_told(db: None) -> None:
    for url in (URL, "/api/v1/runs/", "/api/v1/mappings/"):
        answer = APIClient().get(url)
        assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


def test_lists_hold_what_one_may_see(api: Api, make_user: Any, estate: Any) -> None:
    from sstools.resources import resource_name

    other = make_environment("stage")
    make_run(make_migration(estate["dev"], estate["prod"]))
    make_run(make_migration(estate["dev"], other))
    limited = api(make_user("limited", "viewer", on=resource_name(other)))
    assert [row["target"]["slug"] for row in limited.get(URL).json()["results"]] == ["stage"]
    assert [row["target"]["slug"] for row in limited.get("/api/v1/runs/").json()["results"]] == ["stage"]


# --- Repeated requests --------------------------------------------------------------------------------------


@pytest.mark.both_databases
def test_a_creation_that_is_repeated_with_its_key_gives_the_first_migration(
    api: Api, author: Any, estate: Any
) -> None:
    client = api(author)
    first = ask(client, "post", URL, body(plan=True), **{"Idempotency-Key": "k1"})
    again = ask(client, "post", URL, body(plan=True), **{"Idempotency-Key": "k1"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json()["uuid"] == first.json()["uuid"]
    assert again.json()["job"]["uuid"] == first.json()["job"]["uuid"]
    assert (Migration.objects.count(), Job.objects.count()) == (1, 1)

    other = ask(client, "post", URL, body(selection=[uuid_for("Sales 2")]), **{"Idempotency-Key": "k1"})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
    assert ask(client, "post", URL, body()).json()["uuid"] != first.json()["uuid"]
    assert Migration.objects.count() == 2


def test_a_key_is_of_the_one_who_used_it(api: Api, author: Any, release_lead: Any, estate: Any) -> None:
    mine = ask(api(author), "post", URL, body(), **{"Idempotency-Key": "k1"}).json()
    theirs = ask(api(release_lead), "post", URL, body(), **{"Idempotency-Key": "k1"}).json()
    assert mine["uuid"] != theirs["uuid"]


@pytest.mark.both_databases
def test_an_apply_is_joined_and_its_key_answers_for_good(api: Api, release_lead: Any, estate: Any) -> None:
    client = api(release_lead)
    migration = make_migration(estate["dev"], estate["prod"])
    plan = make_plan(migration)
    url = f"{URL}{migration.uuid}/apply/"
    sent = {"plan_hash": plan.hash[:12], "confirmation": "prod"}
    first = ask(client, "post", url, sent, **{"Idempotency-Key": "a1"})
    assert first.status_code == 202
    joined = ask(client, "post", url, sent)
    assert joined.json()["uuid"] == first.json()["uuid"]
    assert Run.objects.count() == 1

    Run.objects.update(state=RunState.APPLIED)
    Job.objects.update(state="succeeded")
    Migration.objects.update(state=MigrationState.DONE)
    late = ask(client, "post", url, sent, **{"Idempotency-Key": "a1"})
    assert (late.status_code, late.json()["uuid"]) == (202, first.json()["uuid"])
    without = ask(client, "post", url, sent)
    assert (without.status_code, without.json()["code"]) == (409, "not_ready")
    other = make_migration(estate["dev"], estate["prod"])
    reused = {"plan_hash": make_plan(other).hash, "confirmation": "prod"}
    refused = ask(client, "post", f"{URL}{other.uuid}/apply/", reused, **{"Idempotency-Key": "a1"})
    assert (refused.status_code, refused.json()["code"]) == (409, "idempotency_key_reused")


def test_a_plan_that_is_asked_for_twice_is_one_job(api: Api, author: Any, estate: Any) -> None:
    migration = make_migration(estate["dev"], estate["prod"])
    url = f"{URL}{migration.uuid}/plan/"
    first, second = ask(api(author), "post", url), ask(api(author), "post", url)
    assert first.json()["uuid"] == second.json()["uuid"]
    assert second.headers["Location"].endswith(f"/api/v1/jobs/{first.json()['uuid']}/")


def test_a_key_that_is_too_long_is_refused(api: Api, author: Any, estate: Any) -> None:
    answer = ask(api(author), "post", URL, body(), **{"Idempotency-Key": "k" * 151})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["Idempotency-Key"])
    assert Migration.objects.count() == 0


# --- What is wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "status", "code", "field"),
    [
        (body(source="nowhere"), 400, "invalid", "source"),
        (body(target=None), 400, "invalid", "target"),
        (body(selection=["not a uuid"]), 400, "invalid", "selection"),
        (body(all=True), 400, "invalid", "selection"),
        ({"source": "dev", "target": "prod"}, 400, "invalid", "selection"),
        (body(verfy=False), 400, "invalid", "verfy"),
        (body(map={"DWH": 7}), 400, "invalid", "map"),
        (body(target="dev"), 422, "same_environment", "target"),
        (body(selection=[]), 422, "empty_selection", "selection"),
        (body(selection=[uuid_for("nothing")]), 422, "unknown_asset", "selection"),
        (body(selection=[uuid_for("DWH")]), 422, "unknown_asset", "selection"),
    ],
)
def test_a_wrong_request_names_the_field(
    api: Api, author: Any, estate: Any, sent: Any, status: int, code: str, field: str
) -> None:
    answer = ask(api(author), "post", URL, sent)
    problem = answer.json()
    assert (answer.status_code, problem["code"], list(problem["errors"])) == (status, code, [field])
    assert problem["request_id"]
    assert Migration.objects.count() == 0


def test_all_needs_a_reading(api: Api, author: Any, estate: Any) -> None:
    estate["dev"].inventory_at = None
    estate["dev"].save()
    answer = ask(api(author), "post", URL, {"source": "dev", "target": "prod", "all": True})
    assert (answer.status_code, answer.json()["code"]) == (409, "never_read")


def test_all_takes_everything_but_databases(api: Api, author: Any, estate: Any) -> None:
    made = ask(api(author), "post", URL, {"source": str(estate["dev"].uuid), "target": "prod", "all": True})
    assert len(made.json()["selection"]) == 2 + 2 + 6
    assert uuid_for("DWH") not in made.json()["selection"]
    assert made.headers["Location"] == made.json()["url"]


def test_broken_json_and_the_wrong_method_are_problems_too(api: Api, author: Any, estate: Any) -> None:
    broken = api(author).post(URL, "{", content_type="application/json")
    assert (broken.status_code, broken.json()["code"]) == (400, "malformed")
    wrong = api(author).delete(URL)
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")


def test_there_is_no_plan_before_it_was_made(api: Api, author: Any, estate: Any) -> None:
    migration = make_migration(estate["dev"], estate["prod"])
    answer = api(author).get(f"{URL}{migration.uuid}/plan/")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "no current plan" in answer.json()["detail"]


def test_a_changed_selection_voids_the_plan_and_a_changed_title_does_not(
    api: Api, author: Any, estate: Any
) -> None:
    migration = make_migration(estate["dev"], estate["prod"])
    make_plan(migration)
    url = f"{URL}{migration.uuid}/"
    titled = ask(api(author), "patch", url, {"title": "Quarter", "roll_back_when_red": True}).json()
    assert (titled["title"], titled["roll_back_when_red"], titled["state"]) == ("Quarter", True, "planned")
    other = ask(api(author), "patch", url, {"selection": [uuid_for("Sales 2")]}).json()
    assert (other["state"], other["plan_hash"], other["counts"]) == ("draft", None, None)


def test_what_is_over_cannot_be_changed_or_discarded(api: Api, release_lead: Any, estate: Any) -> None:
    migration = make_migration(estate["dev"], estate["prod"])
    make_run(migration)
    for method, path, sent in (
        ("patch", "", {"title": "x"}),
        ("post", "discard/", {}),
        ("post", "plan/", {}),
    ):
        answer = ask(api(release_lead), method, f"{URL}{migration.uuid}/{path}", sent)
        assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")


def test_conflicts_may_be_answered_one_after_the_other(api: Api, author: Any, estate: Any) -> None:
    migration = make_migration(estate["dev"], estate["prod"])
    blocked = {"conflict": conflict("drifted"), "blocked_by": "Edited."}
    make_plan(migration, [("chart", title, "blocked", blocked) for title in ("One", "Two")])
    url = f"{URL}{migration.uuid}/answers/"
    for title in ("One", "Two"):
        assert ask(api(author), "post", url, {"answers": {uuid_for(title): "take"}}).status_code == 200
    answered = api(author).get(f"{URL}{migration.uuid}/").json()
    assert set(answered["answers"]) == {uuid_for("One"), uuid_for("Two")}
    assert (answered["state"], answered["plan_hash"]) == ("draft", None)


def test_a_run_that_wrote_nothing_has_nothing_to_roll_back(api: Api, release_lead: Any, estate: Any) -> None:
    run = make_run(make_migration(estate["dev"], estate["prod"]), RunState.STOPPED)
    answer = ask(api(release_lead), "post", f"/api/v1/runs/{run.uuid}/roll-back/", {"plan": False})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")


# --- Filters and queries ------------------------------------------------------------------------------------


@pytest.mark.both_databases
def test_migrations_are_filtered(api: Api, viewer: Any, estate: Any) -> None:
    stage = make_environment("stage")
    draft = make_migration(estate["dev"], estate["prod"], title="Quarterly figures", actor=viewer)
    done = make_migration(estate["dev"], stage, title="Logistics")
    make_run(done)
    client = api(viewer)

    def numbers(**query: Any) -> list[int]:
        answer = client.get(URL, query)
        assert answer.status_code == 200, answer.json()
        return [row["number"] for row in answer.json()["results"]]

    assert numbers() == [done.number, draft.number]
    assert numbers(state="open") == [draft.number]
    assert numbers(state="done") == [done.number]
    assert numbers(target="stage") == numbers(env=str(stage.uuid)) == [done.number]
    assert numbers(source="dev") == [done.number, draft.number]
    assert numbers(target="nowhere") == []
    assert numbers(mine="true") == [draft.number]
    assert numbers(q="quarterly") == numbers(q=f"#{draft.number}") == [draft.number]
    assert numbers(asset=uuid_for("Revenue 1.1")) == [done.number]
    assert numbers(rollback="false") == [done.number, draft.number]
    assert numbers(rollback="true") == []
    wrong = client.get(URL, {"state": "nonsense"})
    assert (wrong.status_code, list(wrong.json()["errors"])) == (400, ["state"])


def test_runs_and_items_are_filtered(api: Api, viewer: Any, estate: Any) -> None:
    run = make_run(make_migration(estate["dev"], estate["prod"]))
    waiting = make_run(make_migration(estate["dev"], estate["prod"]), RunState.WAITING)
    client = api(viewer)

    def runs(**query: Any) -> list[int]:
        return [row["number"] for row in client.get("/api/v1/runs/", query).json()["results"]]

    assert runs(state="unfinished") == [waiting.number]
    assert runs(migration=run.migration_id) == runs(migration=str(run.migration.uuid)) == [run.number]
    assert runs(migration="x") == []
    items = f"/api/v1/plans/{run.plan.uuid}/items/"

    def titles(**query: Any) -> list[str]:
        return [row["title"] for row in client.get(items, query).json()["results"]]

    assert titles(action="writes", kind="chart") == ["Revenue 1.1", "Revenue 1.2"]
    assert titles(action="unchanged") == ["sales_fact_1"]
    assert titles(action="conflict") == []
    assert titles(q="revenue 1.2") == titles(q=uuid_for("Revenue 1.2")) == ["Revenue 1.2"]


def test_a_run_tells_everything_about_it(api: Api, viewer: Any, estate: Any) -> None:
    run = make_run(make_migration(estate["dev"], estate["prod"]))
    make_verdict(run)
    make_verdict(run, "Revenue 1.2", "failed")
    told = api(viewer).get(f"/api/v1/runs/{run.uuid}/").json()
    assert told["verdict_counts"] == {"ok": 1, "failed": 1}
    assert [(row["title"], row["status"]) for row in told["verdicts"]] == [
        ("Revenue 1.1", "ok"),
        ("Revenue 1.2", "failed"),
    ]
    assert len(told["steps"]) == 5
    assert told["steps"][0]["seconds"] > 0
    assert (len(told["written"]), len(told["created"])) == (3, 1)


@pytest.mark.parametrize("url", [URL, "/api/v1/runs/", "/api/v1/mappings/"])
def test_a_list_costs_the_same_however_long_it_is(
    api: Api, viewer: Any, estate: Any, url: str, django_assert_max_num_queries: Any
) -> None:
    for _ in range(6):
        make_run(make_migration(estate["dev"], estate["prod"], actor=viewer))
    client = api(viewer)
    with django_assert_max_num_queries(5):  # the token, the grants, the count, the page, and one to spare
        assert client.get(url).status_code == 200


def test_a_plan_costs_the_same_however_long_it_is(
    api: Api, viewer: Any, estate: Any, django_assert_max_num_queries: Any
) -> None:
    migration = make_migration(estate["dev"], estate["prod"])
    make_plan(migration, [("chart", f"Chart {number}", "create") for number in range(40)])
    client = api(viewer)
    with django_assert_max_num_queries(8):  # the same, the migration, the plan, its items and companions
        assert len(client.get(f"{URL}{migration.uuid}/plan/").json()["items"]) == 40
