"""Taking backups: what is in them, what they cost, and what becomes of those that fail."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.utils import timezone

from environments import damage, readings, store
from environments.backups import holding, retention, services, taking, verifying
from environments.backups.models import Backup, Policy, Span
from environments.canonical import reading as canonical
from environments.canonical.companions import CompanionKind
from environments.models import Document, Environment, Snapshot, SnapshotEntry
from sstools.audit.models import AuditEvent
from sstools.errors import Conflict, Invalid, NotAllowed, NotFoundError
from sstools.jobs.models import Job
from sstools.schedules.models import Firing, Schedule
from tests.environments.test_reading import LISTS, asked, touch, uuid_of
from tests.fakes.superset import FakeSuperset

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

BackUp = Callable[..., Backup]
ONE_BOARD = re.compile(r"/api/v1/dashboard/\d+")


def held(backup: Backup) -> dict[tuple[str, str], str | None]:
    """What a backup holds, by what the store says."""
    snapshot = Snapshot.objects.get(pk=backup.pk)
    rows = (store.entries_of(snapshot), store.companion_entries_of(snapshot))
    return {
        (kind, uuid): sha
        for held in rows
        for kind, uuid, sha in held.values_list("kind", "uuid", "document_id")
    }


def rename(superset: FakeSuperset, chart: str) -> None:
    touch(superset, "chart", chart)
    superset.record("chart", chart)["data"]["slice_name"] = "Another name"


def test_a_whole_backup_holds_everything_and_its_digest_is_of_that(
    back_up: BackUp, environment: Environment, superset: FakeSuperset
) -> None:
    superset.objects["css_template"][1] = {"id": 1, "template_name": "Corporate", "css": "b { }"}
    backup = Backup.objects.get(pk=back_up(title="Before the move").pk)
    assert (backup.state, backup.whole, backup.title) == ("good", True, "Before the move")
    assert {kind: backup.counts[kind] for kind in ("dashboard", "chart", "dataset", "database")} == {
        "dashboard": 2,
        "chart": 6,
        "dataset": 2,
        "database": 1,
    }
    rows = held(backup)
    assert sum(backup.counts.values()) == len(rows) > 11  # companions as well
    lines = "".join(sorted(f"{kind} {uuid} {sha}\n" for (kind, uuid), sha in rows.items()))
    assert backup.digest == hashlib.sha256(lines.encode()).hexdigest()
    assert backup.size_bytes == sum(Document.objects.get(pk=sha).size for sha in rows.values())
    assert set(backup.companions_read) == {
        kind.value for kind in CompanionKind
    }  # none is passed over in silence
    read = store.load_snapshot(backup.snapshot)
    assert (read.complete, len(read.documents)) == (True, 11)
    assert read.ids.id_of(next(iter(read.documents.values())).kind, next(iter(read.documents))) is not None
    companions = store.companions_of(backup.snapshot)
    assert len(companions) == len(rows) - 11
    assert store.latest_complete(environment) != backup.snapshot  # readings go on from readings


def test_a_second_night_costs_what_changed(
    back_up: BackUp, superset: FakeSuperset, owner: Any, django_assert_max_num_queries: Any
) -> None:
    first = back_up()
    before, rows = held(first), Span.objects.count()
    same = back_up()
    assert (Span.objects.count(), same.added_documents, same.added_bytes) == (rows, 0, 0)
    assert (held(same), same.digest) == (before, first.digest)
    chart = uuid_of(superset, "chart", "Chart 1.1")
    rename(superset, chart)
    gone = superset.id_of("dashboard", uuid_of(superset, "dashboard", "Dashboard 2"))
    superset.assets["dashboard"].pop(gone)
    third = back_up()
    assert held(third)["chart", chart] != before["chart", chart]
    assert third.counts["dashboard"] == 1
    assert (held(first), held(same)) == (before, before)  # what is past stays as it was
    assert Span.objects.count() < rows + 5
    assert (third.added_documents >= 1, third.added_bytes > 0) == (True, True)
    found = holding.versions_of({first.environment: chart}, "chart", owner)
    assert [[row.pk for row in one.backups] for one in found] == [[third.pk], [same.pk, first.pk]]
    assert len({one.sha for one in found}) == 2


def test_a_selection_holds_what_it_stands_on_and_no_more(
    back_up: BackUp, environment: Environment, superset: FakeSuperset
) -> None:
    readings.run(environment)
    board = uuid_of(superset, "dashboard", "Dashboard 1")
    backup = back_up(selection=(f"dashboard:{board}",))
    assert (backup.state, backup.whole) == ("good", False)
    assert {kind: backup.counts.get(kind) for kind in ("dashboard", "chart", "dataset", "database")} == {
        "dashboard": 1,
        "chart": 3,
        "dataset": 1,
        "database": 1,
    }
    assert not Span.objects.exists()
    assert not store.load_snapshot(backup.snapshot).complete


def test_what_could_not_be_read_is_named(
    back_up: BackUp, superset: FakeSuperset, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = uuid_of(superset, "dashboard", "Dashboard 1")
    read_one = canonical.read_dashboard

    def read_or_fail(data: Any, context: Any) -> Any:
        if context.uuid == board:
            raise ValueError("a layout that nobody understands")
        return read_one(data, context)

    monkeypatch.setattr(canonical, "read_dashboard", read_or_fail)
    refused = httpx.Response(403, json={"message": "Forbidden"})
    superset.misbehave("GET", "/api/v1/rowlevelsecurity/", refused, times=None)
    backup = back_up()
    assert backup.state == "good"
    problem = next(problem for problem in backup.problems if problem["code"] == "unreadable")
    assert (problem["uuid"], problem["title"]) == (board, "Dashboard 1")
    assert "nobody understands" in problem["text"]
    assert held(backup)["dashboard", board] is None  # it was there: nobody may conclude that it was deleted
    assert backup.counts["dashboard"] == 1
    assert "lacks the right" in backup.companions_read["rls"]
    assert backup.companions_read["owners"] == ""


def test_a_backup_that_fails_says_why_and_leaves_the_others_as_they_were(
    back_up: BackUp, superset: FakeSuperset
) -> None:
    good = back_up()
    before = held(good)
    rename(superset, uuid_of(superset, "chart", "Chart 1.1"))
    superset.misbehave("GET", "/api/v1/chart/", "refused", times=None)
    with pytest.raises(Exception, match="refuses connections"):
        back_up()
    failed = Backup.objects.exclude(pk=good.pk).get()
    assert (failed.state, held(failed), failed.counts) == ("failed", {}, {})
    assert failed.error is not None
    assert {"code", "message", "remedy"} <= set(failed.error)
    assert held(good) == before
    superset._faults.clear()
    assert back_up().state == "good"


def test_by_a_schedule_through_a_job(
    environment: Environment, owner: Any, run_jobs: Callable[[], int], author: Any, viewer: Any
) -> None:
    with pytest.raises(NotAllowed):
        services.request_backup(environment, actor=viewer)
    job = services.request_backup(environment, actor=author, title="By hand")
    assert (
        services.request_backup(environment, actor=author, title="By hand").pk != job.pk
    )  # each says something else
    plain = services.request_backup(environment, actor=author)
    assert services.request_backup(environment, actor=author).pk == plain.pk
    assert run_jobs() >= 3
    job.refresh_from_db()
    assert job.state == "succeeded", job.error
    again = taking.take(
        environment, taking.Asked(job=job.uuid)
    )  # as another worker, had this one died at the end
    assert again.pk == job.result["backup"]
    backup = services.find_backup(job.result["backup"], viewer)
    assert (backup.title, backup.reason, backup.created_by) == ("By hand", "manual", author)
    schedule = Schedule.objects.create(
        name="Nightly",
        kind=services.TAKE,
        cron="0 2 * * *",
        time_zone="UTC",
        owner=author,
        params={"environment": str(environment.uuid)},
    )
    from sstools.schedules import services as schedules

    schedules.run_now(schedule, actor=author)
    run_jobs()
    nightly = Backup.objects.latest("pk")
    assert (nightly.reason, nightly.schedule) == ("schedule", schedule.uuid)
    assert Firing.objects.get().text.startswith(f"backup {nightly.pk}: ")


def test_a_job_that_ends_otherwise_leaves_no_running_backup(environment: Environment, author: Any) -> None:
    job = services.request_backup(environment, actor=author)
    backup = taking._begin(environment, taking.Asked(job=job.uuid))
    assert (
        taking._begin(environment, taking.Asked(job=job.uuid)).pk == backup.pk
    )  # another worker goes on with it
    from sstools.jobs import services as jobs

    Job.objects.filter(pk=job.pk)
    jobs.request_cancel(job, actor=author)
    backup.refresh_from_db()
    assert (backup.state, backup.error["code"]) == ("failed", "cancelled")


def test_selections_that_name_nothing_are_refused(environment: Environment, author: Any) -> None:
    for selection in ([], ["dashboard"], ["dashboard:00000000-0000-4000-8000-000000000000"]):
        with pytest.raises(Invalid):
            services.request_backup(environment, actor=author, selection=selection)
    assert not Job.objects.exists()


def test_verification_names_what_is_damaged_and_sees_when_it_is_mended(back_up: BackUp) -> None:
    backup = back_up()
    kind, uuid = "chart", store.entries_of(backup.snapshot).filter(kind="chart").first().uuid
    sha = held(backup)[kind, uuid]
    body = bytes(Document.objects.get(pk=sha).body)
    flipped = bytearray(body)
    flipped[len(flipped) // 2] ^= 1
    Document.objects.filter(pk=sha).update(body=bytes(flipped))
    assert verifying.verify(backup).state == "corrupt"
    assert [problem["uuid"] for problem in backup.verification["problems"]] == [uuid]
    assert services.latest_good(backup.environment) is None
    Document.objects.filter(pk=sha).update(body=body)
    assert verifying.verify(backup).state == "good"
    assert backup.verification["checked"] == sum(backup.counts.values())


def test_pinning_deleting_and_who_may(
    back_up: BackUp, author: Any, release_lead: Any, admin: Any, stranger: Any
) -> None:
    backup = back_up()
    with pytest.raises(NotFoundError):
        services.find_backup(backup.pk, stranger)
    with pytest.raises(NotAllowed):
        services.pin(backup, actor=author)
    services.pin(backup, actor=release_lead, reason="Before the upgrade")
    with pytest.raises(NotAllowed):
        services.delete_backup(backup, actor=release_lead)
    with pytest.raises(Conflict, match="pinned"):
        services.delete_backup(backup, actor=admin)
    services.unpin(backup, actor=admin)
    services.delete_backup(backup, actor=admin)
    assert not Backup.objects.exists()
    assert not Span.objects.exists()
    actions = AuditEvent.objects.filter(object_name=f"backup:{backup.pk}").values_list("action", flat=True)
    assert sorted(actions) == ["backup:delete", "backup:pin", "backup:unpin"]


def test_a_quota_that_refuses_is_asked_before_anything_is_read_and_one_that_warns_warns(
    back_up: BackUp, environment: Environment, author: Any, run_jobs: Callable[[], int]
) -> None:
    back_up()
    taken = retention.usage(environment)
    assert taken.size > 1000
    assert not taken.is_over
    policy = Policy.objects.create(environment=environment, quota_bytes=taken.size, quota_action="refuse")
    with pytest.raises(Conflict) as refused:
        services.request_backup(environment, actor=author)
    assert refused.value.code == "quota"
    Policy.objects.filter(pk=policy.pk).update(quota_action="warn")
    job = services.request_backup(environment, actor=author)
    assert run_jobs() == 1
    assert job.logs.filter(level="warning", fields__code="over_quota").exists()


def test_lists_are_asked_once_and_themes_only_of_dashboards_that_changed(
    back_up: BackUp, superset: FakeSuperset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damage, "look_if_it_answers", lambda *args: None)  # it asks for dashboards as well
    boards = [uuid_of(superset, "dashboard", f"Dashboard {number}") for number in (1, 2)]
    theme = superset.make("theme", {"theme_name": "Night", "json_data": "{}"})
    other = superset.make("theme", {"theme_name": "Day", "json_data": "{}"})

    def use(board: str, number: int) -> None:
        touch(superset, "dashboard", board)
        superset.record("dashboard", board)["data"]["theme_uuid"] = superset.objects["theme"][number]["uuid"]

    def themes(backup: Backup) -> dict[str, str]:
        facets = store.companions_of(Snapshot.objects.get(pk=backup.pk)).values()
        return {
            one.asset[1]: one.body["theme"]["name"] for one in facets if one.kind == "theme_use" and one.asset
        }

    use(boards[0], theme)
    for board in boards:  # long ago, by the server's clock
        superset.record("dashboard", board)["changed_on"] -= timedelta(hours=2)
    assert themes(back_up()) == {boards[0]: "Night"}
    earlier = timezone.now() - timedelta(hours=1)  # than what was exported last for that backup
    SnapshotEntry.objects.filter(uuid__in=boards).update(exported_at=earlier)
    asked(superset)
    assert themes(back_up()) == {boards[0]: "Night"}
    paths = asked(superset)
    assert [path for path in paths if path in LISTS[:3]] == LISTS[:3]
    assert not [path for path in paths if ONE_BOARD.fullmatch(path)]
    use(boards[1], other)
    assert themes(back_up()) == {boards[0]: "Night", boards[1]: "Day"}
    singly = [path for path in asked(superset) if ONE_BOARD.fullmatch(path)]
    assert singly == [f"/api/v1/dashboard/{superset.id_of('dashboard', boards[1])}"]
    del superset.objects["theme"][theme]
    superset.record("dashboard", boards[0])["data"]["theme_uuid"] = (
        None  # as the database does, without an edit
    )
    assert themes(back_up()) == {boards[1]: "Day"}
