"""What the released packages themselves say: the fields that their imports know, the chart types that they draw.

Read out of an installed Superset without running it: the marshmallow schemas by their syntax tree, the chart types out
of the built pages, where MainPreset registers each plugin under its key.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from environments.lab.install import Installer
from environments.lab.versions import superset_version
from environments.superset.fields import COMMON, FIELDS
from environments.superset.versions import version_tuple
from environments.superset.viz_types import VIZ_TYPES

#: (file, class) -> (kind, prefix of its fields' names)
SCHEMAS = {
    ("dashboards", "ImportV1DashboardSchema"): ("dashboard", ""),
    ("charts", "ImportV1ChartSchema"): ("chart", ""),
    ("datasets", "ImportV1DatasetSchema"): ("dataset", ""),
    ("datasets", "ImportV1ColumnSchema"): ("dataset", "columns."),
    ("datasets", "ImportV1MetricSchema"): ("dataset", "metrics."),
    ("databases", "ImportV1DatabaseSchema"): ("database", ""),
    ("databases", "ImportV1DatabaseExtraSchema"): ("database", "extra."),
}
METADATA = ("dashboards", "DashboardJSONMetadataSchema")
#: Taken under this name by every import, and renamed before the schema sees it (databases/schemas.py).
RENAMED = {("database", "allow_file_upload")}
_REGISTERED = re.compile(r'\.configure\(\{key:("[a-z_0-9-]+"|[\w$.]+\.(\w+))\}\)')
_NAMED = re.compile(r'[\w$)}]\.(\w+)="([a-z_0-9-]+)"')


def differences(installer: Installer, version: str) -> list[str]:
    """Where our tables and the package do not say the same; empty if they agree."""
    package = next(
        installer.superset(superset_version(version)).folder.glob("lib/python*/site-packages/superset")
    )
    number = version_tuple(version)[:2]
    return [*_differing_fields(package, number), *_differing_types(package, number)]


def _differing_fields(package: Path, number: tuple[int, ...]) -> Iterator[str]:
    theirs = {
        (kind, prefix + name)
        for (folder, cls), (kind, prefix) in SCHEMAS.items()
        for name in _schema(package / folder / "schemas.py", cls)
    }
    metadata = _schema(package / METADATA[0] / "schemas.py", METADATA[1])
    theirs |= {("dashboard", f"metadata.{name}") for name in metadata}
    ours = {(kind, name) for kind, names in COMMON.items() for name in names} - RENAMED
    ours |= {(field.kind, field.name) for field in FIELDS if number >= field.since}
    in_metadata = {(field.kind, field.name) for field in FIELDS if field.name.startswith("metadata.")}
    for kind, name in sorted(theirs ^ ours):
        if name.startswith("metadata.") and (kind, name) not in in_metadata:
            continue  # known to all: only what some refuse is in our table
        yield f"{kind} {name}: {'only in the package' if (kind, name) in theirs else 'only in our table'}"


def _schema(file: Path, name: str) -> set[str]:
    """Names of the fields of a marshmallow schema."""
    (found,) = (
        node
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name == name
    )
    return {
        target.id
        for node in found.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _differing_types(package: Path, number: tuple[int, ...]) -> Iterator[str]:
    theirs = _registered(package)
    ours = next(types for since, types in VIZ_TYPES.items() if number >= since)
    for viz_type in sorted(theirs ^ ours):
        yield f"chart type {viz_type}: {'only in the package' if viz_type in theirs else 'only in our table'}"


def _registered(package: Path) -> set[str]:
    """Keys of all plugins of MainPreset but those of native filters."""
    scripts = [
        path.read_text(encoding="utf-8", errors="replace")
        for path in (package / "static" / "assets").glob("*.js")
    ]
    preset = max(scripts, key=lambda text: len(_REGISTERED.findall(text)))
    # From 5.0 on by the names of an enumeration, which stands in another script.
    names: dict[str, str] = {}
    for text in scripts:
        if (at := text.find('.BigNumberPeriodOverPeriod="')) >= 0:
            names = dict(_NAMED.findall(text[max(0, at - 2000) : at + 5000]))
    filters = {
        "Select",
        "Range",
        "Time",
        "TimeColumn",
        "TimeGrain",
        "DynamicGroupBy",
        "DeckglLayerVisibility",
    }
    return {
        literal.strip('"') if literal.startswith('"') else names[name]
        for literal, name in _REGISTERED.findall(preset)
        if name not in filters
    }
