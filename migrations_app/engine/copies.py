"""Parametrised copies of a source: the same assets under uuids, names, schemas and words of their own.

A copy is no second way to write. It is a mapping with more in it: every asset is paired with a uuid that follows from
template, copy and source, and each document is changed before it is brought into the target's terms. What comes out
is planned, approved, applied, verified and rolled back as any migration.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid5

from environments.canonical.documents import Document, Documents, Kind, Note
from environments.canonical.texts import hide_tokens, show_tokens
from environments.canonical.trees import map_texts, texts

from .mapping import AssetMapping, Substitution, all_in_target_terms, with_substitutions

#: What a person may call a value: it stands as {name} in patterns and as [[name]] in the source.
NAME = re.compile(r"^[a-z][a-z0-9_]{0,39}$")
# Not inside of double braces: those are Jinja's.
_IN_PATTERN = re.compile(r"(?<!\{)\{([a-z][a-z0-9_]{0,39})\}(?!\})")
_PLACEHOLDER = re.compile(r"\[\[([a-z][a-z0-9_]{0,39})\]\]")
#: The entry of a mapping that stands for all names without one of their own.
ANY = "*"
WHERE = ("sql", "text", "value")


@dataclass(frozen=True)
class Change:
    """A replacement. `where`: "sql" as `Substitution`; "text" in what people read (titles, headers, markdown,
    descriptions, names of filters); "value" in what charts and filters compare with: the whole value.
    """

    find: str
    replace: str
    where: str = "sql"
    is_pattern: bool = False


@dataclass(frozen=True)
class Copy:
    """How one copy differs from the source.

    `title` and `slug` are patterns for dashboards, `chart_title` for charts, `dataset_name` for datasets that are
    queries; {title}, {slug} and {name} stand there for the source's own, {key} and the names of `values` for the
    copy's. `databases`, `schemas` and `catalogs`: name on the source (databases also by uuid; "" is none, "*" all
    others) -> name on the target, a pattern too. `keeps_uuids`: the assets are the source's own. `shares_datasets`:
    datasets are the source's own, the rest is a copy. `selection`: of the template, also where only a part of it is
    written. `pairs` and `renames`: what was answered before, as in `AssetMapping`.
    """

    template: str
    key: str
    title: str = "{title} ({key})"
    slug: str = "{slug}-{key}"
    chart_title: str = "{title}"
    dataset_name: str = "{name}"
    keeps_uuids: bool = False
    shares_datasets: bool = False
    databases: Mapping[str, str] = field(default_factory=dict)
    schemas: Mapping[str, str] = field(default_factory=dict)
    catalogs: Mapping[str, str] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    selection: tuple[str, ...] = ()
    pairs: Mapping[str, str] = field(default_factory=dict)
    renames: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            **{
                name: getattr(self, name)
                for name in self.__dataclass_fields__
                if name not in ("changes", "renames")
            },
            "databases": dict(self.databases),
            "schemas": dict(self.schemas),
            "catalogs": dict(self.catalogs),
            "values": dict(self.values),
            "selection": list(self.selection),
            "pairs": dict(self.pairs),
            "renames": {uuid: dict(fields) for uuid, fields in self.renames.items()},
            "changes": [
                {
                    "find": one.find,
                    "replace": one.replace,
                    "where": one.where,
                    "is_pattern": one.is_pattern,
                }
                for one in self.changes
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Copy:
        known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        changes = tuple(Change(**one) for one in data.get("changes", ()))
        return cls(**{**known, "changes": changes, "selection": tuple(data.get("selection", ()))})

    def uuid_of(self, kind: Kind, uuid: str) -> str:
        """The uuid that the copy of an asset of the source has."""
        if self.keeps_uuids or kind == Kind.DATABASE or (self.shares_datasets and kind == Kind.DATASET):
            return uuid
        return copy_uuid(self.template, self.key, uuid)

    def filled(self, pattern: str, **more: str) -> str:
        """A pattern with its names filled in. Names without a value stay as they are."""
        values = {**self.values, "key": self.key, **more}
        return _IN_PATTERN.sub(lambda match: values.get(match[1], match[0]), pattern)


def copy_uuid(template: str, key: str, uuid: str) -> str:
    """uuid5 of the template's uuid as the namespace, and the copy's key and the source's uuid as the name."""
    return str(uuid5(UUID(template), f"{key}:{uuid}"))


def names_in(pattern: str) -> set[str]:
    """The names that a pattern wants values for, those of the source's own included."""
    return set(_IN_PATTERN.findall(pattern))


Made = Callable[[str, str, bool], Substitution]


def copy_mapping(
    base: AssetMapping, documents: Documents, copy: Copy, make: Made = Substitution
) -> AssetMapping:
    """The mapping of a pair of environments as a copy of `documents` has it. `base.databases` are the copy's already
    (`database_entries`). `make`: how a replacement is made of find, replace, is_pattern.
    """
    own = {
        uuid: copy.uuid_of(document.kind, uuid)
        for uuid, document in documents.items()
        if document.kind != Kind.DATABASE
    }
    pairs = {uuid: target for uuid, target in own.items() if target != uuid}
    kept = {uuid: target for uuid, target in base.pairs.items() if uuid not in pairs}
    return replace(
        base,
        pairs={**kept, **pairs, **copy.pairs},
        renames={**(base.renames if copy.keeps_uuids else {}), **copy.renames},
        before=_Rewrite(copy, documents, make),
    )


def in_copy_terms(documents: Documents, copy: Copy, make: Made = Substitution) -> dict[str, Document]:
    """The source's documents as the copy has them, by the source's uuids: uuids and everything that names them, titles,
    slugs, texts, values and SQL; databases, schemas and catalogs are still the source's.
    """
    mapping = copy_mapping(AssetMapping(), documents, copy, make)
    return all_in_target_terms(documents, mapping)


def database_entries(
    entries: Mapping[str, Mapping[str, Any]],
    documents: Documents,
    target: Documents,
    copy: Copy,
    *,
    is_same_environment: bool = False,
) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
    """Where the datasets of each source database go for a copy: the pair's `entries` ({source uuid: {"target",
    "schemas", "catalogs"}}), with what the copy says instead; and the connections it names that the target lacks.

    On the source's own environment a connection that nobody maps stands for itself.
    """
    connections = {uuid: item for uuid, item in target.items() if item.kind == Kind.DATABASE}
    by_name = {item.title: uuid for uuid, item in connections.items()}
    used: dict[str, list[Document]] = {}
    for document in documents.values():
        if document.kind == Kind.DATASET and document.body.get("database_uuid"):
            used.setdefault(str(document.body["database_uuid"]), []).append(document)
    found: dict[str, dict[str, Any]] = {uuid: dict(entry) for uuid, entry in entries.items()}
    missing: list[str] = []
    for uuid, datasets in sorted(used.items()):
        entry = dict(found.get(uuid) or {})
        name = documents[uuid].title if uuid in documents else uuid
        wanted = _first(copy.databases, uuid, name, ANY)
        if wanted is not None:
            wanted = copy.filled(wanted)
            there = wanted if wanted in connections else by_name.get(wanted)
            if there is None:
                missing.append(wanted)
                continue
            entry["target"] = there
        elif is_same_environment:
            entry.setdefault("target", uuid)
        if "target" not in entry:
            continue
        for group, names, given in (
            ("schemas", {str(item.body.get("schema") or "") for item in datasets}, copy.schemas),
            ("catalogs", {str(item.body.get("catalog") or "") for item in datasets}, copy.catalogs),
        ):
            named = {key: _first(given, key, ANY) for key in names}
            filled = {key: copy.filled(value) for key, value in named.items() if value is not None}
            entry[group] = {**entry.get(group, {}), **filled}
        found[uuid] = entry
    return found, tuple(dict.fromkeys(missing))


def _first(given: Mapping[str, str], *keys: str) -> str | None:
    return next((given[key] for key in keys if key in given), None)


def placeholder_notes(documents: Documents, uuids: Iterable[str], copy: Copy) -> Iterator[Note]:
    """Placeholders of the source that the copy has no value for."""
    known = {*copy.values, "key"}
    for uuid in sorted(uuids):
        document = documents.get(uuid)
        if document is None or document.kind == Kind.DATABASE:
            continue
        named = {name for text in texts(document.body) for name in _PLACEHOLDER.findall(text)}
        for name in sorted(named - known):
            yield Note(
                "placeholder_left",
                uuid,
                f"[[{name}]] stands in it, and the copy “{copy.key}” has no value of that name.",
            )


# --- One document
# ---------------------------------------------------------------------------------------------------------

#: Keys of form data that hold words for people (superset-ui-chart-controls and the plugins' control panels, 6.1.0).
_FORM_TEXTS = frozenset(
    {
        "x_axis_title",
        "y_axis_title",
        "y_axis_title_secondary",
        "yAxisTitleSecondary",
        "xAxisTitle",
        "yAxisTitle",
        "x_axis_label",
        "y_axis_label",
        "subheader",
        "subtitle",
        "handlebarsTemplate",
        "markup",
    }
)
_META_TEXTS = ("text", "code", "defaultText", "sliceNameOverride")
_FILTER_TEXTS = ("name", "description", "title")
_VALUE_KEYS = frozenset({"comparator", "val", "value"})


class _Rewrite:
    """Changes one document of the source into the copy's words; uuids and connections are the mapping's."""

    def __init__(self, copy: Copy, documents: Documents, make: Made) -> None:
        self.copy = copy
        made = {where: self._made(where, make) for where in ("sql", "text")}
        self.sql, self.words = tuple(made["sql"]), tuple(made["text"])
        self.values = [
            (one.find, None if not one.is_pattern else make(one.find, self._replacement(one), True), one)
            for one in copy.changes
            if one.where == "value"
        ]
        dashboards = [item for item in documents.values() if item.kind == Kind.DASHBOARD]
        self.titles = {item.uuid: self._title(copy.title, item) for item in dashboards}
        self.slugs = {item.uuid: slug for item in dashboards if (slug := self._slug(item))}
        for uuid in _doubled(self.titles):
            self.titles[uuid] = f"{self.titles[uuid]} – {documents[uuid].title}"[:500]
        for uuid in _doubled(self.slugs):
            self.slugs[uuid] = f"{self.slugs[uuid]}-{copy_uuid(copy.template, copy.key, uuid)[:4]}"

    def _made(self, where: str, make: Made) -> list[Substitution]:
        return [
            make(one.find, self._replacement(one), one.is_pattern)
            for one in self.copy.changes
            if one.where == where
        ]

    def _replacement(self, one: Change) -> str:
        if not one.is_pattern:
            return self.copy.filled(one.replace)
        values = {name: value.replace("\\", "\\\\") for name, value in self.copy.values.items()}
        return replace(self.copy, values=values).filled(one.replace)  # a value is no group of a pattern

    def __call__(self, document: Document) -> Document:
        if document.kind == Kind.DATABASE or (
            document.kind == Kind.DATASET and self.copy.shares_datasets and not self.copy.keeps_uuids
        ):
            return document
        document = with_substitutions(document, self.sql)
        if document.kind == Kind.DASHBOARD:
            document = self._dashboard(document)
        elif document.kind == Kind.CHART:
            document = self._chart(document)
        else:
            document = self._dataset(document)
        return Document(document.kind, document.uuid, map_texts(document.body, self._with_values))

    def _with_values(self, text: str) -> str:
        if "[[" not in text:
            return text
        values = {**self.copy.values, "key": self.copy.key}
        return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)

    def _worded(self, value: Any) -> Any:
        if not isinstance(value, str) or not self.words:
            return value
        hidden, tokens = hide_tokens(value)
        for one in self.words:
            hidden = one.apply(hidden)
        return show_tokens(hidden, tokens)

    def _with_words(self, data: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
        return {**data, **{name: self._worded(data[name]) for name in names if data.get(name)}}

    def _title(self, pattern: str, document: Document) -> str:
        own = self._with_values(str(self._worded(document.title)))
        return self.copy.filled(pattern, title=own, slug=str(document.body.get("slug") or ""))

    def _slug(self, document: Document) -> str:
        own, pattern = str(document.body.get("slug") or ""), self.copy.slug
        if not own and (not pattern or "slug" in names_in(pattern)):
            return ""
        if pattern == "{slug}":
            return own
        filled = self.copy.filled(pattern, slug=own, title=document.title)
        # As Superset's own pages make one of what people enter (superset/daos/dashboard.py, 6.1.0).
        return re.sub(r"[^\w\-]+", "", re.sub(r"\s+", "-", filled.strip()))[:255]

    def _dashboard(self, document: Document) -> Document:
        body = document.body
        words = _of(body, "description", "certified_by", "certification_details")
        title = self.titles.get(document.uuid) or self._title(self.copy.title, document)
        metadata = dict(body["metadata"])
        for name in ("native_filter_configuration", "chart_customization_config"):
            if isinstance(metadata.get(name), list):
                metadata[name] = [
                    self._with_words(item, _FILTER_TEXTS) if isinstance(item, Mapping) else item
                    for item in metadata[name]
                ]
        return document.replace(
            **self._with_words(words, words),
            dashboard_title=title,
            slug=self.slugs.get(document.uuid) or None,
            position={key: self._node(node, document.title, title) for key, node in body["position"].items()},
            metadata=self._valued(metadata),
        )

    def _node(self, node: Any, before: str, title: str) -> Any:
        if not isinstance(node, Mapping) or not isinstance(node.get("meta"), Mapping):
            return node
        meta = dict(node["meta"])
        if node.get("type") == "HEADER" and node.get("id") == "HEADER_ID" and meta.get("text") == before:
            return {**node, "meta": {**meta, "text": title}}
        if node.get("type") == "CHART" and isinstance(meta.get("sliceName"), str):
            meta["sliceName"] = self._chart_title(meta["sliceName"])
        return {**node, "meta": self._with_words(meta, _META_TEXTS)}

    def _chart_title(self, title: str) -> str:
        return self.copy.filled(self.copy.chart_title, title=str(self._worded(title)))

    def _chart(self, document: Document) -> Document:
        body = document.body
        words = _of(body, "description", "certified_by", "certification_details")
        return document.replace(
            **self._with_words(words, words),
            slice_name=self._chart_title(document.title),
            params=self._valued(self._form(body["params"])),
            query_context=self._valued(self._form(body.get("query_context"))),
        )

    def _form(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {
                key: self._worded(item) if key in _FORM_TEXTS else self._form(item)
                for key, item in value.items()
            }
        return [self._form(item) for item in value] if isinstance(value, list) else value

    def _dataset(self, document: Document) -> Document:
        body = document.body
        changes: dict[str, Any] = self._with_words(_of(body, "description"), ("description",))
        for group in ("columns", "metrics"):
            changes[group] = [
                self._with_words(item, ("verbose_name", "description")) for item in body.get(group, ())
            ]
        if body.get("sql"):
            changes["table_name"] = self.copy.filled(self.copy.dataset_name, name=document.title)
        if self.values and body.get("template_params"):
            changes["template_params"] = self._every_value(body["template_params"])
        return document.replace(**changes)

    def _valued(self, value: Any) -> Any:
        """With what charts and filters compare with changed."""
        if not self.values:
            return value
        if isinstance(value, Mapping):
            return {
                key: self._every_value(item)
                if key == "filterState" or (key in _VALUE_KEYS and not isinstance(item, Mapping))
                else self._valued(item)
                for key, item in value.items()
            }
        return [self._valued(item) for item in value] if isinstance(value, list) else value

    def _every_value(self, value: Any) -> Any:
        return map_texts(value, self._one_value)

    def _one_value(self, text: str) -> str:
        for find, pattern, one in self.values:
            if pattern is not None:
                text = pattern.apply(text)
            elif text == find:
                text = self.copy.filled(one.replace)
        return text


def _of(body: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: body[name] for name in names if name in body}


def _doubled(names: Mapping[str, str]) -> list[str]:
    counts = Counter(names.values())
    return [uuid for uuid, name in names.items() if counts[name] > 1]
