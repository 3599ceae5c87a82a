"""What the tests of the client share."""

from __future__ import annotations

import io
import stat
import zipfile
from typing import Any

from environments.superset.auth import Auth, PasswordAuth
from environments.superset.client import SupersetClient
from tests.fakes.superset import FakeSuperset

DB = "d0000000-0000-4000-8000-000000000001"
METADATA = "version: 1.0.0\ntype: Dashboard\n"


def client_of(fake: FakeSuperset, auth: Auth | None = None, **options: Any) -> SupersetClient:
    """A client of the fake that does not really wait; `client.waits` are the seconds it would have."""
    client = SupersetClient(fake.url, auth or PasswordAuth("admin", "admin"), transport=fake, **options)
    client.waits = []  # type: ignore[attr-defined]
    client._sleep = client.waits.append  # type: ignore[attr-defined]
    return client


def estate(version: str = "6.1.0", *, charts: int = 2, **options: Any) -> FakeSuperset:
    """A Superset with one dashboard, its charts, one dataset, one connection with a password."""
    fake = FakeSuperset(version, **options)
    fake.add_database("Warehouse", uuid=DB, uri="postgresql://bi:topsecret@db.test/dwh")
    dataset = fake.add_dataset("orders", database=DB, schema="sales")
    held = [fake.add_chart(f"Chart {number}", dataset=dataset) for number in range(charts)]
    fake.add_dashboard("Overview", charts=held)
    return fake


def make_zip(files: dict[str, str | bytes], *, root: str = "export", **more: Any) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"{root}/{name}" if root else name, content)
    return buffer.getvalue()


def zip_with(entry: zipfile.ZipInfo, content: str | bytes = "uuid: 1\n") -> bytes:
    """A good bundle with one entry made by hand."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("export/metadata.yaml", METADATA)
        archive.writestr(entry, content)
    return buffer.getvalue()


def symlink(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry
