"""Trees of every shape are read alike; what is hostile in them is refused; templates are rendered out of reach."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from typing import Any

import pytest
import yaml

from environments.canonical.dashboards import chart_uuids
from environments.canonical.documents import Kind
from environments.superset import trees
from environments.superset.archives import archive_files, pack_files
from environments.superset.errors import SupersetRefused
from environments.superset.trees import read_tree
from migrations_app.files.reading import documents_of, tree_of
from migrations_app.files.rendering import read_values, render_files
from sstools.errors import Invalid
from tests.files.damage import DASHBOARD, DATASET, SECRET, changed, tree_files, uuid_of


def documents(files: dict[str, bytes], values: bytes | None = None) -> Any:
    return documents_of(tree_of(pack_files(files), values))


def board_of(reading: Any) -> Any:
    return next(one for one in reading.documents.values() if one.kind == Kind.DASHBOARD)


def test_a_tree_of_preset_cli_an_export_and_a_tree_of_uuids_are_the_same_documents() -> None:
    files = tree_files()
    preset = documents(files)
    assert preset.tree.shape == "preset_cli"
    assert preset.tree.counts() == {"chart": 9, "dashboard": 1, "database": 1, "dataset": 7}
    assert len(chart_uuids(board_of(preset).body["position"])) == 9
    export = documents(
        {f"dashboard_export_20261123T120000/{path}": content for path, content in files.items()}
    )
    assert export.tree.shape == "superset"
    uuids = {
        path: f"assets/{path.rpartition('/')[0]}/{uuid_of(files, path)}.yaml" for path in files if "/" in path
    }
    by_uuid = documents({uuids[path]: files[path] for path in uuids})
    assert by_uuid.tree.shape == "ol_superset"
    each = documents(
        {f"{folder}/{path}": content for folder in ("slack", "copy") for path, content in files.items()}
    )
    prints = [
        {uuid: one.fingerprint for uuid, one in reading.documents.items()}
        for reading in (preset, export, by_uuid, each)
    ]
    assert prints[0] == prints[1] == prints[2] == prints[3]


def test_numbers_that_only_count_files_of_one_name_are_no_ids() -> None:
    """--simple-file-names: threads.yaml, threads_2.yaml. Read as ids they would put other charts into the layout."""
    files = tree_files()
    renamed: dict[str, bytes] = {}
    for number, (path, content) in enumerate(files.items()):
        stem = path.rpartition("_")[0] if path.startswith("charts/") else ""
        renamed[f"{stem}_{63 + number % 9}.yaml" if stem else path] = content
    reading = documents(renamed)
    assert not reading.tree.trusts_names
    assert board_of(reading).fingerprint == board_of(documents(files)).fingerprint


def test_jinja_stays_text_and_what_preset_cli_escaped_is_unescaped() -> None:
    files = tree_files()
    sql = "SELECT * FROM {{ '{{' }} dataset(1) {{ '}}' }} {{ '{% if' }} x {{ '%}' }}1{{ '{% endif %}' }}"
    changed(files, DATASET, lambda data: data.update(sql=sql))
    raw = next(one for one in read_tree(files).assets if one.path == DATASET)
    assert raw.data["sql"] == "SELECT * FROM {{ dataset(1) }} {% if x %}1{% endif %}"


def test_with_values_templates_are_rendered_and_a_name_without_a_value_is_an_error() -> None:
    files = tree_files()
    changed(
        files,
        DATASET,
        lambda data: data.update(schema="{{ env.SCHEMA }}", sql="{{ literal }}"),
    )
    reading = documents(files, b"env: {SCHEMA: sales}\nliteral: now()\n")
    body = reading.documents[uuid_of(files, DATASET)].body
    assert (body["schema"], body["sql"]) == ("sales", "now()")
    with pytest.raises(Invalid) as caught:
        documents(files, b"env: {}\nliteral: now()\n")
    line = next(n for n, text in enumerate(files[DATASET].decode().splitlines(), 1) if "SCHEMA" in text)
    assert f"{DATASET}, line {line}" in caught.value.message
    override = DATASET.replace(".yaml", ".overrides.yaml")
    files[override] = b"extra: {warning_markdown: mind}\nschema: other\n"
    body = documents(files).documents[uuid_of(files, DATASET)].body
    assert (body["schema"], body["extra"]["warning_markdown"]) == ("other", "mind")


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.environ }}",
        "{% include '/etc/passwd' %}",
        "".join("{% for a in x %}" for _ in range(4)) + "." + "".join("{% endfor %}" for _ in range(4)),
        "{{ 'a' * 10 ** 9 * 10 }}",
        "{{ x | map('attr', '__class__') | list | first | attr('__base__') }}",
    ],
    ids=["classes", "globals", "environ", "include", "time", "memory", "attr"],
)
def test_nothing_of_python_is_in_a_templates_reach_and_its_time_and_memory_end(
    template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("migrations_app.files.rendering.CPU_SECONDS", 1)
    os.environ["TREE_CANARY"] = "canary"
    values = read_values(yaml.safe_dump({"x": list(range(300))}).encode())
    with pytest.raises(Invalid) as caught:
        render_files({"charts/x.yaml": template.encode()}, values, most_bytes=2**20)
    assert caught.value.code == "template_failed"
    assert "canary" not in caught.value.message


def test_an_error_of_a_template_tells_no_value() -> None:
    with pytest.raises(Invalid) as caught:
        render_files({"charts/x.yaml": b"a: {{ {}[password] }}"}, {"password": SECRET}, most_bytes=100)
    assert SECRET not in str(caught.value.as_dict())
    assert "charts/x.yaml, line 1" in caught.value.message


def _tar(*entries: tarfile.TarInfo, mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for entry in entries:
            archive.addfile(entry, io.BytesIO(b"a" * entry.size))
    return buffer.getvalue()


def _entry(name: str, **more: Any) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = 1
    for key, value in more.items():
        setattr(entry, key, value)
    return entry


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no archive",
        gzip.compress(b"no tar" * 200),
        gzip.compress(b"\0" * 2**28),
        _tar(_entry("a/charts/x.yaml"))[:40],
        _tar(_entry("../charts/x.yaml")),
        _tar(_entry("/charts/x.yaml")),
        _tar(_entry("charts/x.yaml", type=tarfile.SYMTYPE, linkname="/etc/passwd", size=0)),
        _tar(_entry("charts/x.yaml", type=tarfile.LNKTYPE, linkname="charts/y.yaml", size=0)),
        _tar(_entry("charts/x.yaml", type=tarfile.CHRTYPE, size=0)),
        _tar(_entry("charts/x.yaml", size=17 * 2**20), mode="w"),
        _tar(_entry("charts/x.yaml"), _entry("charts/x.yaml")),
    ],
    ids=[
        "empty",
        "none",
        "gzip",
        "bomb",
        "cut",
        "above",
        "root",
        "symlink",
        "hardlink",
        "device",
        "large",
        "twice",
    ],
)
def test_hostile_archives_are_refused(data: bytes) -> None:
    with pytest.raises(SupersetRefused) as caught:
        archive_files(data, max_total_bytes=16 * 2**20)
    assert caught.value.code == "bundle_invalid"


def test_a_tree_that_means_two_things_is_not_planned() -> None:
    files = tree_files()
    files["charts/Zz_1.yaml"] = files["charts/Top_Timezones_67.yaml"].replace(b"Top Timezones", b"Another")
    with pytest.raises(
        Invalid, match=r"charts/Top_Timezones_67.yaml and charts/Zz_1.yaml have the same uuid"
    ):
        documents(files)


def test_a_chart_that_the_tree_lacks_stays_in_the_layout_for_the_target_to_have() -> None:
    files = tree_files()
    del files["charts/Top_Timezones_67.yaml"]
    assert len(chart_uuids(board_of(documents(files)).body["position"])) == 9
    assert DASHBOARD in files


def test_thousands_of_files_of_one_uuid_are_not_all_compared_with_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uuid = "00000000-0000-4000-8000-00000000dead"
    monkeypatch.setattr(trees, "_MOST_TWINS", 2)
    files = {f"charts/{n}.yaml": f"uuid: {uuid}\nslice_name: c{n}\n".encode() for n in range(4)}
    files |= {f"charts/again_{n}.yaml": files[f"charts/{n}.yaml"] for n in (0, 3)}
    assert len(read_tree(files).doubled()[uuid]) == 5  # of 0 the copy is seen, of 3 no more
