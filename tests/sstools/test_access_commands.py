"""manage.py grant and make_admin: for whoever has the machine."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from sstools.audit.models import AuditEvent
from sstools.roles import policy
from sstools.roles.models import Account, Grant, Group, Source
from sstools.roles.permissions import Permission
from tests.factories import make_environment

pytestmark = pytest.mark.django_db


def run(name: str, *arguments: str) -> str:
    out = StringIO()
    call_command(name, *arguments, stdout=out)
    return out.getvalue()


def test_a_role_is_given_changed_and_taken(make_user):
    prod, ann = make_environment("prod"), make_user("ann")
    assert "has author on Prod, until 2099" in run(
        "grant", "author", "--user", "ann", "--on", "prod", "--until", "2099-12-31", "--reason", "sprint"
    )
    row = Grant.objects.get()
    assert (row.user, row.scope, row.reason) == (ann, f"environment:{prod.uuid}", "sprint")
    assert row.expires_at.isoformat() == "2099-12-31T23:59:59.999999+00:00"
    run("grant", "author", "--user", "ann", "--on", "prod")
    assert Grant.objects.get().expires_at is None
    assert "no more" in run("grant", "author", "--user", "ann", "--on", "prod", "--take")
    assert not Grant.objects.exists()
    events = AuditEvent.objects.order_by("number").values_list("action", "actor_name", "source")
    assert list(events) == [
        ("role:grant", "operator", "command"),
        ("role:change", "operator", "command"),
        ("role:revoke", "operator", "command"),
    ]


def test_a_group_gets_a_role_on_everything(make_user):
    group = Group.objects.create(name="BI-Release", source=Source.ADFS)
    run("grant", "release_lead", "--group", "bi-release")
    assert Grant.objects.get().group == group


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("king", "--user", "ann"), "There is no role king"),
        (("viewer", "--user", "bob"), "There is no user bob"),
        (("viewer", "--group", "none"), "There is no group none"),
        (("viewer", "--user", "ann", "--on", "moon"), "There is no environment moon"),
        (("viewer", "--user", "ann", "--until", "soon"), "no day"),
        (("viewer", "--user", "ann", "--until", "2026-02-31"), "no day"),
        (("viewer", "--user", "ann", "--until", "2001-01-01"), "has passed"),
        (("viewer", "--user", "ann", "--take"), "does not have"),
    ],
)
def test_what_cannot_be_done_is_said(make_user, arguments, words):
    make_user("ann")
    with pytest.raises(CommandError, match=words):
        run("grant", *arguments)
    assert not Grant.objects.exists()


def test_the_last_administrator_is_kept_by_the_command_too(admin):
    with pytest.raises(CommandError, match="Nobody would be left"):
        run("grant", "admin", "--user", "admin", "--take")


def test_an_emergency_account_is_made_and_can_sign_in(db, client, settings, tmp_path):
    settings.DATA_DIR = tmp_path
    said = run("make_admin", "break-glass")
    path = tmp_path / "password_of_break-glass"
    password = path.read_text().strip()
    assert password not in said
    assert str(path) in said
    assert path.stat().st_mode & 0o777 == 0o600
    answer = client.post("/login/", {"username": "break-glass", "password": password})
    assert (answer.status_code, answer["Location"]) == (302, "/")
    event = AuditEvent.objects.get(action="user:make_admin")
    assert (event.actor_name, event.source, event.data) == ("operator", "command", {"new": True})


def test_an_emergency_account_is_repaired(make_user, client, tmp_path):
    user = make_user("admin", is_active=False)
    secret = tmp_path / "secret"
    secret.write_text("three blue horses 7\n")
    assert "again" in run("make_admin", "--password-file", str(secret))
    user.refresh_from_db()
    assert (user.is_active, user.is_superuser, user.is_staff) == (True, True, True)
    assert policy.can(user, Permission.ACCESS_EDIT)
    assert client.post("/login/", {"username": "admin", "password": "three blue horses 7"}).status_code == 302


@pytest.mark.parametrize("text", ["short", "password1234", "break-glass-1"])
def test_an_emergency_password_follows_the_rules(db, tmp_path: Path, text: Any):
    secret = tmp_path / "secret"
    secret.write_text(text)
    with pytest.raises(CommandError):
        run("make_admin", "break-glass", "--password-file", str(secret))
    with pytest.raises(CommandError, match="cannot be read"):
        run("make_admin", "--password-file", str(tmp_path / "none"))


def test_people_of_the_directory_are_no_emergency_accounts(make_user, settings, tmp_path):
    settings.DATA_DIR = tmp_path
    Account.objects.create(user=make_user("dora"), source=Source.ADFS)
    with pytest.raises(CommandError, match="Choose another name"):
        run("make_admin", "dora")
    with pytest.raises(CommandError):
        run("make_admin", "with space")
