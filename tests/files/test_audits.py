"""Audits by page, API and command: done in a job against a small Superset, kept, seen by who may."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection

from environments.superset.archives import pack_files
from migrations_app.files import services
from migrations_app.files.models import FileAudit
from sstools.jobs.runner import run_job
from tests.fakes.pair import FakePair, fake_pair
from tests.files.damage import DATABASE, SECRET, changed, damaged, tree_files

pytestmark = pytest.mark.django_db


@pytest.fixture
def pair() -> Iterator[FakePair]:
    with fake_pair() as made:
        yield made


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(f"./repo/{path}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def upload(client: Any, data: bytes, **more: Any) -> Any:
    return client.post(
        "/files/audits/", {"file": SimpleUploadedFile("tree.tgz", data), "target": "prod", **more}
    )


def test_a_damaged_tree_is_uploaded_audited_and_its_report_kept_without_its_secrets(
    pair: FakePair, author: Any, signed_in: Any
) -> None:
    files, planted = damaged()
    changed(files, DATABASE, lambda data: data.update(database_name="Warehouse PROD"))
    client = signed_in(author)
    answer = upload(client, tar_of(files))
    row = FileAudit.objects.get()
    assert answer.headers["Location"] == row.get_absolute_url()
    assert 'id="auditing"' in client.get(row.get_absolute_url()).content.decode()
    with connection.cursor() as cursor:
        cursor.execute("SELECT file FROM files_fileaudit")
        assert SECRET not in cursor.fetchone()[0]
    run_job(str(row.job.uuid))
    row.refresh_from_db()
    assert (row.state, row.file, row.shape) == ("findings", "", "preset_cli")
    assert pair.prod.writes == []
    found = {(one["code"], one["path"].removeprefix("repo/")) for one in row.findings}
    assert planted | {("connection_hijacked", DATABASE)} <= found
    assert SECRET not in json.dumps(row.findings)
    page = client.get(row.get_absolute_url() + "?code=connection_hijacked")
    assert [one["code"] for one in page.context["page"]] == ["connection_hijacked"]
    text = page.content.decode()
    assert f"repo/{DATABASE}:1" in text
    assert "gives that connection this address" in text
    assert client.get("/files/audits/").status_code == 200
    client.post(row.get_absolute_url() + "remove/")
    assert not FileAudit.objects.exists()


def test_what_cannot_be_read_ends_the_audit_and_says_why(pair: FakePair, author: Any, signed_in: Any) -> None:
    client = signed_in(author)
    upload(client, b"PK nonsense")
    row = FileAudit.objects.get()
    run_job(str(row.job.uuid))
    row.refresh_from_db()
    assert (row.state, row.file) == ("failed", "")
    assert "neither a ZIP nor a tar" in client.get(row.get_absolute_url()).content.decode()


def test_a_report_is_for_who_may_see_the_assets_of_its_target(
    pair: FakePair, author: Any, stranger: Any, signed_in: Any
) -> None:
    upload(signed_in(author), tar_of(tree_files()))
    row = FileAudit.objects.get()
    assert signed_in(stranger).get(row.get_absolute_url()).status_code == 404


def test_the_api_takes_a_tree_and_gives_the_report(pair: FakePair, author: Any, api: Any) -> None:
    client = api(author)
    data = {"file": SimpleUploadedFile("tree.zip", pack_files(tree_files())), "target": "prod"}
    asked = client.post("/api/v1/file-audits/", data, HTTP_IDEMPOTENCY_KEY="one", format="multipart")
    assert (asked.status_code, asked.json()["state"]) == (202, "running")
    data["file"] = SimpleUploadedFile("tree.zip", pack_files(tree_files()))
    again = client.post("/api/v1/file-audits/", data, HTTP_IDEMPOTENCY_KEY="one", format="multipart")
    assert again.json()["uuid"] == asked.json()["uuid"]
    run_job(asked.json()["job"])
    report = client.get(f"/api/v1/file-audits/{asked.json()['uuid']}/").json()
    assert report["counts"] == {"chart": 9, "dashboard": 1, "database": 1, "dataset": 7}
    assert {one["code"] for one in report["findings"]} == {"connection_new"}
    assert client.delete(f"/api/v1/file-audits/{report['uuid']}/").status_code == 204


def audit_command(*words: str) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command("audit", *words, stdout=out, stderr=io.StringIO())
    except SystemExit as ended:
        return int(str(ended.code)), out.getvalue()
    return 0, out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_the_command_tells_clean_findings_and_could_not_by_its_code(
    pair: FakePair, admin: Any, tmp_path: Path
) -> None:
    files, _ = damaged()
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    code, text = audit_command(str(tmp_path), "--against", "env:prod")
    assert code == 1
    assert "databases/examples.yaml:2 secret_in_file" in text
    assert SECRET not in text
    (tmp_path / "clean").mkdir()
    clean = tmp_path / "clean" / "tree.zip"
    clean.write_bytes(pack_files(tree_files()))
    code, text = audit_command(str(clean), "--against", "prod", "--ignore", "connection_new", "--json")
    assert (code, json.loads(text)["result"]) == (0, "clean")
    code, text = audit_command(str(tmp_path / "gone"), "--against", "prod", "--json")
    assert (code, json.loads(text)["error"]["code"]) == (2, "file_unreadable")
    assert audit_command(str(clean), "--against", "nowhere")[0] == 2


@pytest.mark.django_db(transaction=True)
def test_an_empty_file_and_a_report_that_never_came_are_not_clean(
    pair: FakePair, admin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree.zip"
    tree.write_bytes(b"")
    code, text = audit_command(str(tree), "--against", "prod", "--json")
    assert (code, json.loads(text)["error"]["code"]) == (2, "bundle_invalid")
    assert not FileAudit.objects.exists()
    tree.write_bytes(pack_files(tree_files()))
    monkeypatch.setattr(services, "MOST_FINDINGS", 0)
    assert audit_command(str(tree), "--against", "prod", "--ignore", "connection_new")[0] == 1
    monkeypatch.setattr(services, "run_audit", lambda *_: {})
    code, text = audit_command(str(tree), "--against", "prod", "--json")
    assert (code, json.loads(text)["error"]["code"]) == (2, "no_report")


def test_a_report_that_was_removed_does_not_come_back(
    pair: FakePair, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = services.request_audit(pack_files(tree_files()), "tree.zip", pair.target, actor=admin)
    comparing = services.audit

    def removed_meanwhile(given: Any) -> Any:
        FileAudit.objects.all().delete()
        return comparing(given)

    monkeypatch.setattr(services, "audit", removed_meanwhile)
    assert row.job is not None
    assert run_job(str(row.job.uuid)) == "succeeded"
    assert not FileAudit.objects.exists()
    later = services.request_audit(pack_files(tree_files()), "tree.zip", pair.target, actor=admin)
    assert later.job is not None
    FileAudit.objects.all().delete()
    assert run_job(str(later.job.uuid)) == "succeeded"


def test_two_who_ask_with_one_key_in_the_same_moment_get_one_audit(
    pair: FakePair, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, faster = pack_files(tree_files()), list[FileAudit]()
    look = services.jobs.of_request

    def ask() -> FileAudit:
        return services.request_audit(data, "tree.zip", pair.target, actor=admin, idempotency_key="one")

    def looks_too_early(*given: Any) -> Any:
        monkeypatch.setattr(services.jobs, "of_request", look)
        faster.append(ask())  # between the look of the other and its row

    monkeypatch.setattr(services.jobs, "of_request", looks_too_early)
    assert ask() == faster[0] == FileAudit.objects.get()


def test_a_key_of_another_file_or_target_or_of_a_removed_report_is_refused(
    pair: FakePair, admin: Any, api: Any
) -> None:
    def ask(data: bytes, target: str) -> Any:
        body = {"file": SimpleUploadedFile("tree.zip", data), "target": target}
        return api(admin).post("/api/v1/file-audits/", body, HTTP_IDEMPOTENCY_KEY="one", format="multipart")

    data = pack_files(tree_files())
    made = ask(data, "prod").json()
    assert ask(data, "prod").json()["uuid"] == made["uuid"]
    for again in (ask(data + b" ", "prod"), ask(data, "dev")):
        assert (again.status_code, again.json()["code"]) == (409, "idempotency_key_reused")
    FileAudit.objects.all().delete()
    again = ask(data, "prod")
    assert (again.status_code, again.json()["code"]) == (409, "idempotency_key_reused")
