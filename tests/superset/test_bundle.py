"""Bundles: reading Superset's layout, refusing what is hostile, writing what Superset accepts."""

from __future__ import annotations

import io
import time
import tracemalloc
import zipfile
from datetime import UTC, datetime

import pytest
import yaml

from environments.superset import bundle as module
from environments.superset.bundle import Bundle, RawAsset, file_slug, stub_database
from environments.superset.errors import SupersetRefused
from tests.superset.helpers import DB, METADATA, client_of, estate, make_zip, symlink, zip_with

CHART = "c0000000-0000-4000-8000-000000000001"
OTHER = "c0000000-0000-4000-8000-000000000002"
DATASET = "a0000000-0000-4000-8000-000000000001"
DASHBOARD = "b0000000-0000-4000-8000-000000000001"


def chart(uuid: str = CHART, name: str = "Sales", dataset: str = DATASET) -> str:
    return f"slice_name: {name}\nviz_type: table\nuuid: {uuid}\ndataset_uuid: {dataset}\nversion: 1.0.0\n"


def dataset(uuid: str = DATASET, name: str = "orders", database: str = DB) -> str:
    return f"table_name: {name}\nuuid: {uuid}\ndatabase_uuid: {database}\nversion: 1.0.0\n"


def refused(data: bytes) -> SupersetRefused:
    with pytest.raises(SupersetRefused) as caught:
        Bundle.from_zip(data)
    assert caught.value.code == "bundle_invalid"
    return caught.value


def test_a_bundle_is_indexed_by_uuid_and_tells_the_ids_of_its_source() -> None:
    bundle = Bundle.from_zip(
        make_zip(
            {
                "metadata.yaml": METADATA,
                "charts/Sales_7.yaml": chart(),
                "charts/12.yaml": chart(OTHER, "日本"),
                "datasets/Ware/orders_3.yaml": dataset(),
                "databases/Ware.yaml": f"database_name: Ware\nsqlalchemy_uri: sqlite://\nuuid: {DB}\n",
                "tags.yaml": "tags: []\n",
                "queries/Ware/q.yaml": "label: q\n",
                ".DS_Store": b"\0",
                "charts/notes.txt": "hello",
            }
        )
    )
    assert {uuid: (asset.kind, asset.source_id) for uuid, asset in bundle.assets.items()} == {
        CHART: ("chart", 7), OTHER: ("chart", 12), DATASET: ("dataset", 3), DB: ("database", None),
    }  # fmt: skip
    assert sorted(bundle.other) == ["queries/Ware/q.yaml", "tags.yaml"]
    assert bundle.metadata["type"] == "Dashboard"


@pytest.mark.parametrize(
    ("file", "table", "id"),
    [
        ("orders_3.yaml", "orders", 3),
        ("orders.yaml", "orders", None),  # before 6.0
        ("sales_2024.yaml", "sales_2024", None),  # before 6.0, and not id 2024
        ("sales_2024_9.yaml", "sales_2024", 9),
        ("Umsatz_Koln_4.yaml", "Umsatz Köln", 4),
        ("5.yaml", "日本", 5),
    ],
)
def test_an_id_is_read_from_a_dataset_file_only_where_there_is_one(
    file: str, table: str, id: int | None
) -> None:
    bundle = Bundle.from_zip(
        make_zip({"metadata.yaml": METADATA, f"datasets/db/{file}": dataset(name=table)})
    )
    assert bundle.assets[DATASET].source_id == id


def test_slugs_are_those_of_superset() -> None:
    # werkzeug.utils.secure_filename, which superset/utils/file.py uses
    assert [file_slug(name) for name in ("My cool/movie.mov", "Ünï códe", "../../etc/passwd", "日本", "a  b")] == [
        "My_cool_movie.mov", "Uni_code", "etc_passwd", "", "a_b",
    ]  # fmt: skip


def test_uuids_are_compared_in_one_spelling() -> None:
    bundle = Bundle.from_zip(make_zip({"metadata.yaml": METADATA, "charts/a_1.yaml": chart(CHART.upper())}))
    assert list(bundle.assets) == [CHART]


# -- hostile and broken ----------------------------------------------------------------------------


def encrypted() -> bytes:
    good = bytearray(zip_with(zipfile.ZipInfo("export/charts/a_1.yaml"), chart()))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = good.rindex(signature) + offset
        good[at] |= 1
    return bytes(good)


def renamed(name: str) -> bytes:
    """zipfile refuses to write some names, so they are patched in."""
    data = zip_with(zipfile.ZipInfo("x" * len(name)), chart())
    return data.replace(b"x" * len(name), name.encode())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<html>sign in</html>", "not a ZIP"),
        (make_zip({"metadata.yaml": METADATA})[:-30], "not a ZIP"),
        (zip_with(zipfile.ZipInfo("export/../../etc/x.yaml")), "outside"),
        (zip_with(zipfile.ZipInfo("/etc/x.yaml")), "outside"),
        (zip_with(zipfile.ZipInfo("export//x.yaml")), "outside"),
        (zip_with(zipfile.ZipInfo("C:/x.yaml")), "outside"),
        (renamed("export\\charts\\x.yaml"), "backslashes"),
        (renamed("export/charts/a\x01b.yaml"), "control"),
        (zip_with(symlink("export/charts/a_1.yaml"), "/etc/passwd"), "symbolic link"),
        (zip_with(zipfile.ZipInfo(f"export/charts/{'a' * 2000}.yaml")), "too long"),
        (encrypted(), "encrypted"),
        (make_zip({"charts/a_1.yaml": chart()}), "metadata.yaml"),
        (make_zip({"metadata.yaml": METADATA}, root="a/b"), "metadata.yaml"),
        (make_zip({"metadata.yaml": METADATA}, root=""), "root folder"),
        (make_zip({"readme.txt": "hello"}), "no YAML"),
        (make_zip({"metadata.yaml": "version: 2.0.0\n"}), "version 1.0.0"),
        (make_zip({"metadata.yaml": METADATA, "charts/a_1.yaml": "slice_name: x\n"}), "no uuid"),
        (make_zip({"metadata.yaml": METADATA, "charts/a_1.yaml": "uuid: 12\n"}), "uuid is not one"),
        (make_zip({"metadata.yaml": METADATA, "charts/a_1.yaml": chart(), "charts/b_2.yaml": chart()}), "same uuid"),
        (make_zip({"metadata.yaml": METADATA, "charts/a_1.yaml": b"\xff"}), "UTF-8"),
        (make_zip({"metadata.yaml": METADATA, "charts/a_1.yaml": "a: " + "x" * 3_000_000}), "compression bomb"),
    ],
    # Not the bytes: they hold the time of day, and the processes of a run would not agree on the names.
    ids=lambda value: value if isinstance(value, str) else "zip",
)  # fmt: skip
def test_broken_and_hostile_zips_are_refused_with_the_reason(data: bytes, reason: str) -> None:
    assert reason in refused(data).message


def test_two_root_folders_are_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("one/metadata.yaml", METADATA)
        archive.writestr("two/charts/a_1.yaml", chart())
    assert "more than one root" in refused(buffer.getvalue()).message


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_comes_twice_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("e/metadata.yaml", METADATA)
        archive.writestr("e/charts/a_1.yaml", chart())
        archive.writestr("e/charts/a_1.yaml", chart(OTHER))
    assert "twice" in refused(buffer.getvalue()).message


def test_damaged_content_is_refused() -> None:
    data = bytearray(zip_with(zipfile.ZipInfo("export/charts/a_1.yaml"), chart()))
    at = data.index(b"viz_type")
    data[at : at + 3] = b"XXX"
    assert "damaged" in refused(bytes(data)).message


def test_a_size_that_lies_does_not_unpack_more_than_it_says() -> None:
    data = bytearray(make_zip({"metadata.yaml": METADATA, "charts/a_1.yaml": chart() + "# " + "x" * 500_000}))
    at = data.rindex(b"PK\x01\x02") + 24  # uncompressed size in the central directory
    data[at : at + 4] = (100).to_bytes(4, "little")
    assert refused(bytes(data)).code == "bundle_invalid"


def test_what_lies_about_its_size_takes_no_memory_either() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("export/metadata.yaml", METADATA)
        with archive.open("export/charts/a_1.yaml", "w", force_zip64=False) as held:
            for _ in range(100):
                held.write(b"x" * 2**20)
    data = bytearray(buffer.getvalue())
    at = data.rindex(b"PK\x01\x02") + 24
    data[at : at + 4] = (90_000).to_bytes(4, "little")
    tracemalloc.start()
    try:
        assert refused(bytes(data)).code == "bundle_invalid"
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("packed", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
def test_what_cannot_be_unpacked_within_bounds_is_refused(packed: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packed) as archive:
        archive.writestr("export/metadata.yaml", METADATA)
        archive.writestr("export/charts/a_1.yaml", chart())
    assert "never uses" in refused(buffer.getvalue()).message


def test_a_bomb_of_many_files_is_refused_before_anything_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"charts/a_{number}.yaml": "a: " + "x" * 900_000 for number in range(40)}
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    assert "compression bomb" in refused(make_zip({"metadata.yaml": METADATA, **files})).message


def test_too_many_files_and_too_much_in_all_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    good = make_zip({"metadata.yaml": METADATA, "charts/a_1.yaml": chart()})
    monkeypatch.setattr(module, "MAX_ENTRIES", 1)
    assert "more than 1 files" in refused(good).message
    monkeypatch.setattr(module, "MAX_ENTRIES", 10)
    monkeypatch.setattr(module, "MAX_TOTAL_BYTES", 10)
    assert "unpack to more" in refused(good).message


# -- closure, merging, writing ---------------------------------------------------------------------


def test_what_a_bundle_lacks_is_named() -> None:
    position = {"CHART-1": {"type": "CHART", "meta": {"uuid": CHART}}, "DASHBOARD_VERSION_KEY": "v2"}
    filters = [{"targets": [{"datasetUuid": DATASET}, {}]}]
    bundle = Bundle.from_assets(
        "dashboard",
        [
            ("dashboard", DASHBOARD, {"dashboard_title": "D", "position": position,
                                      "metadata": {"native_filter_configuration": filters}, "theme_uuid": None}),
            ("chart", OTHER, {"slice_name": "C", "dataset_uuid": DATASET}),
        ],
    )  # fmt: skip
    assert bundle.unresolved() == {DASHBOARD: (CHART, DATASET), OTHER: (DATASET,)}


def test_merging_keeps_the_first_and_tells_what_differed() -> None:
    one = Bundle.from_assets("chart", [("chart", CHART, {"slice_name": "old"}), stub_database(DB, "W")])
    two = Bundle.from_assets(
        "chart", [("chart", CHART, {"slice_name": "new"}), ("chart", OTHER, {"slice_name": "x"})]
    )
    one.exported_at, two.exported_at = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    merged = Bundle.merge(one, two)
    assert merged.assets[CHART].data["slice_name"] == "old"
    assert merged.conflicting == (CHART,)
    assert merged.exported_at == two.exported_at
    assert len(merged) == 3


def test_connections_with_one_file_name_both_survive_a_merge() -> None:
    one = Bundle.from_assets(
        "dataset", [RawAsset("database", DB, "", {"database_name": "Sales DB", "uuid": DB})]
    )
    other_db = DB[:-1] + "2"
    same_path = one.assets[DB].path
    two = Bundle(assets={other_db: RawAsset("database", other_db, same_path, {"uuid": other_db})})
    merged = Bundle.merge(one, two)
    merged.metadata = dict(one.metadata)
    assert set(Bundle.from_zip(merged.to_zip()).assets) == {DB, other_db}


def test_a_bundle_survives_writing_and_reading_with_every_value() -> None:
    bundle = client_of(estate()).export_assets()
    again = Bundle.from_zip(bundle.to_zip())
    assert {uuid: asset.data for uuid, asset in again.assets.items()} == {
        uuid: asset.data for uuid, asset in bundle.assets.items()
    }
    assert [asset.source_id for asset in again.assets.values()].count(None) == 1  # the connection


def test_equal_bundles_are_equal_bytes() -> None:
    assets = [("chart", CHART, {"slice_name": "a"}), ("chart", OTHER, {"slice_name": "b"})]
    first = Bundle.from_assets("chart", assets)
    assert first.to_zip() == Bundle.from_assets("chart", list(reversed(assets))).to_zip()


def test_file_names_never_clash_and_never_look_like_ids() -> None:
    bundle = Bundle.from_assets(
        "assets",
        [
            ("chart", CHART, {"slice_name": "Same"}),
            ("chart", OTHER, {"slice_name": "Same"}),
            ("dataset", DATASET, {"table_name": "日本", "database_uuid": DB, "uuid": DATASET}),
            ("database", DB, {"database_name": "My DB", "uuid": DB}),
        ],
    )
    paths = [asset.path for asset in bundle.assets.values()]
    assert paths == [
        f"charts/Same_{CHART}.yaml",
        f"charts/Same_{OTHER}.yaml",
        f"datasets/My_DB/{DATASET}.yaml",
        f"databases/My_DB_{DB}.yaml",
    ]
    for uuid, asset in bundle.assets.items():
        asset.data["uuid"] = uuid
    assert all(asset.source_id is None for asset in Bundle.from_zip(bundle.to_zip()).assets.values())


def test_what_packs_too_well_for_superset_is_stored_as_it_is() -> None:
    bundle = Bundle.from_assets(
        "chart", [("chart", CHART, {"slice_name": "x", "description": "a" * 2_000_000})]
    )
    with zipfile.ZipFile(io.BytesIO(bundle.to_zip())) as archive:
        total = sum(entry.file_size for entry in archive.infolist())
        packed = sum(entry.compress_size for entry in archive.infolist())
    assert total / packed < 200  # superset.utils.core.check_is_safe_zip


def test_the_zip_has_what_superset_demands() -> None:
    data = Bundle.from_assets(
        "assets", [stub_database(DB, "W")], timestamp=datetime(2026, 1, 1, tzinfo=UTC)
    ).to_zip()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert yaml.safe_load(archive.read("bundle/metadata.yaml")) == {
            "version": "1.0.0", "type": "assets", "timestamp": "2026-01-01T00:00:00+00:00",
        }  # fmt: skip
        stub = yaml.safe_load(archive.read("bundle/databases/W_" + DB + ".yaml"))
    assert stub["uuid"] == DB


def test_a_uuid_twice_cannot_be_built() -> None:
    with pytest.raises(SupersetRefused):
        Bundle.from_assets("chart", [("chart", CHART, {}), ("dataset", CHART, {})])
    with pytest.raises(ValueError, match="No kind"):
        Bundle.from_assets("slices", [])


def test_a_bundle_shows_counts_and_no_content() -> None:
    bundle = client_of(estate()).export_assets()
    assert "topsecret" not in repr(bundle) + repr(list(bundle.assets.values()))
    assert repr(bundle) == "Bundle(1 dashboard, 2 chart, 1 dataset, 1 database)"


def test_ten_thousand_assets_take_seconds() -> None:
    def uuid(number: int) -> str:
        return f"c0000000-0000-4000-8000-{number:012d}"

    params = {"metrics": ["count"], "adhoc_filters": [], "row_limit": 100, "groupby": ["a", "b"]}
    started = time.monotonic()
    data = Bundle.from_assets(
        "chart",
        (
            ("chart", uuid(n), {"slice_name": f"C{n}", "params": params, "uuid": uuid(n)})
            for n in range(10_000)
        ),
    ).to_zip()
    assert len(Bundle.from_zip(data)) == 10_000
    assert time.monotonic() - started < 60
