"""REST: /api/v1/schedules/."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from environments.models import Environment
from sstools.jobs.models import Job, State
from sstools.schedules import firing
from sstools.schedules.models import Schedule
from tests.factories import make_environment

from .conftest import at, due, end, scope

pytestmark = pytest.mark.django_db
Make = Callable[..., Schedule]
URL = "/api/v1/schedules/"


def body(environment: Environment, **fields: Any) -> dict[str, Any]:
    return {
        "name": "Nightly",
        "kind": "environments.check",
        "params": {"environment": str(environment.uuid)},
        "cron": "30 2 * * *",
        "time_zone": "Europe/Berlin",
        **fields,
    }


def test_the_whole_way(api: Any, author: Any, environment: Environment) -> None:
    client = api(author)
    made = client.post(URL, body(environment), format="json")
    assert made.status_code == 201
    one = made.json()
    assert (one["state"], one["words"], one["owner"]) == ("on", "At 02:30, every day", "author")
    assert (one["concerns"], one["params"]) == ("Dev", {"environment": str(environment.uuid)})
    assert len(one["next_runs"]) == 3
    assert one["next_runs"][0] == one["next_due_at"].replace("Z", "+00:00")
    assert one["last_run"] is None
    here = f"{URL}{one['uuid']}/"
    changed = client.patch(here, {"cron": "@daily", "jitter_seconds": 60}, format="json").json()
    assert (changed["cron"], changed["jitter_seconds"]) == ("@daily", 60)
    paused = client.post(f"{here}pause/", {"reason": "Maintenance"}, format="json").json()
    assert (paused["state"], paused["pause_reason"], paused["paused_by"]) == (
        "paused",
        "Maintenance",
        "author",
    )
    assert (paused["next_due_at"], len(paused["next_runs"])) == (None, 3)
    assert client.post(f"{here}resume/").json()["state"] == "on"
    assert client.post(f"{here}take-over/").json()["owner"] == "author"
    run = client.post(f"{here}run/")
    job = Job.objects.get()
    assert (run.status_code, run.json()["uuid"], job.source) == (202, str(job.uuid), "api")
    assert run.headers["Location"].endswith(f"/api/v1/jobs/{job.uuid}/")
    end(job, State.SUCCEEDED, result={"state": "ok"})
    firing.settle()
    (row,) = client.get(f"{here}runs/").json()["results"]
    assert (row["trigger"], row["outcome"], row["state"]) == ("hand", "fired", "succeeded")
    assert (row["text"], row["job"], row["actor"]) == ("reached", str(job.uuid), "author")
    assert client.get(here).json()["last_run"] == row
    assert client.get(URL, {"state": "on"}).json()["count"] == 1
    assert client.get(URL, {"state": "late"}).json()["count"] == 0
    assert client.delete(here).status_code == 204
    assert client.get(here).status_code == 404


def test_errors_are_problems_by_field(api: Any, author: Any, environment: Environment) -> None:
    client = api(author)
    answer = client.post(
        URL, body(environment, cron="0 25 * * *", time_zone="x", params={"environment": "x"}), format="json"
    )
    assert answer.status_code == 422
    found = answer.json()
    assert (found["code"], set(found["errors"])) == ("invalid", {"cron", "time_zone", "params.environment"})
    assert found["errors"]["cron"] == ["Hour: 25 is not between 0 and 23."]
    assert client.post(URL, {}, format="json").status_code == 400
    assert not Schedule.objects.exists()


def test_rights(
    api: Any,
    admin: Any,
    viewer: Any,
    stranger: Any,
    make_user: Any,
    make_schedule: Make,
    environment: Environment,
) -> None:
    prod = make_environment("prod")
    hidden = make_schedule(admin, params={"environment": str(prod.uuid)})
    shown = make_schedule(admin)
    ann = make_user("ann", role="author", on=scope(environment))
    client = api(ann)
    assert [row["uuid"] for row in client.get(URL).json()["results"]] == [str(shown.uuid)]
    for verb, path in (
        ("get", ""),
        ("patch", ""),
        ("delete", ""),
        ("get", "runs/"),
        ("post", "pause/"),
        ("post", "resume/"),
        ("post", "run/"),
        ("post", "take-over/"),
    ):
        there = getattr(client, verb)(f"{URL}{hidden.uuid}/{path}")
        assert there.status_code == 404, (verb, path)
        if verb != "get":
            forbidden = getattr(api(viewer), verb)(f"{URL}{shown.uuid}/{path}")
            assert (forbidden.status_code, forbidden.json()["code"]) == (403, "not_allowed"), (verb, path)
    assert client.patch(f"{URL}{shown.uuid}/", {"cron": "@daily"}, format="json").status_code == 200
    moved = client.patch(f"{URL}{shown.uuid}/", {"params": {"environment": str(prod.uuid)}}, format="json")
    assert moved.status_code == 422
    assert api(stranger).get(URL).json()["count"] == 0
    assert api(stranger).post(URL, body(environment), format="json").status_code in (403, 422)
    assert not Job.objects.exists()


def test_kinds_and_preview(api: Any, author: Any, viewer: Any) -> None:
    client = api(author)
    kinds = {row["kind"]: row for row in client.get(f"{URL}kinds/").json()}
    assert kinds["environments.check"]["permission"] == "environment:test"
    assert [param["name"] for param in kinds["migrations_app.verify_run"]["params"]] == ["run"]
    assert api(viewer).get(f"{URL}kinds/").json() == []
    found = client.get(
        f"{URL}preview/", {"cron": "0 9 * * fri#2", "time_zone": "Asia/Kolkata", "number": 5}
    ).json()
    assert found["words"] == "At 09:00, on the second Friday of the month"
    assert len(found["runs"]) == 5
    wrong = client.get(f"{URL}preview/", {"cron": "x", "time_zone": "UTC"})
    assert (wrong.status_code, list(wrong.json()["errors"])) == (422, ["cron"])
    assert (
        client.get(f"{URL}preview/", {"cron": "@daily", "time_zone": "UTC", "number": "0"}).status_code == 400
    )


def test_a_removed_owner_is_told_by_a_code(api: Any, admin: Any, author: Any, make_schedule: Make) -> None:
    schedule = due(make_schedule(author), "2026-11-24 02:00")
    author.delete()
    firing.fire_due(at("2026-11-24 02:00:01"))
    client = api(admin)
    one = client.get(f"{URL}{schedule.uuid}/").json()
    assert (one["state"], one["owner"], one["last_run"]["code"]) == ("paused", None, "owner_gone")
    answer = client.post(f"{URL}{schedule.uuid}/resume/")
    assert (answer.status_code, answer.json()["code"]) == (409, "owner_gone")
