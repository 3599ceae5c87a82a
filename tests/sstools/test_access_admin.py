"""Django's admin of access: superusers alone, and nothing passes by the services."""

import re
from typing import Any

import pytest
from django.contrib import admin as django_admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group as DjangoGroup

from sstools.audit.models import AuditEvent
from sstools.roles import tokens
from sstools.roles.models import ApiToken, CustomRole, Grant, Group, Source
from tests.factories import make_environment

pytestmark = pytest.mark.django_db
User = get_user_model()


@pytest.fixture
def root(make_user) -> Any:
    return make_user("root", is_superuser=True, is_staff=True)


@pytest.fixture
def browser(signed_in, root) -> Any:
    return signed_in(root)


def actions() -> list[tuple[str, str]]:
    rows = AuditEvent.objects.exclude(action__startswith="user:sign").order_by("number")
    return [(event.action, event.source) for event in rows if event.source == "admin"]


def test_groups_of_django_decide_nothing_and_are_not_there():
    assert DjangoGroup not in django_admin.site._registry


def test_staff_that_is_no_superuser_sees_none_of_it(make_user, signed_in):
    from django.contrib.auth.models import Permission as DjangoPermission

    staff = make_user("staff", "admin", is_staff=True)
    staff.user_permissions.set(DjangoPermission.objects.all())  # Django's own rights open nothing
    browser = signed_in(staff)
    for model in ("roles/grant", "roles/customrole", "roles/group", "roles/apitoken", "auth/user"):
        assert browser.get(f"/admin/{model}/").status_code == 403, model
        assert browser.post(f"/admin/{model}/add/", {}).status_code == 403, model


def test_a_grant_goes_through_the_service(browser, make_user):
    prod, ann = make_environment("prod"), make_user("ann")
    data = {"user": ann.pk, "role": "author", "scope": f"environment:{prod.uuid}", "reason": "sprint"}
    assert browser.post("/admin/roles/grant/add/", data).status_code == 302
    row = Grant.objects.get()
    assert (row.user, row.role, row.created_by.username) == (ann, "author", "root")
    changed = {
        "expires_at_0": "2099-12-31",
        "expires_at_1": "18:00",
        "reason": "longer",
        "role": "admin",
        "scope": "*",
    }
    assert browser.post(f"/admin/roles/grant/{row.pk}/change/", changed).status_code == 302
    row.refresh_from_db()
    assert (row.role, row.reason, row.expires_at.year) == ("author", "longer", 2099)
    assert browser.post(f"/admin/roles/grant/{row.pk}/delete/", {"post": "yes"}).status_code == 302
    assert actions() == [("role:grant", "admin"), ("role:change", "admin"), ("role:revoke", "admin")]


def test_what_the_service_refuses_is_shown_with_the_form(browser, make_user):
    ann, group = make_user("ann"), Group.objects.create(name="g")
    for wrong in (
        {"user": ann.pk, "group": group.pk, "role": "author", "scope": "*"},
        {"role": "author", "scope": "*"},
        {"user": ann.pk, "role": "king", "scope": "*"},
        {
            "user": ann.pk,
            "role": "author",
            "scope": "*",
            "expires_at_0": "2001-01-01",
            "expires_at_1": "10:00",
        },
    ):
        page = browser.post("/admin/roles/grant/add/", wrong)
        assert page.status_code == 200
        assert "errorlist" in page.content.decode()
    assert not Grant.objects.exists()


def test_roles_and_groups_go_through_the_services(browser, make_user):
    ann = make_user("ann")
    data = {"name": "Shipper", "permissions": ["migration:apply", "asset:view"]}
    assert browser.post("/admin/roles/customrole/add/", data).status_code == 302
    role = CustomRole.objects.get()
    taken = browser.post("/admin/roles/customrole/add/", {"name": "Admin", "permissions": ["asset:view"]})
    assert "Another role has this name" in taken.content.decode()
    data = {"name": "Shipper", "permissions": ["asset:view"]}
    assert browser.post(f"/admin/roles/customrole/{role.pk}/change/", data).status_code == 302
    role.refresh_from_db()
    assert role.permissions == ["asset:view"]
    assert (
        browser.post(
            "/admin/roles/group/add/", {"name": "Helpers", "source": "local", "people": [ann.pk]}
        ).status_code
        == 302
    )
    group = Group.objects.get()
    assert list(group.members.all()) == [ann]
    assert browser.post(f"/admin/roles/group/{group.pk}/change/", {"people": []}).status_code == 302
    assert not group.members.exists()
    browser.post("/admin/roles/group/add/", {"name": "BI", "source": Source.ADFS, "people": [ann.pk]})
    assert not Group.objects.get(name="BI").members.exists()  # the directory decides
    assert ("group:members", "admin") in actions()


def test_people_go_through_the_services_and_no_password_is_set_here(browser, root):
    assert browser.post("/admin/auth/user/add/", {"username": "ann", "is_active": "on"}).status_code == 302
    ann = User.objects.get(username="ann")
    assert (ann.is_active, ann.has_usable_password(), ann.is_superuser) == (True, False, False)
    page = browser.get(f"/admin/auth/user/{ann.pk}/change/").content.decode()
    assert "password" not in re.sub(r"/admin/password_change/|password_link", "", page).lower().replace(
        "change password", ""
    )
    data = {"first_name": "Ann", "is_superuser": "on"}
    assert browser.post(f"/admin/auth/user/{ann.pk}/change/", data).status_code == 302
    ann.refresh_from_db()
    assert (ann.first_name, ann.is_active, ann.is_superuser, ann.is_staff) == ("Ann", False, True, True)
    assert {"user:create", "user:update", "user:superuser", "user:deactivate"} <= {
        name for name, _ in actions()
    }


def test_the_last_administrator_is_kept_by_the_admin_too(browser, root, make_user):
    for data in ({"is_active": "on"}, {"is_superuser": "on"}):
        page = browser.post(f"/admin/auth/user/{root.pk}/change/", data)
        assert page.status_code == 200
        assert "errorlist" in page.content.decode()
    refused = browser.post(f"/admin/auth/user/{root.pk}/delete/", {"post": "yes"}, follow=True)
    assert 'class="error"' in refused.content.decode()
    assert User.objects.filter(pk=root.pk).exists()
    listed = {"action": "delete_selected", "_selected_action": [root.pk], "post": "yes"}
    assert 'class="error"' in browser.post("/admin/auth/user/", listed, follow=True).content.decode()
    browser.post("/admin/auth/user/", {"action": "switch_off", "_selected_action": [root.pk]})
    root.refresh_from_db()
    assert (root.is_active, root.is_superuser) == (True, True)


def test_actions_of_the_list(browser, make_user):
    ann, bob = make_user("ann"), make_user("bob")
    both = {"_selected_action": [ann.pk, bob.pk]}
    browser.post("/admin/auth/user/", {"action": "switch_off", **both})
    assert not User.objects.filter(username__in=("ann", "bob"), is_active=True).exists()
    browser.post("/admin/auth/user/", {"action": "switch_on", **both})
    page = browser.post(
        "/admin/auth/user/", {"action": "make_password_links", **both}, follow=True
    ).content.decode()
    assert page.count("/access/password/") == 2
    assert (
        browser.post("/admin/auth/user/", {"action": "delete_selected", "post": "yes", **both}).status_code
        == 302
    )
    assert not User.objects.filter(username__in=("ann", "bob")).exists()
    assert [name for name, _ in actions()].count("user:delete") == 2


@pytest.mark.parametrize(
    "model", ["roles/grant", "roles/customrole", "roles/group", "roles/apitoken", "auth/user"]
)
def test_every_list_can_be_searched_and_filtered(browser, model):
    assert browser.get(f"/admin/{model}/?q=x").status_code == 200


def test_a_token_is_made_by_the_service_shown_once_and_ended(browser, make_user):
    prod, ann = make_environment("prod"), make_user("ann")
    root = User.objects.get(username="root")
    data = {
        "name": "ci",
        "days": "30",
        "permissions": ["environment:view"],
        "scopes": [f"environment:{prod.uuid}"],
    }
    refused = browser.post("/admin/roles/apitoken/add/", {**data, "user": ann.pk})
    assert refused.status_code == 200  # nobody makes tokens for other people
    assert not ApiToken.objects.exists()
    assert browser.get("/admin/roles/apitoken/add/").status_code == 200
    made = browser.post("/admin/roles/apitoken/add/", {**data, "user": root.pk})
    assert (made.status_code, made["Location"]) == (302, "/access/tokens/")
    row = ApiToken.objects.get()
    assert (row.user, row.permissions, row.scopes) == (root, data["permissions"], data["scopes"])
    assert ("token:create", "admin") in actions()
    assert "sst_" not in str(dict(browser.session))
    shown = [
        re.search(r">(sst_[\w-]{20,})<", browser.get("/access/tokens/").content.decode()) for _ in range(2)
    ]
    assert shown[0]
    assert tokens.token_for(shown[0][1]) == row
    assert shown[1] is None
    assert browser.post(f"/admin/roles/apitoken/{row.pk}/change/", data).status_code == 403
    browser.post("/admin/roles/apitoken/", {"action": "end_tokens", "_selected_action": [row.pk]})
    row.refresh_from_db()
    assert row.revoked_at is not None
