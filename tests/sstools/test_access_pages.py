"""Pages below /access/: what they show to whom, and that they ask before they take something away."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from environments.models import Environment
from sstools.audit.models import AuditEvent
from sstools.jobs.models import JobResource
from sstools.roles.models import Account, CustomRole, Grant, Group, Membership, Source
from sstools.roles.permissions import MEANING, Permission
from tests.factories import make_environment, make_job

pytestmark = pytest.mark.django_db
User = get_user_model()


@pytest.fixture
def dev(db: None) -> Environment:
    return make_environment("dev")


@pytest.fixture
def prod(db: None) -> Environment:
    return make_environment("prod", protected=True)


def on(environment: Environment) -> str:
    return f"environment:{environment.uuid}"


def text_of(response: Any) -> str:
    plain = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", response.content.decode(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", plain)


def confirmed(page: Any) -> dict[str, str]:
    """The hidden fields that say what was asked."""
    return dict(re.findall(r'name="(confirmed|remove)" value="([^"]+)"', page.content.decode()))


def test_every_right_has_a_meaning_in_words():
    assert set(MEANING) == set(Permission)


# --- One's own --------------------------------------------------------------------------------------------------------


def test_everybody_sees_what_they_may_and_whom_to_ask(make_user, signed_in, dev, prod):
    make_user("boss", "admin", email="boss@corp.example")
    ann = make_user("ann", "author", on=on(dev))
    page = signed_in(ann).get("/access/")
    text = text_of(page)
    assert "Author" in text
    assert 'href="mailto:boss@corp.example' in page.content.decode()
    assert dev.tag in text
    assert prod.tag not in text  # she may not know of it
    assert "People" not in text


def test_who_has_nothing_is_told_so(stranger, signed_in):
    assert "You have no role yet" in text_of(signed_in(stranger).get("/access/"))


# --- People -----------------------------------------------------------------------------------------------------------


def test_the_list_shows_roles_by_environment_groups_and_source(admin, make_user, signed_in, dev, prod):
    ann = make_user("ann", "author", on=on(dev), first_name="Ann", last_name="Lee")
    group = Group.objects.create(name="BI-Release", source=Source.ADFS)
    Membership.objects.create(user=ann, group=group)
    Grant.objects.create(group=group, role="release_lead", scope=on(prod))
    Grant.objects.create(user=ann, role="viewer", expires_at=timezone.now() - timedelta(days=1))
    Account.objects.create(user=ann, source=Source.ADFS)
    page = signed_in(admin).get("/access/users/?q=lee")
    row = next(row for row in page.context["people"] if row["user"] == ann)
    assert (row["everywhere"], row["cells"]) == ([], [["Author"], ["Release lead"]])
    assert [str(one) for one in row["groups"]] == ["BI-Release"]
    assert "directory" in text_of(page)
    assert len(page.context["people"]) == 1


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("state=off", ["gone"]),
        ("source=adfs", ["dora"]),
        ("source=local", ["admin", "gone", "lead", "nobody"]),
        ("role=release_lead", ["lead"]),
        ("role=none", ["dora", "nobody"]),
        ("q=gon", ["gone"]),
        ("state=nonsense", ["admin", "dora", "gone", "lead", "nobody"]),
    ],
)
def test_people_are_found_by_state_source_role_and_words(admin, make_user, signed_in, query, names):
    make_user("gone", "viewer", is_active=False)
    make_user("lead", "release_lead")
    make_user("nobody")
    Account.objects.create(user=make_user("dora"), source=Source.ADFS)
    page = signed_in(admin).get(f"/access/users/?{query}")
    assert [row["user"].username for row in page.context["people"]] == names


def test_the_list_of_people_costs_the_same_for_three_and_for_forty(
    admin, make_user, signed_in, dev, django_assert_max_num_queries
):
    browser = signed_in(admin)
    browser.get("/access/users/")
    for number in range(40):
        user = make_user(f"u{number}", "author", on=on(dev))
        Membership.objects.create(user=user, group=Group.objects.create(name=f"g{number}"))
        Grant.objects.create(group=user.access_groups.get(), role="viewer")
    with django_assert_max_num_queries(16):
        browser.get("/access/users/")
    with django_assert_max_num_queries(16):
        browser.get("/access/grants/")
    with django_assert_max_num_queries(14):
        browser.get("/access/roles/")
    with django_assert_max_num_queries(12):
        browser.get("/access/groups/")


def test_a_new_user_gets_a_link_that_is_shown_once(admin, signed_in):
    browser = signed_in(admin)
    made = browser.post("/access/users/new/", {"username": "ann", "email": "ann@corp.example"})
    ann = User.objects.get(username="ann")
    assert (made.status_code, made["Location"]) == (302, f"/access/users/{ann.pk}/")
    first = browser.get(made["Location"]).content.decode()
    link = re.search(r"<code>(http://testserver/access/password/[^<]+)</code>", first)
    assert link
    assert "/access/password/" not in browser.get(made["Location"]).content.decode()
    assert browser.post("/access/users/new/", {"username": "ANN"}).status_code == 422


def test_switching_off_says_first_what_is_lost(admin, make_user, signed_in, dev):
    ann, browser = make_user("ann", "viewer", on=on(dev)), signed_in(admin)
    address = f"/access/users/{ann.pk}/switch/"
    assert "Switch ann off?" in text_of(browser.get(address))
    asked = browser.post(address)
    assert asked.status_code == 200
    assert "asset:view on Dev" in text_of(asked)
    ann.refresh_from_db()
    assert ann.is_active
    assert not AuditEvent.objects.filter(action="user:deactivate").exists()  # only rehearsed
    assert browser.post(address, confirmed(asked)).status_code == 302
    ann.refresh_from_db()
    assert not ann.is_active
    assert browser.post(address).status_code == 302  # on again takes nothing, so it asks nothing
    ann.refresh_from_db()
    assert ann.is_active


def test_a_confirmation_of_something_else_does_not_count(admin, make_user, signed_in, dev, prod):
    ann, browser = make_user("ann", "viewer", on=on(dev)), signed_in(admin)
    address = f"/access/users/{ann.pk}/switch/"
    asked = confirmed(browser.post(address))
    Grant.objects.create(user=ann, role="author", scope=on(prod))
    again = browser.post(address, asked)
    assert "migration:plan on Prod" in text_of(again)
    ann.refresh_from_db()
    assert ann.is_active


def test_an_admin_by_role_sees_a_superuser_and_may_not_touch_the_account(admin, make_user, signed_in):
    root = make_user("root", is_superuser=True)
    browser = signed_in(admin)
    text = text_of(browser.get(f"/access/users/{root.pk}/"))
    assert "Only superusers change the account of a superuser" in text
    assert browser.post(f"/access/users/{root.pk}/link/").status_code == 403
    assert browser.post(f"/access/users/{root.pk}/edit/", {"first_name": "Mine"}).status_code == 403


# --- Grants -----------------------------------------------------------------------------------------------------------


def test_giving_and_taking_a_role_on_one_environment(admin, stranger, signed_in, prod):
    browser = signed_in(admin)
    until = (timezone.now() + timedelta(days=3)).strftime("%Y-%m-%dT%H:%M")
    data = {"user": "STRANGER", "role": "author", "on": "prod", "expires_at": until, "reason": "sprint 12"}
    given = browser.post("/access/grants/new/", data)
    assert (given.status_code, given["Location"]) == (302, f"/access/users/{stranger.pk}/")
    row = Grant.objects.get(user=stranger)
    assert (row.role, row.scope, row.reason, row.created_by) == ("author", on(prod), "sprint 12", admin)
    text = text_of(browser.get(f"/access/users/{stranger.pk}/"))
    assert "sprint 12" in text
    address = f"/access/grants/{row.pk}/take/"
    asked = browser.post(address)
    assert "migration:plan on Prod" in text_of(asked)
    assert Grant.objects.filter(pk=row.pk).exists()
    assert browser.post(address, confirmed(asked)).status_code == 302
    assert not Grant.objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"user": "nobody-there"},
        {"user": ""},
        {"role": "king"},
        {"on": "moon"},
        {"expires_at": "2020-01-01T10:00"},
        {"group": "1"},
    ],
)
def test_a_grant_that_is_not_right_is_refused_with_the_form(admin, stranger, signed_in, prod, wrong):
    Group.objects.create(pk=1, name="both at once")
    data = {"user": "stranger", "role": "author", "on": "prod", **wrong}
    page = signed_in(admin).post("/access/grants/new/", data)
    assert page.status_code == 422
    assert b'role="alert"' in page.content
    assert not Grant.objects.filter(role="author").exists()


def test_an_expired_grant_is_shown_as_such_and_can_be_renewed(admin, stranger, signed_in, prod):
    row = Grant.objects.create(
        user=stranger, role="author", scope=on(prod), expires_at=timezone.now() - timedelta(days=1)
    )
    browser = signed_in(admin)
    assert "expired" in text_of(browser.get("/access/grants/?state=expired&on=prod&role=author"))
    assert [
        line.grant for line in browser.get("/access/grants/?state=in_force&q=stranger").context["grants"]
    ] == []
    assert browser.post(f"/access/grants/{row.pk}/", {"expires_at": "", "reason": "again"}).status_code == 302
    row.refresh_from_db()
    assert (row.expires_at, row.reason) == (None, "again")


def test_who_administers_one_environment_sees_and_changes_that_one(make_user, stranger, signed_in, dev, prod):
    boss = make_user("boss", "admin", on=on(dev))
    elsewhere = Grant.objects.create(user=stranger, role="viewer", scope=on(prod))
    everywhere = Grant.objects.create(user=make_user("lead"), role="release_lead")
    browser = signed_in(boss)
    shown = {line.grant.pk: line.may_change for line in browser.get("/access/grants/").context["grants"]}
    assert shown == {Grant.objects.get(user=boss).pk: True, everywhere.pk: False}
    assert browser.get(f"/access/grants/{elsewhere.pk}/").status_code == 404
    assert browser.post(f"/access/grants/{everywhere.pk}/", {"reason": "mine"}).status_code == 403
    given = browser.post("/access/grants/new/", {"user": "stranger", "role": "viewer", "on": "dev"})
    assert given.status_code == 302
    for where in ("prod", "*"):
        data = {"user": "stranger", "role": "viewer", "on": where}
        assert browser.post("/access/grants/new/", data).status_code == 422
    for path in ("users/new/", "roles/new/", "groups/new/"):
        assert browser.get(f"/access/{path}").status_code == 403
    assert prod.name not in text_of(browser.get(f"/access/users/{stranger.pk}/"))


def test_the_last_administrator_is_kept_by_the_pages_too(admin, signed_in):
    browser, row = signed_in(admin), Grant.objects.get(user=admin)
    refused = browser.post(f"/access/grants/{row.pk}/take/")
    assert refused.status_code == 409
    assert "Nobody would be left" in text_of(refused)
    later = (timezone.now() + timedelta(days=3)).strftime("%Y-%m-%dT%H:%M")
    assert browser.post(f"/access/grants/{row.pk}/", {"expires_at": later}).status_code == 422
    row.refresh_from_db()
    assert row.expires_at is None


# --- Roles and groups -------------------------------------------------------------------------------------------------


def test_a_role_says_who_loses_what_before_it_is_saved(admin, make_user, signed_in, prod):
    role = CustomRole.objects.create(
        key="shipper", name="Shipper", permissions=["migration:apply", "migration:view"]
    )
    make_user("j.doe", "shipper", on=on(prod))
    browser = signed_in(admin)
    data = {"name": "Shipper", "permissions": ["migration:view"]}
    asked = browser.post("/access/roles/shipper/edit/", data)
    assert "This takes rights from 1 person" in text_of(asked)
    assert "j.doe : migration:apply on Prod" in text_of(asked)
    role.refresh_from_db()
    assert "migration:apply" in role.permissions
    assert browser.post("/access/roles/shipper/edit/", data | confirmed(asked)).status_code == 302
    role.refresh_from_db()
    assert role.permissions == ["migration:view"]


def test_a_role_can_be_made_from_another_one_and_deleted_while_nobody_has_it(admin, signed_in):
    browser = signed_in(admin)
    start = browser.get("/access/roles/new/?from=viewer").context["form"].initial["permissions"]
    made = browser.post("/access/roles/new/", {"name": "Auditor", "permissions": [*start, "audit:view"]})
    assert made["Location"] == "/access/roles/auditor/"
    row = Grant.objects.create(user=admin, role="auditor")
    assert browser.post("/access/roles/auditor/delete/").status_code == 409
    row.delete()
    assert browser.post("/access/roles/auditor/delete/").status_code == 302
    assert browser.get("/access/roles/auditor/").status_code == 404


def test_built_in_roles_are_looked_at_and_not_changed(admin, signed_in):
    browser = signed_in(admin)
    assert "Built in" in text_of(browser.get("/access/roles/author/"))
    for path in ("edit", "delete"):
        assert browser.post(f"/access/roles/author/{path}/").status_code == 404


def test_members_of_a_local_group_come_and_go(admin, stranger, signed_in, prod):
    browser = signed_in(admin)
    made = browser.post("/access/groups/new/", {"name": "Helpers", "origin": "local"})
    group = Group.objects.get()
    assert made["Location"] == f"/access/groups/{group.pk}/"
    Grant.objects.create(group=group, role="viewer", scope=on(prod))
    address = f"/access/groups/{group.pk}/members/"
    assert browser.post(address, {"user": "nobody-there"}).status_code == 422
    assert browser.post(address, {"user": "stranger"}).status_code == 302
    assert list(group.members.all()) == [stranger]
    asked = browser.post(address, {"remove": stranger.pk})
    assert "asset:view on Prod" in text_of(asked)
    assert list(group.members.all()) == [stranger]
    assert browser.post(address, confirmed(asked)).status_code == 302
    assert not group.members.exists()


def test_a_directory_group_is_told_to_be_changed_in_the_directory(admin, stranger, signed_in):
    group = Group.objects.create(name="BI-Release", source=Source.ADFS)
    page = signed_in(admin).post(f"/access/groups/{group.pk}/members/", {"user": "stranger"})
    assert page.status_code == 409
    assert "decided by the directory" in text_of(page)


def test_forgetting_a_group_says_who_loses_what(admin, stranger, signed_in, prod):
    group = Group.objects.create(name="BI-Release", source=Source.ADFS)
    Membership.objects.create(group=group, user=stranger)
    Grant.objects.create(group=group, role="release_lead", scope=on(prod))
    browser = signed_in(admin)
    asked = browser.post(f"/access/groups/{group.pk}/delete/")
    assert "stranger : asset:view on Prod" in text_of(asked)
    assert browser.post(f"/access/groups/{group.pk}/delete/", confirmed(asked)).status_code == 302
    assert not Grant.objects.filter(role="release_lead").exists()


# --- Try a person -----------------------------------------------------------------------------------------------------


def test_trying_a_person_says_yes_or_no_and_why(admin, make_user, signed_in, dev, prod):
    ann = make_user("ann")
    group = Group.objects.create(name="BI-Release", source=Source.ADFS)
    Membership.objects.create(user=ann, group=group)
    given = Grant.objects.create(group=group, role="release_lead", scope=on(prod))
    browser = signed_in(admin)
    page = browser.get("/access/try/?user=ann&permission=migration:apply&on=prod")
    assert "Role Release lead on Prod through group BI-Release." in text_of(page)
    assert f'href="/access/grants/{given.pk}/"' in page.content.decode()
    page = browser.get("/access/try/?user=Ann&permission=migration:apply&on=dev")
    text = text_of(page)
    assert "This needs the right migration:apply on Dev. Roles with it: Release lead, Admin." in text
    assert "Who may" in text
    assert browser.get("/access/try/").status_code == 200
    assert browser.get("/access/try/?user=ghost&permission=migration:apply&on=dev").status_code == 422
    assert browser.get("/access/try/?user=ann&permission=all&on=dev").status_code == 422
    assert not AuditEvent.objects.filter(action__startswith="access:").exists()


def test_who_administers_one_environment_cannot_try_others(make_user, stranger, signed_in, dev, prod):
    Grant.objects.create(user=stranger, role="viewer", scope=on(prod))
    browser = signed_in(make_user("boss", "admin", on=on(dev)))
    assert browser.get("/access/try/?user=stranger&permission=asset:view&on=prod").status_code == 422
    page = browser.get("/access/try/?user=stranger&permission=asset:view&on=dev")
    assert page.status_code == 200
    assert "Prod" not in text_of(page)


# --- What one may see and not do, on other pages ----------------------------------------------------------------------


def test_buttons_that_one_has_no_right_for_are_there_and_say_why(viewer, make_user, signed_in, dev):
    make_user("boss", "admin", first_name="Bo", last_name="Ss")
    page = signed_in(viewer).get("/environments/dev/").content.decode()
    for label in ("Test", "Read now", "Edit", "Remove…"):
        assert re.search(
            rf"<button[^>]* disabled aria-describedby=\"why-not[^>]*>(<svg.*?</svg>)?{label}</button>", page
        ), label
    assert "This needs the right environment:edit on Dev. Roles with it: Admin." in page
    listed = signed_in(viewer).get("/environments/").content.decode()
    assert re.search(r"<button[^>]* disabled[^>]*>(<svg.*?</svg>)?Add an environment</button>", listed)
    assert "environment:edit on everything" in listed


def test_a_job_that_one_may_not_drive_names_the_right_and_the_environment(viewer, api, signed_in, dev):
    job = make_job(state="failed")
    JobResource.objects.create(job=job, resource=on(dev))
    page = signed_in(viewer).post(f"/jobs/{job.uuid}/retry/")
    assert page.status_code == 403
    assert "This needs the right migration:plan on Dev." in text_of(page)
    answer = api(viewer).post(f"/api/v1/jobs/{job.uuid}/cancel/")
    assert answer.json()["more"] | {"holders": []} == {
        "permission": "job:cancel",
        "object": on(dev),
        "roles": ["Release lead", "Admin"],
        "holders": [],
    }
    denied = AuditEvent.objects.filter(action="access:denied").order_by("number")
    assert [(one.object_label, one.data["permission"]) for one in denied] == [
        ("Dev", "migration:plan"),
        ("Dev", "job:cancel"),
    ]
