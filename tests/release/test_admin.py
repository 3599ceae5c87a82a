"""Routes, rules and freezes in Django's admin: the services' rights, checks and history; nobody approves there."""

from __future__ import annotations

from typing import Any

import pytest

from migrations_app.release.models import Decision, FreezePeriod, Protection, Route
from sstools.audit.models import AuditEvent
from tests.factories import make_environment

pytestmark = pytest.mark.django_db
BASE = "/admin/release/"


@pytest.fixture
def root(make_user: Any, signed_in: Any) -> Any:
    return signed_in(make_user("root", is_superuser=True, is_staff=True))


def told() -> list[str]:
    rows = AuditEvent.objects.filter(source="admin").order_by("number")
    return [event.action for event in rows]


def test_a_route_is_made_changed_switched_and_removed(root: Any) -> None:
    dev, prod = make_environment("dev"), make_environment("prod")
    form = {"name": "Release", "source": dev.pk, "target": prod.pk, "approvals": "1", "is_enabled": "on"}
    assert root.post(f"{BASE}route/add/", form).status_code == 302
    route = Route.objects.get()
    assert (route.slug, route.approvals, route.created_by.username) == ("release", 1, "root")
    same = root.post(f"{BASE}route/{route.pk}/change/", {**form, "target": dev.pk})
    assert "the same environment" in same.content.decode()
    assert root.post(f"{BASE}route/{route.pk}/change/", {**form, "approvals": "2"}).status_code == 302
    root.post(f"{BASE}route/", {"action": "switch_off", "_selected_action": [route.pk]})
    route.refresh_from_db()
    assert (route.approvals, route.target, route.is_enabled) == (2, prod, False)
    assert root.post(f"{BASE}route/{route.pk}/delete/", {"post": "yes"}).status_code == 302
    assert told() == ["route:create", "route:update", "route:update", "route:delete"]


def test_rules_and_freezes_of_an_environment(root: Any) -> None:
    prod = make_environment("prod")
    rules = {
        "environment": prod.pk,
        "approvals": "1",
        "approval_hours": "24",
        "zone_name": "Europe/Berlin",
        "windows": '[{"days": [0], "start": "20:00", "end": "22:00"}]',
    }
    assert root.post(f"{BASE}protection/add/", rules).status_code == 302
    wrong = root.post(f"{BASE}protection/{prod.pk}/change/", {**rules, "zone_name": "Nowhere/Land"})
    assert "no such time zone" in wrong.content.decode()
    row = Protection.objects.get()
    assert (row.approvals, row.zone_name, row.windows[0]["start"]) == (1, "Europe/Berlin", "20:00")
    assert root.post(f"{BASE}protection/{prod.pk}/delete/", {"post": "yes"}).status_code == 403
    freeze = {
        "environment": prod.pk,
        "since_0": "2099-12-24",
        "since_1": "00:00",
        "until_0": "2100-01-02",
        "until_1": "00:00",
        "reason": "holidays",
    }
    backwards = root.post(f"{BASE}freezeperiod/add/", {**freeze, "until_0": "2099-12-01"})
    assert "ends before it begins" in backwards.content.decode()
    assert root.post(f"{BASE}freezeperiod/add/", freeze).status_code == 302
    made = FreezePeriod.objects.get()
    assert root.post(f"{BASE}freezeperiod/{made.pk}/change/", freeze).status_code == 403
    assert root.post(f"{BASE}freezeperiod/{made.pk}/delete/", {"post": "yes"}).status_code == 302
    assert told() == ["environment:protect", "environment:freeze", "environment:unfreeze"]


def test_staff_manages_what_its_roles_allow(make_user: Any, signed_in: Any) -> None:
    dev, prod = make_environment("dev"), make_environment("prod")
    staff = signed_in(make_user("staff", "admin", on=f"environment:{dev.uuid}", is_staff=True))
    Route.objects.create(name="There", slug="there", source=dev, target=prod)
    here = Route.objects.create(name="Back", slug="back", source=dev, target=dev)
    page = staff.get(f"{BASE}route/").content.decode()
    assert ("Back" in page, "There" in page) == (True, False)
    form = {"name": "To prod", "source": dev.pk, "target": prod.pk, "approvals": "0"}
    assert "errorlist" in staff.post(f"{BASE}route/add/", form).content.decode()
    assert staff.get(f"{BASE}route/{here.pk}/change/").status_code == 200
    nobody = signed_in(make_user("nobody", "viewer", is_staff=True))
    for model in ("route", "protection", "freezeperiod", "decision", "bypass"):
        assert nobody.get(f"{BASE}{model}/").status_code == 403, model


def test_nobody_approves_there(root: Any) -> None:
    assert root.get(f"{BASE}decision/").status_code == 200
    assert root.post(f"{BASE}decision/add/", {}).status_code == 403
    assert not Decision.objects.exists()
