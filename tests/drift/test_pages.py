"""The pages and REST: lists with filters, one finding, its answers, the cards, and who sees nothing."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from migrations_app.drift.models import Finding, FindingState
from migrations_app.models import Migration
from tests.factories import uuid_for

from .conftest import Scene

pytestmark = pytest.mark.django_db(transaction=True)


def text(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def test_pages_show_it_everywhere_and_take_the_answers(scene: Scene, signed_in: Any, make_user: Any) -> None:
    lead, viewer = make_user("lea", "release_lead"), make_user("vic", "viewer")
    client = signed_in(lead)
    assert "No drift" in text(client.get("/drift/"))
    scene.edit("chart", "Revenue", description="by hand")
    scene.delete("dashboard", "Sales")
    scene.check()
    found = scene.found()
    page = text(client.get("/drift/?route=up"))
    assert "Revenue" in page
    assert "Grace Hopper" in page
    assert "Sales" not in text(client.get("/drift/?how=changed&q=grace"))
    assert "Nothing matches" in text(client.get("/drift/?state=accepted"))
    with CaptureQueriesContext(connection) as few:
        client.get("/drift/")
    more = [
        Finding(
            target=scene.pair.target,
            kind="chart",
            asset_uuid=uuid_for(name),
            title=name,
            how="created",
            run=scene.run,
        )
        for name in map(str, range(30))
    ]
    Finding.objects.bulk_create(more)
    with CaptureQueriesContext(connection) as many:
        client.get("/drift/")
    assert len(many) == len(few)
    Finding.objects.filter(pk__in=[one.pk for one in more]).delete()
    url = found["Revenue"].get_absolute_url()
    page = text(client.get(url))
    assert "Grace Hopper" in page
    assert "by hand" in page
    for name in ("take", "revert", "accept"):
        assert reverse(f"drift:{name}", args=[found["Revenue"].uuid]) in page
    assert "migration:prune" in text(client.get(found["Sales"].get_absolute_url()))
    read_only = text(signed_in(viewer).get(url))
    assert reverse("drift:accept", args=[found["Revenue"].uuid]) not in read_only
    assert "drift:accept" in read_only  # the reason why not
    for address in ("/", "/routes/up/", "/environments/prod/"):
        assert url in text(client.get(address)), address

    refused = client.post(f"{url}accept/", {"reason": ""})
    assert refused.status_code == 422
    assert "Say why" in text(refused)
    gone = client.post(f"{url}accept/", {"reason": "fine", "content": "0" * 64})
    assert gone.status_code == 409
    opened = client.post(f"{url}take/")
    migration = Migration.objects.latest("number")
    assert (opened.status_code, opened["Location"]) == (302, f"/migrations/{migration.number}/plan/")
    assert "Being answered" in text(client.get(url))
    assert client.post(f"{url}revert/").status_code == 409
    assert client.post("/drift/answer/", {"do": "revert"}).status_code == 422
    opened = client.post("/drift/answer/", {"do": "revert", "finding": str(found["Sales"].uuid)})
    migration = Migration.objects.latest("number")
    scene.product.do(migration.job)  # type: ignore[arg-type]
    for step in ("select", "plan", "apply"):
        assert client.get(f"/migrations/{migration.number}/{step}/").status_code == 200, step
    assert client.get(f"/migrations/{migration.number}/map/").status_code == 302
    assert "last applied" in text(client.get("/migrations/"))
    assert client.post("/routes/up/watch/", {"on": "1"}).status_code == 302
    assert "Do not watch" in text(client.get("/routes/up/"))
    assert client.post("/routes/up/check/").status_code == 302
    form = text(client.get(f"/schedules/new/?kind=drift.check&route={scene.route.uuid}"))
    assert f'value="{scene.route.uuid}" selected' in form


def test_rest_has_the_same(scene: Scene, api: Any, make_user: Any) -> None:
    lead, stranger = (
        api(make_user("lea", "release_lead")),
        api(make_user("eve", "admin", on="environment:other")),
    )
    scene.edit("chart", "Revenue", description="by hand")
    scene.edit("chart", "Regions", description="by hand")
    scene.check()
    assert lead.get("/api/v1/schema/").status_code == 200  # looks at the form fields of all filters
    rows = lead.get("/api/v1/drift-findings/?route=up&how=changed").json()["results"]
    assert {row["title"] for row in rows} == {"Revenue", "Regions"}
    row = next(row for row in rows if row["title"] == "Revenue")
    assert (row["changed_by"], row["run"], row["source"]) == ("Grace Hopper", scene.run.number, "dev")
    assert "by hand" in row["sentences"][0]
    url = f"/api/v1/drift-findings/{row['uuid']}/"
    assert stranger.get("/api/v1/drift-findings/").json()["results"] == []
    assert [stranger.get(url).status_code, stranger.post(f"{url}take/").status_code] == [404, 404]
    assert lead.post(f"{url}accept/", {"reason": ""}, format="json").status_code == 422
    stale = lead.post(f"{url}accept/", {"reason": "x", "content": "0" * 64}, format="json")
    assert (stale.status_code, stale.json()["code"]) == (409, "edited_again")
    done = lead.post(f"{url}accept/", {"reason": "Fine", "content": row["content"]}, format="json")
    assert (done.status_code, done.json()["state"], done.json()["reason"]) == (200, "accepted", "Fine")
    other = Finding.objects.get(asset_uuid=uuid_for("Regions"), state=FindingState.OPEN)
    made = lead.post(f"/api/v1/drift-findings/{other.uuid}/revert/")
    assert (made.status_code, made.json()["target"]["slug"]) == (201, "prod")
    assert lead.get(f"/api/v1/drift-findings/{other.uuid}/").json()["migration"] == made.json()["uuid"]
    assert lead.post("/api/v1/routes/up/check/").status_code == 202
    assert lead.put("/api/v1/routes/up/watch/", {"is_watched": True}, format="json").json() == {
        "is_watched": True
    }
