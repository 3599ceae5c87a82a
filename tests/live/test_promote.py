"""Plan and apply in one request between real Supersets: it lacks a mapping, rests, is told one by name, and applies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from environments.lab.instance import RunningSuperset
from migrations_app import promoting, services
from migrations_app.models import Run, RunState
from sstools.jobs import services as jobs
from sstools.jobs.models import JobLock
from tests.live.product import Product, product

__all__ = ["product"]  # the fixture
pytestmark = [pytest.mark.live, pytest.mark.django_db(transaction=True)]


def test_what_lacks_a_mapping_waits_for_it_and_then_applies(
    product: Product, dev: RunningSuperset, fresh_target: Callable[..., RunningSuperset], run_jobs: Any
) -> None:
    source, target = product.register("dev", dev), product.register("prod", fresh_target(), protected=True)
    chosen = product.uuids(source, "dashboard", title="Video Game Sales")
    migration = services.create_migration(source, target, selection=chosen, actor=product.admin)
    job = promoting.request_promotion(migration, actor=product.admin, confirmation="prod")
    product.do(job, "needs_input")
    question = job.question or {}
    assert question["code"] == "unmapped"
    assert [row["name"] for row in question["missing"]["databases"]] == ["examples"]
    assert not JobLock.objects.exists()
    assert not Run.objects.exists()
    jobs.answer(job, {"databases": {"examples": "Warehouse PROD"}}, actor=product.admin)
    run_jobs()
    job.refresh_from_db()
    run = Run.objects.get()
    assert (job.state, run.state) == ("succeeded", RunState.APPLIED), (job.error, run.error)
    assert run.verdict_counts.get("failed", 0) == 0
    assert product.read(target).documents.keys() >= set(run.written)
