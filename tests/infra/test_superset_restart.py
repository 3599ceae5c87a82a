"""The target Superset is killed in the middle of a migration: while planning, importing, reading back, verifying."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from django.test import Client
from django.utils.html import strip_tags

from environments.connections import connecting_through
from environments.lab.client import LabClient
from environments.lab.instance import RunningSuperset
from migrations_app import leftovers, services
from migrations_app.models import Migration, Run
from sstools.jobs.models import Job, JobLock
from sstools.jobs.runner import run_job
from tests.live.conftest import LeaseSuperset, dev, fresh_target, lab
from tests.live.product import Product, fingerprints, product

pytestmark = [pytest.mark.live]
__all__ = ["dev", "fresh_target", "lab", "product"]

SHORT = {"read_timeout_seconds": 10, "import_timeout_seconds": 30}
At = Callable[[httpx.Request], bool]


def importing(request: httpx.Request) -> bool:
    return request.method == "POST" and "/import/" in request.url.path


def listing(request: httpx.Request) -> bool:
    return request.method == "GET" and request.url.path == "/api/v1/chart/"


def exporting(request: httpx.Request) -> bool:
    return request.method == "GET" and "/export/" in request.url.path


def querying(request: httpx.Request) -> bool:
    return "/chart/data" in request.url.path


class Crashes(httpx.BaseTransport):
    """Passes everything on, and has the Superset behind it killed once, while it does a certain request.

    `after`: not before this request was seen. `delay`: seconds after the request has left whole; `back_after`: seconds
    until it is started again, None for never.
    """

    def __init__(
        self,
        superset: RunningSuperset,
        at: At,
        *,
        after: At | None = None,
        back_after: float | None,
        delay: float,
    ) -> None:
        self._real = httpx.HTTPTransport()
        self._superset, self._at, self._after = superset, at, after
        self._back_after, self._delay = back_after, delay
        self.crashed = threading.Event()
        self._left = threading.Event()
        self.revived = threading.Event()
        self.sent: list[str] = []
        self._threads: list[threading.Thread] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self._after is not None and self._after(request):
            self._after = None
        elif self._after is None and not self.crashed.is_set() and self._at(request):
            self.crashed.set()
            self._threads.append(threading.Thread(target=self._crash))
            self._threads[-1].start()
            request.extensions["trace"] = self._trace
        if importing(request):
            self.sent.append(request.url.path)
        return self._real.handle_request(request)

    def _trace(self, name: str, info: dict[str, Any]) -> None:
        """Of httpcore: what happens to the request on its way."""
        if name.endswith("send_request_body.complete"):
            self._left.set()

    def _crash(self) -> None:
        with LabClient() as lab:
            self._left.wait(60)
            threading.Event().wait(self._delay)
            lab.crash(self._superset)
            if self._back_after is not None:
                threading.Event().wait(self._back_after)
                lab.revive(self._superset)
                self.revived.set()

    def bring_back(self) -> None:
        """Whatever became of it: it answers when this returns."""
        for thread in self._threads:
            thread.join()
        if self.crashed.is_set() and not self.revived.is_set():
            with LabClient() as lab:
                lab.revive(self._superset)
            self.revived.set()


class Story:
    """A target with a plan for it, and what was there before."""

    def __init__(self, product: Product, dev: RunningSuperset, target: RunningSuperset) -> None:
        self.product, self.superset = product, target
        self.source, self.target = product.register("dev", dev), product.register("prod", target, **SHORT)
        self.before = fingerprints(product.read(self.target))
        games = product.uuids(self.source, "dashboard", title="Video Game Sales")
        self.migration: Migration = product.migrate(self.source, self.target, games)
        self.transport: Crashes | None = None

    def apply(self, at: At, **how: float | None) -> Run:
        assert self.migration.plan is not None
        job = services.request_apply(
            self.migration, plan_hash=self.migration.plan.hash, actor=self.product.admin, confirmation="prod"
        )
        self.run_through(job, at, **how)
        run = self.migration.runs.get()
        assert run.is_finished, run.state
        return run

    def run_through(self, job: Job, at: At, **how: float | None) -> None:
        transport = self.transport = Crashes(self.superset, at, **how)  # type: ignore[arg-type]
        try:
            with connecting_through(lambda environment: transport if environment == self.target else None):
                run_job(str(job.uuid))
        finally:
            transport.bring_back()
        job.refresh_from_db()
        assert transport.crashed.is_set()

    def page(self, run: Run) -> str:
        """As text, whatever the marks."""
        browser = Client()
        browser.force_login(self.product.admin)
        answer = browser.get(f"/migrations/{run.migration.number}/verify/")
        assert answer.status_code == 200
        return html.unescape(strip_tags(answer.content.decode()))

    def there(self) -> dict[str, str]:
        return fingerprints(self.product.read(self.target))

    def wanted(self, run: Run) -> set[str]:
        return {item.target_uuid for item in run.plan.items.all() if item.action in ("create", "update")}

    def is_told_truly(self, run: Run) -> None:
        """Whatever the end: what the run says is what the target shows, and connections are as before."""
        there, wanted = self.there(), self.wanted(run)
        new = set(there) - set(self.before)
        assert {uuid: there.get(uuid) for uuid in self.before} == self.before
        if run.state == "applied":
            assert new == wanted
        else:
            assert run.state in ("rolled_back", "stopped"), run.error
            assert not new


@pytest.fixture
def story(product: Product, dev: RunningSuperset, fresh_target: LeaseSuperset) -> Story:
    return Story(product, dev, fresh_target())


@pytest.fixture(autouse=True)
def patience(settings: Any) -> None:
    """A run that has written waits so long for its target: a Superset needs some ten seconds for its start."""
    settings.TARGET_PATIENCE_SECONDS = 90
    settings.WRITE_ENDS_PERCENT = 50  # of SHORT: nothing can be under way any more once it was killed


def test_killed_while_planning_the_plan_fails_and_can_be_made_again(story: Story) -> None:
    job = services.request_plan(story.migration, actor=story.product.admin)
    story.run_through(job, listing, back_after=None, delay=0)
    assert job.state == "failed"
    assert job.error["code"] == "connection_refused"
    assert "Is Superset running there" in job.error["message"]
    assert story.product.plan(story.migration).write_count
    assert story.there() == story.before


def test_killed_while_importing_and_back_after_some_seconds(story: Story) -> None:
    run = story.apply(importing, back_after=1, delay=0.1)
    assert run.state in ("applied", "rolled_back"), run.error
    story.is_told_truly(run)


def test_killed_while_importing_and_away_for_good(story: Story, settings: Any) -> None:
    settings.TARGET_PATIENCE_SECONDS = 3
    run = story.apply(importing, back_after=None, delay=0.03)
    assert run.state == "needs_attention"
    assert "cannot be asked what is there" in run.error["message"]
    page = story.page(run)
    assert "cannot be asked what is there" in page
    assert run.error["remedy"] in page
    # By now it is back: the look that was asked for says exactly what is there.
    look = Job.objects.get(kind=leftovers.LOOK)
    run_job(str(look.uuid))
    look.refresh_from_db()
    assert look.state == "succeeded"
    run.refresh_from_db()
    there = story.there()
    assert set(run.written) == story.wanted(run) & set(there)
    assert set(run.unwritten) == story.wanted(run) - set(there)
    assert not JobLock.objects.exists()


def test_killed_while_reading_back_and_back_after_some_seconds(story: Story) -> None:
    run = story.apply(exporting, after=importing, back_after=1, delay=0)
    assert run.state in ("applied", "rolled_back"), run.error
    story.is_told_truly(run)


def test_killed_while_verifying_and_away_for_good(story: Story) -> None:
    run = story.apply(querying, after=importing, back_after=None, delay=0)
    assert run.state == "applied"
    story.is_told_truly(run)
    reasons = {verdict.reason for verdict in run.verdicts.filter(status="not_checkable")}
    assert any("could not be asked" in reason for reason in reasons), reasons
    assert "could not be asked" in story.page(run)
