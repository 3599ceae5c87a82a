"""Several people and programs at the same moment: real threads with connections of their own, on both databases."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from threading import Lock
from typing import Any

import httpx
import pytest
from django.test import Client
from rest_framework.test import APIClient

from migrations_app import services
from migrations_app.models import FINISHED_RUNS, Migration, Run
from sstools.errors import Conflict
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, JobLock, State
from sstools.jobs.runner import run_job
from sstools.roles.tokens import create_token
from tests.factories import uuid_for
from tests.fakes.pair import FakePair, fake_pair
from tests.live.product import Product
from tests.sstools.queue import in_threads
from tests.trial import tasks

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
IMPORT = "/api/v1/assets/import/"
PEOPLE = 8


@pytest.fixture
def pair() -> Iterator[FakePair]:
    with fake_pair() as made:
        yield made


@pytest.fixture
def product(transactional_db: None) -> Product:
    return Product()


def planned(product: Product, pair: FakePair) -> Migration:
    return product.migrate(pair.source, pair.target, [uuid_for("Sales")], verify=False)


def plan_of(migration: Migration) -> str:
    assert migration.plan is not None
    return migration.plan.hash


def test_double_clicks_on_apply_make_one_run(product: Product, pair: FakePair) -> None:
    migration = planned(product, pair)

    def click(_: int) -> str:
        browser = Client()
        browser.force_login(product.admin)
        form = {"plan_hash": plan_of(migration), "plan": plan_of(migration), "confirmation": "prod"}
        answer = browser.post(f"/migrations/{migration.number}/apply/", form)
        return f"{answer.status_code} {answer.headers.get('Location', '')}"

    answers = in_threads(PEOPLE, click)
    assert answers == [f"302 /migrations/{migration.number}/verify/"] * PEOPLE
    assert (Run.objects.count(), Job.objects.filter(kind=services.APPLY).count()) == (1, 1)


def test_one_request_sent_twice_at_once_is_one_run_and_both_get_its_job(
    product: Product, pair: FakePair, make_user: Callable[..., Any]
) -> None:
    migration = planned(product, pair)
    _, token = create_token(product.admin, name="pipeline")

    def post(_: int) -> tuple[int, str]:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}", HTTP_IDEMPOTENCY_KEY="deploy-2026-11-23")
        body = {"plan_hash": plan_of(migration), "confirmation": "prod"}
        answer = client.post(f"/api/v1/migrations/{migration.uuid}/apply/", body, format="json")
        return answer.status_code, answer.json().get("uuid") or str(answer.json())

    answers = in_threads(PEOPLE, post)
    assert {status for status, _ in answers} <= {200, 202}, answers
    assert len({uuid for _, uuid in answers}) == 1, answers
    assert Run.objects.count() == 1


def test_two_people_who_apply_one_plan_share_its_run(
    product: Product, pair: FakePair, make_user: Callable[..., Any]
) -> None:
    migration = planned(product, pair)
    people = [make_user(f"lead{number}", "release_lead") for number in range(PEOPLE)]
    found = in_threads(
        PEOPLE,
        lambda index: (
            services.request_apply(
                migration, plan_hash=plan_of(migration), actor=people[index], confirmation="prod"
            ).pk
        ),
    )
    assert len(set(found)) == 1, found
    assert Run.objects.count() == 1


def test_two_migrations_to_one_target_write_one_after_the_other(product: Product, pair: FakePair) -> None:
    """Both bring the same dashboard: the second one finds that its plan no longer holds, and writes nothing."""
    migrations = [planned(product, pair) for _ in range(2)]
    asked = in_threads(
        2,
        lambda index: (
            services.request_apply(
                migrations[index],
                plan_hash=plan_of(migrations[index]),
                actor=product.admin,
                confirmation="prod",
            ).uuid
        ),
    )
    inside, most, lock = 0, 0, Lock()

    def slow(request: httpx.Request) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.2)
        with lock:
            inside -= 1

    pair.prod.misbehave("POST", IMPORT, slow, times=None)
    while Job.objects.filter(kind=services.APPLY, state=State.QUEUED).exists():
        in_threads(2, lambda index: run_job(str(asked[index])))
    states = sorted(Run.objects.values_list("state", flat=True))
    assert states == ["applied", "stopped"]
    stopped = Run.objects.get(state="stopped")
    assert stopped.error["code"] == "stale_plan"
    assert most == 1
    assert len([request for request in pair.prod.writes if IMPORT in request.url.path]) == 2
    assert not JobLock.objects.exists()


def test_a_cancel_that_races_with_the_end_is_one_or_the_other(author: Any) -> None:
    seen: Counter[str] = Counter()
    for round_ in range(30):
        tasks.ended.clear()
        job = jobs.enqueue("trial.write", {"name": f"r{round_}"}, actor=author, locks=["environment:prod"])

        def work(index: int, job: Job = job) -> str:
            if index == 0:
                return run_job(str(job.uuid))
            time.sleep(random.uniform(0, 0.03))
            try:
                return str(jobs.request_cancel(job, actor=author).state)
            except Conflict as error:
                return error.code

        ran, asked = in_threads(2, work)
        assert isinstance(ran, str), ran
        assert isinstance(asked, str), asked
        job.refresh_from_db()
        assert job.state in (State.SUCCEEDED, State.CANCELLED)
        assert job.finished_at
        assert tasks.ended == [(str(job.uuid), job.state)]  # told once
        if asked == "already_finished":
            assert job.state == State.SUCCEEDED
        if asked == State.CANCELLED:
            assert job.state == State.CANCELLED
        assert not JobLock.objects.exists()
        seen[f"{job.state} after {asked}"] += 1
    assert len(seen) > 1, seen  # the race had more than one end


def test_a_cancel_at_any_moment_of_a_run_leaves_the_target_as_the_run_says(
    product: Product, pair: FakePair
) -> None:
    seen: Counter[str] = Counter()
    for round_ in range(8):
        migration = planned(product, pair)
        job = services.request_apply(
            migration, plan_hash=plan_of(migration), actor=product.admin, confirmation="prod"
        )

        def work(index: int, job: Job = job, round_: int = round_) -> str:
            if index == 0:
                return run_job(str(job.uuid))
            time.sleep(0.05 * round_)
            try:
                return str(jobs.request_cancel(job, actor=product.admin, choice="roll_back").state)
            except Conflict as error:
                return error.code

        results = in_threads(2, work)
        assert all(isinstance(result, str) for result in results), results
        job.refresh_from_db()
        run = Run.objects.get(number=job.params["run"])
        assert job.is_finished
        assert run.state in FINISHED_RUNS
        there = any(
            record["data"]["uuid"] == uuid_for("Sales") for record in pair.prod.assets["dashboard"].values()
        )
        assert there == (run.state == "applied"), (run.state, run.error)
        assert not JobLock.objects.exists()
        seen[run.state] += 1
        if there:
            product.apply(product.roll_back(run))
            product.refresh(pair.target)
    assert len(seen) > 1, seen
