"""Bundles: Superset's export ZIPs as raw assets by uuid, and back. Everything read here may come from a stranger.

A bundle is one root folder with `metadata.yaml` and one YAML file per asset; the folder says the kind, the file name is
never identity (`superset-api.md` 6.2). Verified with exports of 4.1.4 and 6.1.0.
"""

from __future__ import annotations

import io
import posixpath
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from .archives import MAX_ENTRIES, MAX_RATIO, MAX_TOTAL_BYTES, RATIO_FREE_BYTES, check_entry, unpack
from .errors import SupersetRefused
from .yaml_text import YamlReader, invalid, write_yaml

KINDS = {
    "dashboards": "dashboard",
    "charts": "chart",
    "datasets": "dataset",
    "databases": "database",
    "themes": "theme",
}
FOLDERS = {kind: folder for folder, kind in KINDS.items()}
TYPES = {
    "dashboard": "Dashboard",
    "chart": "Slice",
    "dataset": "SqlaTable",
    "database": "Database",
    "theme": "Theme",
    "saved_query": "SavedQuery",
    "assets": "assets",
}
_TITLES = {
    "dashboard": "dashboard_title",
    "chart": "slice_name",
    "dataset": "table_name",
    "database": "database_name",
    "theme": "theme_name",
}

_EPOCH = (
    1980,
    1,
    1,
    0,
    0,
    0,
)  # the ZIP format's first date, as in Superset's exports: equal bundles are equal bytes


@dataclass(frozen=True, slots=True)
class RawAsset:
    """One asset as Superset exports it.

    `data` is the parsed file. `path` is relative to the bundle's root folder. `source_id` is the id in the instance
    that exported it where the file name tells (charts, dashboards; datasets from 6.0 on), else None.
    """

    kind: str
    uuid: str
    path: str
    data: dict[str, Any] = field(repr=False)  # may hold connection settings
    source_id: int | None = None

    @property
    def title(self) -> str:
        return str(self.data.get(_TITLES[self.kind]) or "")


@dataclass(slots=True, repr=False)
class Bundle:
    """Assets by uuid, with `metadata` and what else was in the ZIP (`other`: path -> parsed file: tags.yaml, queries/).

    `exported_at` is the server's clock when it began to export (aware), None for uploads. `vanished` are ids that
    were asked for and no longer existed; `missing` are uuids that should be in it and are not; `conflicting` are uuids
    that two merged bundles held with different content (the first is kept): the source changed in between.
    """

    assets: dict[str, RawAsset] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    other: dict[str, dict[str, Any]] = field(default_factory=dict)
    exported_at: datetime | None = None
    vanished: tuple[int, ...] = ()
    conflicting: tuple[str, ...] = ()

    # -- in ----------------------------------------------------------------------------------------

    @classmethod
    def from_zip(cls, data: bytes, *, max_total_bytes: int | None = None) -> Bundle:
        """Read a ZIP of at most so many bytes unpacked, None: MAX_TOTAL_BYTES.

        Raises SupersetRefused(bundle_invalid), `detail` by file, and never builds what it refuses.
        """
        bundle = cls()
        reader = YamlReader()
        with _opened(data) as archive:
            for path, content in _files(archive, max_total_bytes or MAX_TOTAL_BYTES):
                bundle._add_file(path, reader.read(content, path))
        if not bundle.metadata:
            raise invalid("metadata.yaml", "missing, or not directly inside the one root folder of the ZIP")
        if bundle.metadata.get("version") != "1.0.0":
            raise invalid("metadata.yaml", "not version 1.0.0, the only format of bundles there is")
        return bundle

    @classmethod
    def from_assets(
        cls,
        kind_of_bundle: str,
        assets: Iterable[RawAsset | tuple[str, str, dict[str, Any]]],
        *,
        timestamp: datetime | None = None,
    ) -> Bundle:
        """A bundle for `kind_of_bundle` ("dashboard", "chart", "dataset", "database", "theme",
        "saved_query" or "assets").

        Takes RawAssets or (kind, uuid, data). File names are like Superset's, with the uuid in place of the id.
        Raises SupersetRefused(bundle_invalid) when one uuid comes twice.
        """
        type_name = TYPES.get(kind_of_bundle, kind_of_bundle)
        if type_name not in TYPES.values():
            raise ValueError(f"No kind of bundle: {kind_of_bundle}")
        bundle = cls(metadata={"version": "1.0.0", "type": type_name})
        if timestamp is not None:
            bundle.metadata["timestamp"] = timestamp.isoformat()
        names: dict[str, str] = {}  # database uuid -> folder of its datasets
        items = [
            item if isinstance(item, RawAsset) else RawAsset(item[0], item[1], "", item[2]) for item in assets
        ]
        for asset in items:
            if asset.kind == "database":
                names[asset.uuid] = file_slug(asset.title)
        for asset in items:
            path = path_for(asset, names)
            bundle._add(RawAsset(asset.kind, _uuid_of(asset.uuid, path), path, asset.data, asset.source_id))
        return bundle

    @classmethod
    def merge(cls, *bundles: Bundle) -> Bundle:
        """All assets of several bundles under the first one's metadata; `exported_at` is the earliest.

        Charts of two dashboards share datasets, so one uuid may come in several; the first is kept. Databases are
        written differently by different endpoints (`superset-api.md` 6.3) and are not reported as conflicting.
        """
        merged = cls()
        conflicting: dict[str, None] = {}
        vanished: dict[int, None] = {}
        paths: set[str] = set()
        moments = [bundle.exported_at for bundle in bundles if bundle.exported_at is not None]
        for bundle in bundles:
            merged.metadata = merged.metadata or dict(bundle.metadata)
            merged.other = {**bundle.other, **merged.other}
            conflicting |= dict.fromkeys(bundle.conflicting)
            vanished |= dict.fromkeys(bundle.vanished)
            for uuid, asset in bundle.assets.items():
                known = merged.assets.get(uuid)
                if known is None:
                    if asset.path in paths:  # two connections whose names give one file name
                        stem, _, ending = asset.path.rpartition(".")
                        asset = replace(asset, path=f"{stem}_{uuid}.{ending}")
                    paths.add(asset.path)
                    merged.assets[uuid] = asset
                elif asset.kind != "database" and known.data != asset.data:
                    conflicting[uuid] = None
        merged.exported_at = min(moments, default=None)
        merged.conflicting, merged.vanished = tuple(conflicting), tuple(vanished)
        return merged

    # -- look --------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        held = ", ".join(f"{count} {kind}" for kind, count in self.counts().items())
        return f"Bundle({held or 'empty'})"

    def __len__(self) -> int:
        return len(self.assets)

    def of_kind(self, kind: str) -> Iterator[RawAsset]:
        return (asset for asset in self.assets.values() if asset.kind == kind)

    def counts(self) -> dict[str, int]:
        """Number of assets by kind, without the kinds that are absent."""
        counts: dict[str, int] = {}
        for asset in self.assets.values():
            counts[asset.kind] = counts.get(asset.kind, 0) + 1
        return counts

    def unresolved(self) -> dict[str, tuple[str, ...]]:
        """Asset uuid -> uuids it refers to and the bundle lacks. Empty when the bundle is closed.

        Superset drops files whose names collide without a word (`superset-api.md` 6.4): this is where it shows.
        """
        missing: dict[str, tuple[str, ...]] = {}
        for asset in self.assets.values():
            gone = tuple(dict.fromkeys(uuid for _, uuid in references(asset) if uuid not in self.assets))
            if gone:
                missing[asset.uuid] = gone
        return missing

    # -- out ---------------------------------------------------------------------------------------

    def to_zip(self) -> bytes:
        """The ZIP, byte for byte the same for the same bundle."""
        files = [(asset.path, asset.data) for asset in self.assets.values()] + list(self.other.items())
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            for path, data in [("metadata.yaml", self.metadata), *sorted(files, key=lambda file: file[0])]:
                pack(archive, f"bundle/{path}", write_yaml(data))
        return buffer.getvalue()

    # -- inside ------------------------------------------------------------------------------------

    def _add_file(self, path: str, data: dict[str, Any]) -> None:
        folder = path.split("/", 1)[0]
        if path == "metadata.yaml":
            self.metadata = data
        elif folder in KINDS and folder != path:
            kind = KINDS[folder]
            uuid = _uuid_of(data.get("uuid"), path)
            self._add(RawAsset(kind, uuid, path, data, source_id_of(kind, path, data)))
        else:
            self.other[path] = data

    def _add(self, asset: RawAsset) -> None:
        known = self.assets.get(asset.uuid)
        if known is not None:
            raise invalid(asset.path, f"has the same uuid as {known.path}: {asset.uuid}")
        self.assets[asset.uuid] = asset


def references(asset: RawAsset) -> Iterator[tuple[str, str]]:
    """(kind, uuid) that an asset names: its dataset, its database, its charts, its filters' datasets, its theme."""
    data = asset.data
    if asset.kind == "chart" and data.get("dataset_uuid"):
        yield "dataset", str(data["dataset_uuid"]).lower()
    elif asset.kind == "dataset" and data.get("database_uuid"):
        yield "database", str(data["database_uuid"]).lower()
    elif asset.kind == "dashboard":
        position = data.get("position")
        for node in position.values() if isinstance(position, dict) else ():
            meta = node.get("meta") if isinstance(node, dict) and node.get("type") == "CHART" else None
            if isinstance(meta, dict) and meta.get("uuid"):
                yield "chart", str(meta["uuid"]).lower()
        metadata = data.get("metadata")
        filters = metadata.get("native_filter_configuration") if isinstance(metadata, dict) else None
        for native_filter in filters if isinstance(filters, list) else ():
            targets = native_filter.get("targets") if isinstance(native_filter, dict) else None
            for target in targets if isinstance(targets, list) else ():
                if isinstance(target, dict) and target.get("datasetUuid"):
                    yield "dataset", str(target["datasetUuid"]).lower()
        if data.get("theme_uuid"):
            yield "theme", str(data["theme_uuid"]).lower()


def stub_database(uuid: str, name: str) -> RawAsset:
    """A database file that satisfies dashboard, chart and dataset imports and leaves the connection as it is.

    `uuid` must exist on the target: then nothing of this is written (4.1.4 to 6.1.0, `superset-api.md` 8.3). Never send
    it to assets/import, which would overwrite the connection with it.
    """
    data = {
        "database_name": name,
        "sqlalchemy_uri": "postgresql://stub.invalid/stub",
        "extra": {},
        "allow_csv_upload": False,  # required by 6.0 and older
        "uuid": uuid,
        "version": "1.0.0",
    }
    return RawAsset("database", uuid, f"databases/{file_slug(name) or uuid}.yaml", data)


def pack(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Put one file into a ZIP so that Superset takes it; equal files are equal bytes."""
    entry = zipfile.ZipInfo(name, date_time=_EPOCH)
    entry.external_attr = 0o644 << 16
    # Superset refuses a bundle packed better than 200 : 1; a file near that goes in as it is.
    packs_too_well = len(content) > 50 * len(zlib.compress(content, 1))
    entry.compress_type = zipfile.ZIP_STORED if packs_too_well else zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)


# -- names -----------------------------------------------------------------------------------------


def file_slug(name: str) -> str:
    """What Superset makes of a name for a file: werkzeug's secure_filename, ASCII only, possibly empty."""
    text = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii").replace("/", " ")
    return re.sub(r"[^A-Za-z0-9_.-]", "", "_".join(text.split())).strip("._")


def path_for(asset: RawAsset, database_folders: Mapping[str, str]) -> str:
    """Where its file lies in a bundle. `database_folders`: uuid of a connection -> folder of its datasets."""
    folder = FOLDERS[asset.kind]
    name = f"{file_slug(asset.title)[:100]}_{asset.uuid}".lstrip("_.")
    if asset.kind == "dataset":
        database = str(asset.data.get("database_uuid") or "database")
        folder += "/" + (database_folders.get(database) or file_slug(database))
    return f"{folder}/{name}.yaml"


_ID_AT_END = re.compile(r"(?:^|_)(\d{1,18})$")


def source_id_of(kind: str, path: str, data: dict[str, Any]) -> int | None:
    """The exporting instance's id, from `<slug>_<id>.yaml` or `<id>.yaml` (superset/utils/file.py, 4.1.4 and 6.1.0).

    Before 6.0 dataset files have no id, and other tools leave it out of all of them: comparing with the slug of the
    asset's own name decides whether the number of sales_2024 is one.
    """
    stem = posixpath.basename(path).rsplit(".", 1)[0]
    if kind not in ("dashboard", "chart", "dataset"):
        return None
    slug = file_slug(str(data.get(_TITLES[kind]) or ""))
    if stem == slug and slug:
        return None
    if slug and not stem.startswith(f"{slug}_") and kind == "dataset":
        return None
    found = _ID_AT_END.search(stem.removeprefix(f"{slug}_") if slug else stem)
    return int(found.group(1)) if found else None


def _uuid_of(value: Any, path: str) -> str:
    try:
        return str(UUID(str(value)))
    except ValueError:
        raise invalid(path, "has no uuid" if value is None else "its uuid is not one") from None


# -- the ZIP ---------------------------------------------------------------------------------------


def _opened(data: bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as exc:
        what = "is not a ZIP file, or only the beginning of one" if data else "is empty"
        raise SupersetRefused(f"The bundle {what}.", code="bundle_invalid") from exc


def _files(archive: zipfile.ZipFile, max_total_bytes: int) -> Iterator[tuple[str, bytes]]:
    """(path below the root folder, content) of every file that Superset's importer would look at, checked first."""
    wanted = list(_checked_entries(archive, max_total_bytes))
    for path, entry in wanted:
        yield path, unpack(archive, entry)


def _checked_entries(archive: zipfile.ZipFile, max_total_bytes: int) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise SupersetRefused(f"The bundle holds more than {MAX_ENTRIES} files.", code="bundle_invalid")
    total = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if total > max_total_bytes:
        problem = f"The bundle would unpack to more than {max_total_bytes // 2**20} MiB."
        raise SupersetRefused(problem, code="bundle_invalid")
    if total > RATIO_FREE_BYTES and total > MAX_RATIO * max(packed, 1):
        raise SupersetRefused("The bundle is a compression bomb.", code="bundle_invalid")
    roots: set[str] = set()
    seen: set[str] = set()
    for entry in entries:
        name = entry.filename
        check_entry(entry)
        if entry.is_dir():
            continue
        root, _, path = name.partition("/")
        base = posixpath.basename(name)
        if base.startswith((".", "_")) or root.startswith((".", "_")):
            continue  # what file managers leave behind; Superset passes over it as well (is_valid_config)
        if not base.lower().endswith((".yaml", ".yml")):
            continue
        if not path:
            raise invalid(name, "lies outside the one root folder that a bundle has")
        if path in seen:
            raise invalid(path, "is in the ZIP twice")
        roots.add(root)
        seen.add(path)
        if entry.file_size > RATIO_FREE_BYTES and entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
            raise invalid(path, "is a compression bomb")
        yield path, entry
    if len(roots) > 1:
        raise SupersetRefused("The bundle has more than one root folder.", code="bundle_invalid")
    if not seen:
        raise SupersetRefused("The bundle holds no YAML file.", code="bundle_invalid")
