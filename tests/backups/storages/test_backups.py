"""Backups of an environment whose storage fails on the way, is damaged afterwards, or is exchanged for another."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command

from environments import models, store
from environments.backups import notices, services, taking, verifying
from environments.backups.models import Backup
from environments.backups.storages import copies, manifests, moving, named, sweeping
from environments.backups.storages.errors import StorageFull, StorageUnreachable
from environments.backups.storages.models import DocumentCopy, Manifest
from environments.models import Environment
from sstools.audit.models import AuditEvent
from sstools.jobs.models import Job, State
from tests.backups.storages.conftest import chart, make_backup
from tests.backups.storages.line import Line
from tests.backups.storages.test_copies import age
from tests.backups.test_taking import rename
from tests.factories import make_environment
from tests.fakes.superset import FakeSuperset

pytestmark = [pytest.mark.django_db]
BackUp = Callable[..., Backup]


def key_of(backup: Backup, title: str) -> str:
    held = {row.document.title: row.document_id for row in store.entries_of(backup.snapshot)}
    return DocumentCopy.objects.get(document=held[title], storage=backup.storage).key


def command(name: str, *args: str) -> tuple[int, dict[str, Any]]:
    out = StringIO()
    try:
        call_command(name, *args, "--json", stdout=out, stderr=StringIO())
    except SystemExit as exc:
        return int(exc.code or 0), json.loads(out.getvalue())
    return 0, json.loads(out.getvalue())


def test_a_backup_is_good_when_its_storage_has_all_of_it(back_up: BackUp, there: Any) -> None:
    backup = back_up(storage=there.storage)
    assert (backup.state, backup.storage) == ("good", there.storage)
    held = set(manifests.entries_of(backup.snapshot))
    assert len(there.keys("objects/")) == len({sha for *_, sha in held if sha})
    manifests.check(backup)
    again = back_up(storage=there.storage)
    assert len(there.keys("objects/")) == len(
        {sha for *_, sha in held if sha}
    )  # a night that costs its manifest
    assert len(there.keys("backups/")) == 2
    chosen = back_up(
        storage=there.storage, selection=(f"chart:{next(e[1] for e in held if e[0] == 'chart')}",)
    )
    manifests.check(chosen)
    report = verifying.verify_many([backup, again, chosen])
    assert ([one.state for one in report.checked], report.corrupt, report.unchecked) == (["good"] * 3, [], {})
    assert report.objects == len(there.keys("objects/"))  # each once


def test_the_default_storage_is_a_setting_and_one_that_is_not_set_up_is_refused(
    environment: Environment, owner: Any, folder: Any, settings: Any, run_jobs: Callable[[], int]
) -> None:
    from environments.backups.storages.errors import StorageNotSetUp

    with pytest.raises(StorageNotSetUp, match="database, folder"):
        services.request_backup(environment, actor=owner, storage="s3")
    settings.BACKUP_STORAGE = "folder"
    services.request_backup(environment, actor=owner)
    run_jobs()
    assert Backup.objects.get().storage == "folder"
    assert folder.keys("backups/")


@pytest.mark.parametrize("fault", ["stall", "reset"])
def test_a_storage_that_stops_answering_in_mid_backup_makes_that_backup_failed_and_touches_no_other(
    back_up: BackUp,
    environment: Environment,
    owner: Any,
    bucket: Any,
    line: Line,
    settings: Any,
    run_jobs: Callable[[], int],
    fault: str,
) -> None:
    settings.BACKUP_STORAGE = named.S3

    def fail(after: int) -> None:
        settings.BACKUP_STORAGE_TIMEOUT_SECONDS = 1
        line.fail(fault, after)

    def mend() -> None:
        settings.BACKUP_STORAGE_TIMEOUT_SECONDS = 10
        line.mend()

    fail(after=4)
    job = services.request_backup(environment, actor=owner)
    run_jobs()
    job = Job.objects.get(pk=job.pk)
    failed = Backup.objects.get()
    assert (failed.state, failed.error["code"]) == ("failed", "storage_unreachable")
    assert failed.error["remedy"]
    assert (job.state, job.error["code"]) == (State.FAILED, "storage_unreachable")
    assert not Manifest.objects.exists()
    mend()
    good = back_up(storage=named.S3)  # goes on with what is there
    assert verifying.verify(good).state == "good"
    # The line breaks again, for a look and for the next night: what was good stays good.
    fail(after=2)
    with pytest.raises(StorageUnreachable):
        verifying.verify(good)
    with pytest.raises(StorageUnreachable):
        back_up(storage=named.S3)
    good.refresh_from_db()
    assert (good.state, good.verification["state"]) == ("good", "good")
    code, said = command("verify_backups")
    assert (code, list(said["unchecked"]), said["backups"]) == (2, [str(good.pk)], [])
    mend()
    assert command("verify_backups")[0] == 0
    states = Backup.objects.order_by("pk").values_list("state", flat=True)
    assert list(states) == ["failed", "good", "failed"]


def test_a_full_disk_in_mid_backup_is_named_and_the_next_one_goes_on(
    back_up: BackUp, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = back_up(storage=named.FOLDER, selection=None)
    flushed, left = os.fsync, [0]

    def full(handle: int) -> None:
        if os.path.isfile(f"/proc/self/fd/{handle}"):
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flushed(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull):
        back_up(storage=named.FOLDER)
    failed = Backup.objects.latest("pk")
    assert (failed.state, failed.error["code"]) == ("failed", "storage_full")
    assert not Manifest.objects.filter(snapshot=failed.snapshot.uuid).exists()
    monkeypatch.undo()
    assert verifying.verify(first).state == "good"
    assert verifying.verify(back_up(storage=named.FOLDER)).state == "good"


@pytest.mark.both_databases
def test_what_is_damaged_or_missing_makes_exactly_the_backups_that_have_it_corrupt_and_is_named(
    there: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    monkeypatch.setattr(notices, "corrupt", lambda backup: told.append(backup.pk))
    environment = make_environment()
    shared, hurt, well = chart("Shared"), chart("Hurt"), chart("Well")
    first = make_backup(environment, shared, hurt, storage=there.storage)
    second = make_backup(environment, shared, hurt, well, storage=there.storage)
    other = make_backup(environment, shared, well, storage=there.storage)
    here = make_backup(environment, hurt, storage=named.DATABASE)
    for backup in (first, second, other):
        copies.keep_copies([sha for *_, sha in manifests.entries_of(backup.snapshot)], there.storage)
        manifests.write(backup)
    assert command("verify_backups")[0] == 0
    key = key_of(first, "Hurt")
    whole = there.read(key)
    for damage, expected in (("bit", "object_damaged"), ("gone", "object_missing")):
        if damage == "bit":
            there.write(key, whole[:60] + bytes([whole[60] ^ 1]) + whole[61:])
        else:
            there.remove(key)
        verifying.verify(first)  # nobody asked about the second one
        states = {row.pk: row.state for row in Backup.objects.all()}
        assert states == {first.pk: "corrupt", second.pk: "corrupt", other.pk: "good", here.pk: "good"}
        (problem,) = first.verification["problems"]
        assert (problem["code"], problem["title"], problem["uuid"]) == (expected, "Hurt", hurt.uuid)
        assert "Hurt" in problem["text"]
        code, said = command("verify_backups", "--environment", environment.slug)
        assert code == 1
        assert {one["number"] for one in said["backups"] if one["state"] == "corrupt"} == {
            first.pk,
            second.pk,
        }
        assert services.latest_good(environment) is None  # these are selections
        there.write(key, whole)
        assert command("verify_backups")[0] == 0
        assert set(Backup.objects.values_list("state", flat=True)) == {"good"}
    actions = AuditEvent.objects.filter(action__in=["backup:corrupt", "backup:good"]).count()
    assert actions == 8
    assert told == [first.pk, second.pk] * 2
    # Its list, in the storage and in the database.
    manifest = Manifest.objects.get(snapshot=other.snapshot.uuid)
    there.write(manifest.key, there.read(Manifest.objects.get(snapshot=first.snapshot.uuid).key))
    assert verifying.verify(other).verification["problems"][0]["code"] == "object_damaged"
    models.SnapshotEntry.objects.filter(snapshot=second.snapshot, uuid=well.uuid).delete()
    assert "list_changed" in {one["code"] for one in verifying.verify(second).verification["problems"]}
    assert command("verify_backups", str(first.pk))[0] == 0


def test_a_sample_finds_damage_and_calls_nothing_whole_that_it_did_not_see(folder: Any) -> None:
    environment = make_environment()
    documents = [chart(f"Chart {n}") for n in range(10)]
    backup = make_backup(environment, *documents, storage=named.FOLDER)
    copies.keep_copies([one.fingerprint for one in documents], named.FOLDER)
    manifests.write(backup)
    kept = {key: folder.read(key) for key in folder.keys("objects/")}
    for key in kept:
        folder.write(key, b"nonsense")
    code, said = command("verify_backups", "--sample", "20")
    assert (code, said["documents"], len(said["backups"][0]["problems"])) == (1, 2, 2)
    for key, data in kept.items():
        folder.write(key, data)
    assert command("verify_backups", "--sample", "20")[1]["backups"][0]["state"] == "corrupt"
    assert command("verify_backups")[1]["backups"][0]["state"] == "good"


@pytest.mark.both_databases
def test_backups_move_between_storages_are_proven_there_and_leave_nothing_behind(
    back_up: BackUp, folder: Any, bucket: Any, line: Line, settings: Any
) -> None:
    backup = back_up(title="whole")
    before = store.load_snapshot(backup.snapshot).documents
    settings.BACKUP_STORAGE_TIMEOUT_SECONDS = 2
    line.fail("reset", after=6)
    with pytest.raises(StorageUnreachable):
        moving.move([backup], named.S3)
    assert Backup.objects.get().storage == "database"
    line.mend()
    settings.BACKUP_STORAGE_TIMEOUT_SECONDS = (
        60  # what is written twice because it was slow would be an orphan
    )
    code, said = command("move_backups", "--to", "s3")
    total = len({sha for *_, sha in manifests.entries_of(backup.snapshot) if sha})
    assert (code, said["moved"], said["failed"]) == (0, [backup.pk], {})
    assert 0 < said["objects"] < total  # the others were there
    assert command("verify_backups")[0] == 0
    code, said = command("move_backups", "--to", "folder", "--from", "s3")
    assert (code, said["moved"], said["objects"]) == (0, [backup.pk], total)
    age()
    assert sweeping.forget_objects() >= total + 1
    assert bucket.keys("objects/") == bucket.keys("backups/") == []
    assert copies.drop_bodies() == 0  # of today: the inventory has them too
    models.Document.objects.update(body=None)
    assert store.load_snapshot(Backup.objects.get().snapshot).documents == before
    code, said = command("move_backups", "--to", "database")
    age()
    sweeping.forget_objects()
    assert folder.keys("objects/") == []
    assert store.load_snapshot(Backup.objects.get().snapshot).documents == before
    last = AuditEvent.objects.filter(action="backup:move").order_by("number").last()
    assert last is not None
    assert last.data == {
        "from": "folder",
        "to": "database",
    }


def test_a_backup_that_cannot_be_read_whole_stays_where_it_is(folder: Any, bucket: Any) -> None:
    environment = make_environment()
    hurt, well = chart("Hurt"), chart("Well")
    first = make_backup(environment, hurt, storage=named.FOLDER)
    second = make_backup(environment, well, storage=named.FOLDER)
    for backup in (first, second):
        copies.keep_copies([sha for *_, sha in manifests.entries_of(backup.snapshot)], named.FOLDER)
        manifests.write(backup)
    models.Document.objects.update(body=None)
    folder.remove(key_of(first, "Hurt"))
    code, said = command("move_backups", "--to", "s3")
    assert (code, said["moved"], list(said["failed"])) == (1, [second.pk], [str(first.pk)])
    assert "Hurt" in said["failed"][str(first.pk)]["message"]
    assert list(Backup.objects.order_by("pk").values_list("storage", flat=True)) == ["folder", "s3"]


def test_a_night_keeps_what_changed_and_old_contents_are_read_from_the_storage(
    back_up: BackUp, folder: Any, superset: FakeSuperset
) -> None:
    first = back_up(storage=named.FOLDER)
    before = store.load_snapshot(first.snapshot).documents
    rename(superset, next(row.uuid for row in store.entries_of(first.snapshot) if row.kind == "chart"))
    objects = len(folder.keys("objects/"))
    second = back_up(storage=named.FOLDER)
    assert 1 <= len(folder.keys("objects/")) - objects <= 3
    age()
    copies.drop_bodies()
    assert store.load_snapshot(first.snapshot).documents == before
    assert verifying.verify_many([first, second]).corrupt == []


def test_the_schedule_that_comes_with_it_verifies_all(
    back_up: BackUp, folder: Any, author: Any, admin: Any, run_jobs: Callable[[], int]
) -> None:
    from sstools.jobs import registry

    back_up(storage=named.FOLDER)
    spec = registry.kind(services.VERIFY_ALL).schedulable
    assert spec is not None
    assert spec.builtin is not None
    job = spec.request({}, actor=None, source="schedule", idempotency_key="x")
    run_jobs()
    job = Job.objects.get(pk=job.pk)
    assert (job.state, job.result["checked"], job.result["corrupt"]) == (State.SUCCEEDED, 1, [])
    assert spec.summary is not None
    assert spec.summary(job) == "1 backup, all whole"
    folder.remove(folder.keys("objects/")[0])
    job = services.request_verification_of_all(Environment.objects.get(), actor=author, percent=100)
    run_jobs()
    job = Job.objects.get(pk=job.pk)
    assert job.result["corrupt"] == [Backup.objects.get().pk]
    assert spec.summary(job) == "1 backup, 1 corrupt"


def test_keeping_asks_the_worker_whether_it_is_still_wanted(back_up: BackUp, folder: Any) -> None:
    class Cancelled(Exception):
        pass

    def progress(what: str, done: int, total: int) -> None:
        if what == "Keeping the documents" and total:
            raise Cancelled

    with pytest.raises(Cancelled):
        taking.take(Environment.objects.get(), taking.Asked(storage=named.FOLDER), progress)
    assert Backup.objects.get().state == "failed"


@pytest.mark.both_databases
def test_a_storage_is_sealed_anew_and_the_old_key_is_given_up(
    back_up: BackUp, folder: Any, settings: Any
) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    back_up(storage=named.FOLDER, title="plain")
    settings.BACKUP_ENCRYPTION_KEYS = [old]
    chosen = f"chart:{models.Asset.objects.filter(kind='chart')[0].uuid}"
    back_up(storage=named.FOLDER, selection=(chosen,))
    settings.BACKUP_ENCRYPTION_KEYS = [new, old]
    before = {row.pk: row for row in DocumentCopy.objects.all()}
    hurt = DocumentCopy.objects.earliest("pk")
    kept = folder.read(hurt.key)
    folder.write(hurt.key, b"x" + kept[1:])
    code, said = command("reseal_backups")
    assert (code, len(said["failed"]), said["objects"]) == (1, 1, len(before) - 1)
    folder.write(hurt.key, kept)
    code, said = command("reseal_backups", "--storage", "folder")
    assert (code, said["objects"], said["manifests"], said["failed"]) == (0, 1, 0, [])
    # Who had read the rows before finds the objects where they are now.
    assert all(isinstance(outcome, bytes) for _, outcome in copies.fetch(before.values()))
    settings.BACKUP_ENCRYPTION_KEYS = [new]
    assert command("verify_backups")[0] == 0
    assert not any(folder.read(key).startswith(b"SST1P") for key in folder.keys("objects/"))
    assert {row.key for row in DocumentCopy.objects.all()} == set(folder.keys("objects/"))
    assert len(folder.keys("backups/")) == 2


@pytest.mark.both_databases
def test_backups_come_back_out_of_a_storage_when_the_database_is_lost(
    back_up: BackUp, environment: Environment, superset: FakeSuperset, folder: Any, settings: Any
) -> None:
    settings.BACKUP_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    night = back_up(storage=named.FOLDER, title="Night")
    chart_uuid = environment.assets.filter(kind="chart")[0].uuid
    rename(superset, chart_uuid)
    newest = back_up(storage=named.FOLDER, title="Newest")
    chosen = back_up(storage=named.FOLDER, selection=(f"chart:{chart_uuid}",))
    there = (night, newest, chosen)
    digests = [row.digest for row in there]
    only_old = (
        DocumentCopy.objects.filter(document__spans__last__isnull=False, document__kind="chart")
        .values_list("key", flat=True)
        .first()
    )
    assert only_old is not None
    url = environment.url
    for model in (Manifest, DocumentCopy, models.Environment):
        model.objects.all().delete()
    models.Document.objects.all().delete()

    code, said = command("adopt_backups", "folder", "--adopt")
    assert (code, [one["into"] for one in said["backups"]], said["adopted"]) == (1, [None] * 3, {})
    here = make_environment("again", url=url)
    code, said = command("adopt_backups", "folder")
    assert (code, [one["into"] for one in said["backups"]], said["adopted"]) == (0, ["again"] * 3, {})
    assert not Backup.objects.exists()
    kept = folder.read(only_old)
    folder.write(only_old, kept[:-1])
    code, said = command("adopt_backups", "folder", "--adopt")
    assert (code, list(said["failed"]), len(said["adopted"])) == (1, [str(night.pk)], 2)
    assert said["failed"][str(night.pk)]["code"] == "object_damaged"
    folder.write(only_old, kept)
    code, said = command("adopt_backups", "folder", "--adopt", "--into", "again")
    assert (code, said["known"], list(said["adopted"])) == (0, 2, [str(night.pk)])
    found = {row.title: row for row in Backup.objects.filter(environment=here)}
    rows = [found["Night"], found["Newest"], found[""]]
    assert [row.digest for row in rows] == digests
    assert [row.whole for row in rows] == [True, True, False]
    assert command("verify_backups", "--orphans")[0] == 0
    titles = {row.document.title for row in store.entries_of(found["Night"].snapshot) if row.kind == "chart"}
    assert titles != {
        row.document.title for row in store.entries_of(found["Newest"].snapshot) if row.kind == "chart"
    }
    assert taking._begin(here, taking.Asked()).pk > max(row.pk for row in rows)  # no number is given twice
