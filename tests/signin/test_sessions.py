"""How long a sign-in lasts, and ending it everywhere."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from sstools.audit.models import AuditEvent
from sstools.roles import accounts
from sstools.roles.tokens import create_token
from sstools.signin.models import UserSession
from sstools.signin.sessions import forget_expired

pytestmark = pytest.mark.django_db
PASSWORD = "a long password 1"


def browser(name: str, **headers: Any) -> Client:
    client = Client(headers={"User-Agent": "Firefox"})
    answer = client.post("/login/", {"username": name, "password": PASSWORD}, REMOTE_ADDR="10.0.0.7")
    assert answer.status_code == 302
    return client


def is_in(client: Client, **headers: str) -> bool:
    return client.get("/me/", headers=headers).status_code == 200


def ages(minutes: int) -> None:
    UserSession.objects.update(seen_at=timezone.now() - timedelta(minutes=minutes))


def test_a_session_knows_whose_it_is_and_ends_when_nothing_is_done(make_user: Any, settings: Any) -> None:
    settings.SESSION_IDLE_MINUTES = 30
    ann = make_user("ann")
    client = browser("ann")
    row = UserSession.objects.get()
    assert (row.user, row.address, row.browser) == (ann, "10.0.0.7", "Firefox")
    ages(29)
    assert is_in(client)
    assert timezone.now() - UserSession.objects.get().seen_at < timedelta(minutes=1)  # that was something
    ages(29)
    assert is_in(client, HX_Request="true", HX_Poll="true")  # a page that asks by itself is nobody's doing
    assert timezone.now() - UserSession.objects.get().seen_at > timedelta(minutes=28)
    ages(31)
    answer = client.get("/me/")
    assert (answer.status_code, answer["Location"]) == (302, "/login/?next=/me/")
    assert "nothing was done here for 30 minutes" in client.get("/login/").content.decode()
    assert not UserSession.objects.filter(user=ann).exists()
    event = AuditEvent.objects.get(action="session:expire")
    assert (event.actor_name, event.data) == ("ann", {"why": "idle"})


def test_a_session_ends_by_its_age_whatever_is_done(make_user: Any, settings: Any) -> None:
    settings.SESSION_COOKIE_AGE = 3600
    make_user("ann")
    client = browser("ann")
    for minutes, still in ((30, True), (59, True), (61, False)):
        session = client.session
        session["started_at"] = (timezone.now() - timedelta(minutes=minutes)).isoformat()
        session.save()  # as any message does, which used to move the end
        assert is_in(client) is still
    assert AuditEvent.objects.get(action="session:expire").data == {"why": "age"}


def test_an_end_meets_programs_and_fragments_as_a_session_that_is_over(make_user: Any, settings: Any) -> None:
    make_user("ann", "viewer")
    client = browser("ann")
    assert client.get("/api/v1/me/").status_code == 200
    ages(settings.SESSION_IDLE_MINUTES + 1)
    assert client.get("/api/v1/me/").status_code == 401
    client = browser("ann")
    ages(settings.SESSION_IDLE_MINUTES + 1)
    answer = client.get("/jobs/", headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/jobs/"})
    assert (answer.status_code, answer["HX-Redirect"]) == (401, "/login/?next=%2Fjobs%2F")


def test_one_ends_ones_other_sessions_and_an_administrator_all(make_user: Any, admin: Any, api: Any) -> None:
    ann = make_user("ann")
    here, there = browser("ann"), browser("ann")
    page = here.get("/access/").content.decode()
    assert page.count("10.0.0.7") == 2
    assert page.count("this one") == 1
    assert there.session.session_key not in page  # whoever reads it over a shoulder gets nothing
    assert here.post("/access/sessions/end/").status_code == 302
    assert is_in(here)
    assert not is_in(there)

    boss = Client()
    boss.force_login(admin)
    assert "Signed in at 1 place" in boss.get(f"/access/users/{ann.pk}/").content.decode()
    assert boss.post(f"/access/users/{ann.pk}/sessions/end/").status_code == 302
    assert not is_in(here)
    assert is_in(boss)
    here = browser("ann")
    assert api(admin).delete(f"/api/v1/access/users/{ann.pk}/sessions/").status_code == 204
    assert not is_in(here)
    ends = AuditEvent.objects.filter(action="session:end_all").order_by("pk")
    assert [(event.actor_name, event.data["number"], event.source) for event in ends] == [
        ("ann", 1, "page"),
        ("admin", 1, "page"),
        ("admin", 1, "api"),
    ]


def test_sessions_by_rest(make_user: Any, admin: Any, viewer: Any, api: Any) -> None:
    ann = make_user("ann")
    here, there = browser("ann"), browser("ann")
    rows = here.get("/api/v1/me/sessions/").json()
    assert sorted(row["is_current"] for row in rows) == [False, True]
    assert all(row["address"] == "10.0.0.7" and row["browser"] == "Firefox" for row in rows)
    assert here.session.session_key not in str(rows)
    _, narrow = create_token(ann, name="ci", permissions=["job:view"])
    program = Client(headers={"Authorization": f"Bearer {narrow}"})
    answer = program.delete("/api/v1/me/sessions/")
    assert (answer.status_code, answer.json()["code"]) == (403, "token_narrowed")
    assert api(viewer).delete(f"/api/v1/access/users/{ann.pk}/sessions/").status_code == 403
    assert is_in(there)
    assert api(ann).delete("/api/v1/me/sessions/").status_code == 204
    assert not is_in(here)
    assert not is_in(there)


@pytest.mark.parametrize("how", ["switched_off", "password", "make_admin", "django_admin"])
def test_what_ends_every_session_of_somebody(how: str, make_user: Any, admin: Any) -> None:
    ann, root = make_user("ann"), make_user("root", is_superuser=True, is_staff=True)
    client, other = browser("ann"), browser("root")
    if how == "switched_off":
        accounts.set_active(ann, False, actor=admin)
        assert not UserSession.objects.filter(user=ann).exists()
        accounts.set_active(ann, True, actor=admin)  # the old one must not count again
    elif how == "password":
        ann.refresh_from_db()  # the link hangs on the last sign-in
        link = accounts.password_link(ann, actor=admin)
        chooser = Client()
        form = chooser.get(link)["Location"]
        new = {"new_password1": "another long one 2", "new_password2": "another long one 2"}
        assert chooser.post(form, new).status_code == 302
    elif how == "make_admin":
        accounts.make_admin("ann", "another long one 2")
    else:
        data = {"action": "sign_out", "_selected_action": [ann.pk, root.pk]}
        assert other.post("/admin/auth/user/", data).status_code == 302
    assert not UserSession.objects.filter(user=ann).exists()
    assert not is_in(client)
    assert is_in(other)
    assert AuditEvent.objects.filter(action="session:end_all", data__number=1).count() == 1


def test_sessions_that_are_over_are_forgotten(make_user: Any) -> None:
    make_user("ann")
    browser("ann")
    client = browser("ann")
    old = UserSession.objects.exclude(session_key=client.session.session_key)
    old.update(expire_date=timezone.now() - timedelta(hours=1))
    assert forget_expired() == 1
    assert is_in(client)
    call_command("clearsessions")
    assert UserSession.objects.count() == 1
