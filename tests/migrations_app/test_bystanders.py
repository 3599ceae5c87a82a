"""Charts outside the plan that stand on a dataset which a run changes: they ran before, so they must run after."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from migrations_app import bystanders, services
from migrations_app.applying import reading
from migrations_app.management.texts import red_count, run_text
from migrations_app.models import Bystander, Migration, Run, RunState
from sstools.jobs.models import Job
from sstools.jobs.runner import run_job
from tests.factories import uuid_for
from tests.fakes.pair import FakePair, column, fake_pair
from tests.live.product import Product

from .test_faults import dies, queue_apply, resumed

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def pair() -> Iterator[FakePair]:
    with fake_pair() as made:
        yield made


@pytest.fixture
def product(transactional_db: None) -> Product:
    return Product()


def changed_dataset(product: Product, pair: FakePair, charts: int = 1, **fields: Any) -> Migration:
    """Prod has Sales and charts of its own on its dataset, which the next migration changes."""
    product.apply(product.migrate(pair.source, pair.target, [uuid_for("Sales")]))
    for number in range(charts):
        pair.prod.add_chart(
            f"Own {number}",
            dataset=uuid_for("orders"),
            uuid=uuid_for(f"Own {number}"),
            params={"query_mode": "raw", "all_columns": ["region"], "row_limit": 100},
        )
    orders = pair.dev.record("dataset", uuid_for("orders"))
    orders["data"]["columns"].append(column("net", "INTEGER"))
    orders["changed_on"] = timezone.now()
    pair.read()
    return product.migrate(pair.source, pair.target, [uuid_for("Sales")], **fields)


def answers(pair: FakePair, after: Any, before: Any = None) -> list[bool]:
    """What prod says to its own charts: columns region and n, until its dataset was written. True: it was by then."""
    asked: list[bool] = []
    rows = [{"region": "north", "n": 1}]

    def answer(payload: Any) -> Any:
        if payload["queries"][0]["columns"] != ["region"]:
            return rows  # a chart of the plan
        columns = pair.prod.record("dataset", uuid_for("orders"))["data"]["columns"]
        asked.append(any(row["column_name"] == "net" for row in columns))
        return after if asked[-1] else before or rows

    pair.prod.answers[uuid_for("orders")] = answer
    pair.dev.answers[uuid_for("orders")] = rows
    return asked


def apply(product: Product, migration: Migration) -> tuple[Job, Run]:
    job = queue_apply(product, migration)
    run_job(str(job.uuid))
    job.refresh_from_db()
    return job, Run.objects.get(migration=migration)


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        ("no such column: n", "It ran before: no such column: n"),
        ([{"region": "north"}], "It answers without the column n."),
    ],
)
def test_one_that_no_longer_runs_is_red_and_undoes_the_run_where_the_migration_says_so(
    product: Product, pair: FakePair, after: Any, reason: str, signed_in: Any
) -> None:
    migration = changed_dataset(product, pair, roll_back_when_red=True)
    asked = answers(pair, after)
    _, run = apply(product, migration)
    assert asked == [False, True]
    row = run.bystanders.get()
    assert (row.title, row.status, row.reason) == ("Own 0", "failed", reason)
    assert run.state == RunState.ROLLED_BACK
    assert "1 chart fails outside the plan that ran on Prod before" in (run.error or {})["message"]
    assert run.verdict_counts == {"ok": 2}  # those of the plan are shown apart, and are well
    assert "net" not in {
        row["column_name"] for row in pair.prod.record("dataset", uuid_for("orders"))["data"]["columns"]
    }
    page = signed_in(product.admin).get(f"/migrations/{migration.number}/verify/").text
    assert "Charts outside the plan" in page
    assert reason in page


def test_without_that_option_the_run_stays_and_says_it_everywhere(
    product: Product, pair: FakePair, signed_in: Any
) -> None:
    migration = changed_dataset(product, pair)
    answers(pair, "no such column: n")
    _, run = apply(product, migration)
    assert run.state == RunState.APPLIED
    assert red_count(run, strict=False) == 1
    assert "failed: Own 0 (table): It ran before: no such column: n" in run_text(run)
    client: Client = signed_in(product.admin)
    assert "1 chart fails there" in client.get(f"/migrations/{migration.number}/verify/").text
    data = client.get(f"/api/v1/runs/{run.uuid}/").json()["bystanders"]
    assert [(row["status"], row["before"]["columns"]) for row in data] == [("failed", [["region", "n"]])]
    answers(pair, [{"region": "north", "n": 2}])  # mended; verifying again sees it
    product.do(services.request_verification(run, actor=product.admin))
    run.refresh_from_db()
    assert "  charts outside the plan: 1 ok" in run_text(run)
    assert run.bystanders.get().status == "ok"


def test_what_was_broken_before_is_nobodys_fault_and_what_runs_on_is_ok(
    product: Product, pair: FakePair
) -> None:
    migration = changed_dataset(product, pair, roll_back_when_red=True)
    answers(pair, "still broken", before="broken")
    _, run = apply(product, migration)
    assert run.state == RunState.APPLIED
    assert run.bystanders.get().status == "was_broken"


def test_a_worker_that_goes_on_after_a_write_finds_what_was_said_before(
    product: Product, pair: FakePair
) -> None:
    migration = changed_dataset(product, pair)
    asked = answers(pair, "no such column: n")
    job = queue_apply(product, migration)
    pair.prod.misbehave("POST", "/api/v1/assets/import/", lambda _: pair.prod.misbehave("GET", "/", dies))
    run_job(str(job.uuid))
    assert resumed(job).state == "succeeded"
    assert asked == [False, True]
    assert Bystander.objects.get().status == "failed"


def test_no_more_than_a_number_are_asked_and_it_is_said(
    product: Product, pair: FakePair, monkeypatch: pytest.MonkeyPatch, signed_in: Any
) -> None:
    monkeypatch.setattr(bystanders, "MOST", 2)
    monkeypatch.setattr(
        reading, "SMALL_ESTATE", 0
    )  # a target of which a run exports only what the plan names
    migration = changed_dataset(product, pair, charts=3)
    asked = answers(pair, [{"region": "north", "n": 2}])
    _, run = apply(product, migration)
    assert sorted(asked) == [False, False, True, True]
    assert {row.status for row in run.bystanders.all()} == {"ok"}
    assert (
        "1 further chart outside the plan was not asked"
        in signed_in(product.admin).get(f"/migrations/{migration.number}/verify/").text
    )
    assert run.job is not None
    assert run.job.logs.filter(text__contains="1 of 3 charts outside the plan").exists()
