"""Trees of YAML files as people keep them: Superset's own exports of any kind, preset-cli's and ol-superset's folders.

All have folders `dashboards`, `charts`, `datasets/<database>`, `databases`, `themes` and `queries` somewhere. What
differs (preset-cli 0.3.13, cli/superset/export.py and sync/native/command.py; ol-superset of August 2026):

* Superset: one root folder with metadata.yaml; file names end in the ids of the instance.
* preset-cli: no root folder, often no metadata.yaml; texts of Jinja are escaped (`{{ '{{' }}`), as its import renders
  each file; `x.overrides.yaml` beside `x.yaml`; with --simple-file-names a number at the end is no id; with
  --per-asset-folder one tree for each dashboard, which hold the same datasets again and again.
* ol-superset: file names are uuids, no stored query contexts, names in comments.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import yaml

from .bundle import KINDS, RawAsset, source_id_of
from .errors import SupersetRefused
from .yaml_text import YamlReader

SUPERSET, PRESET_CLI, OL_SUPERSET, OTHER = "superset", "preset_cli", "ol_superset", "other"
SHAPES = {
    SUPERSET: "an export of Superset",
    PRESET_CLI: "a tree of preset-cli",
    OL_SUPERSET: "a tree of ol-superset",
    OTHER: "a tree of files",
}
_FOLDERS = {**KINDS, "queries": "query"}
_NAMES = {
    "dashboard": "dashboard_title",
    "chart": "slice_name",
    "dataset": "table_name",
    "database": "database_name",
    "theme": "theme_name",
    "query": "label",
}
OVERRIDES = ".overrides"
#: With how many files of its uuid a file is compared: a tree of thousands of them is no tree that somebody keeps.
_MOST_TWINS = 20
# The root folder of an export (get_export_filename, superset/*/api.py), and of the bundles that are made here.
_EXPORT = re.compile(r"^(?:[a-z_]+_export_\d{8}T\d{6}|bundle)$")


@dataclass(frozen=True, slots=True)
class FileProblem:
    """A file that could not be read, or was not understood. `line` counts from 1, 0: the whole file."""

    path: str
    text: str
    line: int = 0


@dataclass(slots=True)
class Tree:
    """What a tree of files says, doubled assets included.

    `assets`: every file of an asset, by path; of several trees in one file, files with equal contents come once.
    `queries`: the same of saved queries. `trusts_names`: numbers at the end of file names are ids of the instance.
    `templates`: paths of files with Jinja that is the tree's own and was not rendered.
    """

    shape: str = OTHER
    assets: list[RawAsset] = field(default_factory=list)
    queries: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    problems: list[FileProblem] = field(default_factory=list)
    templates: list[str] = field(default_factory=list)
    files: Mapping[str, bytes] = field(default_factory=dict)
    trusts_names: bool = False

    @property
    def name(self) -> str:
        return SHAPES[self.shape]

    def doubled(self) -> dict[str, list[RawAsset]]:
        """uuid -> the files that have it, where they are several."""
        found: dict[str, list[RawAsset]] = {}
        for asset in self.assets:
            found.setdefault(asset.uuid, []).append(asset)
        return {uuid: assets for uuid, assets in found.items() if len(assets) > 1}

    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for asset in self.assets:
            counts[asset.kind] = counts.get(asset.kind, 0) + 1
        if self.queries:
            counts["query"] = len(self.queries)
        return counts

    def line_of(self, path: str, keys: Sequence[str | int]) -> int:
        """The line, from 1, on which the value below these keys begins in a file; of the deepest that is there. 1 where
        the file has none of them.
        """
        return self.lines_of(path, [keys])[0]

    def lines_of(self, path: str, many: Iterable[Sequence[str | int]]) -> list[int]:
        """The same for several places of one file, which is parsed once."""
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            root = yaml.compose(self.files.get(path, b""), Loader=loader)
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError):
            root = None
        return [_line(root, keys) for keys in many]


def read_tree(files: Mapping[str, bytes], *, rendered: bool = False) -> Tree:
    """The assets of a tree, whatever wrote it. `rendered`: its own Jinja was rendered already.

    Files that cannot be read are `problems`. Raises SupersetRefused(bundle_invalid) only where there is nothing at all,
    or more values than a bundle may hold.
    """
    tree = Tree(files=files)
    reader = YamlReader()
    parsed: dict[str, dict[str, Any]] = {}
    for path, content in sorted(files.items()):
        if _place_of(path) is None and not _is_metadata(path):
            continue
        try:
            parsed[path] = reader.read(content, path)
        except SupersetRefused as refused:
            text = str(refused.detail.get(path) or refused.message)
            tree.problems.append(FileProblem(path, text, _line_in(text)))
    tree.metadata = next((data for path, data in parsed.items() if _is_metadata(path)), {})
    overrides = {path: parsed.pop(path) for path in list(parsed) if _is_override(path)}
    for path, data in overrides.items():
        _override(parsed, path, data, tree)
    tree.shape = _shape_of(files, parsed, tree.metadata, bool(overrides))
    if not rendered and tree.shape != SUPERSET:
        for path, data in parsed.items():
            parsed[path] = _map_texts(data, _unescaped)
            if _is_template(files[path].decode("utf-8", "replace")):
                tree.templates.append(path)
    _sort_in(tree, parsed)
    _settle_ids(tree)
    if not tree.assets and not tree.queries and not tree.problems:
        raise SupersetRefused(
            "There is no folder with dashboards, charts, datasets, databases or queries in it.",
            code="bundle_invalid",
        )
    return tree


# --- Which file is what ---------------------------------------------------------------------------------------------
def _place_of(path: str) -> tuple[str, str] | None:
    """(root of the tree, kind) that a path speaks of; the outermost folder with a name that means one."""
    parts = path.split("/")
    for index, part in enumerate(parts[:-1]):
        if part in _FOLDERS:
            return "/".join(parts[:index]), _FOLDERS[part]
    return None


def _kind_of(path: str, data: Mapping[str, Any]) -> str | None:
    """A repository may itself be called dashboards: then the file's own name field decides."""
    kinds = [_FOLDERS[part] for part in path.split("/")[:-1] if part in _FOLDERS]
    return next((kind for kind in kinds if _NAMES[kind] in data), kinds[0] if kinds else None)


def _is_metadata(path: str) -> bool:
    return posixpath.basename(path) == "metadata.yaml" and _place_of(path) is None


def _is_override(path: str) -> bool:
    return posixpath.splitext(posixpath.splitext(path)[0])[1].lower() == OVERRIDES


def _override(parsed: dict[str, dict[str, Any]], path: str, data: dict[str, Any], tree: Tree) -> None:
    stem, ending = posixpath.splitext(path)
    base = posixpath.splitext(stem)[0] + ending
    if base not in parsed:
        tree.problems.append(FileProblem(path, f"overrides {base}, which is not there"))
        return
    parsed[base] = _merged(parsed[base], data)


def _merged(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        known = merged.get(key)
        merged[key] = _merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def _shape_of(
    files: Mapping[str, bytes],
    parsed: Mapping[str, dict[str, Any]],
    metadata: Mapping[str, Any],
    has_overrides: bool,
) -> str:
    placed = [(path, place) for path in parsed if (place := _place_of(path)) is not None]
    roots = {root for _, (root, _kind) in placed}
    if metadata.get("version") and len(roots) == 1 and _EXPORT.search(next(iter(roots))):
        return SUPERSET
    stems = [posixpath.splitext(posixpath.basename(path))[0] for path, _ in placed]
    if stems and all(_is_uuid(stem) for stem in stems):
        return OL_SUPERSET
    escaped = any(_ESCAPE.search(content.decode("utf-8", "replace")) for content in files.values())
    if has_overrides or escaped or (stems and any(re.search(r"_\d+$", stem) for stem in stems)):
        return PRESET_CLI
    return OTHER


def _sort_in(tree: Tree, parsed: Mapping[str, dict[str, Any]]) -> None:
    seen: dict[str, list[RawAsset]] = {}
    for path, data in parsed.items():
        kind = _kind_of(path, data)
        if kind is None:
            continue
        if kind == "query":
            tree.queries.append((path, data))
            continue
        try:
            uuid = str(UUID(str(data.get("uuid"))))
        except ValueError:
            problem = "has no uuid" if data.get("uuid") is None else "its uuid is not one"
            tree.problems.append(FileProblem(path, problem, tree.line_of(path, ("uuid",))))
            continue
        twins = seen.setdefault(uuid, [])
        if any(twin.kind == kind and twin.data == data for twin in twins[:_MOST_TWINS]):
            continue  # one tree for each dashboard: the same dataset in each of them
        asset = RawAsset(kind, uuid, path, data, source_id_of(kind, path, data))
        twins.append(asset)
        tree.assets.append(asset)


def _settle_ids(tree: Tree) -> None:
    """Believe the numbers in file names only where they cannot be anything else: preset-cli counts files of one name
    (chart_2.yaml), and ids of several instances may lie side by side.
    """
    named = {
        (asset.kind, asset.source_id): asset.uuid for asset in tree.assets if asset.source_id is not None
    }
    by_uuid = {uuid: number for (kind, number), uuid in named.items() if kind == "chart"}
    tree.trusts_names = tree.shape == SUPERSET or (
        len(named) == sum(asset.source_id is not None for asset in tree.assets)
        and bool(by_uuid)
        and all(
            by_uuid.get(uuid, number) == number and named.get(("chart", number), uuid) == uuid
            for asset in tree.assets
            if asset.kind == "dashboard"
            for number, uuid in layout_ids(asset.data)
        )
        and any(
            number in by_uuid.values()
            for asset in tree.assets
            if asset.kind == "dashboard"
            for number, _ in layout_ids(asset.data)
        )
    )
    if not tree.trusts_names:
        tree.assets = [replace(asset, source_id=None) for asset in tree.assets]


def layout_ids(dashboard: Mapping[str, Any]) -> list[tuple[int, str]]:
    """(id, uuid) of the charts that a dashboard's layout shows, as its instance had them: the importer's own map."""
    position = dashboard.get("position")
    found: list[tuple[int, str]] = []
    for node in position.values() if isinstance(position, dict) else ():
        meta = node.get("meta") if isinstance(node, dict) and node.get("type") == "CHART" else None
        if not isinstance(meta, dict):
            continue
        number, uuid = meta.get("chartId"), str(meta.get("uuid")).lower()
        if isinstance(number, int) and not isinstance(number, bool) and _is_uuid(uuid):
            found.append((number, uuid))
    return found


def layout_uuids(dashboard: Mapping[str, Any]) -> frozenset[str]:
    """The charts that a dashboard's layout names by uuid."""
    position = dashboard.get("position")
    nodes = position.values() if isinstance(position, dict) else ()
    metas = (node.get("meta") for node in nodes if isinstance(node, dict) and node.get("type") == "CHART")
    uuids = (str(meta.get("uuid")).lower() for meta in metas if isinstance(meta, dict))
    return frozenset(uuid for uuid in uuids if _is_uuid(uuid))


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


# --- preset-cli's Jinja ---------------------------------------------------------------------------------------------
# What its export writes for the Jinja of Superset (jinja_escaper): each of these between `{{ '` and `' }}`, several of
# them in one with spaces between.
_ATOM = r"(?:\{\{|\}\}|-?%\}|\{%-?\s*(?:if|elif|else|endif|for|endfor))"
_ESCAPE = re.compile(rf"\{{\{{ '({_ATOM}(?: {_ATOM})*)' \}}\}}")
_JINJA = re.compile(r"\{\{|\{%|\{#")


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: match[1], text) if "{{ '" in text else text


def _is_template(text: str) -> bool:
    """Whether a file has Jinja of its own, to be rendered before anybody reads it."""
    return _JINJA.search(_ESCAPE.sub("", text)) is not None


def templates_in(files: Mapping[str, bytes]) -> dict[str, str]:
    """path -> text of the files of a tree in which Jinja stands, escaped or its own: what a rendering renders."""
    found: dict[str, str] = {}
    for path, content in files.items():
        if _place_of(path) is not None and (b"{{" in content or b"{%" in content or b"{#" in content):
            found[path] = content.decode("utf-8", "replace")
    return found


def _map_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _map_texts(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_map_texts(item, change) for item in value]
    return value


# --- Lines ----------------------------------------------------------------------------------------------------------
def _line(node: Any, keys: Sequence[str | int]) -> int:
    line = 1
    for key in keys:
        found = _child(node, key)
        if found is None:
            break
        line, node = found
    return line


def _child(node: Any, key: str | int) -> tuple[int, Any] | None:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if isinstance(name, yaml.ScalarNode) and name.value == str(key):
                return name.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and 0 <= key < len(node.value):
        return node.value[key].start_mark.line + 1, node.value[key]
    return None


def _line_in(text: str) -> int:
    found = re.search(r"in line (\d+)", text)
    return int(found[1]) if found else 0


__all__ = [
    "OL_SUPERSET",
    "OTHER",
    "PRESET_CLI",
    "SUPERSET",
    "FileProblem",
    "Tree",
    "layout_ids",
    "layout_uuids",
    "read_tree",
    "templates_in",
]
