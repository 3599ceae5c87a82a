"""Who is told of what, how often it is tried, and what never leaves."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import connection, transaction
from django.utils import timezone

from sstools.audit.models import AuditEvent
from sstools.jobs.models import Job, State
from sstools.jobs.runner import run_job
from sstools.notices import events, sending, services
from sstools.notices.models import Delivery, DeliveryState, Notice, Webhook
from sstools.roles.permissions import Permission
from tests.factories import make_environment

from .receiver import Receiver, serve

pytestmark = pytest.mark.django_db(transaction=True)
EVENT = "thing.happened"
SECRET = "canary-signing-secret"


@pytest.fixture(autouse=True)
def happening(monkeypatch: pytest.MonkeyPatch) -> None:
    known = dict(events._events)
    monkeypatch.setattr(events, "_events", known)
    events.register(EVENT, "Something happened", Permission.MIGRATION_VIEW)


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    settings.OUTBOUND_ALLOW = ["127.0.0.1"]
    made = Receiver()
    server = serve(made)
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def mails(settings: Any) -> list[Any]:
    settings.MAIL_ENABLED = True
    settings.PUBLIC_URL = "https://tools.test"
    return mail.outbox


def hook(receiver: Receiver, admin: Any, **values: Any) -> Webhook:
    return services.save_webhook(
        None,
        {"name": "chat", "url": receiver.url, "secret": SECRET, "events": [], "is_enabled": True, **values},
        actor=admin,
    )


def work() -> Job | None:
    """As a worker does what waits."""
    job = Job.objects.filter(kind=sending.KIND, state=State.QUEUED).first()
    if job is not None:
        run_job(str(job.uuid))
        job.refresh_from_db()
    return job


def later(minutes: int) -> None:
    """As if that much time had passed."""
    Delivery.objects.filter(state=DeliveryState.WAITING).update(
        next_at=timezone.now() - timedelta(seconds=1) if minutes else timezone.now()
    )
    sending.ask_for_sending()


def publish(**values: Any) -> Notice | None:
    return services.publish(EVENT, title="It happened", text="More of it.", path="/migrations/4/", **values)


# --- Who is told --------------------------------------------------------------------------------------------------


def test_one_is_mailed_of_ones_own_and_of_nothing_else(make_user: Any, mails: list[Any]) -> None:
    ann, bea = make_user("ann", "viewer", email="ann@x.test"), make_user("bea", "viewer", email="bea@x.test")
    publish(people=[ann])
    work()
    (sent,) = mails
    assert sent.to == ["ann@x.test"]
    assert sent.subject == "[ss-tools] It happened"
    assert "https://tools.test/migrations/4/" in sent.body
    assert bea.email not in sent.body


def test_who_wants_to_know_of_all_is_told_of_what_they_may_see(make_user: Any, mails: list[Any]) -> None:
    dev, prod = make_environment("dev"), make_environment("prod")
    ann = make_user("ann", "viewer", on=f"environment:{dev.uuid}", email="ann@x.test")
    services.set_wishes(ann, mine=[], others=[EVENT])
    assert publish(about=[prod]) is None
    assert publish(about=[dev]) is not None


@pytest.mark.parametrize("why", ["switched off", "no address", "does not want it"])
def test_who_is_not_mailed(make_user: Any, mails: list[Any], why: str) -> None:
    ann = make_user("ann", email="" if why == "no address" else "ann@x.test", is_active=why != "switched off")
    if why == "does not want it":
        services.set_wishes(ann, mine=[], others=[])
    assert publish(people=[ann]) is None


def test_without_a_mail_server_nothing_waits_for_ever(make_user: Any, settings: Any) -> None:
    settings.MAIL_ENABLED = False
    assert publish(people=[make_user("ann", email="ann@x.test")]) is None


def test_webhooks_by_event_and_by_environment(receiver: Receiver, admin: Any) -> None:
    dev, prod = make_environment("dev"), make_environment("prod")
    hook(receiver, admin, name="all")
    hook(receiver, admin, name="dev", scope=f"environment:{dev.uuid}")
    hook(receiver, admin, name="other event", events=["webhook.test"])
    hook(receiver, admin, name="off", is_enabled=False)

    def told(*about: Any) -> set[str]:
        notice = publish(about=about)
        assert notice is not None
        return set(notice.deliveries.values_list("webhook__name", flat=True))

    assert told(dev) == {"all", "dev"}
    assert told(prod) == {"all"}
    assert told() == {"all"}


def test_a_deed_that_is_undone_is_not_told(receiver: Receiver, admin: Any) -> None:
    hook(receiver, admin)
    with transaction.atomic():
        publish()
        transaction.set_rollback(True)
    assert not Notice.objects.exists()
    assert not Job.objects.filter(kind=sending.KIND).exists()


# --- Sending ------------------------------------------------------------------------------------------------------


def test_a_webhook_gets_words_data_and_a_signature(receiver: Receiver, admin: Any, settings: Any) -> None:
    settings.PUBLIC_URL = "https://tools.test"
    hook(receiver, admin)
    publish(data={"run": 4, "password": "canary-in-data"})
    work()
    (call,) = receiver.calls
    said = json.loads(call.body)
    assert (said["event"], said["title"], said["url"]) == (
        EVENT,
        "It happened",
        "https://tools.test/migrations/4/",
    )
    assert said["data"] == {"run": 4, "password": "***"}
    moment, mac = (part.partition("=")[2] for part in call.headers["X-SSTools-Signature"].split(","))
    expected = hmac.new(SECRET.encode(), f"{moment}.".encode() + call.body, hashlib.sha256).hexdigest()
    assert mac == expected
    assert Delivery.objects.get().state == DeliveryState.SENT


def test_what_does_not_arrive_is_tried_again_with_the_same_number(receiver: Receiver, admin: Any) -> None:
    hook(receiver, admin)
    receiver.answers = [500, 429]
    publish()
    for _ in range(3):
        work()
        later(60)
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempts, delivery.answer) == (DeliveryState.SENT, 3, "200")
    assert len({call.headers["X-SSTools-Delivery"] for call in receiver.calls}) == 1


def test_after_many_attempts_it_is_given_up_and_can_be_sent_again(receiver: Receiver, admin: Any) -> None:
    hook(receiver, admin)
    receiver.answers = [500] * (len(sending.PAUSES) + 1)
    publish()
    for _ in receiver.answers[:]:
        work()
        later(60)
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.answer) == (DeliveryState.FAILED, "answered 500: not today")
    services.send_again(delivery, actor=admin)
    work()
    delivery.refresh_from_db()
    assert delivery.state == DeliveryState.SENT


def test_one_that_does_not_answer_holds_nobody_up(receiver: Receiver, admin: Any) -> None:
    hook(receiver, admin)
    silent = hook(receiver, admin, name="gone")
    Webhook.objects.filter(pk=silent.pk).update(url="http://127.0.0.1:9/")
    publish()
    job = work()
    assert job is not None
    assert job.state == State.SUCCEEDED
    states = dict(Delivery.objects.values_list("webhook__name", "state"))
    assert states == {"chat": "sent", "gone": "waiting"}


def test_a_mail_server_that_is_away_is_a_pause(make_user: Any, mails: list[Any], settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    publish(people=[make_user("ann", email="ann@x.test")])
    work()
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempts) == (DeliveryState.WAITING, 1)
    assert "mail server" in delivery.answer


def test_a_title_cannot_add_lines_to_a_mail(make_user: Any, mails: list[Any]) -> None:
    services.publish(EVENT, title="x\nBcc: evil@x.test", people=[make_user("ann", email="ann@x.test")])
    work()
    assert mails[0].subject == "[ss-tools] x Bcc: evil@x.test"


def test_old_notices_are_forgotten_and_waiting_ones_are_not(receiver: Receiver, admin: Any) -> None:
    hook(receiver, admin)
    publish()
    work()
    publish()
    Notice.objects.update(created_at=timezone.now() - timedelta(days=sending.KEEP_DAYS + 1))
    sending.forget_old()
    assert Notice.objects.count() == 1


# --- Webhooks: pages and REST -------------------------------------------------------------------------------------


def test_the_address_and_the_secret_are_nowhere(
    receiver: Receiver, admin: Any, signed_in: Any, api: Any
) -> None:
    made = hook(receiver, admin)
    receiver.answers = [500]
    services.try_webhook(made, actor=admin)
    work()
    client, rest = signed_in(admin), api(admin)
    texts = [
        client.get(path).content.decode()
        for path in (
            "/webhooks/",
            f"/webhooks/{made.uuid}/",
            f"/webhooks/{made.uuid}/edit/",
            "/audit/",
            "/jobs/",
        )
    ]
    texts += [
        rest.get(path).content.decode() for path in ("/api/v1/webhooks/", f"/api/v1/webhooks/{made.uuid}/")
    ]
    texts += [
        str(list(AuditEvent.objects.values())),
        str(list(Job.objects.values())),
        str(list(Delivery.objects.values())),
    ]
    with connection.cursor() as cursor:
        cursor.execute("SELECT url, secret FROM notices_webhook")
        texts.append(str(cursor.fetchall()))
    for text in texts:
        assert "canary" not in text
    assert "127.0.0.1" in texts[0]


def test_by_page(receiver: Receiver, admin: Any, signed_in: Any) -> None:
    client = signed_in(admin)
    form = {"name": "chat", "url": receiver.url, "scope": "*", "is_enabled": "on", "events": [EVENT]}
    answer = client.post("/webhooks/new/", form)
    made = Webhook.objects.get()
    assert answer["Location"] == f"/webhooks/{made.uuid}/"
    client.post(f"/webhooks/{made.uuid}/try/")
    work()
    assert json.loads(receiver.calls[0].body)["event"] == "webhook.test"
    assert "arrived" in client.get(f"/webhooks/{made.uuid}/").content.decode()
    changed = client.post(
        f"/webhooks/{made.uuid}/edit/", {**form, "url": "", "name": "room", "is_enabled": ""}
    )
    assert changed.status_code == 302
    made.refresh_from_db()
    assert (made.name, made.is_enabled, str(made.url)) == ("room", False, receiver.url)
    client.post(f"/webhooks/{made.uuid}/delete/")
    assert not Webhook.objects.exists()
    actions = list(AuditEvent.objects.filter(action__startswith="webhook").values_list("action", flat=True))
    assert actions[::-1] == ["webhook:create", "webhook:test", "webhook:update", "webhook:delete"]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/x", "https://169.254.169.254/", "ftp://x", "https://nobody.invalid/"]
)
def test_an_address_that_is_not_called_is_refused_with_words(admin: Any, signed_in: Any, url: str) -> None:
    answer = signed_in(admin).post("/webhooks/new/", {"name": "x", "url": url, "scope": "*"})
    assert answer.status_code == 422
    assert not Webhook.objects.exists()


def test_by_rest(receiver: Receiver, admin: Any, api: Any) -> None:
    client = api(admin)
    made = client.post(
        "/api/v1/webhooks/", {"name": "ci", "url": receiver.url, "events": [EVENT]}, format="json"
    )
    assert made.status_code == 201, made.content
    assert (made.json()["host"], made.json()["has_secret"]) == ("127.0.0.1", False)
    address = f"/api/v1/webhooks/{made.json()['uuid']}/"
    assert client.post(f"{address}try/").status_code == 202
    work()
    assert client.get(f"{address}deliveries/").json()[0]["state"] == "sent"
    assert client.patch(address, {"secret": SECRET}, format="json").json()["has_secret"] is True
    twice = client.post("/api/v1/webhooks/", {"name": "ci", "url": receiver.url}, format="json")
    assert (twice.status_code, twice.json()["code"]) == (422, "invalid")
    assert client.delete(address).status_code == 204


def test_who_may_not(
    author: Any, make_user: Any, signed_in: Any, api: Any, receiver: Receiver, admin: Any
) -> None:
    made = hook(receiver, admin)
    assert signed_in(author).get("/webhooks/").status_code == 403
    assert api(author).get("/api/v1/webhooks/").status_code == 403
    dev = make_environment("dev")
    local = make_user("local", "admin", on=f"environment:{dev.uuid}")
    assert api(local).get(f"/api/v1/webhooks/{made.uuid}/").status_code == 404
    values = {"name": "mine", "url": receiver.url}
    assert api(local).post("/api/v1/webhooks/", values, format="json").status_code == 403
    values["scope"] = f"environment:{dev.uuid}"
    assert api(local).post("/api/v1/webhooks/", values, format="json").status_code == 201


def test_what_one_is_mailed_of_by_page_and_by_rest(viewer: Any, signed_in: Any, api: Any) -> None:
    client = signed_in(viewer)
    assert "Something happened" in client.get("/me/notices/").content.decode()
    client.post("/me/notices/", {"others": [EVENT]})
    rows = {row["event"]: row for row in api(viewer).get("/api/v1/me/notices/").json()}
    assert rows[EVENT] == {"event": EVENT, "mine": False, "others": True}
    answer = api(viewer).put(
        "/api/v1/me/notices/", [{"event": EVENT, "mine": True, "others": False}], format="json"
    )
    assert next(row for row in answer.json() if row["event"] == EVENT)["mine"] is True
    wrong = api(viewer).put(
        "/api/v1/me/notices/", [{"event": "x", "mine": True, "others": False}], format="json"
    )
    assert wrong.status_code == 422


# --- What jobs and runs tell --------------------------------------------------------------------------------------


def test_a_job_that_fails_tells_who_wants_to_know(receiver: Receiver, admin: Any) -> None:
    from sstools.jobs import services as jobs

    hook(receiver, admin, events=["job.failed"])
    job = jobs.enqueue("trial.refuse", {}, actor=admin, title="A trial")
    run_job(str(job.uuid))
    notice = Notice.objects.get()
    assert (notice.event, notice.path) == ("job.failed", f"/jobs/{job.uuid}/")
    assert notice.data["kind"] == "trial.refuse"


def test_a_job_that_asks_mails_its_owner(make_user: Any, mails: list[Any]) -> None:
    from sstools.jobs import services as jobs

    job = jobs.enqueue("trial.ask", {}, actor=make_user("ann", email="ann@x.test"), title="A trial")
    run_job(str(job.uuid))
    assert Notice.objects.get().event == "job.needs_input"


def test_a_run_tells_how_it_ended(mails: list[Any]) -> None:
    from tests.fakes.pair import fake_pair
    from tests.live.product import Product

    product = Product()
    product.admin.email = "admin@x.test"
    product.admin.save()
    with fake_pair() as pair:
        from tests.factories import uuid_for

        run = product.apply(product.migrate(pair.source, pair.target, [uuid_for("Sales")]))
    notice = Notice.objects.get(event="run.applied")
    assert notice.data | {"verdicts": None} == {
        "run": run.number,
        "migration": run.migration_id,
        "state": "applied",
        "target": pair.target.slug,
        "written": len(run.written),
        "unwritten": 0,
        "verdicts": None,
        "code": "",
    }
    assert notice.path == run.get_absolute_url()


@pytest.mark.parametrize("said", ["no {url}", "no {path}", "no team {key}", "bad signature with {secret}"])
def test_what_a_receiver_repeats_of_the_address_or_the_secret_is_not_kept(said, monkeypatch):
    key = "T024/B0/canary-of-a-chat"
    url = f"https://chat.example/services/{key}?token=canary-token"
    hook = Webhook.objects.create(name="Chat", url=url, secret=SECRET, host="chat.example")
    delivery = Delivery(notice=Notice.objects.create(event="job.failed", title="It failed"), webhook=hook)
    told = said.format(url=url, path=f"/services/{key}?token=canary-token", key=key, secret=SECRET)
    monkeypatch.setattr(sending.outbound, "post", lambda *args: (404, told))
    answer, is_sent = sending._attempt(delivery)
    assert (answer.startswith("answered 404: "), is_sent) == (True, False)
    assert "canary" not in answer
