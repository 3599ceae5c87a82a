"""REST below /api/v1/access/: the same services, the same refusals."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from sstools.audit.models import AuditEvent
from sstools.roles.models import CustomRole, Grant, Group, Membership, Source
from tests.factories import make_environment

pytestmark = pytest.mark.django_db
URL = "/api/v1/access/"


@pytest.fixture
def client(api, admin) -> Any:
    return api(admin)


def test_a_local_user_from_nothing_to_a_role_and_away_again(client, api):
    prod = make_environment("prod")
    made = client.post(URL + "users/", {"username": "ann", "email": "ann@corp.example"}, format="json")
    assert (made.status_code, made.json()["source"], made.json()["groups"]) == (201, "local", [])
    address = f"{URL}users/{made.json()['id']}/"
    link = client.post(address + "password-link/")
    assert link.status_code == 201
    assert "/access/password/" in link.json()["url"]
    until = (timezone.now() + timedelta(days=1)).isoformat()
    given = client.post(
        URL + "grants/",
        {"user": "ann", "role": "author", "on": "prod", "expires_at": until, "reason": "sprint"},
        format="json",
    )
    assert given.status_code == 201
    body = given.json()
    assert (body["user"], body["group"], body["on"]) == ("ann", None, f"environment:{prod.uuid}")
    assert (body["is_expired"], body["created_by"]) == (False, "admin")
    grant = f"{URL}grants/{body['id']}/"
    changed = client.patch(grant, {"expires_at": None}, format="json").json()
    assert (changed["expires_at"], changed["reason"]) == (None, "sprint")
    assert [
        one["id"] for one in client.get(URL + "grants/?user=ann&on=prod&role=author").json()["results"]
    ] == [body["id"]]
    assert client.get(URL + "grants/?on=moon").json()["count"] == 0
    assert client.delete(grant).status_code == 204
    assert (
        client.patch(address, {"is_active": False, "first_name": "Ann"}, format="json").json()["is_active"]
        is False
    )
    assert client.post(address + "password-link/").json()["code"] == "switched_off"
    sources = AuditEvent.objects.filter(action__in=("user:create", "role:grant", "role:revoke"))
    assert set(sources.values_list("source", flat=True)) == {"api"}


def test_roles_are_listed_made_changed_and_deleted(client):
    listed = client.get(URL + "roles/").json()
    assert [one["key"] for one in listed] == ["viewer", "author", "release_lead", "admin"]
    assert all(one["is_builtin"] for one in listed)
    made = client.post(URL + "roles/", {"name": "Shipper", "permissions": ["migration:apply"]}, format="json")
    assert (made.status_code, made.json()["key"], made.json()["is_builtin"]) == (201, "shipper", False)
    changed = client.patch(URL + "roles/shipper/", {"permissions": ["asset:view"]}, format="json").json()
    assert (changed["name"], changed["permissions"]) == ("Shipper", ["asset:view"])
    assert client.patch(URL + "roles/author/", {"name": "Mine"}, format="json").status_code == 404
    Grant.objects.create(group=Group.objects.create(name="g"), role="shipper")
    assert client.delete(URL + "roles/shipper/").json()["code"] == "in_use"
    Grant.objects.filter(role="shipper").delete()
    assert client.delete(URL + "roles/shipper/").status_code == 204
    assert not CustomRole.objects.exists()
    bad = client.post(URL + "roles/", {"name": "Admin", "permissions": ["no:such"]}, format="json")
    assert set(bad.json()["errors"]) == {"name", "permissions"}


def test_groups_and_their_members(client, make_user):
    make_user("ann")
    made = client.post(URL + "groups/", {"name": "Helpers"}, format="json").json()
    address = f"{URL}groups/{made['id']}/"
    assert client.put(address + "members/", {"members": ["ANN", "admin"]}, format="json").status_code == 422
    assert (
        client.put(address + "members/", {"members": ["ann", "admin"]}, format="json").json()["member_count"]
        == 2
    )
    assert sorted(client.get(address).json()["members"]) == ["admin", "ann"]
    assert client.put(address + "members/", {"members": []}, format="json").json()["members"] == []
    directory = client.post(URL + "groups/", {"name": "BI", "source": "adfs"}, format="json").json()
    refused = client.put(f"{URL}groups/{directory['id']}/members/", {"members": ["ann"]}, format="json")
    assert (refused.status_code, refused.json()["code"]) == (409, "directory_group")
    assert client.get(URL + "groups/").json()["count"] == 2
    assert client.delete(address).status_code == 204


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"user": "ghost"}, "user"),
        ({"role": "king"}, "role"),
        ({"on": "moon"}, "on"),
        ({"group": 99}, "group"),
        ({"user": None}, "user"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
    ],
)
def test_a_grant_that_is_not_right_names_the_field(client, make_user, wrong, field):
    make_user("ann")
    data = {
        name: value
        for name, value in ({"user": "ann", "role": "viewer"} | wrong).items()
        if value is not None
    }
    answer = client.post(URL + "grants/", data, format="json")
    assert (answer.status_code, list(answer.json()["errors"])) == (422, [field])
    assert not Grant.objects.exclude(user__username="admin").exists()


def test_the_last_administrator_is_kept(client, admin):
    row = Grant.objects.get(user=admin)
    refused = client.delete(f"{URL}grants/{row.pk}/")
    assert (refused.status_code, refused.json()["code"]) == (409, "last_administrator")
    assert "make_admin" in refused.json()["remedy"]


def test_explain_says_why(client, make_user):
    prod = make_environment("prod")
    ann, group = make_user("ann"), Group.objects.create(name="BI-Release", source=Source.ADFS)
    Membership.objects.create(user=ann, group=group)
    row = Grant.objects.create(group=group, role="release_lead", scope=f"environment:{prod.uuid}")
    yes = client.get(URL + "explain/?user=ann&permission=migration:apply&on=prod").json()
    assert (yes["allowed"], yes["grant"]["id"], yes["grant"]["group"]) == (True, row.pk, "BI-Release")
    assert yes["sentence"] == "Role Release lead on Prod through group BI-Release."
    assert yes["holders"] == []
    no = client.get(URL + "explain/?user=ann&permission=migration:apply").json()
    assert (no["allowed"], no["grant"], no["on"]) == (False, None, "*")
    assert no["roles"] == ["Release lead", "Admin"]
    assert [one["name"] for one in no["holders"]] == ["admin"]
    wrong = client.get(URL + "explain/?user=ghost&permission=all&on=moon").json()
    assert set(wrong["errors"]) == {"user", "permission", "on"}


def test_who_administers_one_environment_is_kept_to_it(api, make_user):
    dev, prod = make_environment("dev"), make_environment("prod")
    boss, ann = make_user("boss", "admin", on=f"environment:{dev.uuid}"), make_user("ann")
    row = Grant.objects.create(user=ann, role="viewer", scope=f"environment:{prod.uuid}")
    client = api(boss)
    assert client.get(f"{URL}grants/{row.pk}/").status_code == 404
    assert (
        client.post(
            URL + "grants/", {"user": "ann", "role": "viewer", "on": "prod"}, format="json"
        ).status_code
        == 422
    )
    assert client.post(URL + "grants/", {"user": "ann", "role": "viewer"}, format="json").status_code == 403
    assert (
        client.post(
            URL + "grants/", {"user": "ann", "role": "viewer", "on": "dev"}, format="json"
        ).status_code
        == 201
    )
    assert client.get(URL + "explain/?user=ann&permission=asset:view&on=prod").status_code == 422
    assert client.get(URL + "explain/?user=ann&permission=asset:view").status_code == 403
    assert client.post(URL + "users/", {"username": "new"}, format="json").status_code == 403
    assert not get_user_model().objects.filter(username="new").exists()


def test_lists_cost_the_same_for_few_and_for_many(client, make_user, django_assert_max_num_queries):
    client.get(URL + "users/")
    for number in range(30):
        user = make_user(f"u{number}", "viewer")
        Membership.objects.create(user=user, group=Group.objects.create(name=f"g{number}"))
    for name in ("users", "groups", "grants"):
        with django_assert_max_num_queries(12):
            client.get(f"{URL}{name}/")
