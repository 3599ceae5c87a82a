"""Tokens: narrower than their owner, never wider; service accounts; shown once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from sstools.audit.models import AuditEvent
from sstools.errors import Conflict, Invalid, NotAllowed
from sstools.roles import accounts, policy, tokens
from sstools.roles.models import ApiToken, Grant
from sstools.roles.permissions import Permission
from tests.factories import make_environment

pytestmark = pytest.mark.django_db


def client_with(text: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return client


def token_of(user: Any, **values: Any) -> APIClient:
    return client_with(tokens.create_token(user, name="test", **values)[1])


def permissions_of(client: APIClient) -> dict[str, list[str]]:
    found: dict[str, list[str]] = client.get("/api/v1/me/").json()["permissions"]
    return found


@pytest.mark.parametrize("kind", ["admin", "superuser"])
def test_a_token_may_no_more_than_it_was_made_for(make_user: Any, kind: str) -> None:
    dev, prod = make_environment("dev"), make_environment("prod")
    user = make_user("ann", "" if kind == "superuser" else "admin", is_superuser=kind == "superuser")
    here = f"environment:{dev.uuid}"
    client = token_of(user, permissions=["environment:view"], scopes=[here])
    assert permissions_of(client) == {"environment:view": [here]}
    assert client.get("/api/v1/me/").json()["is_superuser"] is False
    assert [row["slug"] for row in client.get("/api/v1/environments/").json()["results"]] == [dev.slug]
    assert client.get(f"/api/v1/environments/{prod.uuid}/").status_code == 404
    refused = client.delete(f"/api/v1/environments/{dev.uuid}/")
    assert refused.status_code == 403
    assert "token" in refused.json()["detail"]
    assert client.get("/api/v1/access/users/").status_code == 403


def test_a_token_never_may_more_than_its_owner(make_user: Any) -> None:
    dev = make_environment("dev")
    user = make_user("ann", "viewer", on=f"environment:{dev.uuid}")
    client = token_of(user, permissions=["environment:view", "access:edit"])
    assert permissions_of(client) == {"environment:view": [f"environment:{dev.uuid}"]}
    Grant.objects.all().delete()  # and it does not outlive a right
    assert permissions_of(client) == {}


def test_what_there_is_not_cannot_be_asked_for(make_user: Any) -> None:
    dev, prod = make_environment("dev"), make_environment("prod")
    user = make_user("ann", "viewer", on=f"environment:{dev.uuid}")
    with pytest.raises(Invalid) as caught:
        tokens.create_token(user, name="x", permissions=["every:thing"], scopes=[f"environment:{prod.uuid}"])
    assert set(caught.value.errors) == {"permissions", "scopes"}


def test_a_narrowed_token_makes_no_tokens_and_a_whole_one_does(make_user: Any) -> None:
    user = make_user("ann", "admin")
    narrowed = token_of(user, permissions=["environment:view"])
    assert narrowed.post("/api/v1/tokens/", {"name": "wider"}, format="json").status_code == 403
    made = token_of(user).post(
        "/api/v1/tokens/", {"name": "next", "permissions": ["job:view"]}, format="json"
    )
    assert made.status_code == 201
    assert permissions_of(client_with(made.json()["token"])) == {"job:view": ["*"]}


def test_by_rest_with_the_name_of_an_environment(make_user: Any, api: Any) -> None:
    dev = make_environment("dev")
    made = api(make_user("ann", "admin")).post("/api/v1/tokens/", {"scopes": [dev.slug]}, format="json")
    assert made.json()["scopes"] == [f"environment:{dev.uuid}"]
    assert (
        api(make_user("bea")).post("/api/v1/tokens/", {"scopes": [dev.slug]}, format="json").status_code
        == 422
    )


@pytest.mark.parametrize("end", ["expired", "revoked", "switched off", "changed"])
def test_a_token_that_has_ended_opens_nothing(make_user: Any, end: str) -> None:
    user = make_user("ann", "viewer")
    row, text = tokens.create_token(user, name="x", days=1)
    assert client_with(text).get("/api/v1/me/").status_code == 200
    if end == "expired":
        ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    elif end == "revoked":
        tokens.revoke_token(row.pk, actor=user)
    elif end == "switched off":
        type(user).objects.update(is_active=False)
    else:
        text = text[:-1] + ("a" if text[-1] != "a" else "b")
    assert client_with(text).get("/api/v1/me/").status_code == 401


def test_only_the_hash_is_kept(make_user: Any) -> None:
    _, text = tokens.create_token(make_user("ann"), name="x")
    assert text not in str(list(ApiToken.objects.values())) + str(list(AuditEvent.objects.values()))


def test_how_long_tokens_may_live_can_be_limited(make_user: Any, settings: Any, api: Any) -> None:
    settings.TOKEN_MAX_DAYS = 30
    user = make_user("ann")
    for days in (None, 31):
        with pytest.raises(Invalid):
            tokens.create_token(user, name="x", days=days)
    assert tokens.create_token(user, name="x", days=30)


# --- Service accounts ---------------------------------------------------------------------------------------------


def test_a_service_account_has_tokens_and_no_way_to_sign_in(make_user: Any, admin: Any) -> None:
    robot = accounts.create_service_account("ci-robot", description="Deploys", actor=admin)
    Grant.objects.create(user=robot, role="viewer")
    client = client_with(tokens.create_token(robot, name="ci", actor=admin)[1])
    assert client.get("/api/v1/me/").json()["username"] == "ci-robot"
    for password in ("", "x", robot.password):
        answer = Client().post("/login/", {"username": "ci-robot", "password": password})
        assert answer.status_code == 422
    with pytest.raises(Conflict, match="program"):
        accounts.password_link(robot, actor=admin)


def test_nobody_makes_tokens_of_somebody_else(make_user: Any, admin: Any, author: Any) -> None:
    ann = make_user("ann")
    with pytest.raises(NotAllowed):
        tokens.create_token(ann, name="x", actor=admin)
    robot = accounts.create_service_account("robot", actor=admin)
    with pytest.raises(NotAllowed):
        tokens.create_token(robot, name="x", actor=author)


def test_by_page(make_user: Any, admin: Any, author: Any, signed_in: Any) -> None:
    dev = make_environment("dev")
    client = signed_in(admin)
    answer = client.post("/access/users/new-program/", {"username": "robot", "description": "Deploys"})
    robot = type(admin).objects.get(username="robot")
    assert answer["Location"] == f"/access/users/{robot.pk}/"
    url = f"/access/users/{robot.pk}/tokens/"
    scope = f"environment:{dev.uuid}"
    client.post(url, {"name": "ci", "days": "30", "permissions": ["environment:view"], "scopes": [scope]})
    assert "sst_" not in str(dict(client.session))  # a row of the database until it is shown
    first = client.get(url).content.decode()
    assert "sst_" in first
    text = first.split("<code>sst_")[1].split("<")[0]
    assert f"sst_{text}" not in client.get(url).content.decode()  # shown once
    row = ApiToken.objects.get()
    assert (row.user, row.permissions, row.scopes) == (robot, ["environment:view"], [scope])
    assert signed_in(author).get(url).status_code == 403
    assert client.get(f"/access/users/{author.pk}/tokens/").status_code == 404
    client.post(f"/access/tokens/{row.pk}/end/")
    row.refresh_from_db()
    assert not row.is_usable
    mine = signed_in(author)
    assert mine.post("/access/tokens/", {"name": "mine", "days": "7"}).status_code == 302
    assert ApiToken.objects.filter(user=author).count() == 1
    other = tokens.create_token(admin, name="x")[0]
    assert mine.post(f"/access/tokens/{other.pk}/end/").status_code == 404


def test_explaining_says_that_it_is_the_token(make_user: Any) -> None:
    user = make_user("ann", "admin")
    policy.narrow(user, ["environment:view"], [])
    why = policy.explain(user, Permission.ACCESS_EDIT)
    assert not why.allowed
    assert "token" in why.sentence
