"""Django's admin: for looking; writing goes through the service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from environments import services
from environments.models import Environment
from environments.reading import read_everything
from environments.store import take_snapshot
from sstools.audit.models import AuditEvent
from sstools.jobs.models import Job

from .conftest import PASSWORD

pytestmark = pytest.mark.django_db
BASE = "/admin/environments/"
FORM = {
    "name": "Dev",
    "slug": "dev",
    "tag": "DEV",
    "url": "http://superset.test",
    "position": "1",
    "colour": "dev",
    "auth_kind": "password",
    "username": "admin",
    "read_timeout_seconds": "60",
    "import_timeout_seconds": "600",
    "max_parallel": "2",
}


def test_every_list_and_row_opens(
    environment: Environment, owner: Any, signed_in: Callable[[Any], Client]
) -> None:
    services.run_reading(environment)
    with services.connect(environment) as client:
        snapshot = take_snapshot(environment, read_everything(client, environment), "reading")
    browser = signed_in(owner)
    rows = {
        "environment": environment.pk,
        "asset": environment.assets.all()[0].pk,
        "document": snapshot.entries.all()[0].document_id,
        "snapshot": snapshot.pk,
        "snapshotentry": snapshot.entries.all()[0].pk,
    }
    for model, pk in rows.items():
        assert browser.get(f"{BASE}{model}/").status_code == 200, model
        assert browser.get(f"{BASE}{model}/{pk}/change/").status_code == 200, model
        if model != "environment":
            assert browser.post(f"{BASE}{model}/{pk}/delete/", {"post": "yes"}).status_code == 403, model
            assert browser.get(f"{BASE}{model}/add/").status_code == 403, model


def test_registering_and_changing_go_through_the_service(
    owner: Any, signed_in: Callable[[Any], Client]
) -> None:
    browser = signed_in(owner)
    added = browser.post(f"{BASE}environment/add/", {**FORM, "secret": PASSWORD})
    assert added.status_code == 302, added.content.decode()[:2000]
    made = Environment.objects.get()
    assert str(made.secret) == PASSWORD
    assert AuditEvent.objects.latest("number").action == "environment:create"
    page = browser.get(f"{BASE}environment/{made.pk}/change/").content.decode()
    assert PASSWORD not in page
    changed = browser.post(
        f"{BASE}environment/{made.pk}/change/", {**FORM, "name": "Development", "secret": ""}
    )
    assert changed.status_code == 302
    fresh = Environment.objects.get()
    assert (fresh.name, str(fresh.secret)) == ("Development", PASSWORD)
    assert AuditEvent.objects.latest("number").action == "environment:update"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"url": "http://me:hunter2@x.test"}, "must not hold a user"),
        ({"url": "http://elsewhere.test"}, "Enter it again"),
        ({"secret_reference": "file:/etc/passwd"}, "must be in"),
    ],
)
def test_the_same_rules_hold_there(
    environment: Environment,
    owner: Any,
    signed_in: Callable[[Any], Client],
    changes: dict[str, str],
    words: str,
) -> None:
    response = signed_in(owner).post(
        f"{BASE}environment/{environment.pk}/change/", {**FORM, "secret": "", **changes}
    )
    assert response.status_code == 200
    assert words in response.content.decode()
    fresh = Environment.objects.get(pk=environment.pk)
    assert (fresh.url, fresh.secret_reference) == ("http://superset.test", "")


def test_removing_asks_for_the_slug_and_actions_ask_for_jobs(
    environment: Environment, owner: Any, signed_in: Callable[[Any], Client]
) -> None:
    browser = signed_in(owner)
    chosen = {"_selected_action": [environment.pk]}
    for action in ("test_connection", "read_inventory"):
        browser.post(f"{BASE}environment/", {"action": action, **chosen})
    jobs = list(Job.objects.order_by("pk").values_list("kind", "source"))
    assert jobs == [("environments.check", "admin"), ("environments.read_inventory", "admin")]
    address = f"{BASE}environment/{environment.pk}/delete/"
    assert f"Type {environment.slug} to remove it" in browser.get(address).content.decode()
    Job.objects.update(state="succeeded")
    for wrong in ({}, {"confirm": "other"}):
        refused = browser.post(address, {"post": "yes", **wrong}, follow=True)
        assert f"Type {environment.slug} to remove it" in refused.content.decode()
    browser.post(f"{BASE}environment/", {"action": "delete_selected", "post": "yes", **chosen})
    assert Environment.objects.filter(pk=environment.pk).exists()
    browser.post(address, {"post": "yes", "confirm": environment.slug})
    assert not Environment.objects.filter(pk=environment.pk).exists()
    gone = AuditEvent.objects.latest("number")
    assert (gone.action, gone.source) == ("environment:remove", "admin")


def test_staff_without_a_role_sees_nothing(
    environment: Environment, make_user: Callable[..., Any], signed_in: Callable[[Any], Client]
) -> None:
    browser = signed_in(make_user("staff", is_staff=True))
    assert browser.get(f"{BASE}environment/").status_code == 403
    assert browser.get(f"{BASE}environment/{environment.pk}/change/").status_code == 403
