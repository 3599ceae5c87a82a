"""Documents of backups in a folder and in a bucket: what is kept comes back, or is named."""

from __future__ import annotations

import errno
import os
import resource
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.utils import timezone

from environments import models, readings, store
from environments.backups.storages import calls, copies, manifests, named, sweeping
from environments.backups.storages.errors import (
    ObjectDamaged,
    ObjectKeyUnknown,
    ObjectMissing,
    StorageFull,
    StorageRefused,
    StorageUnreachable,
)
from environments.backups.storages.folder import FolderStorage
from environments.backups.storages.models import DocumentCopy, Manifest
from sstools.errors import Conflict
from tests.backups.storages.conftest import chart, make_backup
from tests.backups.storages.line import Line
from tests.factories import make_environment

pytestmark = [pytest.mark.django_db]
LONG_AGO = timedelta(days=3)


def keep(storage: str, *names: str) -> list[str]:
    documents = [chart(name, description=name * 50) for name in names]
    store.put_documents(documents)
    hashes = [one.fingerprint for one in documents]
    copies.keep_copies(hashes, storage)
    return hashes


def out_of_the_database(hashes: list[str]) -> None:
    models.Document.objects.filter(pk__in=hashes).update(body=None)


def key_of(sha: str) -> str:
    return DocumentCopy.objects.get(document=sha).key


@pytest.mark.both_databases
def test_what_is_kept_comes_back_and_keeping_it_again_writes_nothing(there: Any) -> None:
    documents = [chart(f"Chart {n}", description="words " * n) for n in range(12)]
    store.put_documents(documents)
    hashes = [one.fingerprint for one in documents]
    first = copies.keep_copies(hashes, there.storage)
    assert (first.objects, first.known, len(there.keys("objects/"))) == (12, 0, 12)
    assert first.bytes == sum(len(there.read(key)) for key in there.keys("objects/"))
    again = copies.keep_copies(hashes, there.storage)
    assert (again.objects, again.bytes, again.known) == (0, 0, 12)
    out_of_the_database(hashes)
    assert store.get_documents(hashes) == {one.fingerprint: one for one in documents}
    # Of today again: whoever reads it from its Superset brings it back here.
    store.put_documents(documents[:3])
    assert models.Document.objects.exclude(body=None).count() == 3


def test_with_keys_nothing_can_be_told_from_the_storage_and_old_keys_still_read(
    there: Any, settings: Any
) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    plain = keep(there.storage, "Salaries of everybody")
    settings.BACKUP_ENCRYPTION_KEYS = [old]
    sealed = keep(there.storage, "Bonus of the board")
    key = key_of(sealed[0])
    assert sealed[0] not in key
    assert plain[0] in key_of(plain[0])
    assert b"Bonus" not in there.read(key)
    assert bytes(models.Document.objects.get(pk=sealed[0]).body or b"")[:40] not in there.read(key)
    out_of_the_database(plain + sealed)
    settings.BACKUP_ENCRYPTION_KEYS = [new, old]
    assert len(store.get_documents(plain + sealed)) == 2
    newest = keep(there.storage, "Written with the new one")
    settings.BACKUP_ENCRYPTION_KEYS = [new]
    out_of_the_database(newest)
    assert len(store.get_documents(plain + newest)) == 2
    with pytest.raises(ObjectKeyUnknown, match="Bonus of the board"):
        store.get_documents(sealed)


def test_an_object_in_the_place_of_another_is_noticed(folder: Any, settings: Any) -> None:
    for keys in ([], [Fernet.generate_key().decode()]):
        settings.BACKUP_ENCRYPTION_KEYS = keys
        first, second = keep(named.FOLDER, f"First {len(keys)}", f"Second {len(keys)}")
        folder.write(key_of(first), folder.read(key_of(second)))
        out_of_the_database([first, second])
        with pytest.raises(ObjectDamaged, match="First"):
            store.get_documents([first])
        assert store.get_documents([second])


def test_a_flipped_bit_anywhere_and_a_missing_object_are_named_and_others_are_read(
    there: Any, settings: Any
) -> None:
    for keys in ([], [Fernet.generate_key().decode()]):
        settings.BACKUP_ENCRYPTION_KEYS = keys
        hurt, well = keep(there.storage, f"Revenue {len(keys)}", f"Costs {len(keys)}")
        out_of_the_database([hurt, well])
        whole = there.read(key_of(hurt))
        for place in {0, 4, 6, 20, 40, len(whole) // 2, len(whole) - 1}:
            there.write(key_of(hurt), whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises((ObjectDamaged, ObjectKeyUnknown), match="The chart “Revenue") as found:
                store.get_documents([well, hurt])
            assert found.value.detail["title"] == f"Revenue {len(keys)}"
            assert found.value.remedy
        there.write(key_of(hurt), whole[:-7])
        with pytest.raises(ObjectDamaged):
            copies.read(hurt)
        there.remove(key_of(hurt))
        with pytest.raises(ObjectMissing, match="Revenue"):
            copies.read(hurt)
        assert len(store.get_documents([well])) == 1


def test_what_went_missing_is_written_again_by_the_next_backup(there: Any, monkeypatch: Any) -> None:
    hashes = keep(there.storage, *(f"Chart {n}" for n in range(6)))
    for list_from in (1, 1000):  # by the list of all objects, and one by one
        monkeypatch.setattr(copies, "LIST_FROM", list_from)
        there.remove(key_of(hashes[0]))
        there.write(key_of(hashes[1]), b"short")
        before = {key_of(sha) for sha in hashes[:2]}
        done = copies.keep_copies(hashes, there.storage)
        assert (done.objects, done.known) == (2, 4)
        assert before.isdisjoint({key_of(sha) for sha in hashes[:2]})
        assert len(copies.read_packed(hashes)) == 6


def test_another_copy_is_read_where_one_is_bad(folder: Any, bucket: Any, line: Line) -> None:
    (sha,) = keep(named.FOLDER, "Twice")
    copies.keep_copies([sha], named.S3)
    out_of_the_database([sha])
    folder.remove(DocumentCopy.objects.get(document=sha, storage=named.FOLDER).key)
    assert copies.read(sha)
    copies.keep_copies([sha], named.DATABASE)
    line.fail("reset")
    assert store.get_documents([sha])
    out_of_the_database([sha])
    with pytest.raises(ObjectMissing):
        copies.read(sha)


def test_an_empty_place_where_the_storage_was_is_not_taken_for_it(folder: Any) -> None:
    hashes = keep(named.FOLDER, "A", "B")
    folder.root.rename(folder.root.with_name("elsewhere"))
    for make in (lambda: None, folder.root.mkdir):
        make()
        with pytest.raises(StorageUnreachable):
            copies.keep_copies(hashes, named.FOLDER)
    assert folder.keys("") == []
    folder.root.rmdir()
    folder.root.with_name("elsewhere").rename(folder.root)
    assert copies.keep_copies(hashes, named.FOLDER).known == 2
    assert (folder.root.stat().st_mode & 0o777, (folder.root / key_of(hashes[0])).stat().st_mode & 0o777) == (
        0o700,
        0o600,
    )


# --- A disk that is full --------------------------------------------------------------------------------------------


def test_a_full_disk_leaves_what_was_written_and_nothing_by_halves(
    folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [chart(f"Chart {n}") for n in range(20)]
    store.put_documents(documents)
    hashes = [one.fingerprint for one in documents]
    keep(named.FOLDER, "There before")
    left, lock = [5], threading.Lock()
    flushed = os.fsync

    def fsync(handle: int) -> None:
        if os.path.isfile(f"/proc/self/fd/{handle}"):
            with lock:
                left[0] -= 1
                if left[0] < 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flushed(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StorageFull, match="No space left") as full:
        copies.keep_copies(hashes, named.FOLDER)
    assert (full.value.code, "Make room" in full.value.remedy) == ("storage_full", True)
    monkeypatch.undo()
    written = DocumentCopy.objects.filter(document__in=hashes).count()
    deadline = time.monotonic() + 10
    while any(".unfinished" in key for key in folder.keys("")) and time.monotonic() < deadline:
        time.sleep(0.01)  # threads that were under way clean up after themselves
    assert not [key for key in folder.keys("") if ".unfinished" in key]
    done = copies.keep_copies(hashes, named.FOLDER)
    assert (done.objects, done.known) == (20 - written, written)
    assert len(copies.read_packed(hashes)) == 20


def test_a_file_that_may_not_grow_is_not_there_at_all(tmp_path: Path) -> None:
    """The kernel refuses, as it does on a full disk or over a quota."""
    storage = FolderStorage("folder", tmp_path / "backups")
    storage.put("objects/aa/before", b"x" * 100)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StorageFull):
            storage.put("objects/aa/large", b"x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [one.key for one in storage.objects("")] == ["objects/aa/before"]
    assert len(list((tmp_path / "backups" / "objects" / "aa").iterdir())) == 1


def test_a_folder_that_may_not_be_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = FolderStorage("folder", tmp_path / "not mounted" / "backups")
    with pytest.raises(StorageUnreachable, match="No such file"):
        storage.put("objects/aa/a", b"x")

    def refused(*args: Any, **fields: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("tempfile.mkstemp", refused)
    with pytest.raises(StorageRefused, match="Permission denied"):
        FolderStorage("folder", tmp_path / "b").put("objects/aa/a", b"x")


# --- A storage that does not answer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["stall", "drip", "reset"])
def test_a_bucket_that_stops_answering_is_given_up_and_what_was_written_is_found_later(
    bucket: Any, line: Line, settings: Any, fault: str
) -> None:
    settings.BACKUP_STORAGE_TIMEOUT_SECONDS = 2
    documents = [chart(f"Chart {n}") for n in range(40)]
    store.put_documents(documents)
    hashes = [one.fingerprint for one in documents]
    line.fail(fault, after=15)
    began = time.monotonic()
    with pytest.raises(StorageUnreachable) as gone:
        copies.keep_copies(hashes, named.S3)
    assert time.monotonic() - began < 20
    assert "secret" not in str(gone.value)
    line.mend()
    written = DocumentCopy.objects.count()
    assert 0 < written < 40
    done = copies.keep_copies(hashes, named.S3)
    assert (done.objects, done.known) == (40 - written, written)
    assert len(copies.read_packed(hashes)) == 40


def test_half_an_answer_is_no_object(bucket: Any, line: Line) -> None:
    (sha,) = keep(named.S3, "Large")
    out_of_the_database([sha])
    line.fail("cut")
    with pytest.raises((StorageUnreachable, ObjectDamaged)):
        store.get_documents([sha])
    line.mend()
    assert store.get_documents([sha])


def test_a_call_that_hangs_is_given_up_while_others_go_on() -> None:
    never = threading.Event()
    done: list[Any] = []
    answers = calls.each(lambda n: never.wait(60) if n == 3 else n, range(20), seconds=0.5, words="share")
    with pytest.raises(StorageUnreachable, match=r"did not answer within 0\.5 seconds"):
        done.extend(answers)
    never.set()
    assert sorted(done) == [(n, n) for n in range(20) if n != 3]


def test_a_bucket_that_refuses_says_so(bucket: Any, settings: Any) -> None:
    settings.BACKUP_S3 = {**settings.BACKUP_S3, "bucket": "nobody-made-it"}
    store.put_documents([chart("A")])
    with pytest.raises(StorageRefused, match="NoSuchBucket"):
        copies.keep_copies([chart("A").fingerprint], named.S3)


# --- Out of the database, and out of the storage --------------------------------------------------------------------


def age() -> None:
    long_ago = timezone.now() - LONG_AGO
    models.Document.objects.update(kept_at=long_ago)
    DocumentCopy.objects.update(kept_at=long_ago)
    Manifest.objects.update(stored_at=long_ago)


@pytest.mark.both_databases
def test_only_what_backups_alone_need_leaves_the_database_and_only_with_a_copy_that_was_read(
    folder: Any,
) -> None:
    environment = make_environment()
    old, used, hurt, here = (chart(name) for name in ("Old", "Used", "Hurt", "Here"))
    backup = make_backup(environment, old, used, hurt, storage=named.FOLDER)
    make_backup(environment, here, storage=named.DATABASE)
    manifests.write(backup)
    copies.keep_copies([one.fingerprint for one in (old, used, hurt, here)], named.FOLDER)
    plan = models.Snapshot.objects.create(environment=environment, reason=models.Reason.PLAN)
    models.SnapshotEntry.objects.create(
        snapshot=plan, kind="chart", uuid=used.uuid, document_id=used.fingerprint
    )
    folder.write(key_of(hurt.fingerprint), b"SST1" + b"x" * 200)
    assert copies.drop_bodies() == 0  # all of it is new
    age()
    assert copies.drop_bodies() == 1
    gone = models.Document.objects.filter(body=None).values_list("pk", flat=True)
    assert list(gone) == [old.fingerprint]
    assert store.load_snapshot(backup.snapshot).documents[old.uuid] == old
    assert readings.forget_documents() == 0


@pytest.mark.both_databases
def test_objects_go_after_their_documents_and_never_what_a_backup_needs(folder: Any) -> None:
    environment = make_environment()
    shared, alone = chart("Shared"), chart("Alone")
    first = make_backup(environment, shared, alone, storage=named.FOLDER)
    second = make_backup(environment, shared, storage=named.FOLDER)
    for backup in (first, second):
        manifests.write(backup)
    copies.keep_copies([shared.fingerprint, alone.fingerprint], named.FOLDER)
    age()
    assert copies.drop_bodies() == 2
    assert sweeping.forget_objects() == 0
    first.snapshot.delete()
    age()
    assert readings.forget_documents() == 1
    assert sweeping.forget_objects() == 2  # an object and a manifest
    assert len(folder.keys("objects/")) == len(folder.keys("backups/")) == 1
    assert store.load_snapshot(second.snapshot).documents == {shared.uuid: shared}


@pytest.mark.both_databases
def test_a_copy_that_is_the_only_place_of_a_document_stays_though_no_backup_needs_it(folder: Any) -> None:
    (sha,) = keep(named.FOLDER, "Only here")
    out_of_the_database([sha])
    age()
    assert sweeping.forget_objects() == 0
    copies.keep_copies([sha], named.DATABASE)
    assert sweeping.forget_objects() == 1


@pytest.mark.both_databases
def test_orphans_are_found_and_removed_unless_the_storage_has_backups_that_nobody_here_knows(
    folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = make_environment()
    backup = make_backup(environment, chart("A"), storage=named.FOLDER)
    copies.keep_copies([chart("A").fingerprint], named.FOLDER)
    manifests.write(backup)
    keep(named.FOLDER, "Its row was never written")
    DocumentCopy.objects.exclude(document=chart("A").fingerprint).delete()
    assert sweeping.orphans(named.FOLDER).objects == []  # too young: a backup may be writing
    monkeypatch.setattr(sweeping, "ORPHANED_AFTER", timedelta(seconds=-60))
    found = sweeping.orphans(named.FOLDER)
    assert (len(found.objects), found.unknown) == (1, [])
    # The database was lost: all of it looks like that.
    rows = list(Manifest.objects.values())
    snapshot = backup.snapshot.uuid
    Manifest.objects.all().delete()
    models.Snapshot.objects.update(uuid="00000000-0000-4000-8000-000000000000")
    lost = sweeping.orphans(named.FOLDER)
    assert [one.title for one in lost.unknown] == [f"backup {backup.pk} of {environment.name}"]
    with pytest.raises(Conflict, match="does not know"):
        sweeping.remove_orphans(lost)
    assert len(folder.keys("objects/")) == 2
    models.Snapshot.objects.update(uuid=snapshot)
    Manifest.objects.create(**rows[0])
    assert sweeping.remove_orphans(found) == 1
    assert len(folder.keys("objects/")) == 1


def test_a_storage_is_read_without_the_database(there: Any, settings: Any) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    environment = make_environment()
    one, two = chart("One"), chart("Two")
    settings.BACKUP_ENCRYPTION_KEYS = [old]
    copies.keep_copies(_kept(one), there.storage)
    settings.BACKUP_ENCRYPTION_KEYS = [new, old]
    copies.keep_copies(_kept(two), there.storage)
    backup = make_backup(environment, one, two, storage=there.storage)
    manifests.write(backup)
    manifests.write(backup)  # again: the first one goes
    assert len(there.keys("backups/")) == 1
    manifests.check(backup)
    DocumentCopy.objects.all().delete()
    Manifest.objects.all().delete()
    models.SnapshotEntry.objects.all().delete()
    models.Document.objects.all().delete()
    bare = manifests.Bare(named.get(there.storage))
    ((_, found),) = bare.manifests()
    assert isinstance(found, dict)
    assert (found["backup"]["number"], found["environment"]["slug"]) == (backup.pk, environment.slug)
    assert found["backup"]["digest"] == backup.digest
    for kind, uuid, _, sha in found["entries"]:
        assert kind == "chart"
        assert store.unpacked(sha, bare.body(sha)).decode().find(uuid) > 0


def _kept(*documents: Any) -> list[str]:
    store.put_documents(documents)
    return [one.fingerprint for one in documents]
