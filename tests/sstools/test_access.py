"""Grants that end, custom roles, groups of the directory, the last administrator, refusals in the history."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.utils import timezone

from sstools.audit.models import AuditEvent
from sstools.errors import Conflict, Invalid, NotAllowed
from sstools.roles import accounts, denials, policy, services, sync
from sstools.roles.guard import LastAdministrator
from sstools.roles.models import Account, CustomRole, Grant, Group, Membership, Source
from sstools.roles.permissions import Permission
from tests.factories import make_environment

pytestmark = pytest.mark.django_db
PROD, DEV = "environment:prod", "environment:dev"


def soon(**delta: int) -> Any:
    return timezone.now() + timedelta(**delta)


def in_group(name: str, *users: Any, source: str = Source.ADFS) -> Group:
    group = Group.objects.create(name=name, source=source)
    Membership.objects.bulk_create(Membership(group=group, user=user) for user in users)
    return group


# --- Grants that end --------------------------------------------------------------------------------------------------


def test_a_grant_counts_until_its_end_and_not_a_moment_longer(admin, stranger):
    row = services.grant(
        "author", actor=admin, user=stranger, on=PROD, expires_at=soon(hours=1), reason="sprint"
    )
    assert policy.can(stranger, Permission.MIGRATION_PLAN, PROD)
    assert "until" in policy.explain(stranger, Permission.MIGRATION_PLAN, PROD).sentence
    Grant.objects.filter(pk=row.pk).update(expires_at=timezone.now())
    policy.forget(stranger)
    assert not policy.can_anywhere(stranger, Permission.MIGRATION_PLAN)
    assert policy.grants_of(stranger) == []
    why = policy.explain(stranger, Permission.MIGRATION_PLAN, PROD)
    assert [one.pk for one in why.expired] == [row.pk]
    assert "Author expired on" in why.sentence


def test_a_grant_ends_while_the_same_user_object_is_used(admin, stranger, monkeypatch):
    services.grant("author", actor=admin, user=stranger, expires_at=soon(hours=1))
    assert policy.can(stranger, Permission.MIGRATION_PLAN, PROD)
    later = soon(hours=2)
    monkeypatch.setattr(timezone, "now", lambda: later)
    assert not policy.can(stranger, Permission.MIGRATION_PLAN, PROD)


def test_giving_a_role_again_moves_its_end_and_an_end_in_the_past_is_refused(admin, stranger):
    row = services.grant("author", actor=admin, user=stranger, expires_at=soon(hours=1))
    again = services.grant("author", actor=admin, user=stranger, expires_at=soon(days=1), reason="longer")
    assert (again.pk, again.reason) == (row.pk, "longer")
    assert again.expires_at > soon(hours=2)
    services.change_grant(again, actor=admin, expires_at=None)
    assert Grant.objects.get(pk=row.pk).expires_at is None
    with pytest.raises(Invalid):
        services.change_grant(again, actor=admin, expires_at=soon(hours=-1))
    actions = AuditEvent.objects.order_by("number").values_list("action", flat=True)
    assert list(actions) == ["role:grant", "role:change", "role:change"]


def test_who_administers_one_environment_gives_roles_there_and_nowhere_else(make_user, stranger):
    boss = make_user("boss", "admin", on=PROD)
    services.grant("author", actor=boss, user=stranger, on=PROD)
    for where in (DEV, "*"):
        with pytest.raises(NotAllowed):
            services.grant("author", actor=boss, user=stranger, on=where)
    with pytest.raises(NotAllowed):
        services.create_role(name="Mine", permissions=["asset:view"], actor=boss)
    assert set(Grant.objects.visible_to(boss).values_list("scope", flat=True)) == {PROD}


# --- Explaining -------------------------------------------------------------------------------------------------------


def test_the_answer_names_the_grant_that_decided(make_user, admin):
    ann, group = make_user("ann"), Group.objects.create(name="BI-Release", source=Source.ADFS)
    Membership.objects.create(user=ann, group=group)
    given = services.grant("release_lead", actor=admin, group=group, on=PROD)
    why = policy.explain(ann, Permission.MIGRATION_APPLY, PROD)
    assert (why.allowed, why.grant, why.role.title) == (True, given, "Release lead")
    assert "through group BI-Release" in why.sentence
    assert not policy.explain(ann, Permission.MIGRATION_APPLY, DEV).allowed


def test_a_refusal_names_those_who_may_first_who_may_little_else(make_user, author):
    make_user("zoe", "release_lead", first_name="Zoe", last_name="Lee", email="zoe@corp.example")
    make_user("boss", "admin")
    make_user("elsewhere", "release_lead", on=DEV)
    make_user("gone", "release_lead", is_active=False)
    late = make_user("late")
    Grant.objects.create(user=late, role="release_lead", expires_at=soon(hours=-1))
    make_user("root", is_superuser=True)
    why = policy.explain(author, Permission.MIGRATION_APPLY, PROD)
    assert [one.name for one in why.holders] == ["Zoe Lee", "boss"]
    with pytest.raises(NotAllowed) as refused:
        policy.require(author, Permission.MIGRATION_APPLY, PROD)
    assert "Zoe Lee, boss" in refused.value.remedy
    assert refused.value.detail == {
        "permission": "migration:apply",
        "object": PROD,
        "roles": ["Release lead", "Admin"],
        "holders": [{"name": "Zoe Lee", "email": "zoe@corp.example"}, {"name": "boss", "email": ""}],
    }


def test_of_many_who_may_a_few_are_named(make_user, viewer):
    group = in_group("BI-Release", *[make_user(f"lead{number}") for number in range(9)])
    Grant.objects.create(group=group, role="release_lead")
    with pytest.raises(NotAllowed) as refused:
        policy.require(viewer, Permission.MIGRATION_APPLY, PROD)
    assert len(refused.value.detail["holders"]) == policy.MOST_HOLDERS
    assert "lead4 and others" in refused.value.remedy


def test_superusers_are_named_only_if_there_is_nobody_else(make_user, author):
    make_user("root", is_superuser=True)
    assert [one.name for one in policy.explain(author, Permission.ACCESS_EDIT).holders] == ["root"]


def test_explaining_costs_the_same_for_one_grant_and_for_many(make_user, django_assert_num_queries):
    for number in range(3):
        CustomRole.objects.create(key=f"r{number}", name=f"R{number}", permissions=["asset:view"])
    for count in (1, 30):
        user = make_user(f"user{count}")
        for number in range(count):
            Grant.objects.create(user=user, role=f"r{number % 3}", scope=f"environment:{number}")
        with django_assert_num_queries(2):
            for permission in Permission:
                policy.explain(user, permission, PROD)
                policy.can(user, permission, PROD)


def test_those_who_are_switched_off_may_nothing_and_are_told_so(make_user):
    gone = make_user("gone", "admin", is_active=False, is_superuser=True)
    why = policy.explain(gone, Permission.ASSET_VIEW, PROD)
    assert not why.allowed
    assert "switched off" in why.sentence
    assert why.holders == ()


# --- Custom roles -----------------------------------------------------------------------------------------------------


def test_a_custom_role_gives_what_it_says_and_a_change_counts_at_once(admin, stranger):
    role = services.create_role(name="Planner", permissions=["migration:plan", "asset:view"], actor=admin)
    assert role.key == "planner"
    services.grant("planner", actor=admin, user=stranger, on=PROD)
    assert policy.can(stranger, Permission.MIGRATION_PLAN, PROD)
    services.update_role(role, permissions=["asset:view"], actor=admin)
    policy.forget(stranger)
    assert not policy.can(stranger, Permission.MIGRATION_PLAN, PROD)
    assert policy.can(stranger, Permission.ASSET_VIEW, PROD)
    with pytest.raises(Conflict) as refused:
        services.delete_role(role, actor=admin)
    assert refused.value.code == "in_use"
    services.revoke(Grant.objects.get(role="planner"), actor=admin)
    services.delete_role(role, actor=admin)
    assert not CustomRole.objects.exists()


@pytest.mark.parametrize(
    ("name", "permissions", "field"),
    [
        ("Viewer", ["asset:view"], "name"),
        ("plaNNer", ["asset:view"], "name"),
        ("  ", ["asset:view"], "name"),
        ("New", [], "permissions"),
        ("New", ["asset:steal"], "permissions"),
    ],
)
def test_a_role_that_is_not_right_is_refused(admin, name, permissions, field):
    services.create_role(name="Planner", permissions=["asset:view"], actor=admin)
    with pytest.raises(Invalid) as refused:
        services.create_role(name=name, permissions=permissions, actor=admin)
    assert list(refused.value.errors) == [field]


def test_roles_with_names_that_give_no_key_get_one(admin):
    keys = [
        services.create_role(name=name, permissions=["asset:view"], actor=admin).key
        for name in ("Читатель", "Писатель", "Admin!", "Release Lead?")
    ]
    assert keys == ["role", "role-2", "admin-2", "release-lead"]


def test_a_grant_on_something_odd_breaks_no_page(make_user, signed_in):
    browser = signed_in(make_user("ann", "author", on="environment:prod"))
    for path in ("/", "/environments/", "/assets/", "/migrations/", "/access/"):
        assert browser.get(path).status_code == 200, path


def test_a_right_that_this_version_does_not_know_gives_nothing(stranger):
    CustomRole.objects.create(key="old", name="Old", permissions=["asset:view", "asset:gone"])
    Grant.objects.create(user=stranger, role="old")
    assert [one for one in Permission if policy.can(stranger, one)] == [Permission.ASSET_VIEW]


# --- The last administrator -------------------------------------------------------------------------------------------


def revoke(admin: Any) -> None:
    services.revoke(Grant.objects.get(user=admin), actor=admin)


def set_end(admin: Any) -> None:
    services.change_grant(Grant.objects.get(user=admin), actor=admin, expires_at=soon(days=300))


def give_again_with_end(admin: Any) -> None:
    services.grant("admin", actor=admin, user=admin, expires_at=soon(days=300))


@pytest.mark.parametrize("way", [revoke, set_end, give_again_with_end])
def test_the_last_administrator_stays(admin, make_user, way):
    make_user("ends", "admin")
    Grant.objects.filter(user__username="ends").update(expires_at=soon(days=30))
    make_user("off", "admin", is_active=False)
    make_user("dev_only", "admin", on=DEV)
    make_user("off_root", is_active=False, is_superuser=True)
    before = Grant.objects.count(), AuditEvent.objects.count()
    with pytest.raises(LastAdministrator):
        way(admin)
    assert (Grant.objects.count(), AuditEvent.objects.count()) == before
    assert Grant.objects.get(user=admin).expires_at is None
    make_user("second", "admin")
    way(admin)


def test_the_last_administrator_is_neither_switched_off_nor_deleted(admin, make_user):
    helper = make_user("helper")
    Grant.objects.create(user=helper, role="admin", expires_at=soon(days=1))
    with pytest.raises(LastAdministrator):
        accounts.set_active(admin, False, actor=helper)
    admin.refresh_from_db()
    assert admin.is_active
    root = make_user("root", is_superuser=True)
    with pytest.raises(Conflict):
        accounts.delete_user(root, actor=root)
    Grant.objects.filter(user=admin).delete()
    with pytest.raises(LastAdministrator):
        accounts.set_superuser(root, False, actor=root)
    root.refresh_from_db()
    accounts.delete_user(helper, actor=root)
    assert get_user_model().objects.filter(is_superuser=True).exists()


def test_a_role_keeps_access_edit_while_the_last_administrator_has_it_by_that_role(make_user):
    role = CustomRole.objects.create(key="keeper", name="Keeper", permissions=["access:edit"])
    keeper = make_user("keeper", "keeper")
    with pytest.raises(LastAdministrator):
        services.update_role(role, permissions=["access:view"], actor=keeper)
    assert CustomRole.objects.get().permissions == ["access:edit"]
    make_user("root", is_superuser=True)
    services.update_role(role, permissions=["access:view"], actor=keeper)


def test_a_group_of_administrators_is_neither_emptied_nor_deleted(make_user):
    boss = make_user("boss")
    group = in_group("admins", boss, source=Source.LOCAL)
    Grant.objects.create(group=group, role="admin")
    with pytest.raises(LastAdministrator):
        services.set_members(group, [], actor=boss)
    with pytest.raises(LastAdministrator):
        services.delete_group(group, actor=boss)
    group = Group.objects.get()
    assert Membership.objects.count() == 1
    services.set_members(group, [make_user("next")], actor=boss)
    assert [row.user.username for row in Membership.objects.all()] == ["next"]


def test_where_nobody_administers_nothing_is_refused_for_it(make_user):
    boss = make_user("boss")
    row = Grant.objects.create(user=boss, role="admin", expires_at=soon(days=1))
    services.revoke(row, actor=boss)
    assert not Grant.objects.exists()


@pytest.mark.both_databases
@pytest.mark.django_db(transaction=True)
def test_two_that_take_each_other_away_at_the_same_moment_leave_one(make_user):
    ann, bob = make_user("ann", "admin"), make_user("bob", "admin")
    rows = {ann: Grant.objects.get(user=bob), bob: Grant.objects.get(user=ann)}
    gate, outcomes = threading.Barrier(2, timeout=30), []

    def take(actor: Any, row: Grant) -> None:
        try:
            assert policy.can(
                actor, Permission.ACCESS_EDIT
            )  # remembered from before, as in a page of long ago
            gate.wait()
            services.revoke(row, actor=actor)
            outcomes.append("done")
        except (LastAdministrator, NotAllowed) as exc:
            outcomes.append(exc.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=take, args=pair) for pair in rows.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) in (["done", "last_administrator"], ["done", "not_allowed"])
    assert Grant.objects.count() == 1


# --- Groups of the directory ------------------------------------------------------------------------------------------


def test_a_sign_in_brings_and_takes_groups_and_leaves_those_of_others(make_user):
    ann = make_user("ann")
    release, authors = in_group("BI-Release"), in_group("BI-Authors")
    local = in_group("helpers", ann, source=Source.LOCAL)
    Grant.objects.create(group=release, role="release_lead")
    first = sync.apply_groups(ann, ["bi-release", "Domain Users"])
    assert (first.added, first.removed, first.unknown) == (("BI-Release",), (), ("Domain Users",))
    assert policy.can(ann, Permission.MIGRATION_APPLY, PROD)
    second = sync.apply_groups(ann, ["BI-AUTHORS"])
    assert (second.added, second.removed) == (("BI-Authors",), ("BI-Release",))
    assert not policy.can(ann, Permission.MIGRATION_APPLY, PROD)
    assert set(ann.access_groups.all()) == {authors, local}
    assert sync.apply_groups(ann, []).removed == ("BI-Authors",)
    assert (ann.account.source, ann.account.synced_at is not None) == (Source.ADFS, True)
    assert [event.action for event in AuditEvent.objects.all()] == ["user:groups"] * 3


def test_an_unchanged_sign_in_writes_no_history(make_user):
    ann = make_user("ann")
    in_group("BI-Release")
    sync.apply_groups(ann, ["BI-Release"])
    assert sync.apply_groups(ann, ["BI-Release"]) == sync.Synced()
    assert AuditEvent.objects.count() == 1


def test_groups_become_known_by_themselves_where_a_pattern_says_so(make_user, settings):
    settings.DIRECTORY_GROUPS = ["BI-*"]
    ann = make_user("ann")
    found = sync.apply_groups(ann, ["bi-New", "Domain Users", "  "])
    assert (found.created, found.unknown) == (("bi-New",), ("Domain Users",))
    assert not policy.has_role(ann)


def test_the_number_of_groups_costs_no_more_queries(make_user, django_assert_max_num_queries):
    for number in range(60):
        in_group(f"G{number}")
    few, many = make_user("few"), make_user("many")
    with django_assert_max_num_queries(28):
        sync.apply_groups(few, ["G1"])
    with django_assert_max_num_queries(28):
        sync.apply_groups(many, [f"G{number}" for number in range(60)])


def test_the_directory_does_not_take_the_last_administrator_away(make_user, caplog):
    boss = make_user("boss")
    Grant.objects.create(group=in_group("BI-Admins", boss), role="admin")
    in_group("BI-Authors", boss)
    synced = sync.apply_groups(boss, [])
    assert (synced.kept, synced.removed) == (("BI-Admins",), ("BI-Authors",))
    assert policy.can(boss, Permission.ACCESS_EDIT)
    assert "there is no other" in caplog.text
    make_user("root", is_superuser=True)
    assert sync.apply_groups(boss, []).removed == ("BI-Admins",)
    assert not policy.can(boss, Permission.ACCESS_EDIT)


def test_members_of_a_directory_group_are_not_chosen_here(admin, stranger):
    with pytest.raises(Conflict) as refused:
        services.set_members(in_group("BI-Release"), [stranger], actor=admin)
    assert refused.value.code == "directory_group"
    with pytest.raises(ValueError, match="local"):
        sync.apply_groups(stranger, [], source=Source.LOCAL)


def test_a_group_is_known_by_its_name_whatever_its_case(admin):
    services.create_group(name="BI-Release", origin=Source.ADFS, actor=admin)
    with pytest.raises(Invalid):
        services.create_group(name="bi-release", origin=Source.ADFS, actor=admin)
    services.create_group(name="bi-release", actor=admin)


# --- People -----------------------------------------------------------------------------------------------------------


def test_a_new_user_chooses_a_password_by_a_link_that_works_once(admin, client):
    user = accounts.create_user("ann", first_name="Ann", email="ann@corp.example", actor=admin)
    assert not user.has_usable_password()
    path = accounts.password_link(user, actor=admin)
    page = client.get(path, follow=True)
    where = page.redirect_chain[-1][0]
    weak = client.post(where, {"new_password1": "ann", "new_password2": "ann"})
    assert weak.status_code == 422
    chosen = {"new_password1": "correct horse battery", "new_password2": "correct horse battery"}
    assert client.post(where, chosen).status_code == 302
    signed_in = client.post("/login/", {"username": "ann", "password": "correct horse battery"})
    assert (signed_in.status_code, signed_in["Location"]) == (302, "/")
    assert b"does not work any more" in Client().get(path, follow=True).content
    text = str(list(AuditEvent.objects.values_list("action", "data")))
    assert "user:password_link" in text
    assert path.rsplit("/", 2)[1] not in text


@pytest.mark.parametrize("name", ["", "with space", "VIEWER", "x" * 151])
def test_a_user_name_that_cannot_be_one_is_refused(admin, viewer, name):
    with pytest.raises(Invalid) as refused:
        accounts.create_user(name, actor=admin)
    assert list(refused.value.errors) == ["username"]


def test_switching_somebody_off_ends_session_and_token_at_once(admin, author, api, signed_in):
    browser, program = signed_in(author), api(author)
    assert browser.get("/me/").status_code == 200
    accounts.set_active(author, False, actor=admin)
    assert browser.get("/me/").status_code == 302
    assert program.get("/api/v1/me/").status_code == 401
    with pytest.raises(Conflict):
        accounts.password_link(author, actor=admin)
    with pytest.raises(Conflict):
        accounts.set_active(admin, False, actor=admin)


def test_an_admin_by_role_has_no_hold_over_superusers(admin, make_user):
    root = make_user("root", is_superuser=True)
    for attempt in (
        lambda: accounts.password_link(root, actor=admin),
        lambda: accounts.set_active(root, False, actor=admin),
        lambda: accounts.update_user(root, email="mine@corp.example", actor=admin),
        lambda: accounts.set_superuser(admin, True, actor=admin),
        lambda: accounts.delete_user(root, actor=admin),
    ):
        with pytest.raises(NotAllowed):
            attempt()


def test_people_of_the_directory_get_no_password_here(admin, author):
    Account.objects.create(user=author, source=Source.ADFS)
    with pytest.raises(Conflict):
        accounts.password_link(author, actor=admin)
    with pytest.raises(Conflict):
        accounts.make_admin("author", "a long password 2")


# --- Refusals in the history ------------------------------------------------------------------------------------------


def refusals() -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(action=denials.ACTION).order_by("number"))


def test_a_refusal_is_in_the_history_with_right_object_and_address(viewer, signed_in):
    dev = make_environment("dev")
    answer = signed_in(viewer).post(
        f"/environments/{dev.slug}/check/", headers={"X-Request-ID": "request-4711"}
    )
    assert answer.status_code == 403
    (event,) = refusals()
    assert (event.actor_name, event.object_name, event.object_label) == (
        "viewer",
        f"environment:{dev.uuid}",
        dev.name,
    )
    assert (event.source, event.request_id) == ("page", "request-4711")
    assert event.data == {
        "permission": "environment:test",
        "address": "127.0.0.1",
        "method": "POST",
        "path": "/environments/dev/check/",
    }


def test_polling_cannot_flood_the_history(viewer, api, monkeypatch):
    dev, client = make_environment("dev"), api(viewer)
    for _ in range(5):
        assert client.post(f"/api/v1/environments/{dev.uuid}/check/").status_code == 403
    assert len(refusals()) == 1
    assert client.delete(f"/api/v1/environments/{dev.uuid}/?confirm=dev").status_code == 403
    assert [event.data["permission"] for event in refusals()] == ["environment:test", "environment:edit"]
    later = timezone.now() + denials.WINDOW + timedelta(seconds=1)
    monkeypatch.setattr(timezone, "now", lambda: later)
    assert client.post(f"/api/v1/environments/{dev.uuid}/check/").status_code == 403
    assert len(refusals()) == 3
    monkeypatch.setattr(denials, "MOST_PER_HOUR", 3)
    other = make_environment("other")
    assert client.post(f"/api/v1/environments/{other.uuid}/check/").status_code == 403
    assert len(refusals()) == 3


def test_what_is_not_there_and_a_stale_form_are_no_refusals(make_user, viewer, signed_in):
    prod, dev = make_environment("prod"), make_environment("dev")
    elsewhere = make_user("elsewhere", "author", on=f"environment:{dev.uuid}")
    assert signed_in(elsewhere).get(f"/environments/{prod.slug}/").status_code == 404
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(viewer)
    assert strict.post("/me/", {"theme": "dark"}).status_code == 403
    assert refusals() == []


def test_a_refusal_without_a_right_is_in_the_history_too(make_user, signed_in):
    staff = make_user("staff", is_staff=True)
    assert signed_in(staff).get("/admin/roles/grant/").status_code == 403
    (event,) = refusals()
    assert (event.data["permission"], event.data["path"]) == ("", "/admin/roles/grant/")


def test_a_forwarded_address_counts_only_behind_a_proxy(viewer, signed_in, settings):
    dev = make_environment("dev")
    forged = {"X-Forwarded-For": "10.9.9.9, 203.0.113.7"}
    signed_in(viewer).post(f"/environments/{dev.slug}/check/", headers=forged)
    settings.TRUST_PROXY = True
    signed_in(viewer).post(f"/environments/{dev.slug}/read/", headers=forged)
    signed_in(viewer).post(f"/environments/{dev.slug}/remove/", headers=forged)
    assert [event.data["address"] for event in refusals()] == ["127.0.0.1", "203.0.113.7"]


def test_page_and_api_say_what_is_missing_who_has_it_and_how_to_ask(viewer, make_user, signed_in, api):
    make_user("zoe", "author", first_name="Zoe", last_name="Lee", email="zoe@corp.example")
    dev = make_environment("dev")
    page = signed_in(viewer).post(f"/environments/{dev.slug}/check/").content.decode()
    for words in (
        "environment:test",
        "Author, Release lead, Admin",
        "Zoe Lee",
        'href="mailto:zoe@corp.example',
    ):
        assert words in page
    answer = api(viewer).post(f"/api/v1/environments/{dev.uuid}/check/").json()
    assert answer["code"] == "not_allowed"
    assert answer["more"]["holders"] == [{"name": "Zoe Lee", "email": "zoe@corp.example"}]
    assert answer["more"]["object"] == f"environment:{dev.uuid}"
