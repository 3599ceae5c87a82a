"""Pages and REST of backups: what they show, to whom, and what becomes of what is asked there."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from environments.backups import notices, services
from environments.backups.models import Backup, BackupState, Policy
from environments.models import Environment
from sstools.audit.models import AuditEvent
from sstools.jobs.models import Job, State
from sstools.notices.models import Notice, Webhook
from sstools.roles.models import Grant
from sstools.schedules.models import Schedule
from tests.fakes.superset import FakeSuperset

from .worlds import World, make_world

pytestmark = pytest.mark.django_db
SignIn = Callable[[Any], Client]


@pytest.fixture
def world(environment: Environment, superset: FakeSuperset, owner: Any) -> World:
    return make_world(environment, superset, owner)


def rows(text: str) -> list[str]:
    """The text of each row of the first table."""
    body = text[text.index("<tbody>") : text.index("</tbody>")]
    plain = (re.sub(r"<[^>]+>", " ", row) for row in body.split("</tr>")[:-1])
    return [" ".join(row.split()) for row in plain]


def test_the_list_says_what_is_late_failed_corrupt_and_kept(
    world: World, viewer: Any, signed_in: SignIn, django_assert_max_num_queries: Any
) -> None:
    client = signed_in(viewer)
    with django_assert_max_num_queries(30):
        text = client.get("/backups/").content.decode()
    shown = rows(text)
    assert shown[0].startswith("Nightly backup At 02:00")
    assert " late " in shown[0]
    assert "last good" in shown[0]
    numbers = [world.running.pk, world.failed.pk, world.newest.pk, world.corrupt.pk, world.night.pk]
    assert [int(row.split()[0]) for row in shown[1:]] == numbers
    assert "The storage is full." in shown[2]
    assert " failed " in shown[2]
    assert "pinned Before the audit" in shown[3]
    assert "12 assets 1 beside" in shown[3]
    assert " corrupt " in shown[4]
    assert "Run now" not in text  # a viewer may not
    with django_assert_max_num_queries(30):  # the same for one row as for all
        filtered = client.get("/backups/?state=corrupt").content.decode()
    assert [int(row.split()[0]) for row in rows(filtered)[1:]] == [world.corrupt.pk]
    for query, number in (
        ("q=audit", 0),
        ("q=move", 2),
        (f"q=backup:{world.night.pk}", 1),
        ("since=2099-01-01", 0),
    ):
        assert client.get(f"/backups/?{query}").context["page"].paginator.count == number, query


def test_overview_search_and_icon_know_of_backups(world: World, viewer: Any, signed_in: SignIn) -> None:
    client = signed_in(viewer)
    home = client.get("/")
    fact = next(one for one in home.context["facts"] if one.label == "Last backup")
    assert (fact.note, fact.state, fact.url) == ("1 late", "late", "/backups/")
    assert "favicon-alert" in home.content.decode()
    Schedule.objects.all().delete()
    home = client.get("/")
    fact = next(one for one in home.context["facts"] if one.label == "Last backup")
    assert fact.state == "corrupt"
    assert "1 backup corrupt" in home.content.decode()
    found = client.get(f"/search/palette/?q=backup {world.night.pk}").content.decode()
    assert f"/backups/{world.night.pk}/" in found


def test_what_is_in_a_backup_stands_beside_what_is_there_now(
    world: World, viewer: Any, signed_in: SignIn
) -> None:
    client = signed_in(viewer)
    page = client.get(f"/backups/{world.night.pk}/")
    held = page.context["held"]
    states = {(item.kind, item.title): item.state for item in held.items}
    assert states["chart", "Chart 1.1"] == "differs"
    assert states["chart", "Old chart"] == "deleted"
    assert states["chart", "Chart 1.2"] == states["database", "Warehouse"] == "same"
    assert states["css_template", "Corporate"] == ""
    assert (held.different, held.later, held.is_exact) == (2, 1, True)
    assert f"left=backup:{world.night.pk}" in page.content.decode()
    only = client.get(f"/backups/{world.night.pk}/?state=different&kind=chart&q=chart").context["page"]
    assert [item.title for item in only] == ["Chart 1.1", "Old chart"]
    entry = client.get(f"/backups/{world.night.pk}/chart/{world.renamed}/").content.decode()
    assert "slice_name: Chart 1.1" in entry
    assert "by hand" not in entry
    database = next(item for item in held.items if item.kind == "database")
    text = client.get(f"/backups/{world.night.pk}/database/{database.uuid}/").content.decode()
    assert "XXXXXXXXXX" in text
    assert "topsecret" not in text
    assert client.get(f"/backups/{world.night.pk}/chart/no-such/").status_code == 404
    assert client.get(f"/backups/{world.night.pk}/sofa/{world.renamed}/").status_code == 404
    assert client.get(f"/backups/{world.failed.pk}/chart/{world.renamed}/").status_code == 409
    assert "holds nothing" in client.get(f"/backups/{world.failed.pk}/").content.decode()
    damaged = client.get(f"/backups/{world.corrupt.pk}/").content.decode()
    assert "1 of its documents is missing or damaged" in damaged
    assert "(Chart 1.1)" in damaged


def test_a_backup_is_asked_for_pinned_and_deleted_on_its_pages(
    world: World, admin: Any, release_lead: Any, signed_in: SignIn, run_jobs: Callable[[], int]
) -> None:
    Backup.objects.filter(pk=world.running.pk).delete()
    lead, boss = signed_in(release_lead), signed_in(admin)
    slug, night = world.environment.slug, world.night.pk
    asset = f"{slug}:chart:{world.renamed}"
    form = lead.post("/backups/new/", {"asset": [asset, "other:chart:x"]})
    assert form.context["chosen"] == [f"chart:{world.renamed}"]
    assert form.context["elsewhere"] == 1
    chosen = {
        "do": "take",
        "environment": slug,
        "env": slug,
        "asset": f"chart:{world.renamed}",
        "title": "One",
    }
    asked = lead.post("/backups/new/", chosen)
    assert asked.status_code == 302
    run_jobs()
    one = Backup.objects.latest("pk")
    assert (one.title, one.whole, one.state) == ("One", False, BackupState.GOOD)
    assert lead.post("/backups/new/", {**chosen, "asset": "chart:gone"}).status_code == 422
    lead.post(f"/backups/{night}/pin/", {"reason": "Keep"})
    assert Backup.objects.get(pk=night).pinned
    assert lead.post(f"/backups/{night}/unpin/").status_code == 403
    assert boss.post(f"/backups/{night}/delete/", {"confirm": slug}).status_code == 409  # pinned
    boss.post(f"/backups/{night}/unpin/")
    assert boss.post(f"/backups/{night}/delete/", {"confirm": "prod"}).status_code == 422
    assert Backup.objects.filter(pk=night).exists()
    assert boss.post(f"/backups/{night}/delete/", {"confirm": slug}).status_code == 302
    assert not Backup.objects.filter(pk=night).exists()
    mine = AuditEvent.objects.filter(action__startswith="backup:").order_by("-number")
    actions = mine.values_list("action", flat=True)[:3]
    assert list(actions) == ["backup:delete", "backup:unpin", "backup:pin"]


def test_title_notes_and_until_when_it_is_kept_are_changed_afterwards(
    world: World,
    admin: Any,
    release_lead: Any,
    signed_in: SignIn,
    api: Callable[[Any], APIClient],
) -> None:
    page, rest = f"/backups/{world.night.pk}/edit/", f"/api/v1/backups/{world.night.pk}/"
    assert signed_in(release_lead).get(page).status_code == 403
    assert api(release_lead).patch(rest, {"title": "x"}, format="json").status_code == 403
    boss, program = signed_in(admin), api(admin)
    day = timezone.localdate() + timedelta(days=3)
    said = {"title": "Before the audit", "notes": "Ask Ann.", "keep_until": day.isoformat()}
    assert boss.post(page, said).status_code == 302
    found = Backup.objects.get(pk=world.night.pk)
    assert (found.title, found.notes) == ("Before the audit", "Ask Ann.")
    assert found.keep_until is not None
    assert timezone.localdate(found.keep_until) == day
    shown = boss.get(f"/backups/{world.night.pk}/").content.decode()
    assert "Ask Ann." in shown
    assert "at least until" in shown
    assert (
        AuditEvent.objects.filter(action="backup:update").latest("number").data["title"] == "Before the audit"
    )
    # Nothing is lost by saving the form as it stands, though a program named an hour.
    hour = (timezone.now() + timedelta(days=9)).replace(microsecond=0)
    assert program.patch(rest, {"keep_until": hour.isoformat()}, format="json").status_code == 200
    form = boss.get(page).context["form"]
    assert boss.post(page, {name: form[name].value() for name in form.fields}).status_code == 302
    assert Backup.objects.get(pk=world.night.pk).keep_until == hour
    refused = boss.post(page, {**said, "keep_until": "2020-01-01"})
    assert (refused.status_code, list(refused.context["form"].errors)) == (422, ["keep_until"])
    past = program.patch(rest, {"keep_until": "2020-01-01T00:00:00Z"}, format="json")
    assert list(past.json()["errors"]) == ["keep_until"]
    assert Backup.objects.get(pk=world.night.pk).keep_until == hour
    answer = program.patch(rest, {"keep_until": None}, format="json").json()
    assert (answer["keep_until"], answer["notes"]) == (None, "Ask Ann.")
    failed = f"/api/v1/backups/{world.failed.pk}/"
    assert program.patch(failed, {"keep_until": hour.isoformat()}, format="json").status_code == 409
    assert program.patch(failed, {"notes": "Disk was full"}, format="json").json()["notes"] == "Disk was full"


def test_rules_are_tried_before_they_are_saved(world: World, admin: Any, signed_in: SignIn) -> None:
    client, address = signed_in(admin), f"/backups/retention/{world.environment.slug}/"
    Backup.objects.filter(pk=world.running.pk).delete()
    values = {
        "enabled": "on",
        "keep_last": "1",
        "daily": "0",
        "weekly": "0",
        "monthly": "0",
        "restore_point_days": "30",
        "quota": "0.5",
        "quota_action": "refuse",
    }
    tried = client.post(address, {**values, "do": "preview"})
    assert tried.context["is_trial"]
    assert tried.context["removed"] == 2  # the pinned one and the failed one stay
    assert not Policy.objects.exists()
    assert client.post(address, {**values, "do": "save"}).status_code == 302
    row = Policy.objects.get()
    assert (row.keep_last, row.quota_bytes, row.quota_action) == (1, 2**29, "refuse")
    wrong = client.post(address, {**values, "keep_last": "0", "do": "save"})
    assert wrong.status_code == 422
    assert "keep_last" in wrong.context["form"].errors


def test_programs_have_all_that_pages_have(
    world: World, admin: Any, api: Callable[[Any], APIClient], run_jobs: Callable[[], int]
) -> None:
    client, night = api(admin), f"/api/v1/backups/{world.night.pk}/"
    listed = client.get("/api/v1/backups/?state=good").json()["results"]
    assert [one["number"] for one in listed] == [world.newest.pk, world.night.pk]
    found = client.get(f"{night}contents/?state=different").json()["results"]
    assert [(one["title"], one["state"]) for one in found] == [
        ("Chart 1.1", "differs"),
        ("Old chart", "deleted"),
    ]
    body = client.get(f"{night}contents/chart/{world.renamed}/").json()["body"]
    assert body["slice_name"] == "Chart 1.1"
    assert client.put(f"{night}pin/", {"reason": "x"}, format="json").json()["pinned"] is True
    assert client.delete(f"{night}?confirm={world.environment.slug}").json()["code"] == "pinned"
    assert client.delete(f"{night}pin/").status_code == 204
    assert client.delete(night).json()["code"] == "not_confirmed"
    assert client.delete(f"{night}?confirm={world.environment.slug}").status_code == 204
    rules = f"/api/v1/environments/{world.environment.slug}/backup-rules/"
    trial = {"keep_last": 1, "daily": 0, "weekly": 0, "monthly": 0}
    decisions = client.post(f"{rules}preview/", trial, format="json").json()["decisions"]
    assert {one["backup"]: one["keeps"] for one in decisions}[world.newest.pk] is True
    assert client.patch(rules, {"keep_last": 3}, format="json").json()["keep_last"] == 3
    assert client.patch(rules, {"keep_last": 0}, format="json").status_code in (400, 422)
    wrong = client.post("/api/v1/backups/", {"environment": "nowhere"}, format="json")
    assert "environment" in wrong.json()["errors"]
    Backup.objects.filter(pk=world.running.pk).delete()
    asked = client.post(
        "/api/v1/backups/", {"environment": world.environment.slug, "title": "By REST"}, format="json"
    )
    assert asked.status_code == 202
    run_jobs()
    job = client.get(asked.json()["url"]).json()
    made = client.get(f"/api/v1/backups/{job['result']['backup']}/").json()
    assert (made["title"], made["state"], made["problems"]) == ("By REST", "good", [])
    checked = client.post(f"/api/v1/backups/{made['number']}/verify/")
    assert checked.status_code == 202


def test_what_is_elsewhere_is_not_there(
    world: World, make_user: Callable[..., Any], signed_in: SignIn, api: Callable[[Any], APIClient]
) -> None:
    stranger = make_user("stranger")
    Grant.objects.create(
        user=stranger, role="admin", scope="environment:00000000-0000-4000-8000-000000000000"
    )
    client = signed_in(stranger)
    assert client.get(f"/backups/{world.night.pk}/").status_code == 404
    assert client.get(f"/backups/{world.night.pk}/download/?as=tree").status_code == 404
    assert "Nightly" not in client.get("/backups/").content.decode()
    assert api(stranger).get("/api/v1/backups/").json()["results"] == []


def test_people_and_chats_are_told_once_of_what_failed_is_late_or_corrupt(
    world: World, admin: Any, superset: FakeSuperset, run_jobs: Callable[[], int]
) -> None:
    Webhook.objects.create(
        name="Chat", url="https://hooks.example/x", host="hooks.example", scope="*", events=["backup.failed"]
    )
    Webhook.objects.create(
        name="Others",
        url="https://hooks.example/y",
        host="hooks.example",
        scope="*",
        events=["backup.late", "backup.corrupt"],
    )
    assert (notices.tell_late(), notices.tell_late()) == (1, 0)
    late = Notice.objects.get(event="backup.late")
    assert late.title == "Late: Nightly backup"
    assert "The last good one is of" in late.text
    notices.corrupt(world.corrupt)
    told = Notice.objects.get(event="backup.corrupt")
    assert told.data["assets"] == [world.renamed]
    assert told.path == f"/backups/{world.corrupt.pk}/"
    Backup.objects.filter(pk=world.running.pk).delete()
    superset.users = {}  # nobody may sign in any more
    superset.expire_tokens()
    world.environment.secret = "another"
    world.environment.save()
    services.request_backup(world.environment, actor=admin)
    run_jobs()
    job = Job.objects.filter(kind="backups.take").latest("pk")
    assert job.state == State.FAILED
    failed = Notice.objects.get(event="backup.failed")
    assert failed.data["environment"] == world.environment.slug
    assert failed.data["code"]
    assert "Other backups are as they were." in failed.text
    assert not Notice.objects.filter(event="job.failed").exists()


def test_an_asset_tells_which_backups_hold_it_and_any_two_are_compared(
    world: World, author: Any, signed_in: SignIn
) -> None:
    client = signed_in(author)
    page = client.get(f"/charts/{world.renamed}/backups/")
    versions = page.context["page"].object_list
    assert [[row.pk for row in version.backups] for version in versions] == [
        [world.newest.pk, world.corrupt.pk],
        [world.night.pk],
    ]
    left, right = (version.newest.place for version in reversed(versions))
    compared = client.get(f"/compare/chart/{world.renamed}/?left={left}&right={right}").content.decode()
    assert "Chart 1.1 by hand" in compared
    gone = client.get(f"/charts/{world.deleted}/backups/")
    assert [version.newest.pk for version in gone.context["page"]] == [world.night.pk]
    assert f"/backups/new/?env={world.environment.slug}" in page.content.decode()
    inventory = client.get("/assets/").content.decode()
    assert 'formaction="/backups/new/"' in inventory
    detail = client.get(f"/environments/{world.environment.slug}/").content.decode()
    assert f"Backup {world.newest.pk}" in detail
    assert f"/backups/new/?env={world.environment.slug}" in detail
