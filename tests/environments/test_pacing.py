"""Several workers and one Superset: never more at once than it may get, everybody gets a turn, a 429 stops them all.

A Keeper is what a process has one of; several in one process are as several processes to the database.
"""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.db import DatabaseError

from environments import pacing
from environments.connections import connect, connecting_through
from environments.models import Environment, Pace, Slot
from environments.pacing import Keeper, Visit
from sstools.jobs import services as jobs
from sstools.jobs.services import db_now

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.both_databases,
    pytest.mark.usefixtures("paced"),
]
HERE = "http://superset.test"


@pytest.fixture
def paced() -> Iterator[None]:
    """Clients know of one another, as outside of tests."""
    yield
    assert wait_for(lambda: not any(thread.name == "pacing" for thread in threading.enumerate()))


def wait_for(holds: Callable[[], Any], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


class Traffic:
    """Threads that send through visits, and how many were under way at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now = self.most = 0
        self.sent: dict[str, int] = {}
        self.times: list[float] = []
        self.stop = threading.Event()

    def send(self, visit: Visit, name: str = "") -> None:
        visit.enter()
        try:
            with self.lock:
                self.now += 1
                self.most = max(self.most, self.now)
                self.sent[name] = self.sent.get(name, 0) + 1
                self.times.append(time.monotonic())
            time.sleep(0.01)
        finally:
            with self.lock:
                self.now -= 1
            visit.leave()

    def keep_sending(self, visit: Visit, name: str) -> threading.Thread:
        def work() -> None:
            while not self.stop.is_set():
                self.send(visit, name)

        thread = threading.Thread(target=work, name=f"traffic {name}")
        thread.start()
        return thread


@pytest.mark.parametrize(("processes", "limit"), [(2, 2), (3, 1), (4, 2)])
def test_never_more_at_once_than_the_superset_may_get_and_everybody_gets_a_turn(
    processes, limit, monkeypatch
):
    monkeypatch.setattr(pacing, "TURN_SECONDS", 0.3)
    traffic, visits, threads = Traffic(), [], []
    for number in range(processes):
        visit = Visit(Keeper(), HERE, limit)
        visits.append(visit)
        threads += [traffic.keep_sending(visit, f"{number}") for _ in range(3)]
    try:
        assert wait_for(lambda: len(traffic.sent) == processes and min(traffic.sent.values()) > 20), (
            traffic.sent
        )
    finally:
        traffic.stop.set()
        for thread in threads:
            thread.join()
        for visit in visits:
            visit.close()
    assert traffic.most <= limit
    assert not Slot.objects.exclude(holder="").exists()


def test_one_alone_gets_all_that_there_is_and_asks_the_database_seldom(monkeypatch):
    asked = []
    monkeypatch.setattr(pacing, "db_now", lambda: asked.append(1) or db_now())
    traffic, visit = Traffic(), Visit(Keeper(), HERE, 3)
    threads = [traffic.keep_sending(visit, "") for _ in range(5)]
    assert wait_for(lambda: traffic.sent.get("", 0) > 300)
    traffic.stop.set()
    for thread in threads:
        thread.join()
    visit.close()
    assert traffic.most == 3
    assert len(asked) < 60


def test_an_idle_client_does_not_keep_others_waiting(monkeypatch):
    monkeypatch.setattr(pacing, "IDLE_SECONDS", 0.1)
    traffic, idle, busy = Traffic(), Visit(Keeper(), HERE, 1), Visit(Keeper(), HERE, 1)
    traffic.send(idle, "idle")
    traffic.send(busy, "busy")  # would wait for ever, as the other one stays open
    assert traffic.sent == {"idle": 1, "busy": 1}
    idle.close()
    busy.close()


def test_a_slot_of_a_process_that_died_is_free_after_its_lease():
    Slot.objects.create(address=HERE, number=0, holder="dead", until=db_now() + timedelta(seconds=1.5))
    traffic, visit = Traffic(), Visit(Keeper(), HERE, 1)
    started = time.monotonic()
    traffic.send(visit)
    assert time.monotonic() - started > 1
    visit.close()


def test_a_pause_stops_every_process_until_it_is_over():
    traffic, one, other = Traffic(), Visit(Keeper(), HERE, 2), Visit(Keeper(), HERE, 2)
    traffic.send(one)
    traffic.send(other)
    paused = time.monotonic()
    one.pause(3)
    assert wait_for(lambda: Pace.objects.filter(paused_until__gt=db_now()).exists())
    time.sleep(1.5 * pacing.LOOK_SECONDS)  # the other one has slots and is on its way to look
    traffic.send(other)
    traffic.send(one)
    late = Visit(Keeper(), HERE, 2)
    traffic.send(late)
    assert all(moment - paused > 2.8 for moment in traffic.times[2:])
    for visit in (one, other, late):
        visit.close()


def test_without_our_database_requests_go_out_all_the_same(monkeypatch):
    def fails() -> Any:
        raise DatabaseError("away")

    monkeypatch.setattr(pacing, "db_now", fails)
    traffic, visit = Traffic(), Visit(Keeper(), HERE, 1)
    started = time.monotonic()
    traffic.send(visit)
    assert time.monotonic() - started < 5
    visit.close()


def test_a_429_to_one_client_stops_the_other_one_and_is_told():
    environment = Environment.objects.create(
        name="prod", slug="prod", tag="prod", url=f"{HERE}/", username="a", secret="b"
    )
    other = Environment.objects.create(
        name="the same",
        slug="same",
        tag="same",
        url=HERE.upper().replace("HTTP", "http"),
        username="a",
        secret="b",
    )
    answers: list[tuple[float, int]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        status = 429 if not answers else 200
        answers.append((time.monotonic(), status))
        return httpx.Response(status, json={}, headers={"retry-after": "2"} if status == 429 else {})

    with (
        connecting_through(lambda environment: httpx.MockTransport(answer)),
        connect(environment) as one,
        connect(other) as two,
    ):
        first = threading.Thread(target=lambda: one.send_plain("GET", "/x", anonymous=True))
        first.start()
        assert wait_for(lambda: pacing.pauses([environment, other]))
        assert set(pacing.pauses([environment, other])) == {environment.pk, other.pk}
        two.send_plain("GET", "/y", anonymous=True)
        first.join()
    assert [status for _, status in answers] == [429, 200, 200]
    assert all(moment - answers[0][0] > 1.8 for moment, _ in answers[1:])


def test_the_page_of_a_running_job_says_who_asked_for_the_pause(environment, owner, signed_in, make_user):
    job = jobs.enqueue(
        "environments.check", {"environment": str(environment.uuid)}, actor=owner, about=[environment]
    )
    page = signed_in(owner)
    Pace.objects.create(address=pacing.address_of(environment), paused_until=db_now() + timedelta(minutes=1))
    words = f"Paused by {environment.name} until"
    assert words not in page.get(f"/jobs/{job.uuid}/").content.decode()  # it waits for a worker, not for that
    jobs.claim(str(job.uuid))
    assert words in page.get(f"/jobs/{job.uuid}/").content.decode()
    job.refresh_from_db()
    assert pacing.pause_notices(job, make_user("stranger")) == []
    Pace.objects.update(paused_until=db_now() - timedelta(seconds=1))
    assert words not in page.get(f"/jobs/{job.uuid}/").content.decode()
