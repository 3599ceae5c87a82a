"""What is downloaded of a backup says all that the backup says, and nothing that nobody may know."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from django.test import Client

from environments.backups.models import Backup
from environments.canonical.documents import Kind
from environments.canonical.reading import read_assets
from environments.models import Document, Environment
from environments.store import load_snapshot
from environments.superset.bundle import Bundle
from environments.superset.trees import read_tree
from sstools.audit.models import AuditEvent
from tests.fakes.superset import FakeSuperset

pytestmark = pytest.mark.django_db
BackUp = Callable[..., Backup]


@pytest.fixture
def backup(back_up: BackUp, superset: FakeSuperset) -> Backup:
    superset.objects["css_template"][1] = {"id": 1, "template_name": "Corporate", "css": "b { }"}
    return back_up()


@pytest.fixture
def fetch(admin: Any, backup: Backup, signed_in: Callable[[Any], Client]) -> Callable[[str], bytes]:
    def get(format_: str) -> bytes:
        answer = signed_in(admin).get(f"/backups/{backup.pk}/download/?as={format_}")
        assert (answer.status_code, answer["Content-Type"]) == (200, "application/zip")
        assert f"backup-{backup.pk}-{format_}.zip" in answer["Content-Disposition"]
        return b"".join(answer.streaming_content)

    return get


def wanted(backup: Backup, *kinds: Kind) -> dict[str, str]:
    documents = load_snapshot(backup.snapshot).documents.values()
    return {one.uuid: one.fingerprint for one in documents if one.kind in kinds}


def found(documents: Any, *kinds: Kind) -> dict[str, str]:
    return {one.uuid: one.fingerprint for one in documents.values() if one.kind in kinds}


@pytest.mark.parametrize(
    ("format_", "kinds"),
    [
        ("dashboards", (Kind.DASHBOARD, Kind.CHART, Kind.DATASET)),
        ("charts", (Kind.CHART, Kind.DATASET)),
        ("datasets", (Kind.DATASET,)),
    ],
)
def test_an_importable_zip_is_a_bundle_that_reads_as_the_backup(
    backup: Backup,
    environment: Environment,
    fetch: Callable[[str], bytes],
    format_: str,
    kinds: tuple[Kind, ...],
) -> None:
    content = fetch(format_)
    bundle = Bundle.from_zip(content)
    assert (
        bundle.metadata["type"]
        == {"dashboards": "Dashboard", "charts": "Slice", "datasets": "SqlaTable"}[format_]
    )
    assert bundle.unresolved() == {}
    assert set(bundle.counts()) == {kind.value for kind in (*kinds, Kind.DATABASE)}
    ids = load_snapshot(backup.snapshot, bodies=False).ids
    read = read_assets(bundle.assets.values(), ids, environment.url)
    assert found(read.documents, *kinds) == wanted(backup, *kinds)
    assert b"topsecret" not in content
    connection = next(bundle.of_kind("database")).data
    assert connection["sqlalchemy_uri"] == "postgresql://bi:XXXXXXXXXX@db.test/dwh"
    event = AuditEvent.objects.latest("number")
    assert (event.action, event.data) == ("backup:download", {"format": format_})


def test_a_tree_is_all_of_it_and_ss_tools_reads_it_again(
    backup: Backup, environment: Environment, fetch: Callable[[str], bytes]
) -> None:
    content = fetch("tree")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert not any(name.endswith("metadata.yaml") for name in files)  # Superset takes it for no bundle
    assert all(b"topsecret" not in data for data in files.values())
    root = f"{environment.slug}-backup-{backup.pk}"
    about = yaml.safe_load(files[f"{root}/backup.yaml"])
    assert (about["backup"], about["digest"], about["counts"]) == (backup.pk, backup.digest, backup.counts)
    beside = [name for name in files if name.startswith(f"{root}/companions/")]
    assert len(beside) == backup.companion_count > 0
    assert any(yaml.safe_load(files[name]) == {"name": "Corporate", "css": "b { }"} for name in beside)
    tree = read_tree(files)
    assert tree.problems == []
    ids = load_snapshot(backup.snapshot, bodies=False).ids
    read = read_assets(tree.assets, ids, environment.url)
    kinds = (Kind.DASHBOARD, Kind.CHART, Kind.DATASET)
    assert found(read.documents, *kinds) == wanted(backup, *kinds)


def test_a_damaged_backup_gives_no_half_a_file(
    backup: Backup, admin: Any, signed_in: Callable[[Any], Client]
) -> None:
    sha = next(iter(load_snapshot(backup.snapshot).documents.values())).fingerprint
    row = Document.objects.get(pk=sha)
    row.body = bytes(row.body)[:-3] + b"abc"
    row.save()
    answer = signed_in(admin).get(f"/backups/{backup.pk}/download/?as=tree")
    assert answer.status_code == 500
    assert "Content-Disposition" not in answer
    assert sha in answer.content.decode()
    nothing = signed_in(admin).get(f"/backups/{backup.pk}/download/?as=exe")
    assert nothing.status_code == 422
