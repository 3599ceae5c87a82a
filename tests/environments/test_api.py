"""REST: the same services, in JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from environments import services
from environments.models import Asset, Environment
from sstools.jobs.models import Job
from sstools.resources import resource_name
from tests.factories import make_asset, make_environment, make_estate
from tests.fakes.superset import FakeSuperset

from .conftest import DB, PASSWORD

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]
ALL = "/api/v1/environments/"
DATA = {
    "name": "BI Dev",
    "url": "https://bi.example.org/",
    "username": "svc",
    "secret": PASSWORD,
    "position": 1,
}


def one(environment: Environment, more: str = "") -> str:
    return f"{ALL}{environment.uuid}/{more}"


def test_register_look_change_and_remove(admin: Any, api: Callable[[Any], APIClient]) -> None:
    client = api(admin)
    made = client.post(ALL, DATA, format="json")
    assert made.status_code == 201
    assert (made.data["slug"], made.data["url"]) == ("bi-dev", "https://bi.example.org")
    assert made.data["credential"] == "stored, encrypted"
    assert "secret" not in made.data
    url = f"{ALL}{made.data['uuid']}/"
    assert client.get(url).data["name"] == "BI Dev"
    assert client.get(f"{ALL}?slug=bi-dev").data["count"] == 1
    assert client.get(f"{ALL}?slug=other").data["count"] == 0
    changed = client.patch(url, {"tag": "D", "max_parallel": 4}, format="json")
    assert (changed.status_code, changed.data["tag"], changed.data["max_parallel"]) == (200, "D", 4)
    assert str(Environment.objects.get().secret) == PASSWORD
    assert client.delete(url).status_code == 422
    assert client.delete(f"{url}?confirm=bi-dev").status_code == 204
    assert client.get(url).status_code == 404


def test_refusals_are_problems_with_the_errors_by_field(admin: Any, api: Callable[[Any], APIClient]) -> None:
    refused = api(admin).post(ALL, {**DATA, "url": "https://me:hunter2@x.test", "slug": "new"}, format="json")
    assert refused.status_code == 422
    assert refused["Content-Type"] == "application/problem+json"
    assert refused.json()["code"] == "invalid"
    assert refused.json()["errors"].keys() == {"url", "slug"}
    assert "hunter2" not in refused.content.decode()
    malformed = api(admin).post(ALL, {**DATA, "position": "everywhere"}, format="json")
    assert (malformed.status_code, malformed.json()["errors"].keys()) == (400, {"position"})
    unknown = api(admin).post(ALL, {}, format="json")
    assert (unknown.status_code, unknown.json()["errors"].keys()) == (400, {"name", "url"})
    assert not Environment.objects.exists()


@pytest.mark.parametrize(
    ("role", "see", "ask", "edit"),
    [("", 404, 404, 404), ("viewer", 200, 403, 403), ("author", 200, 202, 403), ("admin", 200, 202, 200)],
)
def test_who_may_what(
    environment: Environment,
    make_user: Callable[..., Any],
    api: Callable[[Any], APIClient],
    role: str,
    see: int,
    ask: int,
    edit: int,
) -> None:
    client = api(make_user("somebody", role))
    assert client.get(one(environment)).status_code == see
    assert client.get(one(environment, "databases/")).status_code == see
    assert client.post(one(environment, "check/")).status_code == ask
    assert client.post(one(environment, "read/")).status_code == ask
    assert client.patch(one(environment), {"tag": "X"}, format="json").status_code == edit
    assert client.post(ALL, DATA, format="json").status_code == (201 if edit == 200 else 403)
    assert APIClient().get(one(environment)).status_code == 401


def test_a_role_on_one_environment_shows_nothing_of_others(
    make_user: Callable[..., Any], api: Callable[[Any], APIClient]
) -> None:
    dev, prod = make_environment("dev"), make_environment("prod")
    make_asset(dev, "chart", "Dev chart")
    make_asset(prod, "chart", "Prod chart")
    client = api(make_user("local", "admin", on=resource_name(dev)))
    assert [row["slug"] for row in client.get(ALL).data["results"]] == ["dev"]
    assert [row["title"] for row in client.get("/api/v1/assets/").data["results"]] == ["Dev chart"]
    assert client.post(one(prod, "read/")).status_code == 404
    assert client.delete(f"{one(prod)}?confirm=prod").status_code == 404


def test_work_answers_202_with_the_address_of_its_job(
    environment: Environment, author: Any, api: Callable[[Any], APIClient], run_jobs: Callable[[], int]
) -> None:
    client = api(author)
    answer = client.post(one(environment, "read/"), headers={"Idempotency-Key": "abc"})
    assert answer.status_code == 202
    job = Job.objects.get()
    assert answer["Location"].endswith(f"/api/v1/jobs/{job.uuid}/")
    assert job.source == "api"
    run_jobs()
    assert client.post(one(environment, "read/"), headers={"Idempotency-Key": "abc"}).data["uuid"] == str(
        job.uuid
    )
    assert client.get(answer["Location"]).data["state"] == "succeeded"
    assert client.get(one(environment)).data["asset_counts"]["chart"] == 6
    assert client.post(one(environment, "read/")).data["uuid"] != str(job.uuid)


def test_the_result_of_a_test_is_in_the_environment(
    environment: Environment,
    superset: FakeSuperset,
    author: Any,
    api: Callable[[Any], APIClient],
    run_jobs: Any,
) -> None:
    superset.users = {}
    client = api(author)
    client.post(one(environment, "check/"))
    run_jobs()
    data = client.get(one(environment)).data
    assert data["check_state"] == "failed"
    stage = data["check_report"]["stages"][-1]
    assert (stage["name"], stage["code"], bool(stage["remedy"])) == ("signed_in", "unauthorized", True)
    assert client.get(f"{ALL}?state=failed").data["count"] == 1


def test_databases_and_assets(environment: Environment, viewer: Any, api: Callable[[Any], APIClient]) -> None:
    services.run_reading(environment)
    client = api(viewer)
    databases = client.get(one(environment, "databases/")).data
    assert [(row["uuid"], row["backend"]) for row in databases] == [(DB, "postgresql")]
    found = client.get("/api/v1/assets/?type=chart&q=chart 1.&sort=-title&page_size=2").data
    assert (found["count"], [row["title"] for row in found["results"]]) == (3, ["Chart 1.3", "Chart 1.2"])
    row = found["results"][0]
    assert row["key"] == f"dev:chart:{row['uuid']}"
    assert row["url"] == f"http://superset.test/explore/?slice_id={row['superset_id']}"
    assert row["database_uuid"] == DB
    assert len(row["dashboard_uuids"]) == 1
    assert client.get(f"/api/v1/assets/?dashboard={row['dashboard_uuids'][0]}").data["count"] == 3


def test_unknown_filter_values_are_refused_and_pages_end(
    viewer: Any, api: Callable[[Any], APIClient]
) -> None:
    make_estate(make_environment("dev"))
    client = api(viewer)
    assert client.get("/api/v1/assets/?type=slice").status_code == 400
    assert client.get("/api/v1/assets/?sort=password").status_code == 400
    assert client.get("/api/v1/assets/?page=99").status_code == 404
    assert client.get("/api/v1/assets/?page_size=1000").data["count"] == Asset.objects.count()


def test_a_secret_can_be_replaced_and_a_reference_set(
    environment: Environment, admin: Any, api: Callable[[Any], APIClient]
) -> None:
    client = api(admin)
    changed = client.patch(one(environment), {"secret_reference": "env:SUPERSET_DEV"}, format="json")
    assert changed.data["credential"] == "env:SUPERSET_DEV"
    assert str(Environment.objects.get().secret) == ""
    changed = client.patch(one(environment), {"secret": "x-new-secret"}, format="json")
    assert changed.data["credential"] == "stored, encrypted"
    both = client.patch(
        one(environment), {"secret": "x", "secret_reference": "env:SUPERSET_DEV"}, format="json"
    )
    assert both.status_code == 422


def test_the_schema_describes_it(admin: Any, api: Callable[[Any], APIClient]) -> None:
    schema = api(admin).get("/api/v1/schema/", headers={"Accept": "application/vnd.oai.openapi+json"}).json()
    write = schema["components"]["schemas"]["EnvironmentWriteRequest"]["properties"]
    assert write["secret"]["writeOnly"]
    assert "secret" not in schema["components"]["schemas"]["Environment"]["properties"]
    check = schema["paths"]["/api/v1/environments/{uuid}/check/"]["post"]
    assert "202" in check["responses"]
    filters = {parameter["name"] for parameter in schema["paths"]["/api/v1/assets/"]["get"]["parameters"]}
    assert {"type", "env", "owner", "q", "sort", "database", "dataset", "dashboard", "page"} <= filters
