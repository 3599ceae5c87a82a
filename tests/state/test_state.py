"""ss-tools is lost and brought back: by its own two commands, to a file that holds all that people entered."""

from __future__ import annotations

import itertools
import json
import resource
import shutil
import signal
import zipfile
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import models

from environments.backups import taking
from environments.backups.models import Backup, Policy
from environments.backups.storages.models import DocumentCopy
from environments.canonical.companions import Companion, CompanionKind
from environments.connections import connect, connecting_through
from environments.models import Document, Environment, Reason, Snapshot, SnapshotCompanion
from environments.reading import read_everything
from environments.store import get_documents, latest_complete, load_snapshot, put_documents, take_snapshot
from migrations_app.drift.models import Watch
from migrations_app.estate.models import SavedView
from migrations_app.models import Baseline, CompanionBaseline, Mapping
from migrations_app.release.models import Protection, Route
from sstools.audit.models import AuditEvent
from sstools.errors import SSToolsError
from sstools.notices.models import Webhook, Wish
from sstools.roles.accounts import OPERATOR
from sstools.roles.models import ApiToken, Grant
from sstools.schedules.models import Schedule
from sstools.signin.models import Identity
from sstools.state.exporting import export_state
from sstools.state.files import StateError
from sstools.state.tables import is_known, references, tables
from sstools.web.models import Preference
from tests.factories import make_environment, uuid_for
from tests.fakes.pair import FakePair, fake_pair
from tests.live.product import Product, actions
from tests.permission_world import _things

PASSPHRASE = "correct horse battery staple"
_numbers = itertools.count(1)


# --- What is in it ----------------------------------------------------------------------------------------------------


def test_every_table_is_in_the_state_or_left_out_for_a_reason() -> None:
    """A new model: add it to the `state.py` of its app, with `table` or `leave_out`."""
    ours = [
        model
        for model in apps.get_models(include_auto_created=True)
        if not model.__module__.startswith("tests.")
    ]
    assert [model._meta.label for model in ours if not is_known(model)] == []


def test_nothing_in_the_state_needs_what_is_not_in_it() -> None:
    lost = [
        f"{one.name}.{name}"
        for one in tables()
        for name, column in one.fields.items()
        if column.is_relation and not column.null and name not in references(one)
    ]
    assert lost == []


# --- Lost and brought back --------------------------------------------------------------------------------------------


@pytest.fixture
def pair(transactional_db: None) -> Iterator[FakePair]:
    """Their Supersets are found by name: rows that were brought back have other numbers."""
    with fake_pair() as made:
        fakes = {"dev": made.dev, "prod": made.prod}
        with connecting_through(lambda environment: fakes[environment.slug]):
            yield made


def run(command: str, *args: Any, **options: Any) -> str:
    out = StringIO()
    call_command(command, *map(str, args), stdout=out, stderr=StringIO(), **options)
    return out.getvalue()


def lose_everything() -> None:
    call_command("flush", interactive=False, verbosity=0)
    assert not Environment.objects.exists()


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text(PASSPHRASE + "\n")
    return path


def fill(admin: Any, things: dict[str, Any]) -> None:
    """A row of each table that the world of all pages does not need."""
    SavedView.objects.create(user=admin, page="web:home", name="Mine", query="env=prod")
    Preference.objects.create(user=admin, theme="dark")
    Wish.objects.create(user=admin, event="run.applied", mine=False)
    Identity.objects.create(user=admin, issuer="https://fs.example", subject="7", name="root@corp")
    Watch.objects.create(route=things["route"], user=admin)
    rules = Protection.objects.create(environment=things["zebra"], approvals=2)
    Policy.objects.create(environment=things["zebra"], keep_last=3)
    for approvers in (things["route"], rules):
        approvers.users.add(admin)
        approvers.groups.add(things["group"])
    things["route"].webhooks.add(things["webhook"])
    CompanionBaseline.objects.create(
        target=things["zebra"], kind="owners", uuid=uuid_for("owners"), title="owners of “Zebra sales”"
    )
    layer = Companion.of(CompanionKind.ANNOTATION_LAYER, {"name": "Holidays"})
    put_documents([layer])
    SnapshotCompanion.objects.create(
        snapshot=latest_complete(Environment.objects.get(slug="prod")),
        kind=layer.kind,
        uuid=layer.uuid,
        document_id=layer.fingerprint,
    )


def content_of(path: Path) -> dict[str, list[str]]:
    """What a file says, whatever numbers its rows have in their database: foreign keys as the keys of what they are of.

    Without moments that are those of the writing.
    """
    known = {one.name: one for one in tables()}
    keys: dict[tuple[str, Any], Any] = {}
    found: dict[str, list[str]] = {}
    with zipfile.ZipFile(path) as file:
        inside = {part["name"]: part for part in json.loads(file.read("manifest.json"))["tables"]}
        for name, one in known.items():
            if name not in inside:
                continue
            leads, rows = references(one), []
            for line in file.read(inside[name]["file"]).decode().splitlines():
                row = dict(zip(inside[name]["columns"], json.loads(line), strict=True))
                pk = row[one.pk]
                for column, model in leads.items():
                    row[column] = keys.get((model._meta.label_lower, row[column]))
                keys[name, pk] = [row[column] for column in one.key]
                if isinstance(one.model._meta.pk, models.AutoField) and not one.numbers:
                    del row[one.pk]
                row.pop("updated_at", None)
                for secret in one.secrets & row.keys():
                    row[secret] = bool(row[secret])
                rows.append(json.dumps(row, sort_keys=True))
            found[name] = sorted(rows)
    return found


@pytest.mark.both_databases
def test_ss_tools_is_lost_and_brought_back_and_then_there_is_nothing_to_do(
    pair: FakePair, tmp_path: Path, passphrase: Path
) -> None:
    product = Product()
    selection = product.uuids(pair.source, "dashboard")
    product.apply(product.migrate(pair.source, pair.target, selection))
    pair.read()
    things = _things(
        make_environment("stage"), make_environment("zebra"), get_user_model().objects.create_user
    )
    fill(product.admin, things)
    backup = taking.take(pair.target, taking.Asked())
    before = load_snapshot(backup.snapshot)
    mapping = Mapping.objects.get()

    file = tmp_path / "state.zip"
    said = run("export_state", file, with_secrets=True, passphrase_file=str(passphrase))
    fingerprint = said.rsplit(maxsplit=1)[-1]
    assert file.stat().st_mode & 0o777 == 0o600
    lose_everything()
    get_user_model().objects.create_superuser("admin", password="made by the first start")
    run("import_state", file, fingerprint=fingerprint, passphrase_file=str(passphrase))
    again = tmp_path / "again.zip"
    run("export_state", again, with_secrets=True, passphrase_file=str(passphrase))

    was, now = content_of(file), content_of(again)
    now["auth.user"] = [row for row in now["auth.user"] if '"username": "admin"' not in row]
    assert now == was
    assert all(was.values()), "the world of this test has no rows of a table"
    assert len(was["backups.span"]) == sum(backup.counts.values()) > 4

    source, target = (Environment.objects.get(slug=slug) for slug in ("dev", "prod"))
    assert Environment._base_manager.get(slug="prod").secret == "admin"
    assert Webhook.objects.get().url == "https://hooks.zebra.example/x"
    assert Webhook.objects.get().is_enabled
    assert get_user_model().objects.get(username="root").check_password("a long password 1")
    assert ApiToken.objects.get().is_usable
    assert load_snapshot(Snapshot.objects.get(number=backup.number)).documents == before.documents
    assert Mapping.objects.get().databases == mapping.databases
    schedule = Schedule.objects.get()
    assert schedule.next_due_at is not None
    assert Route.objects.get().webhooks.get() == Webhook.objects.get()
    assert AuditEvent.objects.filter(action="state:import").count() == 1

    product.admin = get_user_model().objects.get(username="root")
    pair.read(source, target)
    plan = product.plan(product.migrate(source, target, selection))
    assert actions(plan) == {}
    assert Baseline.objects.count() >= 3
    with connect(target) as client:
        anew = take_snapshot(target, read_everything(client, target, fresh=True), Reason.MANUAL)
    assert anew.number > backup.number


def test_without_a_passphrase_no_secret_is_in_it_and_what_needs_one_rests(
    pair: FakePair, tmp_path: Path
) -> None:
    _things(make_environment("stage"), make_environment("zebra"), get_user_model().objects.create_user)
    pair.source.secret = "superset-canary"
    pair.source.save()
    person = get_user_model().objects.get(username="person")
    person.set_password("a password that nobody gets")
    person.save()
    file = tmp_path / "state.zip"
    run("export_state", file)
    with zipfile.ZipFile(file) as inside:
        text = b"".join(inside.read(name) for name in inside.namelist()).decode()
    hashes = [*ApiToken.objects.values_list("hash", flat=True), person.password]
    for secret in ("hooks.zebra.example/x", "superset-canary", *hashes):
        assert secret not in text
    lose_everything()
    run("import_state", file)
    hook = Webhook.objects.get()
    assert (hook.url, hook.is_enabled, hook.host) == ("", False, "hooks.zebra.example")
    assert Environment._base_manager.get(slug="dev").secret == ""
    assert not get_user_model().objects.get(username="person").has_usable_password()
    assert not ApiToken.objects.exists()
    assert Grant.objects.filter(user__username="person").exists()


# --- What is refused --------------------------------------------------------------------------------------------------


def rewritten(file: Path, name: str, change: Any) -> Path:
    """The same file with one member changed."""
    out = file.with_name(f"{next(_numbers)}-{file.name}")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.namelist():
            data = old.read(member)
            new.writestr(member, change(data) if member == name else data)
    return out


def test_a_file_that_is_not_as_it_was_written_changes_nothing(
    pair: FakePair, tmp_path: Path, passphrase: Path
) -> None:
    file, secret = tmp_path / "state.zip", tmp_path / "secret.zip"
    run("export_state", file)
    run("export_state", secret, with_secrets=True, passphrase_file=str(passphrase))
    wrong, weak = tmp_path / "wrong", tmp_path / "weak"
    wrong.write_text("another passphrase\n")
    weak.write_text("short\n")
    with pytest.raises(CommandError, match="is there already"):
        run("export_state", file)
    with pytest.raises(CommandError, match="less than 12 characters"):
        run("export_state", tmp_path / "weak.zip", with_secrets=True, passphrase_file=str(weak))
    assert not (tmp_path / "weak.zip").exists()
    lose_everything()
    member = "tables/environments.environment.jsonl"
    moved = rewritten(file, member, lambda data: data.replace(b"prod.test", b"evil.test"))
    sealed = rewritten(
        secret, "manifest.json", lambda data: data.replace(b"environments", b"Environments", 1)
    )
    newer = rewritten(file, "manifest.json", lambda data: data.replace(b'"format": 1', b'"format": 2'))
    short = tmp_path / "short.zip"
    short.write_bytes(file.read_bytes()[:-200])
    for bad, options, text in (
        (moved, {}, "is not what was written"),
        (short, {}, "no complete file"),
        (newer, {}, "newer ss-tools"),
        (sealed, {"passphrase_file": str(passphrase)}, "does not open"),
        (secret, {"passphrase_file": str(wrong)}, "does not open"),
        (secret, {}, "no passphrase"),
        (file, {"fingerprint": "0" * 64}, "another file"),
        (tmp_path / "nowhere.zip", {}, "cannot be read"),
    ):
        with pytest.raises(CommandError, match=text):
            run("import_state", bad, **options)
    assert not Environment.objects.exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_used_ss_tools_is_refused_and_a_merge_adds_what_is_not_there(
    pair: FakePair, tmp_path: Path
) -> None:
    product = Product()
    kept = taking.take(pair.target, taking.Asked())
    file = tmp_path / "state.zip"
    Grant.objects.create(user=product.admin, role="admin", scope="*")
    get_user_model().objects.create_superuser("mallory")
    run("export_state", file)
    with pytest.raises(CommandError, match="in use"):
        run("import_state", file)
    lose_everything()
    Product()
    other = make_environment("prod", uuid=Environment(slug="x").uuid, name="Other")
    with pytest.raises(CommandError, match="slug “prod”"):
        run("import_state", file, merge=True)
    assert Environment.objects.get() == other
    other.slug = "other"
    other.save()
    for _ in range(kept.number + 3):
        Snapshot.objects.create(environment=other, reason=Reason.MANUAL)
    highest = Snapshot.objects.order_by("-number").values_list("number", flat=True)[0]

    run("import_state", file, merge=True)
    backup = Backup.objects.get()
    assert backup.number == highest + kept.number
    assert set(load_snapshot(backup.snapshot).documents) >= {uuid_for("Warehouse PROD")}
    assert not get_user_model().objects.filter(username="mallory").exists()
    assert not Grant.objects.exists()
    said = run("import_state", file, merge=True)  # once more adds nothing
    assert "Brought in: nothing" in said
    assert Backup.objects.count() == 1


def test_documents_that_only_a_folder_has_are_in_the_file_and_a_damaged_one_stays_what_it_is(
    pair: FakePair, tmp_path: Path, settings: Any
) -> None:
    settings.BACKUP_FOLDER = str(tmp_path / "objects")
    backup = taking.take(pair.source, taking.Asked(storage="folder"))
    documents = load_snapshot(backup.snapshot).documents
    assert Document.objects.filter(copies__storage="folder").update(body=None) == sum(backup.counts.values())
    [lost] = DocumentCopy.objects.filter(document__uuid=uuid_for("Revenue"))
    for path in (tmp_path / "objects").rglob("*"):
        if path.is_file() and path.as_posix().endswith(lost.key):
            path.unlink()
    run("export_state", tmp_path / "state.zip")
    lose_everything()
    shutil.rmtree(tmp_path / "objects")
    run("import_state", tmp_path / "state.zip")
    again = Backup.objects.get()
    assert (again.number, again.storage) == (backup.number, "database")
    hashes = load_snapshot(again.snapshot, bodies=False).hashes
    kept = get_documents(sha for uuid, sha in hashes.items() if uuid != uuid_for("Revenue"))
    assert set(kept) == {one.fingerprint for uuid, one in documents.items() if uuid != uuid_for("Revenue")}
    with pytest.raises(SSToolsError):
        load_snapshot(again.snapshot)


def test_a_full_disk_leaves_no_half_file(
    pair: FakePair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit on the size of files is the nearest to a full disk that a test can have."""
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, kept[1]))
    try:
        with pytest.raises(StateError, match="cannot be written"):
            export_state(tmp_path / "state.zip", actor=OPERATOR, say=lambda text: None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
        signal.signal(signal.SIGXFSZ, before)
    assert list(tmp_path.iterdir()) == []
