"""Audits: every damage of a tree is found, with file and line; a sound tree against its own target is clean."""

from __future__ import annotations

from typing import Any

import yaml

from environments.canonical.documents import Document, Kind
from environments.superset.archives import pack_files
from environments.superset.fields import of_kind, unknown_to
from environments.superset.trees import read_tree
from environments.superset.versions import Capabilities
from environments.superset.viz_types import undrawable
from migrations_app.engine.auditing import AuditInput, Finding, audit
from migrations_app.files.reading import documents_of, tree_of
from migrations_app.files.services import with_lines
from tests.files.damage import (
    CHART,
    DASHBOARD,
    DATABASE,
    DATASET,
    OTHER_CHART,
    SECRET,
    changed,
    damaged,
    some_node,
    tree_files,
    uuid_of,
)

NEWEST = Capabilities.of_version("6.1.0")


def audited(
    files: dict[str, bytes], *target: Document, version: str = "6.1.0", **more: Any
) -> tuple[Finding, ...]:
    tree, capabilities = read_tree(files), Capabilities.of_version(version)
    unknown = unknown_to(capabilities)
    return audit(
        AuditInput(
            tree.assets,
            {document.uuid: document for document in target},
            "Prod",
            queries=tree.queries,
            problems=[(one.path, one.line, one.text) for one in tree.problems],
            unknown_fields={kind.value: of_kind(unknown, kind) for kind in Kind},
            undrawable=undrawable(capabilities),
            version=tuple(int(part) for part in version.split(".")),
            **more,
        )
    )


def target_of(files: dict[str, bytes]) -> list[Document]:
    """A target that holds what the files say."""
    return list(documents_of(tree_of(pack_files(files))).documents.values())


def named(findings: tuple[Finding, ...]) -> set[tuple[str, str]]:
    return {(one.code, one.path) for one in findings}


def test_a_sound_tree_is_clean_against_the_instance_it_came_from() -> None:
    files = tree_files()
    assert audited(files, *target_of(files)) == ()


def test_every_planted_damage_is_named_with_its_file_and_line_and_no_secret() -> None:
    files, planted = damaged()
    findings = audited(files)
    assert named(findings) - {("connection_new", DATABASE), ("template", DATASET)} == planted
    tree = read_tree(files)
    for one in with_lines(findings, tree):
        assert SECRET not in str(one)
        assert all(one[name] for name in ("text", "plain_import", "with_ss_tools"))
        if one["keys"]:
            line = files[one["path"]].decode().splitlines()[one["line"] - 1]
            last = next(key for key in reversed(one["keys"]) if not key.isdigit())
            assert last in line or one["keys"][-1].isdigit(), (one["keys"], line)


def test_connections_of_the_same_name_or_uuid_with_another_address_are_hijacked() -> None:
    files = tree_files()
    connection = next(one for one in target_of(files) if one.kind == Kind.DATABASE)
    moved = connection.replace(sqlalchemy_uri="postgresql://bi:XXXXXXXXXX@prod/dwh")
    same_name = Document(Kind.DATABASE, "00000000-0000-4000-8000-000000000001", moved.body)
    (by_uuid,) = audited(files, moved)
    assert (by_uuid.code, by_uuid.keys, by_uuid.path) == (
        "connection_hijacked",
        ("sqlalchemy_uri",),
        DATABASE,
    )
    (by_name,) = audited(files, same_name)
    assert (by_name.code, by_name.keys) == ("connection_hijacked", ("database_name",))
    changed(files, DATABASE, lambda data: data.update(sqlalchemy_uri="postgresql://bi:XXXXXXXXXX@prod/dwh"))
    assert audited(files, moved) == ()


def test_datasets_and_dashboards_that_an_import_takes_over_or_leaves_unmodified() -> None:
    files = tree_files()
    there = target_of(files)
    dataset = next(one for one in there if one.uuid == uuid_of(files, DATASET))
    board = next(one for one in there if one.kind == Kind.DASHBOARD)
    twin = Document(Kind.DATASET, "00000000-0000-4000-8000-000000000002", dataset.body)
    other = Document(Kind.DASHBOARD, "00000000-0000-4000-8000-000000000003", {**board.body, "slug": "slack"})
    changed(files, DASHBOARD, lambda data: data.update(slug="slack"))
    assert named(audited(files, *there, twin, other)) == {
        ("dataset_unmodified", DATASET),
        ("dashboard_hijacked", DASHBOARD),
    }
    without = [one for one in there if one.uuid not in (dataset.uuid, board.uuid)]
    assert named(audited(files, *without, twin)) == {("dataset_hijacked", DATASET)}
    elsewhere = dataset.replace(database_uuid="00000000-0000-4000-8000-000000000004")
    assert named(audited(files, *without, elsewhere)) == {("dataset_moved", DATASET)}


def test_a_catalog_that_is_not_the_targets_reads_data_of_another_environment() -> None:
    files = tree_files()
    there = target_of(files)
    connection = next(one for one in there if one.kind == Kind.DATABASE)
    changed(files, DATASET, lambda data: data.update(catalog="dev"))
    (found,) = audited(files, *there, catalogs={connection.uuid: "prod"})
    assert (found.code, found.path, found.keys) == ("other_catalog", DATASET, ("catalog",))


def test_a_chart_that_only_the_target_has_is_unlinked_by_a_plain_import() -> None:
    files = tree_files()
    there = target_of(files)
    del files[OTHER_CHART]
    (found,) = audited(files, *there)
    assert (found.code, found.path) == ("chart_unlinked", DASHBOARD)
    assert "R4" in found.plain_import


def test_what_an_older_version_does_not_know_is_named() -> None:
    files = tree_files()
    there = target_of(files)
    fields = {one.keys[0] for one in audited(files, *there, version="4.1.4") if one.code == "unknown_field"}
    written = {name for content in files.values() for name in yaml.safe_load(content)}
    assert {"theme_uuid", "impersonate_user", "configuration_method"} & written <= fields
    assert (
        not fields
        - {"theme_uuid", "folders", "currency_code_column", "impersonate_user"}
        - {
            "configuration_method",
            "columns",
            "tags",
        }
    )


def test_the_secret_of_a_tree_is_in_no_document() -> None:
    files, _ = damaged()
    for path in ("charts/Z_copy_99.yaml", "charts/Broken_98.yaml"):
        del files[path]
    reading = documents_of(tree_of(pack_files(files)))
    assert SECRET not in str([document.to_json() for document in reading.documents.values()])
    assert {note.where for note in reading.notes if note.code == "secret_masked"} == {
        "sqlalchemy_uri",
        "template_params.api_token",
    }
    assert "colour_of_the_week" not in reading.documents[uuid_of(files, CHART)].body


def test_ids_of_charts_are_named_where_the_targets_version_gives_them_no_new_ones() -> None:
    files = tree_files()
    there = target_of(files)
    shown = some_node(yaml.safe_load(files[DASHBOARD]))["chartId"]
    scope = {"scope": {"excluded": [shown, 4712]}}
    metadata = {
        "native_filter_configuration": [{"id": "F", "targets": [], **scope}],
        "chart_configuration": {str(shown): {"id": shown, "crossFilters": scope}},
        "global_chart_configuration": scope,
        "chart_customization_config": [
            {"id": "C", "targets": [{"datasetUuid": "00000000-0000-4000-8000-00000000dead"}], **scope}
        ],
        "expanded_slices": {str(shown): True},
    }
    changed(files, DASHBOARD, lambda board: board["metadata"].update(metadata))

    def places(version: str) -> list[tuple[str, str]]:
        found = audited(files, *there, version=version)
        return sorted((one.code, str(one.keys[1])) for one in found if one.code != "unknown_field")

    newest = [("foreign_id", "chart_customization_config")] * 2
    old = (
        [("foreign_id", "chart_configuration")] * 3
        + newest
        + [("foreign_id", "global_chart_configuration")] * 2
    )
    assert (places("6.1.0"), places("4.1.4")) == (newest, old)
    changed(files, DASHBOARD, lambda board: some_node(board).pop("uuid"))
    assert ("metadata_crash", DASHBOARD) in named(audited(files, *there))


def test_datasets_are_matched_as_the_import_matches_them() -> None:
    files = tree_files()
    there = target_of(files)
    dataset = next(one for one in there if one.uuid == uuid_of(files, DATASET))
    without = [one for one in there if one.uuid != dataset.uuid]
    changed(files, DATASET, lambda data: data.update(schema="public", catalog="dev"))

    def found(*target: Document, **body: Any) -> set[tuple[str, str]]:
        twin = Document(Kind.DATASET, "00000000-0000-4000-8000-000000000002", {**dataset.body, **body})
        return named(audited(files, *target, twin))

    assert found(*without, schema=None, catalog=None) == set()
    assert found(*without, schema="public", catalog="dev") == {("dataset_hijacked", DATASET)}
    assert found(*without, schema="public", catalog="prod") == {("dataset_ambiguous", DATASET)}
    elsewhere = dataset.replace(database_uuid="00000000-0000-4000-8000-000000000004")
    assert named(audited(files, elsewhere)) == {("connection_new", DATABASE), ("dataset_moved", DATASET)}


def test_a_key_of_a_column_or_metric_that_no_version_knows_is_named() -> None:
    files = tree_files()
    there = target_of(files)
    changed(files, DATASET, lambda data: data["columns"][0].update(colour="red"))
    changed(files, DATASET, lambda data: data["metrics"][0].update(currency={"symbol": "EUR"}))
    assert [one.keys for one in audited(files, *there)] == [("columns", 0, "colour")]
    old = {one.keys for one in audited(files, *there, version="5.0.0") if one.path == DATASET}
    assert ("metrics", 0, "currency") in old
