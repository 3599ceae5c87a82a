"""What the files alone say: unreadable, doubled, secrets in clear, fields that the target's version does not know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from environments.canonical.documents import Kind
from environments.canonical.secrets import find_secrets
from environments.canonical.trees import as_list, as_mapping

from .model import AssetFile, AuditInput, Finding, Severity, finding, title_of

#: What an import knows of each kind, on the newest version (superset-api.md 7.1 to 7.4): its schemas are strict.
FIELDS: Mapping[str, frozenset[str]] = {
    kind: frozenset(names.split())
    for kind, names in {
        "dashboard": """
            dashboard_title description css slug certified_by certification_details published uuid position metadata
            version is_managed_externally external_url theme_uuid theme_id tags
        """,
        "chart": """
            slice_name viz_type params query_context description certified_by certification_details cache_timeout uuid
            dataset_uuid version tags is_managed_externally external_url
        """,
        "dataset": """
            table_name main_dttm_col description default_endpoint offset cache_timeout catalog schema sql params
            template_params filter_select_enabled fetch_values_predicate extra normalize_columns
            always_filter_main_dttm uuid columns metrics version database_uuid folders currency_code_column data
            source_db_engine data_file is_managed_externally external_url
        """,
        "database": """
            database_name sqlalchemy_uri cache_timeout expose_in_sqllab allow_run_async allow_ctas allow_cvas allow_dml
            allow_file_upload allow_csv_upload extra uuid version ssh_tunnel impersonate_user configuration_method
            masked_encrypted_extra encrypted_extra password is_managed_externally external_url
        """,
    }.items()
}
#: Of a connection's `extra` (7.4). Superset's own page and API take more, whose export is then refused.
_EXTRA = """
    metadata_params engine_params metadata_cache_timeout schemas_allowed_for_csv_upload
    schemas_allowed_for_file_upload cost_estimate_enabled allows_virtual_table_explore
    cancel_query_on_windows_unload disable_data_preview disable_drill_to_detail allow_multi_catalog version
    schema_options per_user_caching
"""
EXTRA = frozenset(_EXTRA.split())
#: Of columns and metrics, on the newest version (7.3). No version takes their uuids from a file.
_INSIDE: Mapping[str, frozenset[str]] = {
    group: frozenset(names.split())
    for group, names in {
        "columns": """
            column_name verbose_name is_dttm is_active type advanced_data_type groupby filterable expression description
            python_date_format extra datetime_format
        """,
        "metrics": """
            metric_name expression verbose_name metric_type description d3format currency extra warning_text
        """,
    }.items()
}
#: The first release whose import takes a metric's currency as a mapping, as 6.0 and later export it (7.9).
_CURRENCY_MAP = (6, 0)
#: The first release whose import reads an empty text here as nothing (I#27437, I#35037).
_EMPTY_TEXT_OK = (6, 0)


def of_files(given: AuditInput) -> Iterator[Finding]:
    for path, line, text in given.problems:
        where = f" (line {line})" if line and f"line {line}" not in text else ""
        yield Finding(
            "unreadable_file",
            Severity.ERROR,
            path,
            (),
            "",
            "",
            path,
            f"This file cannot be read: {text}{where}.",
            "The whole import is refused.",
            "Names the file, and plans nothing from the tree before it is mended.",
        )
    for path in given.templates:
        yield Finding(
            "template",
            Severity.INFO,
            path,
            (),
            "",
            "",
            path,
            "There is Jinja in this file, which was left as text.",
            "preset-cli renders it, with the environment of its process and Python of the tree in reach; "
            "Superset stores it.",
            "Keeps the text as it is, or renders it in a sandbox where a file of values is given.",
        )
    yield from _doubled(given)
    for asset in given.assets:
        yield from _secrets(asset)
        yield from _unknown_fields(asset, given)


def _doubled(given: AuditInput) -> Iterator[Finding]:
    """One uuid in several files."""
    seen: dict[str, AssetFile] = {}
    for asset in given.assets:
        first = seen.setdefault(asset.uuid, asset)
        if first is asset:
            continue
        if first.kind == asset.kind:
            plain = "The file that is read last overwrites the other, and nobody says so."
        else:
            plain = "Both are imported, and what names one of them by its uuid may get the other."
        yield finding(
            asset,
            "doubled_uuid",
            Severity.ERROR,
            ("uuid",),
            f"The uuid {asset.uuid} is that of the {first.kind} “{title_of(first)}” in {first.path}, too.",
            plain,
            "Plans nothing from this tree until one of the two has another uuid or is gone.",
        )


def _secrets(asset: AssetFile) -> Iterator[Finding]:
    for keys in find_secrets(asset.kind, asset.data):
        name = ".".join(map(str, keys))
        if asset.kind == Kind.DATABASE:
            plain = "It is stored as the connection's, and the request stands in clear in the target's action log."
            ours = "Masks it when the file is read, and never writes connections: it is stored nowhere."
        else:
            plain = "It is stored with the asset, for everybody who may see that."
            ours = (
                "Masks it when the file is read: what is brought has the mask. Set it on the target by hand."
            )
        yield finding(
            asset,
            "secret_in_file",
            Severity.ERROR,
            keys,
            f"There is a secret in clear: {name}. Whoever sees the file has it: change it, also where it is used.",
            plain,
            ours,
        )


def _unknown_fields(asset: AssetFile, given: AuditInput) -> Iterator[Finding]:
    known = FIELDS.get(asset.kind)
    if known is None:
        return
    unknown = given.unknown_fields.get(asset.kind, {})
    version = ".".join(map(str, given.version)) or "its version"
    refused = "The whole import is refused: 422 “Unknown field”."
    for name in asset.data:
        if name in unknown:
            yield finding(
                asset,
                "unknown_field",
                Severity.ERROR,
                (name,),
                f"“{name}” is not known to {given.target_name} ({version}).",
                refused,
                f"Leaves it out, and says what that means: {unknown[name]}.",
            )
        elif name not in known:
            yield finding(
                asset,
                "unknown_field",
                Severity.ERROR,
                (name,),
                f"“{name}” is no field of a {asset.kind} in any tested version.",
                refused,
                "Leaves it out where it plans this asset: no version takes it.",
            )
    yield from _unknown_inside(asset, unknown, version, given)
    is_old = bool(given.version) and given.version < _EMPTY_TEXT_OK
    if asset.kind == Kind.DATASET and is_old and asset.data.get("template_params") == "":
        yield finding(
            asset,
            "empty_text",
            Severity.ERROR,
            ("template_params",),
            "“template_params” is an empty text.",
            f"Superset {version} refuses the whole import.",
            "Writes it as nothing.",
        )


def _unknown_inside(
    asset: AssetFile, unknown: Mapping[str, str], version: str, given: AuditInput
) -> Iterator[Finding]:
    """Of columns, metrics, metadata, and of a connection's `extra`."""
    data = asset.data
    refused = "The whole import is refused: 422 “Unknown field”."
    if asset.kind == Kind.DATASET:
        takes_maps = not given.version or given.version >= _CURRENCY_MAP
        for group, known in _INSIDE.items():
            for index, entry in enumerate(as_list(data.get(group))):
                for name, value in as_mapping(entry).items():
                    meaning = unknown.get(f"{group}.{name}")
                    if (
                        (group, name) == ("metrics", "currency")
                        and not takes_maps
                        and isinstance(value, Mapping)
                    ):
                        text = f"The currency of a metric is a mapping, which {given.target_name} ({version}) takes "
                        text += "only as a text."
                        keys = (group, index, name)
                        refused_map = "The whole import is refused: 422 “Not a valid string”."
                        ours = "Writes it as that version takes it."
                        yield finding(asset, "unknown_field", Severity.ERROR, keys, text, refused_map, ours)
                    if meaning is None and name in known:
                        continue
                    text = f"“{name}” of {group} is not known to {given.target_name} ({version})."
                    ours = f"Leaves it out: {meaning}." if meaning else "Leaves it out."
                    yield finding(
                        asset, "unknown_field", Severity.ERROR, (group, index, name), text, refused, ours
                    )
    for name, value in as_mapping(data.get("metadata")).items() if asset.kind == Kind.DASHBOARD else ():
        meaning = unknown.get(f"metadata.{name}")
        if meaning is not None and value not in (None, "", [], {}):
            yield finding(
                asset,
                "unknown_field",
                Severity.WARNING,
                ("metadata", name),
                f"“{name}” of the metadata is not known to {given.target_name} ({version}).",
                "It is imported, and then nobody can save the dashboard there: 400 “Unknown field”.",
                f"Leaves it out, and says what that means: {meaning}.",
            )
    if asset.kind == Kind.DATABASE:
        for name in as_mapping(data.get("extra")):
            if name not in EXTRA or f"extra.{name}" in unknown:
                yield finding(
                    asset,
                    "unknown_extra",
                    Severity.ERROR,
                    ("extra", name),
                    f"“{name}” of the connection's extra is not known to the import of {given.target_name} "
                    f"({version}).",
                    "The whole import is refused, also where the connection exists and nothing of it would be "
                    "written.",
                    "Sends no connection: a stub with nothing in it, or none.",
                )
