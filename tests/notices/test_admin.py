"""Webhooks in Django's admin: by the service, and what is secret about them is written only."""

from __future__ import annotations

from typing import Any

import pytest

from sstools.audit.models import AuditEvent
from sstools.notices.models import Delivery, DeliveryState, Notice, Webhook
from tests.factories import make_environment

pytestmark = pytest.mark.django_db
BASE = "/admin/notices/webhook/"
ADDRESS, SECRET = "https://127.0.0.1:1/hook-canary-address", "canary-signing"


@pytest.fixture
def root(make_user: Any, signed_in: Any, settings: Any) -> Any:
    settings.OUTBOUND_ALLOW = ["127.0.0.1"]
    return signed_in(make_user("root", is_superuser=True, is_staff=True))


def test_a_webhook_is_made_changed_tried_and_removed_and_shows_no_secret(root: Any) -> None:
    form = {"name": "Chat", "url": ADDRESS, "secret": SECRET, "scope": "*", "is_enabled": "on"}
    assert root.post(f"{BASE}add/", form).status_code == 302
    hook = Webhook.objects.get()
    change = f"{BASE}{hook.pk}/change/"
    pages = [root.get(address).content.decode() for address in (BASE, change, f"{BASE}{hook.pk}/history/")]
    kept = {
        "name": "Team chat",
        "url": "",
        "secret": "",
        "scope": "*",
        "events": ["job.failed"],
        "is_enabled": "on",
    }
    assert root.post(change, kept).status_code == 302
    refused = root.post(change, {**kept, "url": "http://169.254.169.254/canary"})
    assert refused.status_code == 200
    pages.append(refused.content.decode())
    hook.refresh_from_db()
    assert (hook.name, str(hook.url), str(hook.secret), hook.events) == (
        "Team chat",
        ADDRESS,
        SECRET,
        ["job.failed"],
    )
    for action in ("try_them", "switch_off"):
        pages.append(
            root.post(BASE, {"action": action, "_selected_action": [hook.pk]}, follow=True).content.decode()
        )
    assert not Webhook.objects.get().is_enabled
    assert not [page for page in pages if "canary" in page]
    delivery = Delivery.objects.get()
    Delivery.objects.update(state=DeliveryState.FAILED)
    again = {"action": "send_again", "_selected_action": [delivery.pk]}
    root.post("/admin/notices/delivery/", again)
    assert Delivery.objects.get().state == DeliveryState.WAITING
    assert root.post(f"{BASE}{hook.pk}/delete/", {"post": "yes"}).status_code == 302
    told = AuditEvent.objects.filter(action__startswith="webhook:").order_by("number")
    assert [(event.action.partition(":")[2], event.source) for event in told] == [
        (action, "admin") for action in ("create", "update", "test", "update", "again", "delete")
    ]
    assert "canary" not in "".join(str(event.data) for event in told)


def test_staff_manages_those_of_its_environment(root: Any, make_user: Any, signed_in: Any) -> None:
    dev, prod = make_environment("dev"), make_environment("prod")
    staff = signed_in(make_user("staff", "admin", on=f"environment:{dev.uuid}", is_staff=True))
    other = Webhook.objects.create(name="Of prod", url=ADDRESS, host="x", scope=f"environment:{prod.uuid}")
    own = Webhook.objects.create(name="Of dev", url=ADDRESS, host="x", scope=f"environment:{dev.uuid}")
    page = staff.get(BASE).content.decode()
    assert ("Of dev" in page, "Of prod" in page) == (True, False)
    assert staff.get(f"{BASE}{other.pk}/change/").status_code == 302
    wide = {"name": "Of dev", "url": "", "secret": "", "scope": "*", "is_enabled": "on"}
    assert "errorlist" in staff.post(f"{BASE}{own.pk}/change/", wide).content.decode()
    assert staff.get("/admin/notices/notice/").status_code == 403
    assert Notice.objects.count() == 0
