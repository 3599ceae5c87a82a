"""YAML as Superset reads and writes it, from strangers too.

Superset uses PyYAML's safe loader, so YAML 1.1: `no` is false, `12:30:45` a number
(superset/commands/importers/v1/utils.py, 4.1.4 and 6.1.0). The C parser used here reads the same values, and what
Superset writes is built straight from its events, both together in a tenth of the time (tests/superset/
test_yaml_text.py). What a file may contain is limited before anything is built from it.
"""

from __future__ import annotations

import io
import math
import re
import sys
from collections.abc import Callable
from typing import Any, cast

import yaml

from .errors import SupersetRefused

_BaseLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BaseDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

MAX_FILE_BYTES = (
    16 * 2**20
)  # one asset; the largest example dashboard has 40 KB, Superset itself stops at 100 MB
MAX_DEPTH = 100  # nested collections; form data of deck.gl charts has about 12. The C composer recurses without a limit
MAX_ANCHORS = 100  # Superset writes none at all; hand-written bundles a few
MAX_EXPANDED = 100_000  # nodes after aliases are followed: what an alias bomb multiplies
MAX_NODES = 300_000  # in one file; the parser takes 500 bytes for each. A dataset of 2,000 columns has 48,000
MAX_VALUES = 5_000_000  # in one bundle; a full export of 10,000 charts has 1.7 million
MAX_DIGITS = 64  # of one number; reading longer ones takes quadratic time, and no database has them


def invalid(where: str, problem: str) -> SupersetRefused:
    return SupersetRefused(f"{where}: {problem}", code="bundle_invalid", detail={where: problem})


class _Loader(_BaseLoader):  # type: ignore[misc]
    """The safe loader, with numbers of bounded length, dates as text and nothing that JSON does not know."""


def _limited(construct: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def constructor(loader: Any, node: yaml.ScalarNode) -> Any:
        if len(node.value) > MAX_DIGITS:
            raise yaml.constructor.ConstructorError(
                None, None, "a number too long to be one", node.start_mark
            )
        return construct(loader, node)

    return constructor


def _date_as_text(loader: Any, node: yaml.ScalarNode) -> str:
    # Superset's own exports quote whatever looks like a date. In a hand-written file Superset makes a date of it and
    # stores `isoformat()` in its JSON columns (superset/utils/json.py, json_iso_dttm_ser): the same text as here.
    return str(yaml.constructor.SafeConstructor.construct_yaml_timestamp(loader, node).isoformat())


def _refused(loader: Any, node: yaml.Node) -> Any:
    kind = node.tag.rpartition(":")[2]
    raise yaml.constructor.ConstructorError(None, None, f"{kind} is not plain data", node.start_mark)


_SAFE = yaml.constructor.SafeConstructor
_Loader.add_constructor("tag:yaml.org,2002:int", _limited(_SAFE.construct_yaml_int))
_Loader.add_constructor("tag:yaml.org,2002:float", _limited(_SAFE.construct_yaml_float))
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _date_as_text)
for _tag in ("binary", "omap", "pairs", "set"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _refused)


def _unknown(loader: Any, node: yaml.Node) -> Any:
    # Without the tag's name: `password: !Xk29` is a secret that nobody quoted.
    raise yaml.constructor.ConstructorError(None, None, "a tag is not plain data", node.start_mark)


_Loader.add_constructor(None, _unknown)


class _Dumper(_BaseDumper):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:
        return True  # two charts sharing one list in our memory are no reason for an anchor in the file


class _ReadableDumper(_Dumper):
    pass


def _text_in_lines(dumper: Any, text: str) -> Any:
    lines = text.replace("\r\n", "\n").replace("\t", "  ").split("\n")
    if len(lines) == 1:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text)
    # A block cannot hold lines that end in spaces; YAML would fall back to one long quoted line.
    block = "\n".join(line.rstrip() for line in lines)
    return dumper.represent_scalar("tag:yaml.org,2002:str", block, style="|")


_ReadableDumper.add_representer(str, _text_in_lines)


_MERGE = "tag:yaml.org,2002:merge"
_VALUE = "tag:yaml.org,2002:value"


class _NeedsNodes(Exception):
    """Anchors, aliases, tags, merge keys, several documents, other types, or an error: PyYAML's own way knows them."""


class YamlReader:
    """Reads the files of one bundle, which share a limit on their values and one copy of each repeated word."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}
        self._scalars: dict[str, Any] = {}
        self._values = 0

    def read(self, content: bytes, where: str) -> dict[str, Any]:
        """One file as plain data: dicts with text keys, lists, str, int, float, bool, None.

        Keys that are not text become what JSON makes of them, and nan becomes None, as in Superset's JSON columns.
        Raises SupersetRefused(bundle_invalid) for whatever is not one mapping of plain data within the limits above.
        """
        if len(content) > MAX_FILE_BYTES:
            raise invalid(where, f"larger than {MAX_FILE_BYTES // 2**20} MiB")
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise invalid(where, "not UTF-8 text") from exc
        if "\0" in text:
            raise invalid(where, "contains NUL characters")
        if _ENDLESS_TIME.search(text):
            raise invalid(where, "holds a number too long to be one")
        try:
            data = self._data(text, where)
        except yaml.YAMLError as exc:
            raise invalid(where, f"not valid YAML: {_problem(exc)}") from exc
        except (ValueError, OverflowError, TypeError, RecursionError) as exc:
            # ValueError: 2020-13-45 looks like a date to YAML and is none. TypeError: a list as a key.
            raise invalid(where, f"holds a value that cannot be read ({type(exc).__name__})") from exc
        if not isinstance(data, dict):
            raise invalid(where, "not a mapping of field names to values")
        return cast(dict[str, Any], data)

    def _data(self, text: str, where: str) -> Any:
        if _may_be_hostile(text):
            _check_structure(text, where)
        else:
            values = self._values
            try:
                return self._from_events(text, where)
            except _NeedsNodes:
                self._values = values
        return self._plain(yaml.load(text, Loader=_Loader), where)  # noqa: S506  (_Loader is a safe loader)

    def _from_events(self, text: str, where: str) -> Any:
        """The one document of a text without anchors and tags, as PyYAML's safe loader builds it."""
        parser = _Loader(text)
        try:
            next_event = parser.get_event
            next_event()  # the stream's start
            if type(next_event()) is not yaml.DocumentStartEvent:
                raise _NeedsNodes
            data = self._built(next_event(), next_event, where)
            next_event()  # the document's end
            if type(next_event()) is not yaml.StreamEndEvent:
                raise _NeedsNodes
            return data
        finally:
            parser.dispose()

    def _built(self, event: Any, next_event: Callable[[], Any], where: str) -> Any:
        if event.anchor is not None or event.tag is not None:
            raise _NeedsNodes
        kind = type(event)
        if kind is yaml.ScalarEvent:
            if event.implicit[0]:
                return self._scalar(event)
            return self._text(event.value, where)
        count = 0
        data: Any
        if kind is yaml.MappingStartEvent:
            data = {}
            while type(event := next_event()) is not yaml.MappingEndEvent:
                key = self._built(event, next_event, where)
                if isinstance(key, dict | list):
                    raise _NeedsNodes
                data[_key(key, where)] = self._built(next_event(), next_event, where)
                count += 1
        else:
            data = []
            while type(event := next_event()) is not yaml.SequenceEndEvent:
                data.append(self._built(event, next_event, where))
                count += 1
        self._count(count, where)
        return data

    def _scalar(self, event: Any) -> Any:
        """What an unquoted word means; the same few come again and again."""
        word = event.value
        try:
            return self._scalars[word]
        except KeyError:
            pass
        node = yaml.ScalarNode(_meaning(word), word, event.start_mark)
        if node.tag in (_MERGE, _VALUE):
            raise _NeedsNodes
        value = _Loader.yaml_constructors[node.tag](yaml.constructor.SafeConstructor(), node)
        if isinstance(value, float) and not math.isfinite(value):
            raise _NeedsNodes
        if len(word) < 40:
            self._scalars[word] = value
        return value

    def _text(self, text: str, where: str) -> str:
        if "\0" in text:
            raise invalid(where, "contains NUL characters")
        # Assets repeat the same short words ten thousand times; one of each halves the memory of a bundle.
        return self._words.setdefault(text, text) if len(text) < 40 else text

    def _count(self, values: int, where: str) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise invalid(where, f"the bundle holds more than {MAX_VALUES} values")

    def _plain(self, value: Any, where: str) -> Any:
        self._count(1, where)
        if isinstance(value, str):
            return self._text(value, where)
        if isinstance(value, dict):
            return {_key(key, where): self._plain(item, where) for key, item in value.items()}
        if isinstance(value, list):
            return [self._plain(item, where) for item in value]
        if isinstance(value, float) and not math.isfinite(value):
            return None
        if value is None or isinstance(value, bool | int | float):
            return value
        raise invalid(where, f"holds a {type(value).__name__}, which is not plain data")


def read_yaml(content: bytes, where: str) -> dict[str, Any]:
    return YamlReader().read(content, where)


def write_yaml(data: dict[str, Any]) -> bytes:
    """`data` as Superset would write it; reading it back gives equal values. Raises TypeError for what is not plain."""
    try:
        return YamlWriter().write(data)
    except _NeedsNodes:
        pass
    try:
        text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False)
    except yaml.representer.RepresenterError as exc:
        raise TypeError(f"Not plain data: {exc.args[-1]!r}") from exc
    return text.encode("utf-8")


def readable_yaml(value: Any) -> str:
    """A JSON value as YAML for people who compare: keys sorted, texts of several lines as blocks (SQL, CSS, markdown).

    Not for import: a tab becomes two spaces, and spaces at the end of a line are gone, as no block can hold them.
    """
    text: str = yaml.dump(
        value, Dumper=_ReadableDumper, sort_keys=True, allow_unicode=True, width=100, default_flow_style=False
    )
    return text


class YamlWriter:
    """Writes the files of one bundle, byte by byte what yaml.dump writes, in a quarter of its time."""

    def __init__(self) -> None:
        self._texts: dict[str, Any] = {}  # the same few come again and again

    def write(self, data: dict[str, Any]) -> bytes:
        """Raises _NeedsNodes for what is no plain data."""
        stream = io.BytesIO()
        dumper = _Dumper(stream, encoding="utf-8")
        try:
            emit = dumper.emit
            emit(yaml.StreamStartEvent(encoding="utf-8"))
            emit(yaml.DocumentStartEvent(explicit=False))
            self._emit(data, emit)
            emit(yaml.DocumentEndEvent(explicit=False))
            emit(yaml.StreamEndEvent())
            return stream.getvalue()
        finally:
            dumper.dispose()

    def _emit(self, value: Any, emit: Callable[[Any], None]) -> None:
        kind = type(value)
        if kind is str:
            emit(self._text(value))
        elif kind is dict:
            emit(_MAPPING)
            for key, item in value.items():
                self._emit(key, emit)
                self._emit(item, emit)
            emit(_MAPPING_END)
        elif kind is list:
            emit(_SEQUENCE)
            for item in value:
                self._emit(item, emit)
            emit(_SEQUENCE_END)
        elif value is None:
            emit(_NULL)
        elif kind is bool:
            emit(_TRUE if value else _FALSE)
        elif kind is int:
            emit(_plain_scalar(str(value)))
        elif kind is float:
            emit(_plain_scalar(_FLOATS.represent_float(value).value))
        else:
            raise _NeedsNodes

    def _text(self, text: str) -> Any:
        event = self._texts.get(text)
        if event is None:
            # Without quotes only where it is read as text again; which quotes is the emitter's choice.
            event = yaml.ScalarEvent(None, None, (_meaning(text) == _STR, True), text)
            if len(text) < 40:
                self._texts[text] = event
        return event


def _plain_scalar(text: str) -> Any:
    return yaml.ScalarEvent(None, None, (True, False), text)


_STR = "tag:yaml.org,2002:str"
_NULL, _TRUE, _FALSE = _plain_scalar("null"), _plain_scalar("true"), _plain_scalar("false")
_MAPPING, _MAPPING_END = yaml.MappingStartEvent(None, None, True, flow_style=False), yaml.MappingEndEvent()
_SEQUENCE, _SEQUENCE_END = (
    yaml.SequenceStartEvent(None, None, True, flow_style=False),
    yaml.SequenceEndEvent(),
)
_FLOATS = yaml.representer.SafeRepresenter()


def _meaning(word: str) -> str:
    """The tag that YAML 1.1 gives to an unquoted word (yaml/resolver.py, resolve)."""
    resolvers = _Loader.yaml_implicit_resolvers
    for tag, pattern in (*resolvers.get(word[:1], ()), *resolvers.get(None, ())):
        if pattern.match(word):
            return str(tag)
    return _STR


# Anchors, tags and deep nesting can only be where these match. Most files have none and are then parsed once.
_ANCHOR_OR_TAG = re.compile(r"(?m)(?:^|[\s\[{,])[&!]")
# YAML 1.1 takes 1:30:15 for a number; its pattern for that takes 64 bytes of memory per character while it matches.
_ENDLESS_TIME = re.compile(r"(?::[0-5]?[0-9]){1000}")
_DEEP_BLOCK = re.compile(r"(?m)^[ \t?:-]{60,}")


def _may_be_hostile(text: str) -> bool:
    if len(text) > MAX_NODES:  # a value takes two characters at least
        return True
    opened = text.count("[") - text.count("[]") + text.count("{") - text.count("{}")
    return opened > MAX_DEPTH or bool(_ANCHOR_OR_TAG.search(text)) or bool(_DEEP_BLOCK.search(text))


def _check_structure(text: str, where: str) -> None:
    """Walk the parse events, which costs memory for one node at a time, and refuse what would explode when built."""
    sizes: dict[str, int] = {}  # expanded nodes below each finished anchor
    open_nodes: list[tuple[str | None, int]] = []  # anchor and count of what is being read
    total = anchors = nodes = 0
    for event in yaml.parse(text, Loader=_Loader):
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent):
            if anchor not in sizes:
                raise invalid(where, "an alias refers to itself or to nothing")
            size = sizes[anchor]
            anchors += 1
        elif isinstance(event, yaml.CollectionStartEvent):
            anchors += anchor is not None
            open_nodes.append((anchor, 1))
            if len(open_nodes) > MAX_DEPTH:
                raise invalid(where, f"nested more than {MAX_DEPTH} levels deep")
            size = 0
        elif isinstance(event, yaml.CollectionEndEvent):
            opened_as, size = open_nodes.pop()
            if opened_as is not None:
                sizes[opened_as] = size
        elif isinstance(event, yaml.ScalarEvent):
            size = 1
            if anchor is not None:
                anchors += 1
                sizes[anchor] = 1
        else:
            continue
        nodes += 1
        if nodes > 2 * MAX_NODES:  # a collection counts at its start and at its end
            raise invalid(where, f"holds more than {MAX_NODES} values")
        if anchors > MAX_ANCHORS:
            raise invalid(where, f"more than {MAX_ANCHORS} YAML anchors and aliases")
        if isinstance(event, yaml.AliasEvent):
            total += size
            if total > MAX_EXPANDED:
                raise invalid(where, "YAML aliases that expand without measure")
        if open_nodes:
            opened_as, count = open_nodes[-1]
            open_nodes[-1] = (opened_as, count + size)


def _key(key: Any, where: str) -> str:
    if isinstance(key, str):
        if "\0" in key:
            raise invalid(where, "contains NUL characters")
        return sys.intern(key) if len(key) < 40 else key
    if key is None:
        return "null"
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, int | float):
        return repr(key)
    raise invalid(where, f"has a {type(key).__name__} as a field name")


def _problem(error: yaml.YAMLError) -> str:
    """The first sentence of PyYAML's complaint with its line, without the excerpt: it may hold anything."""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or type(error).__name__
    mark = getattr(error, "problem_mark", None)
    return f"{str(problem)[:200]} in line {mark.line + 1}" if mark is not None else str(problem)[:200]
