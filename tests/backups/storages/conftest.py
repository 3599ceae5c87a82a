"""A folder and a bucket to keep backups in: the bucket behind the protocol of S3, and behind a line that can fail."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from environments.backups.models import Backup, BackupReason, BackupState
from environments.backups.storages import named
from environments.canonical.documents import Document, Kind
from environments.models import Environment, Reason, Snapshot, SnapshotEntry
from environments.store import put_documents
from tests.backups.storages.line import Line
from tests.factories import uuid_for

ACCESS_KEY, SECRET_KEY = "access", "secret"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[tuple[str, int]]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    yield server.get_host_and_port()
    server.stop()


@pytest.fixture
def line(s3_server: tuple[str, int]) -> Iterator[Line]:
    with Line(s3_server) as made:
        yield made


class Bucket:
    """What is in it, past ss-tools."""

    def __init__(self, address: tuple[str, int]) -> None:
        made = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1")
        self.client: Any = made.client("s3", endpoint_url=f"http://{address[0]}:{address[1]}")
        self.name = "backups"
        self.client.create_bucket(Bucket=self.name)

    def keys(self, prefix: str = "") -> list[str]:
        answer = self.client.list_objects_v2(Bucket=self.name, Prefix=f"team/{prefix}")
        return [row["Key"].removeprefix("team/") for row in answer.get("Contents", ())]

    def read(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.name, Key=f"team/{key}")["Body"].read())

    def write(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=f"team/{key}", Body=data)

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=f"team/{key}")

    def clear(self) -> None:
        for row in self.client.list_objects_v2(Bucket=self.name).get("Contents", ()):
            self.client.delete_object(Bucket=self.name, Key=row["Key"])


class Folder:
    """The same of a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def keys(self, prefix: str = "") -> list[str]:
        files = (path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file())
        return sorted(key for key in files if key.startswith(prefix))

    def read(self, key: str) -> bytes:
        return (self.root / key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        (self.root / key).write_bytes(data)

    def remove(self, key: str) -> None:
        (self.root / key).unlink()


@pytest.fixture
def folder(settings: Any, tmp_path: Path) -> Folder:
    settings.BACKUP_FOLDER = str(tmp_path / "backups")
    return Folder(tmp_path / "backups")


@pytest.fixture
def bucket(settings: Any, s3_server: tuple[str, int], line: Line) -> Iterator[Bucket]:
    settings.BACKUP_S3 = {
        "bucket": "backups",
        "prefix": "team",
        "endpoint": f"http://127.0.0.1:{line.port}",
        "region": "us-east-1",
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "addressing": "path",
        "ca_bundle": "",
    }
    settings.BACKUP_STORAGE_TIMEOUT_SECONDS = 3
    made = Bucket(s3_server)
    yield made
    made.clear()


@pytest.fixture(params=[named.FOLDER, named.S3])
def there(request: pytest.FixtureRequest) -> Folder | Bucket:
    """Each of the storages in turn; `there.storage` is its name."""
    made: Folder | Bucket = request.getfixturevalue("folder" if request.param == named.FOLDER else "bucket")
    made.storage = request.param  # type: ignore[union-attr]
    return made


def chart(name: str, **body: Any) -> Document:
    return Document(Kind.CHART, uuid_for(name), {"slice_name": name, "params": {}, **body})


def make_backup(
    environment: Environment, *documents: Document, storage: str, state: str = BackupState.GOOD
) -> Backup:
    """A backup of these, as the database has it when all that is to be in its storage is still to be written."""
    put_documents(documents)
    snapshot = Snapshot.objects.create(environment=environment, reason=Reason.BACKUP)
    SnapshotEntry.objects.bulk_create(
        SnapshotEntry(
            snapshot=snapshot,
            kind=one.kind.value,
            uuid=one.uuid,
            superset_id=number,
            document_id=one.fingerprint,
        )
        for number, one in enumerate(documents, start=1)
    )
    from environments.backups.taking import describe

    backup = Backup(
        snapshot=snapshot,
        environment=environment,
        reason=BackupReason.MANUAL,
        state=state,
        whole=False,
        storage=storage,
    )
    describe(backup)
    backup.save()
    return backup
