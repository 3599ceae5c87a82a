"""Exports that people upload to compare with: what is kept of them, for whom, how long, and what is refused."""

from __future__ import annotations

import zlib
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from environments.canonical.reading import read_assets
from environments.models import Document
from environments.superset.bundle import Bundle, RawAsset
from migrations_app.comparing import uploads
from migrations_app.comparing.listing import compare
from migrations_app.comparing.models import UploadedAsset, UploadedBundle
from migrations_app.comparing.places import read_place
from sstools.audit.models import AuditEvent
from sstools.jobs.models import Source
from tests.canonical.builders import URL, example_files
from tests.factories import make_environment
from tests.superset.helpers import METADATA, make_zip, symlink, zip_with

from .conftest import SECRET, hold

pytestmark = pytest.mark.django_db


def export(kind: str = "assets", edited: str = "") -> bytes:
    """The example dashboards as Superset exports them; a database with its password in clear."""
    assets = []
    for raw in example_files():
        data = {**raw.data}
        if raw.kind == "database":
            data["sqlalchemy_uri"] = f"postgresql://bi:{SECRET}@warehouse/dev"
            data["password"] = SECRET
        if raw.uuid == edited:
            data["description"] = "edited"
        assets.append(RawAsset(raw.kind, raw.uuid, f"{raw.kind}s/{raw.uuid}.yaml", data, raw.source_id))
    return Bundle.from_assets(kind, assets).to_zip()


def upload(client: Any, data: bytes, **fields: str) -> Any:
    return client.post("/compare/files/", {"file": SimpleUploadedFile("sales.zip", data), **fields})


def test_an_export_is_compared_with_the_environment_it_came_from(author: Any, signed_in: Any) -> None:
    dev = make_environment("dev", url=URL)
    hold(dev, *read_assets(example_files(), None, URL).documents.values())
    for raw in example_files():  # by which the texts of the file name what is there
        dev.assets.filter(uuid=raw.uuid).update(superset_id=raw.source_id or 1)
    chart = next(raw for raw in example_files() if raw.kind == "chart")
    data = export(edited=chart.uuid)
    answer = upload(signed_in(author), data, side="left", other="env:dev", origin="dev")
    bundle = UploadedBundle.objects.get()
    assert answer.headers["Location"] == f"/compare/?left=file%3A{bundle.uuid}&right=env%3Adev"
    page = signed_in(author).get(answer.headers["Location"])
    rows = [row for row in page.context["comparison"].rows if row.state != "same"]
    assert [(row.uuid, row.state) for row in rows] == [(chart.uuid, "changed")]
    assert page.context["comparison"].left.complete


def test_a_part_of_an_estate_says_nothing_about_the_rest(author: Any) -> None:
    dev = make_environment("dev", url=URL)
    documents = read_assets(example_files(), None, URL).documents
    hold(dev, *documents.values())
    charts = [raw for raw in example_files() if raw.kind == "chart"][:1]
    raw = [RawAsset(item.kind, item.uuid, "x.yaml", item.data, item.source_id) for item in charts]
    stored = uploads.store_upload(
        SimpleUploadedFile("one.zip", Bundle.from_assets("chart", raw).to_zip()),
        "one.zip",
        actor=author,
        origin=dev,
    )
    found = compare(read_place(stored.place, author), read_place("env:dev", author))
    assert [row.uuid for row in found.rows] == [charts[0].uuid]


def test_of_a_file_only_assets_without_secrets_are_kept(author: Any, signed_in: Any) -> None:
    client = signed_in(author)
    assert upload(client, export()).status_code == 302
    bundle = UploadedBundle.objects.get()
    assert bundle.assets.count() == len(example_files())
    for row in Document.objects.all():
        assert SECRET.encode() not in zlib.decompress(bytes(row.body))
    event = AuditEvent.objects.get(action="upload:create")
    assert SECRET not in str(event.data)
    other = f"/compare/?left={bundle.place}&right=file:{bundle.uuid}"
    assert SECRET not in client.get(other).content.decode()


def test_an_upload_is_seen_by_its_uploader_and_who_gives_out_rights(
    author: Any, viewer: Any, admin: Any, stranger: Any, signed_in: Any, api: Any
) -> None:
    upload(signed_in(author), export())
    bundle = UploadedBundle.objects.get()
    url = f"/api/v1/comparisons/files/{bundle.uuid}/"
    seen = {user.username: api(user).get(url).status_code for user in (author, viewer, admin, stranger)}
    assert seen == {"author": 200, "viewer": 404, "admin": 200, "stranger": 404}
    page = signed_in(viewer).get("/compare/", {"left": bundle.place, "right": bundle.place})
    assert "There is no place" in page.content.decode()
    assert upload(signed_in(stranger), export()).status_code == 403
    assert signed_in(viewer).post(f"/compare/files/{bundle.uuid}/remove/").status_code == 404
    assert signed_in(author).post(f"/compare/files/{bundle.uuid}/remove/").status_code == 302
    assert not UploadedAsset.objects.exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"no zip", "neither a ZIP nor a tar file"),
        (make_zip({"tags.yaml": "tags: []\n"}), "no folder with dashboards"),
        (make_zip({"metadata.yaml": METADATA}), "no folder with dashboards"),
        (make_zip({"metadata.yaml": METADATA, "charts/a.yaml": "a: &a [*a]\n"}), "refers to itself"),
        (make_zip({"metadata.yaml": METADATA, "../x.yaml": "a: 1\n"}), "outside"),
        (zip_with(symlink("export/charts/a.yaml"), "/etc/passwd"), "symbolic link"),
        (make_zip({"metadata.yaml": METADATA, "charts/a.yaml": "a: " + "x" * 30_000_000}), "unpack to more"),
    ],
    ids=["empty", "no_zip", "no_metadata", "no_assets", "alias_bomb", "path", "link", "bomb"],
)
def test_a_file_that_is_not_an_export_leaves_nothing(
    author: Any, signed_in: Any, data: bytes, words: str
) -> None:
    answer = upload(signed_in(author), data)
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not UploadedBundle.objects.exists()
    assert not Document.objects.exists()


def test_uploads_have_a_size_and_a_number(
    author: Any, signed_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = signed_in(author)
    monkeypatch.setattr(uploads, "MAX_BYTES", 100)
    assert "larger than" in upload(client, export()).content.decode()
    monkeypatch.setattr(uploads, "MAX_BYTES", 2**20)
    monkeypatch.setattr(uploads, "MAX_PER_PERSON", 1)
    assert upload(client, export()).status_code == 302
    assert "You have 1 uploads already" in upload(client, export()).content.decode()


def test_uploads_are_forgotten_in_time(author: Any, signed_in: Any, settings: Any) -> None:
    settings.UPLOAD_KEEP_DAYS = 3
    upload(signed_in(author), export())
    bundle = UploadedBundle.objects.get()
    assert timedelta(days=2.9) < bundle.expires_at - timezone.now() <= timedelta(days=3)
    assert uploads.forget_uploads() == 0
    UploadedBundle.objects.update(expires_at=timezone.now())
    assert not UploadedBundle.objects.visible_to(author).exists()
    assert uploads.forget_uploads() == 1
    assert not UploadedAsset.objects.exists()


def test_an_upload_by_rest(author: Any, api: Any) -> None:
    client = api(author)
    answer = client.post(
        "/api/v1/comparisons/files/", {"file": SimpleUploadedFile("a.zip", export())}, format="multipart"
    )
    assert answer.status_code == 201
    body = answer.json()
    query = {"left": body["place"], "right": "env:dev"}
    hold(make_environment("dev"))
    found = client.get("/api/v1/comparisons/", query).json()
    assert found["counts"]["dashboard"]["added"] == 2
    assert found["left"]["label"] == "a.zip"
    bad = client.post(
        "/api/v1/comparisons/files/", {"file": SimpleUploadedFile("a.zip", b"no")}, format="multipart"
    )
    assert (bad.status_code, bad.json()["code"]) == (422, "bundle_invalid")
    assert client.delete(f"/api/v1/comparisons/files/{body['uuid']}/").status_code == 204


def test_what_commands_read_takes_nobodys_place_and_goes_within_a_day(
    author: Any, signed_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_PER_PERSON", 1)
    for _ in range(3):
        file = SimpleUploadedFile("sales.zip", export())
        kept = uploads.store_upload(file, "sales.zip", actor=author, source=Source.COMMAND)
        assert kept.expires_at - timezone.now() <= timedelta(days=1)
    assert upload(signed_in(author), export()).status_code == 302
    assert "You have 1 uploads already" in upload(signed_in(author), export()).content.decode()
