"""For how long backups are kept, and that what is removed is never what something else needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from environments import readings, store
from environments.backups import retention, services, spans, taking
from environments.backups.models import Backup, BackupReason, BackupState, Policy, Span
from environments.canonical.documents import Document as Canonical
from environments.models import Document, Environment, Reason, Snapshot
from migrations_app import restore_points
from migrations_app.errors import NotReady
from migrations_app.models import RunState, RunStep
from migrations_app.services import create_rollback
from sstools.audit.models import AuditEvent
from sstools.errors import Conflict, Invalid
from tests.factories import chart_document, make_environment, make_migration, make_run

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LONG_AGO = timedelta(days=400)


def chart(name: str, version: int = 0) -> Canonical:
    return chart_document(name, version=version)


def begin(environment: Environment, **fields: Any) -> Backup:
    backup = taking._begin(environment, taking.Asked())
    Backup.objects.filter(pk=backup.pk).update(**fields)
    return Backup.objects.select_related("snapshot", "environment").get(pk=backup.pk)


def night(environment: Environment, documents: dict[str, int], at: datetime | None = None) -> Backup:
    """A whole backup of charts of these names, each in that version, as taking writes it."""
    held = [chart(name, version) for name, version in documents.items()]
    store.put_documents(held)
    backup = begin(environment, **({"started_at": at} if at else {}))
    contents: dict[spans.Key, spans.Content] = {("chart", one.uuid): (1, one.fingerprint) for one in held}
    with transaction.atomic():
        taking.write_whole(backup, contents, exported_at=None, notes=[])
    return backup


def part(environment: Environment, documents: dict[str, int], reason: str = Reason.READING) -> Snapshot:
    """A snapshot with rows of its own: a reading's, or a restore point."""
    held = {chart(name, version).uuid: chart(name, version) for name, version in documents.items()}
    reading = store.EnvironmentReading(str(environment.uuid), held)
    return store.take_snapshot(environment, reading, reason)


def holds(snapshot: Snapshot) -> dict[str, int]:
    """Name -> version, every document read and checked."""
    read = store.load_snapshot(Snapshot.objects.get(pk=snapshot.pk))
    return {document.title: document.body["version"] for document in read.documents.values()}


# --- The property ---------------------------------------------------------------------------------------------

CONTENTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 3), max_size=6)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("night"), st.integers(0, 1), CONTENTS),
        st.tuples(st.just("failed"), st.integers(0, 1), CONTENTS),
        st.tuples(st.just("part"), st.integers(0, 1), CONTENTS),
        st.tuples(st.just("delete"), st.integers(0, 30), st.none()),
        st.tuples(st.just("tidy"), st.integers(0, 1), st.integers(1, 3)),
        st.tuples(st.just("collect"), st.just(0), st.none()),
    ),
    min_size=4,
    max_size=16,
)


@dataclass
class World:
    environments: list[Environment]
    expected: dict[int, dict[str, int]] = field(default_factory=dict)  # snapshot -> what it holds

    def do(self, what: str, which: int, given: Any) -> None:
        getattr(self, f"do_{what}")(which, given)

    def do_night(self, which: int, given: dict[str, int]) -> None:
        self.expected[night(self.environments[which], given).pk] = given

    def do_failed(self, which: int, given: dict[str, int]) -> None:
        store.put_documents(chart(name, version) for name, version in given.items())
        self.expected[begin(self.environments[which], state=BackupState.FAILED).pk] = {}

    def do_part(self, which: int, given: dict[str, int]) -> None:
        snapshot = part(self.environments[which], given, Reason.RESTORE_POINT)
        self.expected[services.keep_restore_point(snapshot).pk] = given

    def do_delete(self, which: int, given: None) -> None:
        if self.expected:
            number = sorted(self.expected)[which % len(self.expected)]
            with transaction.atomic():
                retention.remove(Backup.objects.select_related("snapshot").get(pk=number))
            del self.expected[number]

    def do_tidy(self, which: int, given: int) -> None:
        environment = self.environments[which]
        values = {"keep_last": given, "daily": 0, "weekly": 0, "monthly": 0, "restore_point_days": 1}
        Policy.objects.update_or_create(environment=environment, defaults=values)
        later = timezone.now() + timedelta(days=given - 1)  # 1: restore points stay; else they go
        preview = retention.preview(environment, now=later)
        gone = retention.tidy(environment, now=later)
        assert sorted(gone) == sorted(backup.pk for backup in preview.removed)
        for number in gone:
            del self.expected[number]

    def do_collect(self, which: int, given: None) -> None:
        Document.objects.update(kept_at=timezone.now() - LONG_AGO)
        readings.forget_documents()
        needed = {
            chart(name, version).fingerprint
            for held in self.expected.values()
            for name, version in held.items()
        }
        assert set(Document.objects.values_list("pk", flat=True)) == needed

    def check(self) -> None:
        rows = {row.pk: row for row in Backup.objects.select_related("snapshot")}
        assert rows.keys() == self.expected.keys()
        for number, held in self.expected.items():
            assert holds(rows[number].snapshot) == held, number
            if rows[number].is_readable:
                digest = rows[number].digest
                taking.describe(rows[number])
                assert rows[number].digest == digest
        in_spans = sorted(row.pk for row in rows.values() if row.snapshot.in_spans)
        for span in Span.objects.all():  # none is left over
            of_it = [pk for pk in in_spans if rows[pk].environment_id == span.environment_id]
            assert spans.has_any(of_it, span.first, span.last)


def test_nothing_that_is_done_to_some_backups_changes_what_the_others_hold(db: None) -> None:
    @settings(
        max_examples=25,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],  # making a failure smaller takes minutes
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(STEPS)
    def try_it(steps: list[tuple[str, int, Any]]) -> None:
        with transaction.atomic():
            world = World([make_environment(), make_environment()])
            for what, which, given_now in steps:
                world.do(what, which, given_now)
                if what in ("delete", "tidy", "collect"):
                    world.check()
            world.do("collect", 0, None)
            world.check()
            transaction.set_rollback(True)

    try_it()


# --- Rules ----------------------------------------------------------------------------------------------------


def test_rules_keep_the_last_the_daily_the_weekly_and_the_monthly_ones() -> None:
    environment = make_environment()
    nights = [night(environment, {"a": 0}, NOW - timedelta(days=days)) for days in range(120, -1, -1)]
    policy = Policy(environment=environment, keep_last=3, daily=7, weekly=4, monthly=3)
    decisions = {one.backup.pk: one for one in retention.decide(policy, environment.backups.all(), now=NOW)}
    ages = {120 - index: decisions[backup.pk] for index, backup in enumerate(nights)}
    kept = [age for age, one in sorted(ages.items()) if one.keeps]
    # 23 November 2026 is a Monday: the weeks end with days 1, 8, 15; the months with days 23 (31 October) and 54.
    assert kept == [0, 1, 2, 3, 4, 5, 6, 8, 15, 23, 54]
    assert ages[0].why == "one of the last 3"
    assert ages[5].why == "the last of 2026-11-18"
    assert ages[8].why == "the last of week 46 of 2026"
    assert ages[23].why == "the last of 2026-10"
    assert (ages[9].keeps, ages[9].why) == (False, "no rule keeps it")


def test_what_is_pinned_prolonged_needed_or_the_newest_good_one_stays() -> None:
    environment = make_environment()
    fields: list[dict[str, Any]] = [
        {},
        {"pinned": True},
        {"keep_until": NOW + timedelta(days=1)},
        {"keep_until": NOW - timedelta(days=1)},
        {"state": BackupState.CORRUPT},
        {},
        {"state": BackupState.CORRUPT},
    ]
    rows = [night(environment, {"a": 0}, NOW - timedelta(days=90 - place)) for place in range(len(fields))]
    for row, values in zip(rows, fields, strict=True):
        Backup.objects.filter(pk=row.pk).update(**values)
    old_failed = begin(environment, state=BackupState.FAILED, started_at=NOW - timedelta(days=31))
    new_failed = begin(environment, state=BackupState.FAILED, started_at=NOW - timedelta(days=29))
    policy = Policy(environment=environment, keep_last=1, daily=0, weekly=0, monthly=0)
    found = {one.backup.pk: one.keeps for one in retention.decide(policy, environment.backups.all(), now=NOW)}
    # The corrupt one at the end takes no place from the good one before it, and has its own.
    assert [found[row.pk] for row in rows] == [False, True, True, False, False, True, True]
    assert (found[old_failed.pk], found[new_failed.pk]) == (False, True)
    policy.enabled = False
    assert all(one.keeps for one in retention.decide(policy, environment.backups.all(), now=NOW))


def test_a_preview_says_what_would_be_freed_and_changes_nothing(admin: Any, viewer: Any) -> None:
    environment, other = make_environment(), make_environment()
    nights = [
        night(environment, {"a": number, "b": 0}, NOW - timedelta(days=9 - number)) for number in range(4)
    ]
    night(other, {"a": 1})  # the same document, in another environment
    part(environment, {"a": 2})
    policy = services.changed_policy(environment, {"keep_last": 1, "daily": 0, "weekly": 0, "monthly": 0})
    preview = retention.preview(environment, policy, now=NOW)
    assert [backup.pk for backup in preview.removed] == [row.pk for row in reversed(nights[:3])]
    only_there = Document.objects.get(pk=chart("a", 0).fingerprint)
    assert preview.frees == len(bytes(only_there.body))
    assert Backup.objects.count() == 5
    with pytest.raises(Invalid) as wrong:
        services.set_policy(environment, {"keep_last": 0, "tomorrow": 1}, actor=admin)
    assert set(wrong.value.errors) == {"tomorrow"}
    with pytest.raises(Invalid) as wrong:
        services.set_policy(environment, {"keep_last": 0}, actor=admin)
    assert set(wrong.value.errors) == {"keep_last"}
    services.set_policy(environment, {"keep_last": 1, "daily": 0, "weekly": 0, "monthly": 0}, actor=admin)
    assert retention.forget_backups() == 3
    assert retention.forget_backups() == 0
    kept = environment.backups.get()
    assert (kept.pk, kept.kept_by) == (nights[3].pk, "one of the last 1")


# --- Restore points -------------------------------------------------------------------------------------------


def test_a_run_whose_restore_point_is_gone_says_so(admin: Any, signed_in: Callable[[Any], Any]) -> None:
    first = make_run(make_migration())
    run = make_run(make_migration(target=first.migration.target))
    target = run.migration.target
    for one in (first, run):
        assert one.restore_point is not None
        services.keep_restore_point(one.restore_point)
        RunStep.objects.filter(run=one, name="restore_point").update(
            result={"snapshot": one.restore_point.pk}
        )
    number = run.restore_point_id
    assert number is not None
    Backup.objects.filter(environment=target).update(started_at=timezone.now() - timedelta(days=200))
    type(run).objects.filter(pk=run.pk).update(state=RunState.NEEDS_ATTENTION)
    assert retention.tidy(target) == []
    with pytest.raises(Conflict, match="needs attention"):
        services.delete_backup(Backup.objects.get(pk=number), actor=admin)
    type(run).objects.filter(pk=run.pk).update(state=RunState.APPLIED)
    assert retention.tidy(target) == [number]  # that of the first run stays: drift goes by it
    run.refresh_from_db()
    assert (run.restore_point_id, restore_points.gone_of(run)) == (None, number)
    assert restore_points.gone_of(first) is None
    with pytest.raises(NotReady) as refused:
        create_rollback(run, actor=admin)
    assert refused.value.code == "restore_point_gone"
    page = (
        signed_in(admin).get(f"/migrations/{run.migration.number}/verify/?run={run.number}").content.decode()
    )
    assert f"{number}, which is kept no longer" in page


def test_restore_points_of_before_there_were_backups_become_some() -> None:
    import importlib

    from django.apps import apps

    environment = make_environment()
    point = part(environment, {"a": 0, "b": 1}, Reason.RESTORE_POINT)
    part(environment, {"a": 0})
    make = importlib.import_module("environments.backups.migrations.0002_restore_points").make_backups
    make(apps, None)
    made = Backup.objects.get()
    assert (made.pk, made.reason, made.state) == (point.pk, BackupReason.RESTORE_POINT, "good")
    digest = made.digest
    taking.describe(made)
    assert (made.digest, made.counts, made.started_at) == (digest, {"chart": 2}, point.created_at)
    make(apps, None)
    assert Backup.objects.count() == 1


def test_an_environment_is_not_removed_with_its_backups_unless_their_number_is_confirmed(
    environment: Environment,
    owner: Any,
    back_up: Callable[..., Backup],
    client: Any,
    api: Callable[[Any], Any],
) -> None:
    services.pin(back_up(), actor=owner)
    back_up(title="chosen", selection=(f"chart:{environment.assets.filter(kind='chart')[0].uuid}",))
    client.force_login(owner)
    page, slug = f"/environments/{environment.slug}/remove/", environment.slug
    assert "2 backups (1 pinned, the newest of " in client.get(page).content.decode()
    for said in ({}, {"backups": "1"}, {"backups": "x"}):
        refused = client.post(page, {"confirm": slug, **said})
        assert refused.status_code == 409
        assert "2 backups (1 pinned" in refused.content.decode()
    rest = f"/api/v1/environments/{environment.uuid}/?confirm={slug}"
    answer = api(owner).delete(rest).json()
    assert (answer["code"], "2 backups" in answer["detail"]) == ("has_backups", True)
    admin_page = f"/admin/environments/environment/{environment.pk}/delete/"
    answered = client.post(admin_page, {"post": "yes", "confirm": slug}, follow=True)
    assert "2 backups (1 pinned" in answered.content.decode()
    assert Backup.objects.readable().count() == 2
    assert api(owner).delete(f"{rest}&backups=2").status_code == 204
    assert not Environment.objects.exists()
    assert not Span.objects.exists()
    assert AuditEvent.objects.get(action="environment:remove").data["backups"] == 2
