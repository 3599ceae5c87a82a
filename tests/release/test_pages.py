"""Approvals, rules and routes by page, by REST and by command."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from migrations_app.models import Migration, Run
from migrations_app.release import services
from migrations_app.release.models import Decision, Protection, Route
from tests.fakes.pair import FakePair

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def protected(pair: FakePair, admin: Any) -> FakePair:
    services.save_protection(pair.target, {"approvals": 1}, actor=admin)
    return pair


def text_of(answer: Any) -> str:
    return str(answer.content.decode())


def test_somebody_else_approves_and_then_it_is_applied(
    planned: Any, protected: FakePair, signed_in: Any, leads: Any
) -> None:
    migration = planned()
    url = f"/migrations/{migration.number}/approve/"
    owner, lead = signed_in(planned.product.admin), signed_in(leads[0])
    assert "Somebody else has to approve it" in text_of(owner.get(url))
    own = owner.post(url, {"plan": migration.plan.hash, "verdict": "approved"})
    assert own.status_code == 403
    assert not Decision.objects.exists()
    apply_url = f"/migrations/{migration.number}/apply/"
    assert "It may not be applied yet" in text_of(lead.get(apply_url))
    refused = lead.post(apply_url, {"plan": migration.plan.hash})
    assert refused.status_code == 409
    assert "Nothing was started" in text_of(refused)
    assert "Waiting for your approval" in text_of(lead.get("/"))
    assert lead.post(url, {"plan": migration.plan.hash, "verdict": "approved"}).status_code == 302
    assert "All approvals are there" in text_of(lead.get(url))
    assert lead.post(apply_url, {"plan": migration.plan.hash}).status_code == 302
    assert Run.objects.count() == 1


def step_of(answer: Any, label: str = "Approve") -> str:
    """The line of one step: its signs and words, and its address."""
    lines = re.findall(r'<li class="is-(\w+)">(.*?)</li>', text_of(answer), re.S)
    line = next((state, inner) for state, inner in lines if f">{label}<" in inner)
    note = re.search(r"<small>(.*?)</small>", line[1])
    return f"{line[0]}: {note[1] if note else ''}{' ->' if '<a href=' in line[1] else ''}"


def test_approve_is_a_step_that_says_where_it_stands(
    planned: Any, pair: FakePair, admin: Any, signed_in: Any, leads: Any
) -> None:
    migration = planned()
    plan_url, url = f"/migrations/{migration.number}/plan/", f"/migrations/{migration.number}/approve/"
    lead = signed_in(leads[0])
    labels = re.findall(r'<span class="label">(.*?)</span>', text_of(lead.get(plan_url)))
    assert labels == ["Select", "Map", "Plan", "Approve", "Apply", "Verify"]
    assert step_of(lead.get(plan_url)) == "skipped: not needed ->"
    assert "Go on to apply" in text_of(lead.get(plan_url))

    services.save_protection(pair.target, {"approvals": 2}, actor=admin)
    page = lead.get(plan_url)
    assert step_of(page) == "blocked: 0 of 2 ->"
    assert "Go on to approval" in text_of(page)
    assert "Go on to apply" not in text_of(page)
    lead.post(url, {"plan": migration.plan.hash, "verdict": "approved"})
    assert step_of(lead.get(plan_url)) == "blocked: 1 of 2 ->"
    other = signed_in(leads[1])
    other.post(url, {"plan": migration.plan.hash, "verdict": "rejected", "comment": "wrong total"})
    assert step_of(lead.get(plan_url)) == "failed: rejected ->"
    assert "See why" in text_of(lead.get(plan_url))
    other.post(url, {"plan": migration.plan.hash, "verdict": "approved"})
    assert step_of(lead.get(plan_url)) == "done: 2 of 2 ->"
    assert 'aria-current="step"' in text_of(lead.get(url))
    assert step_of(lead.get(url)) == "current: 2 of 2 ->"

    # Once it is applied it stays approved, whoever has left since.
    lead.post(f"/migrations/{migration.number}/apply/", {"plan": migration.plan.hash})
    for user in leads:
        user.is_active = False
        user.save(update_fields=["is_active"])
    boss = signed_in(admin)
    assert step_of(boss.get(plan_url)) == "done:  ->"


def test_without_a_plan_the_step_says_what_will_be_needed(
    planned: Any, pair: FakePair, admin: Any, signed_in: Any
) -> None:
    migration = planned()
    Migration.objects.filter(pk=migration.pk).update(plan=None, state="draft")
    url = f"/migrations/{migration.number}/select/"
    assert step_of(signed_in(admin).get(url)) == "skipped: not needed"
    services.save_protection(pair.target, {"approvals": 1}, actor=admin)
    assert step_of(signed_in(admin).get(url)) == "todo: needs 1 approval"


def test_a_rejection_without_a_word_is_sent_back(
    planned: Any, protected: FakePair, signed_in: Any, leads: Any
) -> None:
    migration = planned()
    url = f"/migrations/{migration.number}/approve/"
    answer = signed_in(leads[0]).post(
        url, {"plan": migration.plan.hash, "verdict": "rejected", "comment": ""}
    )
    assert answer.status_code == 422
    assert "wrong with it" in text_of(answer)


def test_outside_of_the_windows_the_page_asks_for_a_reason(
    planned: Any, pair: FakePair, admin: Any, signed_in: Any, leads: Any
) -> None:
    migration = planned()
    now = timezone.now()
    values = {"since": now - timedelta(hours=1), "until": now + timedelta(hours=1), "reason": "year's end"}
    services.add_freeze(pair.target, actor=admin, **values)
    url = f"/migrations/{migration.number}/apply/"
    lead = signed_in(leads[0])
    assert "Why it cannot wait" not in text_of(lead.get(url))
    assert lead.post(url, {"plan": migration.plan.hash, "bypass_reason": "it burns"}).status_code == 403
    boss = signed_in(admin)
    assert "Why it cannot wait" in text_of(boss.get(url))
    assert boss.post(url, {"plan": migration.plan.hash}).status_code == 409
    assert boss.post(url, {"plan": migration.plan.hash, "bypass_reason": "it burns"}).status_code == 302


def test_the_command_is_refused_as_well(planned: Any, protected: FakePair, capsys: Any) -> None:
    migration = planned()
    with pytest.raises(SystemExit) as ended:
        call_command("apply", str(migration.number), "--plan-hash", migration.plan.hash)
    assert ended.value.code == 2
    assert "approval is missing" in "".join(capsys.readouterr())
    assert not Run.objects.exists()


def test_by_rest(planned: Any, protected: FakePair, api: Any, leads: Any) -> None:
    migration = planned()
    owner, lead = api(planned.product.admin), api(leads[0])
    address = f"/api/v1/migrations/{migration.uuid}/approval/"
    assert owner.get(address).json()["is_given"] is False
    word = {"plan_hash": migration.plan.hash[:12], "verdict": "approved"}
    own = owner.post(address, word, format="json")
    assert (own.status_code, own.json()["code"]) == (403, "own_plan")
    applied = lead.post(
        f"/api/v1/migrations/{migration.uuid}/apply/", {"plan_hash": migration.plan.hash}, format="json"
    )
    assert (applied.status_code, applied.json()["code"]) == (409, "approval_missing")
    assert owner.post(f"{address}ask/").json() == ["admin", "lea", "leo"]
    said = lead.post(address, word, format="json").json()
    assert (said["is_given"], said["needs"][0]["given"]) == (True, ["lea"])
    applied = lead.post(
        f"/api/v1/migrations/{migration.uuid}/apply/", {"plan_hash": migration.plan.hash}, format="json"
    )
    assert applied.status_code == 202


def test_rules_by_page(pair: FakePair, admin: Any, author: Any, signed_in: Any) -> None:
    url = f"/environments/{pair.target.slug}/rules/"
    client = signed_in(admin)
    form = {
        "approvals": "2",
        "approval_hours": "24",
        "zone_name": "Europe/Berlin",
        "window-0-days": ["0", "1"],
        "window-0-start": "09:00",
        "window-0-end": "17:00",
    }
    assert client.post(url, form).status_code == 302
    row = Protection.objects.get()
    assert row.windows == [{"days": [0, 1], "start": "09:00", "end": "17:00"}]
    assert 'value="09:00"' in text_of(client.get(url))
    assert client.post(url, {**form, "window-0-end": ""}).status_code == 422
    assert client.post(url, {**form, "approvals": "99"}).status_code == 422
    freeze = {"since": "2026-12-24T00:00", "until": "2099-01-02T00:00", "reason": "holidays"}
    assert client.post(f"{url}freeze/", freeze).status_code == 302
    assert "holidays" in text_of(client.get(url))
    assert client.post(f"{url}freeze/", {**freeze, "until": "2026-12-23T00:00"}).status_code == 422
    ending = row.environment.freezes.get()
    assert client.post(f"/environments/freezes/{ending.uuid}/end/").status_code == 302
    reader = signed_in(author)
    assert "environment:edit" in text_of(reader.get(url))
    assert reader.post(url, form).status_code == 403


def test_rules_by_rest(pair: FakePair, admin: Any, leads: Any, api: Any) -> None:
    client, address = api(admin), f"/api/v1/environments/{pair.target.slug}/rules/"
    assert client.get(address).json()["approvals"] == 0
    changed = client.patch(
        address,
        {"approvals": 1, "users": ["lea"], "windows": [{"days": [4], "start": "22:00", "end": "02:00"}]},
        format="json",
    )
    assert changed.status_code == 200, changed.content
    assert changed.json()["users"] == ["lea"]
    assert client.patch(address, {"users": ["nobody"]}, format="json").status_code == 422
    assert client.patch(address, {"zone_name": "Mars/Base"}, format="json").status_code == 422
    assert api(leads[0]).patch(address, {"approvals": 0}, format="json").status_code == 403
    freezes = f"/api/v1/environments/{pair.target.slug}/freezes/"
    made = client.post(
        freezes,
        {"since": "2026-12-24T00:00:00Z", "until": "2099-01-02T00:00:00Z", "reason": "x"},
        format="json",
    )
    assert made.status_code == 201
    assert client.delete(f"/api/v1/freezes/{made.json()['uuid']}/").status_code == 204


def test_routes_by_page_and_by_rest(
    pair: FakePair, planned: Any, admin: Any, author: Any, signed_in: Any, api: Any
) -> None:
    planned()
    client = signed_in(admin)
    form = {
        "name": "To prod",
        "source": pair.source.pk,
        "target": pair.target.pk,
        "approvals": "1",
        "verify": "on",
        "is_enabled": "on",
    }
    assert client.post("/routes/new/", form)["Location"] == "/routes/to-prod/"
    assert "To prod" in text_of(client.get("/routes/"))
    assert client.post("/routes/new/", form).status_code == 422  # the name is taken
    assert client.post("/routes/new/", {**form, "name": "x", "target": pair.source.pk}).status_code == 422
    reader = signed_in(author)
    assert "route:edit" in text_of(reader.get("/routes/"))
    assert reader.get("/routes/to-prod/edit/").status_code == 403
    rest = api(admin)
    shown = rest.get("/api/v1/routes/to-prod/").json()
    assert (shown["source"], shown["target"], shown["approvals"]) == (pair.source.slug, pair.target.slug, 1)
    changed = rest.patch("/api/v1/routes/to-prod/", {"approvals": 2, "is_enabled": False}, format="json")
    assert (changed.json()["approvals"], changed.json()["is_enabled"]) == (2, False)
    assert api(author).delete("/api/v1/routes/to-prod/").status_code == 403
    assert client.post("/routes/to-prod/delete/").status_code == 302
    assert not Route.objects.exists()


def test_an_author_of_dev_learns_nothing_of_prod(
    planned: Any, protected: FakePair, make_user: Any, signed_in: Any, api: Any, admin: Any
) -> None:
    migration = planned()
    services.save_route(
        None, {"name": "Secret way", "source": protected.source, "target": protected.target}, actor=admin
    )
    local = make_user("local", "author", on=f"environment:{protected.source.uuid}")
    client, rest = signed_in(local), api(local)
    for path in (
        f"/migrations/{migration.number}/approve/",
        "/routes/secret-way/",
        f"/environments/{protected.target.slug}/rules/",
    ):
        assert client.get(path).status_code == 404, path
    assert "Secret" not in text_of(client.get("/routes/"))
    for path in (
        f"/api/v1/migrations/{migration.uuid}/approval/",
        "/api/v1/routes/secret-way/",
        f"/api/v1/environments/{protected.target.slug}/rules/",
    ):
        assert rest.get(path).status_code == 404, path
    assert rest.get("/api/v1/routes/").json()["results"] == []


def test_who_may_not_sees_the_buttons_of_rules_and_routes_disabled_and_why(
    pair: FakePair, admin: Any, viewer: Any, signed_in: Any
) -> None:
    now = timezone.now()
    services.add_freeze(
        pair.target, actor=admin, since=now, until=now + timedelta(days=1), reason="year's end"
    )
    values = {"name": "To prod", "source": pair.source, "target": pair.target}
    reader = signed_in(viewer)
    empty = text_of(reader.get("/routes/"))
    assert "No routes that you may see" in empty
    assert 'href="/routes/new/"' not in empty
    route = services.save_route(None, values, actor=admin)
    for url, labels in (
        ("/routes/", ["New route"]),
        (route.get_absolute_url(), ["Edit", "Delete…", "New migration"]),
        ("/environments/prod/rules/", ["Save the rules", "End it", "Freeze it"]),
    ):
        page = text_of(reader.get(url))
        for label in labels:
            button = re.search(
                rf'<button[^>]* disabled aria-describedby="([^"]+)">(?:<svg.*?</svg>)?{label}<', page
            )
            assert button is not None, (url, label)
            assert f'id="{button[1]}"' in page, (url, label)
    assert "route:edit" in text_of(reader.get(route.get_absolute_url()))
    services.save_route(route, {"is_enabled": False}, actor=admin)
    assert "It is switched off" in text_of(signed_in(admin).get(route.get_absolute_url()))
