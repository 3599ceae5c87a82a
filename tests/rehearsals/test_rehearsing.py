"""A backup is restored where everything may be replaced, looked at, and taken away again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from migrations_app import services as migrations
from migrations_app.models import Migration, MigrationState, Pairing, RunState
from migrations_app.rehearsals import running, services
from migrations_app.rehearsals.models import Rehearsal
from migrations_app.rehearsals.scheduling import REHEARSAL
from sstools.audit.models import AuditEvent
from sstools.errors import Invalid, NotAllowed, SSToolsError
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, State
from sstools.jobs.runner import LeaseLost, run_job
from sstools.notices.models import Delivery, Webhook
from sstools.schedules import services as schedules
from tests.environments.test_reading import touch
from tests.factories import make_environment, uuid_for

from .conftest import Stage


def test_a_rehearsal_restores_compares_verifies_and_leaves_everything_as_before(stage: Stage) -> None:
    before = stage.pair.prod.state()
    backup = stage.back_up()
    row = stage.rehearse()
    assert row.error is None
    assert (row.state, row.cleanup, row.backup_number) == ("passed", "clean", backup.number)
    assert (row.compared, row.charts, row.present) == ({"equal": 4}, {"ok": 2}, 0)
    assert any("Warehouse DEV" in text and "Warehouse PROD" in text for text in row.notes)
    assert row.run is not None
    assert row.run.state == RunState.ROLLED_BACK
    assert row.roll_back is not None
    assert row.roll_back.state == MigrationState.DONE
    assert stage.pair.prod.state() == before
    actions = AuditEvent.objects.filter(action__startswith="rehearsal:").order_by("number")
    assert list(actions.values_list("action", flat=True)) == ["rehearsal:begin", "rehearsal:end"]


def test_what_stands_in_the_way_is_replaced_and_comes_back(stage: Stage) -> None:
    """Somebody else's dashboard with our address, and one of ours as somebody changed it there."""
    sandbox = stage.pair.prod
    stage.back_up()
    product = stage.product
    product.apply(product.migrate(stage.source, stage.scratch, product.uuids(stage.source, "dashboard")))
    mine = next(iter(sandbox.assets["chart"].values()))
    mine["data"]["slice_name"] = "Changed here"
    touch(sandbox, "chart", mine["data"]["uuid"])
    sandbox.add_dashboard("Theirs", charts=[], uuid=uuid_for("Theirs"), slug="sales")
    ours = {key: one["data"]["uuid"] for key, one in sandbox.assets["dashboard"].items()}
    del sandbox.assets["dashboard"][next(key for key, uuid in ours.items() if uuid == uuid_for("Sales"))]
    before = product.read(stage.scratch).documents

    row = stage.rehearse()
    assert (row.state, row.cleanup, row.compared) == ("passed", "clean", {"equal": 4}), row.error
    assert row.present == 2
    assert [text for text in row.notes if "Answered: adopt" in text]
    assert [text for text in row.notes if "Answered: take" in text]
    after = product.read(stage.scratch).documents
    assert {uuid: one.title for uuid, one in after.items()} == {
        uuid: one.title for uuid, one in before.items()
    }
    assert not Pairing.objects.exists()


def _chart_fails(stage: Stage, _: pytest.MonkeyPatch) -> None:
    stage.pair.prod.answers[uuid_for("orders")] = "no such column: amount"


def _table_is_missing(stage: Stage, _: pytest.MonkeyPatch) -> None:
    stage.pair.prod.tables[uuid_for("Warehouse PROD")] = {}
    product = stage.product
    migrations.save_mapping(
        stage.source,
        stage.scratch,
        actor=product.admin,
        databases={uuid_for("Warehouse DEV"): uuid_for("Warehouse PROD")},
    )


def _nobody_mapped_and_nothing_fits(stage: Stage, _: pytest.MonkeyPatch) -> None:
    stage.pair.prod.tables[uuid_for("Warehouse PROD")] = {}


def _somebody_edits_meanwhile(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    read, looked = running._read, []

    def edited(*args: Any) -> Any:
        if not looked:
            chart = next(iter(stage.pair.prod.assets["chart"].values()))
            chart["data"]["slice_name"] = "Edited meanwhile"
        looked.append(1)
        return read(*args)

    monkeypatch.setattr(running, "_read", edited)


@pytest.mark.parametrize(
    ("spoil", "code", "cleanup"),
    [
        (_chart_fails, "charts_fail", "clean"),
        (_table_is_missing, "not_applicable", "nothing"),
        (_nobody_mapped_and_nothing_fits, "unmapped", "nothing"),
        (_somebody_edits_meanwhile, "not_equal", "clean"),
    ],
)
def test_what_is_not_as_it_should_be_fails_it_is_told_of_and_taken_away_all_the_same(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, spoil: Any, code: str, cleanup: str
) -> None:
    Webhook.objects.create(
        name="Chat", url="https://hooks.example/x", host="hooks.example", events=["rehearsal.failed"]
    )
    stage.back_up()
    before = stage.pair.prod.state()
    spoil(stage, monkeypatch)
    row = stage.rehearse("failed")
    assert row.error is not None
    assert (row.state, row.error["code"], row.cleanup) == ("failed", code, cleanup), row.error
    assert row.error["remedy"]
    assert row.job is not None
    assert row.job.error == row.error
    assert stage.pair.prod.state() == before
    [told] = Delivery.objects.filter(notice__event="rehearsal.failed").select_related("notice")
    assert told.notice.data["code"] == code
    assert not Migration.objects.filter(state__in=("draft", "planned")).exists()


def test_only_scratch_environments_take_rehearsals(stage: Stage, make_user: Any) -> None:
    with pytest.raises(SSToolsError, match="no good backup"):
        stage.request()
    backup = stage.back_up()
    viewer = make_user("viewer", "viewer")
    with pytest.raises(NotAllowed):
        services.request_rehearsal(stage.source, stage.scratch, actor=viewer)
    other = make_environment("stage", url=stage.scratch.url.upper())
    with pytest.raises(Invalid, match="no scratch environment"):
        stage.request(backup=backup)
    other.delete()
    for field, value in (("protected", True), ("scratch", False)):
        setattr(stage.scratch, field, value)
        with pytest.raises(Invalid, match="no scratch environment"):
            stage.request()
        stage.scratch.refresh_from_db()
    stage.source.url = stage.scratch.url
    with pytest.raises(Invalid, match="the Superset that was backed up"):
        stage.request()
    assert not Job.objects.filter(kind="rehearsals.run").exists()


def test_a_cancel_takes_away_what_was_brought(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.back_up()
    before = stage.pair.prod.state()
    prove = running._prove

    def cancelled(ctx: Any, row: Rehearsal, run: Any) -> None:
        jobs.request_cancel(row.job, actor=stage.product.admin)
        prove(ctx, row, run)

    monkeypatch.setattr(running, "_prove", cancelled)
    row = stage.rehearse("cancelled")
    assert (row.state, row.cleanup) == ("cancelled", "clean")
    assert stage.pair.prod.state() == before


@pytest.mark.parametrize("where", ["_plan", "_prove", "_take_away", "_roll_back", "_end"])
def test_another_worker_goes_on_with_what_a_lost_one_began(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    stage.back_up()
    before = stage.pair.prod.state()
    job = stage.request()
    with monkeypatch.context() as patch:

        def dies(*args: Any, **kwargs: Any) -> None:
            raise LeaseLost

        patch.setattr(running, where, dies)
        run_job(str(job.uuid))
    job.refresh_from_db()
    assert job.state == State.RUNNING
    Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    stage.product.do(job)
    row = Rehearsal.objects.get()
    assert (row.state, row.cleanup, row.compared, row.charts) == ("passed", "clean", {"equal": 4}, {"ok": 2})
    assert Migration.objects.count() == 2
    assert stage.pair.prod.state() == before


def test_a_job_that_ends_without_its_handler_ends_its_rehearsal(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.back_up()
    job = stage.request()
    with monkeypatch.context() as patch:
        patch.setattr(running, "_take_away", lambda *args: (_ for _ in ()).throw(LeaseLost()))
        run_job(str(job.uuid))
    job.refresh_from_db()
    jobs.finish(
        job, State.FAILED, error={"code": "worker_lost", "message": "Its workers died.", "remedy": ""}
    )
    row = Rehearsal.objects.get()
    assert row.error is not None
    assert row.run is not None
    assert (row.state, row.cleanup, row.error["code"]) == ("failed", "left", "worker_lost")
    assert f"Roll run {row.run.number} back" in row.error["remedy"]


def test_by_a_schedule(stage: Stage) -> None:
    stage.back_up()
    schedule = schedules.create_schedule(
        {
            "name": "Rehearse weekly",
            "kind": "rehearsals.run",
            "params": {"environment": str(stage.source.uuid), "scratch": str(stage.scratch.uuid)},
            "cron": "0 4 * * sun",
            "time_zone": "UTC",
        },
        actor=stage.product.admin,
    )
    assert schedule.resource == f"environment:{stage.scratch.uuid}"
    job = stage.product.do(schedules.run_now(schedule, actor=stage.product.admin))
    row = Rehearsal.objects.get(job=job)
    assert row.state == "passed"
    assert REHEARSAL.summary is not None
    assert REHEARSAL.summary(job) == f"backup {row.backup_number}: 4 assets equal, 2 charts answer"
