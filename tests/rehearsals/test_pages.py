"""What people see of rehearsals, and what a scratch environment is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from environments import services as environments
from environments.backups.models import Backup
from environments.models import Environment, Reason, Snapshot
from migrations_app.rehearsals.models import Rehearsal
from sstools.errors import Invalid
from sstools.jobs.models import Job
from sstools.web import home
from tests.factories import make_environment

pytestmark = [pytest.mark.django_db]
SignIn = Callable[..., Any]


@pytest.fixture
def places() -> tuple[Environment, Environment]:
    prod = make_environment("prod", protected=True)
    snapshot = Snapshot.objects.create(environment=prod, reason=Reason.BACKUP, complete=True)
    Backup.objects.create(snapshot=snapshot, environment=prod, state="good", reason="manual")
    return prod, make_environment("sandbox", name="Sandbox", scratch=True)


def make(prod: Environment, sandbox: Environment, **fields: Any) -> Rehearsal:
    values = {"state": "passed", "cleanup": "clean", "compared": {"equal": 7}, "charts": {"ok": 4}}
    return Rehearsal.objects.create(
        environment=prod, scratch=sandbox, backup_number=1, **{**values, **fields}
    )


def test_the_list_says_what_came_of_each_and_asks_for_another_one(
    places: tuple[Environment, Environment], release_lead: Any, viewer: Any, signed_in: SignIn
) -> None:
    client = signed_in(release_lead)
    assert "No rehearsals yet" in client.get("/rehearsals/").content.decode()
    make(*places)
    error = {"code": "charts_fail", "message": "2 charts do not answer in Sandbox.", "remedy": "See run 3."}
    bad = make(*places, state="failed", error=error, charts={"ok": 2, "failed": 2}, cleanup="left")
    with CaptureQueriesContext(
        connection,
    ) as few:
        text = client.get("/rehearsals/").content.decode()
    assert "7 of 7" in text
    assert "2 charts do not answer" in text
    assert "something was left" in text
    for _ in range(5):
        make(*places)
    with CaptureQueriesContext(connection) as many:
        client.get("/rehearsals/")
    assert len(many) == len(few)
    only = client.get("/rehearsals/?state=failed").content.decode()
    assert only.count('<th scope="row"') == 1
    detail = client.get(f"/rehearsals/{bad.number}/").content.decode()
    assert "See run 3." in detail

    assert client.post("/rehearsals/", {"environment": "prod"}).status_code == 422
    refused = client.post("/rehearsals/", {"environment": "prod", "scratch": "sandbox", "backup": "99"})
    assert "Prod has no such backup" in refused.content.decode()
    assert not Job.objects.exists()
    asked = client.post("/rehearsals/", {"environment": "prod", "scratch": "sandbox"})
    job = Job.objects.get()
    assert asked.headers["Location"] == f"/jobs/{job.uuid}/"
    assert job.title == "Rehearse the latest backup of Prod in Sandbox"

    sees = signed_in(viewer).get("/rehearsals/").content.decode()
    assert "Release leads and Admins" in sees
    assert (
        signed_in(viewer).post("/rehearsals/", {"environment": "prod", "scratch": "sandbox"}).status_code
        == 403
    )


def test_by_rest(
    places: tuple[Environment, Environment], release_lead: Any, api: Callable[[Any], Any]
) -> None:
    client = api(release_lead)
    body = {"environment": "prod", "scratch": "sandbox", "backup": Backup.objects.get().pk}
    asked = client.post("/api/v1/rehearsals/", body, format="json", headers={"Idempotency-Key": "once"})
    again = client.post("/api/v1/rehearsals/", body, format="json", headers={"Idempotency-Key": "once"})
    assert (asked.status_code, asked.json()["uuid"]) == (202, again.json()["uuid"])
    wrong = client.post("/api/v1/rehearsals/", {**body, "scratch": "prod"}, format="json").json()
    assert wrong["code"] == "not_scratch"
    row = make(*places)
    [listed] = client.get("/api/v1/rehearsals/?environment=prod&state=passed").json()["results"]
    assert listed == client.get(f"/api/v1/rehearsals/{row.uuid}/").json()
    assert (listed["compared"], listed["backup"], listed["scratch"]) == ({"equal": 7}, 1, "sandbox")


def test_the_overview_tells_how_old_the_last_one_is(
    places: tuple[Environment, Environment], viewer: Any
) -> None:
    def fact() -> Any:
        return next(one for one in home.facts(viewer) if one.label == "Backup rehearsed")

    assert fact().value == "never"
    make(*places, state="failed")
    assert (fact().state, "backup 1 of Prod: failed" in fact().note) == ("failed", True)
    make(*places)
    assert (fact().state, fact().value) == ("", "0\xa0minutes ago")


def test_what_may_be_scratch(places: tuple[Environment, Environment], admin: Any) -> None:
    prod, sandbox = places
    new = {"name": "Play", "username": "u", "secret": "s", "scratch": True}
    for values, text in (
        ({"protected": True}, "It is protected"),
        ({"position": 3}, "Production is never scratch"),
        ({"url": prod.url}, "Prod is the same Superset, and is no scratch environment"),
        (
            {"url": sandbox.url, "scratch": False},
            "Sandbox is the same Superset, and is a scratch environment",
        ),
    ):
        with pytest.raises(Invalid) as refused:
            environments.register_environment({**new, "url": "https://play.example", **values}, actor=admin)
        assert text in str(refused.value.errors["scratch"])
    made = environments.register_environment({**new, "url": "https://play.example"}, actor=admin)
    assert (made.scratch, made.protected) == (True, False)
    with pytest.raises(Invalid):
        environments.update_environment(made, {"protected": True}, actor=admin)
