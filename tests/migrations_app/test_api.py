"""The whole way by REST alone, over two small Supersets: every shape that a program meets."""

import io
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from migrations_app.models import Mapping, Migration, Run
from sstools.jobs.models import Job
from tests.factories import uuid_for
from tests.fakes.pair import FakePair, fake_pair
from tests.fakes.superset import FakeSuperset

pytestmark = pytest.mark.django_db(transaction=True)
Api = Callable[[Any], APIClient]

WAREHOUSES = {"Warehouse DEV": "Warehouse PROD"}


@pytest.fixture
def pair() -> Iterator[FakePair]:
    with fake_pair(protected=True) as made:
        yield made


@pytest.fixture
def program(api: Api, release_lead: Any) -> APIClient:
    client = api(release_lead)
    client.default_format = "json"
    return client


def post(client: APIClient, url: str, body: Any = None, **headers: str) -> Any:
    return client.post(url, body or {}, format="json", headers=headers)


def planned(client: APIClient, run_jobs: Callable[[], int], **fields: Any) -> dict[str, Any]:
    """A migration of the dashboard Sales with its plan, as its own address shows it."""
    body = {
        "source": "dev",
        "target": "prod",
        "selection": [uuid_for("Sales")],
        "map": WAREHOUSES,
        "plan": True,
    }
    made = post(client, "/api/v1/migrations/", {**body, "verify": False, **fields})
    assert made.status_code == 201, made.json()
    run_jobs()
    migration: dict[str, Any] = client.get(made.headers["Location"]).json()
    assert migration["state"] == "planned", migration["job"]["error"]
    return migration


def applied(client: APIClient, run_jobs: Callable[[], int], **fields: Any) -> dict[str, Any]:
    migration = planned(client, run_jobs, **fields)
    body = {"plan_hash": migration["plan_hash"], "confirmation": "prod"}
    assert post(client, f"{migration['url']}apply/", body).status_code == 202
    run_jobs()
    migration = client.get(migration["url"]).json()
    run: dict[str, Any] = client.get(migration["runs"][0]["url"]).json()
    assert run["state"] == "applied", run["error"]
    return run


@pytest.mark.both_databases
def test_a_dashboard_moves_and_goes_back_by_rest_alone(
    pair: FakePair, program: APIClient, run_jobs: Any
) -> None:
    before = pair.prod.state()

    made = post(
        program,
        "/api/v1/migrations/",
        {
            "source": "dev",
            "target": str(pair.target.uuid),
            "all": True,
            "map": WAREHOUSES,
            "plan": True,
            "verify": False,
        },
    )
    assert made.status_code == 201
    assert made.json()["state"] == "draft"
    job = made.json()["job"]
    assert job["kind"] == "migrations_app.make_plan"
    run_jobs()
    assert program.get(job["url"]).json()["state"] == "succeeded"

    migration = program.get(made.headers["Location"]).json()
    assert migration["state"] == "planned"
    assert migration["counts"] == {
        "create": 4, "update": 0, "remove": 0, "unchanged": 0, "keep": 0, "leave_out": 0, "blocked": 0,
    }  # fmt: skip
    assert migration["why_not_applicable"] == ""
    plan = program.get(f"{migration['url']}plan/").json()
    assert [(item["kind"], item["title"], item["action"]) for item in plan["items"]] == [
        ("dataset", "orders", "create"),
        ("chart", "Regions", "create"),
        ("chart", "Revenue", "create"),
        ("dashboard", "Sales", "create"),
    ]
    assert plan["databases"][0]["target_name"] == "Warehouse PROD"
    assert plan["is_current"] is True

    asked = post(
        program, f"{migration['url']}apply/", {"plan_hash": plan["hash"][:12], "confirmation": "prod"}
    )
    assert asked.status_code == 202
    assert asked.headers["Location"] == asked.json()["url"]
    run_jobs()
    migration = program.get(migration["url"]).json()
    assert migration["state"] == "done", migration["job"]["error"]
    run = program.get(migration["runs"][0]["url"]).json()
    assert run["state"] == "applied"
    assert sorted(run["written"]) == sorted(item["target_uuid"] for item in plan["items"])
    assert run["unwritten"] == []
    assert run["requests"]["write"] >= 1
    assert [step["state"] for step in run["steps"] if step["state"] not in ("done", "skipped")] == []
    assert run["restore_point"] is not None
    assert {record["data"]["dashboard_title"] for record in pair.prod.assets["dashboard"].values()} == {
        "Sales"
    }

    back = post(program, f"/api/v1/runs/{run['uuid']}/roll-back/")
    assert back.status_code == 201
    assert back.json()["rolls_back"] == run["uuid"]
    assert back.json()["source_place"] == f"run:{run['number']}:before"
    assert post(program, f"/api/v1/runs/{run['uuid']}/roll-back/").json()["uuid"] == back.json()["uuid"]
    run_jobs()
    rollback = program.get(back.headers["Location"]).json()
    assert rollback["counts"]["remove"] == 4
    apply = post(
        program, f"{rollback['url']}apply/", {"plan_hash": rollback["plan_hash"], "confirmation": "prod"}
    )
    assert apply.status_code == 202
    run_jobs()
    rollback = program.get(rollback["url"]).json()
    assert rollback["state"] == "done", rollback["job"]["error"]
    assert program.get(f"/api/v1/runs/{run['uuid']}/").json()["state"] == "rolled_back"
    assert {kind: set(rows) for kind, rows in pair.prod.state().items()} == {
        kind: set(rows) for kind, rows in before.items()
    }


def test_a_second_run_plans_nothing_and_writes_nothing(
    pair: FakePair, program: APIClient, run_jobs: Any
) -> None:
    applied(program, run_jobs)
    writes = len(pair.prod.writes)
    again = planned(program, run_jobs)
    assert again["counts"]["unchanged"] == 4
    assert again["why_not_applicable"].startswith("There is nothing to do")
    refused = post(
        program, f"{again['url']}apply/", {"plan_hash": again["plan_hash"], "confirmation": "prod"}
    )
    assert (refused.status_code, refused.json()["code"]) == (409, "not_ready")
    assert len(pair.prod.writes) == writes


def test_an_item_shows_both_documents_and_every_changed_value(
    pair: FakePair, program: APIClient, run_jobs: Any
) -> None:
    applied(program, run_jobs)
    record = pair.dev.record("chart", uuid_for("Revenue"))
    record["data"]["slice_name"] = "Net revenue"
    record["changed_on"] = timezone.now()
    migration = planned(program, run_jobs)
    plan = program.get(f"{migration['url']}plan/").json()
    changed = [item for item in plan["items"] if item["action"] == "update"]
    assert [item["title"] for item in changed] == ["Net revenue"]
    assert "before" not in changed[0]["changes"][0]  # values can be large: they are at the item's own address

    rows = program.get(f"{plan['url']}items/", {"action": "writes"}).json()
    assert [row["uuid"] for row in rows["results"]] == [uuid_for("Revenue")]
    item = program.get(f"{plan['url']}items/{uuid_for('Revenue')}/").json()
    assert item["changes"] == [
        {**item["changes"][0], "path": ["slice_name"], "before": "Revenue", "after": "Net revenue"}
    ]
    assert item["present"]["body"]["slice_name"] == "Revenue"
    assert item["wanted"]["body"]["slice_name"] == "Net revenue"
    assert len(item["wanted"]["sha256"]) == 64


def test_an_edit_on_the_target_is_answered_and_planned_again(
    pair: FakePair, program: APIClient, run_jobs: Any
) -> None:
    applied(program, run_jobs)
    record = pair.prod.record("chart", uuid_for("Revenue"))
    record["data"]["slice_name"] = "Edited on prod"
    record["changed_on"] = timezone.now()
    migration = planned(program, run_jobs, selection=[uuid_for("Revenue")])
    assert migration["counts"]["blocked"] == 1
    assert migration["why_not_applicable"].startswith("1 asset")
    plan = program.get(f"{migration['url']}plan/").json()
    item = next(item for item in plan["items"] if item["action"] == "blocked")
    assert item["conflict"]["options"] == ["keep", "take", "leave_out"]

    wrong = post(program, f"{migration['url']}answers/", {"answers": {item["uuid"]: "adopt"}})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "wrong_answer")
    assert item["uuid"] in wrong.json()["errors"]

    answered = post(program, f"{migration['url']}answers/", {"answers": {item["uuid"]: "take"}, "plan": True})
    assert answered.status_code == 202
    run_jobs()
    again = program.get(migration["url"]).json()
    assert again["answers"] == {item["uuid"]: {"answer": "take", "value": ""}}
    assert (again["counts"]["update"], again["counts"]["blocked"]) == (1, 0)
    old = program.get(plan["url"]).json()
    assert (old["is_current"], old["hash"]) == (False, plan["hash"])


def test_an_apply_is_bound_to_the_plan_that_was_looked_at(
    pair: FakePair, program: APIClient, run_jobs: Any
) -> None:
    migration = planned(program, run_jobs)
    url = f"{migration['url']}apply/"
    other = post(program, url, {"plan_hash": "0" * 64, "confirmation": "prod"})
    assert (other.status_code, other.json()["code"]) == (409, "plan_changed")
    unconfirmed = post(program, url, {"plan_hash": migration["plan_hash"]})
    assert (unconfirmed.status_code, unconfirmed.json()["code"]) == (422, "wrong_confirmation")
    assert unconfirmed.json()["errors"] == {"confirmation": ["Type prod."]}
    short = post(program, url, {"plan_hash": migration["plan_hash"][:6], "confirmation": "prod"})
    assert (short.status_code, list(short.json()["errors"])) == (400, ["plan_hash"])
    for answer in (other, unconfirmed, short):
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert Run.objects.count() == 0
    assert pair.prod.writes == []


def test_what_moved_after_the_plan_makes_it_stale_and_nothing_is_written(
    pair: FakePair, program: APIClient, run_jobs: Any
) -> None:
    migration = planned(program, run_jobs)
    pair.dev.record("chart", uuid_for("Revenue"))["data"]["slice_name"] = (
        "Moved"  # and changed_on says nothing of it
    )
    asked = post(
        program, f"{migration['url']}apply/", {"plan_hash": migration["plan_hash"], "confirmation": "prod"}
    )
    run_jobs()
    job = program.get(asked.headers["Location"]).json()
    assert (job["state"], job["error"]["code"]) == ("failed", "stale_plan")
    assert pair.prod.writes == []
    migration = program.get(migration["url"]).json()
    assert migration["state"] == "planned"
    assert migration["why_not_applicable"].startswith("The plan is stale")
    run = program.get(migration["runs"][0]["url"]).json()
    assert (run["state"], run["error"]["code"], run["written"]) == ("stopped", "stale_plan", [])


def test_failed_checks_stop_an_apply_unless_overridden_with_a_reason(
    pair: FakePair, program: APIClient, run_jobs: Any
) -> None:
    pair.prod.tables[uuid_for("Warehouse PROD")] = {"main.orders": {"region": "VARCHAR"}}  # amount is missing
    migration = planned(program, run_jobs)
    plan = program.get(f"{migration['url']}plan/").json()
    assert "error" in {problem["severity"] for problem in plan["problems"]}
    url, body = f"{migration['url']}apply/", {"plan_hash": migration["plan_hash"], "confirmation": "prod"}
    refused = post(program, url, body)
    assert (refused.status_code, refused.json()["code"]) == (409, "not_ready")
    assert post(program, url, {**body, "override_reason": "the column comes tonight"}).status_code == 202
    assert program.get(migration["url"]).json()["override_reason"] == "the column comes tonight"


def zipped(name: str, content: bytes, *, symlink: bool = False) -> httpx.Response:
    """An export with one file beside its metadata."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "export/metadata.yaml", "version: 1.0.0\ntype: assets\ntimestamp: '2026-01-01T00:00:00'\n"
        )
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = 0o120777 << 16 if symlink else 0o644 << 16
        archive.writestr(info, content)
    return httpx.Response(200, content=buffer.getvalue(), headers={"content-type": "application/zip"})


def anchors() -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(lines).encode()


CHART = "export/charts/Sales_1.yaml"
EXPORT = "/api/v1/assets/export/"
FAULTS: dict[str, tuple[str, Callable[[FakeSuperset], Any]]] = {
    "an unreachable host": (
        "connection_refused",
        lambda fake: fake.misbehave("GET", "/", "refused", times=None),
    ),
    "another web page": (
        "not_superset",
        lambda fake: fake.misbehave("GET", "/api/v1/", "html_200", times=None),
    ),
    "an HTML error": ("server_error", lambda fake: fake.misbehave("GET", "/api/v1/", "html_500", times=None)),
    "half an answer": ("", lambda fake: fake.misbehave("GET", EXPORT, "truncated", times=None)),
    "the login page": ("", lambda fake: fake.misbehave("GET", "/api/v1/", "login", times=None)),
    "a wrong password": ("unauthorized", lambda fake: fake.users.update(admin="another")),
    "an account without rights": ("forbidden", lambda fake: setattr(fake, "role", "Gamma")),
    "a truncated zip": (
        "bundle_invalid",
        lambda fake: fake.misbehave(
            "GET", EXPORT, httpx.Response(200, content=zipped(CHART, b"a: 1").content[:200]), times=None
        ),
    ),
    "a zip that climbs": (
        "bundle_invalid",
        lambda fake: fake.misbehave("GET", EXPORT, zipped("export/../../etc/passwd", b"a: 1"), times=None),
    ),
    "a zip with a link": (
        "bundle_invalid",
        lambda fake: fake.misbehave("GET", EXPORT, zipped(CHART, b"/etc/passwd", symlink=True), times=None),
    ),
    "a zip bomb": (
        "bundle_invalid",
        lambda fake: fake.misbehave("GET", EXPORT, zipped(CHART, b"0" * 300_000_000), times=None),
    ),
    "a bomb of anchors": (
        "bundle_invalid",
        lambda fake: fake.misbehave("GET", EXPORT, zipped(CHART, anchors()), times=None),
    ),
    "a python tag": (
        "bundle_invalid",
        lambda fake: fake.misbehave(
            "GET", EXPORT, zipped(CHART, b"uuid: !!python/object/apply:os.system ['id']"), times=None
        ),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_superset_can_do_wrong_is_told_in_words_and_loses_nothing(
    pair: FakePair, program: APIClient, run_jobs: Any, fault: str
) -> None:
    code, go_wrong = FAULTS[fault]
    secret = "a-password-nobody-may-see"
    pair.dev.users["admin"] = secret
    pair.source.secret = secret
    pair.source.save()
    pair.source.snapshots.all().delete()  # what was read before would not be exported again
    go_wrong(pair.dev)
    body = {"source": "dev", "target": "prod", "all": True, "map": WAREHOUSES, "plan": True}
    made = post(program, "/api/v1/migrations/", body).json()
    run_jobs()
    job = program.get(made["job"]["url"]).json()
    assert job["state"] == "failed"
    assert job["error"]["code"] != "unexpected", job["error"]
    assert job["error"]["code"] == (code or job["error"]["code"]), job["error"]
    assert job["error"]["message"]
    assert job["error"]["remedy"]
    migration = program.get(made["url"]).json()
    assert (migration["state"], migration["counts"]) == ("draft", None)
    said = str(
        [job, migration, program.get(f"{job['url']}log/").json(), program.get("/api/v1/environments/").json()]
    )
    assert secret not in said
    assert pair.dev.writes == pair.prod.writes == []


def test_a_failing_import_says_what_was_not_written(
    pair: FakePair, program: APIClient, run_jobs: Any
) -> None:
    migration = planned(program, run_jobs)
    refusal = {
        "errors": [
            {"message": "Error importing assets", "extra": {"charts/Revenue.yaml": {"viz_type": ["No."]}}}
        ]
    }
    pair.prod.misbehave("POST", "/api/v1/assets/import/", httpx.Response(422, json=refusal), times=None)
    post(program, f"{migration['url']}apply/", {"plan_hash": migration["plan_hash"], "confirmation": "prod"})
    run_jobs()
    run = program.get(program.get(migration["url"]).json()["runs"][0]["url"]).json()
    assert run["state"] in ("rolled_back", "stopped")
    assert run["error"]["message"]
    assert run["written"] == []
    assert pair.prod.assets["dashboard"] == {}


# --- Mappings ---------------------------------------------------------------------------------------------------------


def test_a_mapping_is_read_replaced_and_changed_by_names_or_uuids(pair: FakePair, program: APIClient) -> None:
    url = "/api/v1/mappings/dev/prod/"
    empty = program.get(url).json()
    assert (empty["databases"], empty["updated_by"]) == ({}, None)
    body = {
        "databases": {"Warehouse DEV": {"target": "Warehouse PROD", "schemas": {"main": "sales"}}},
        "substitutions": [{"find": "dev_", "replace": "prod_"}],
    }
    put = program.put(url, body, format="json").json()
    target = {"target": uuid_for("Warehouse PROD"), "schemas": {"main": "sales"}, "catalogs": {}}
    assert put["databases"] == {uuid_for("Warehouse DEV"): target}
    assert put["substitutions"] == [{"find": "dev_", "replace": "prod_", "is_pattern": False}]
    assert put["updated_by"] == "release_lead"

    patched = program.patch(
        url, {"databases": {uuid_for("other"): uuid_for("Warehouse PROD")}}, format="json"
    ).json()
    assert set(patched["databases"]) == {uuid_for("Warehouse DEV"), uuid_for("other")}
    assert patched["substitutions"] == put["substitutions"]
    forgotten = program.patch(url, {"databases": {uuid_for("other"): None}}, format="json").json()
    assert set(forgotten["databases"]) == {uuid_for("Warehouse DEV")}
    by_uuid = f"/api/v1/mappings/{pair.source.uuid}/{pair.target.uuid}/"
    assert program.put(by_uuid, {}, format="json").json()["databases"] == {}
    assert program.get("/api/v1/mappings/").json()["count"] == 1


def test_a_wrong_mapping_names_what_is_wrong_and_changes_nothing(pair: FakePair, program: APIClient) -> None:
    url = "/api/v1/mappings/dev/prod/"
    unknown = program.put(url, {"databases": {"Warehouse DEV": "No such"}}, format="json")
    assert (unknown.status_code, unknown.json()["code"]) == (422, "wrong_mapping")
    assert list(unknown.json()["errors"]) == ["databases.Warehouse DEV"]
    pattern = program.put(url, {"substitutions": [{"find": "(", "is_pattern": True}]}, format="json")
    assert (pattern.status_code, list(pattern.json()["errors"])) == (422, ["substitutions.0"])
    for body in ({"databases": {"x": 3}}, {"databases": []}, {"renames": {"x": 1}}, {"database": {}}):
        assert program.put(url, body, format="json").status_code == 400, body
    assert Mapping.objects.count() == 0


def test_a_migration_whose_map_is_wrong_is_not_made(pair: FakePair, program: APIClient) -> None:
    body = {"source": "dev", "target": "prod", "all": True, "map": {"Warehouse DEV": "No such"}}
    assert post(program, "/api/v1/migrations/", body).status_code == 422
    assert (Migration.objects.count(), Mapping.objects.count(), Job.objects.count()) == (0, 0, 0)
