"""Two hundred clicks on one Apply at the same time: one run, one job, everything on the target once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from migrations_app.models import Run, RunState
from sstools.audit.models import AuditEvent
from sstools.jobs.models import Job, JobLock
from tests.fakes.pair import FakePair, fake_pair
from tests.migrations_app.test_views_way import planned
from tests.sstools.queue import in_threads

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
HANDS, CLICKS = 8, 25  # as many at once as the web server has threads


@pytest.fixture
def pair() -> Iterator[FakePair]:
    with fake_pair(protected=True) as made:
        yield made


def titles(pair: FakePair) -> Counter[str]:
    """Charts and dashboards on the target, by name."""
    kinds = (("chart", "slice_name"), ("dashboard", "dashboard_title"))
    rows = ((kind, row["data"][name]) for kind, name in kinds for row in pair.prod.assets[kind].values())
    return Counter(f"{kind} {title}" for kind, title in rows)


@pytest.mark.parametrize("by", ["page", "API with a key for each", "API with one key"])
def test_many_clicks_on_one_apply_are_one_run(
    pair: FakePair,
    signed_in: Callable[[Any], Client],
    release_lead: Any,
    run_jobs: Callable[[], int],
    by: str,
) -> None:
    lead = signed_in(release_lead)
    migration = planned(lead, run_jobs)
    assert migration.plan is not None
    body = {"plan": migration.plan.hash, "confirmation": "prod"}
    cookies = lead.cookies

    def click(hand: int) -> list[tuple[int, str]]:
        browser = Client()
        browser.cookies = cookies
        answers = []
        for number in range(CLICKS):
            if by == "page":
                response = browser.post(f"/migrations/{migration.number}/apply/", body)
            else:
                key = "one" if by.endswith("one key") else f"{hand}/{number}"
                response = browser.post(
                    f"/api/v1/migrations/{migration.uuid}/apply/",
                    {"plan_hash": body["plan"], "confirmation": "prod"},
                    content_type="application/json",
                    headers={"Idempotency-Key": key},
                )
            answers.append((response.status_code, str(response.get("Location"))))
        return answers

    answers = in_threads(HANDS, click)
    assert not [answer for answer in answers if isinstance(answer, Exception)], answers
    seen = Counter(answer for hand in answers for answer in hand)
    assert seen.total() == HANDS * CLICKS
    if (
        connection.vendor == "sqlite"
    ):  # has one writer at a time, and says so where the machine is too busy for all
        del seen[(503, "None")]
    assert len(seen) == 1, seen  # all were sent to the same place
    assert next(iter(seen))[0] == (302 if by == "page" else 202)
    assert Run.objects.count() == 1
    assert Job.objects.filter(kind="migrations_app.apply_plan").count() == 1
    assert AuditEvent.objects.filter(action="migration:apply").count() == 1

    run_jobs()
    run = Run.objects.get()
    assert (run.state, run.job and run.job.attempt) == (RunState.APPLIED, 1), run.error
    assert set(titles(pair).values()) == {1}
    assert not JobLock.objects.exists()
