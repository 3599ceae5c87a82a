"""YAML from strangers, and YAML that Superset has to read back."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.superset import yaml_text
from environments.superset.errors import SupersetRefused
from environments.superset.yaml_text import read_yaml, write_yaml

AWKWARD = [
    "no", "Yes", "on", "off", "y", "null", "~", "true", "12:30:45", "1:1", "1e3", "1.0e+3", "0x1F", "0o17",
    "017", "1_000", "=", "<<", "2024-01-01", "2024-01-01 10:00:00", "2024-01-01T10:00:00Z", ".nan", ".inf",
    "-", "- a", "? a", ": a", "a: b", "#x", "a #b", "&a", "*a", "!t", "%d", "@x", "`x`", "'", '"', "\\",
    "{a}", "[a]", ",", "|", ">", "", " ", " a", "a ", "\t", "a\nb", "a\n", "\n", "\na", "a\n\nb\n\n",
    "a\n  b\n", "  a\nb", "a\r\nb", "tab\there", "é", "日本語", "😀", "\u2028", "\ufeff", "\x85", "\xa0",
    "\x07", "x" * 200, "word " * 60, "SELECT a,\n       b -- c: d\nFROM t\n", "{{ dataset(12) }}", "---",
    "...",
]  # fmt: skip


@pytest.mark.parametrize("text", AWKWARD)
def test_superset_reads_back_every_awkward_text_as_it_was(text: str) -> None:
    content = write_yaml({"value": text, text or "empty": 1, "list": [text, {"deep": text}]})
    # Superset's reader: yaml.safe_load on the decoded file (commands/importers/v1/utils.py)
    assert yaml.safe_load(content.decode())["value"] == text
    assert read_yaml(content, "x.yaml") == yaml.safe_load(content.decode())


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("ab: -#'\n1é", max_size=6), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.text("ab:é", max_size=5), PLAIN, max_size=4))
def test_what_we_write_superset_and_we_read_alike(data: dict[str, Any]) -> None:
    content = write_yaml(data)
    assert read_yaml(content, "x.yaml") == data
    assert yaml.safe_load(content.decode()) == data


def test_the_order_of_fields_is_kept() -> None:
    assert write_yaml({"z": 1, "a": {"y": 1, "b": 2}}).decode() == "z: 1\na:\n  y: 1\n  b: 2\n"


def test_lists_shared_in_memory_are_written_out_twice() -> None:
    shared = ["a"]
    assert b"*" not in write_yaml({"one": shared, "two": shared})


def test_what_is_not_plain_data_cannot_be_written() -> None:
    with pytest.raises(TypeError):
        write_yaml({"when": object()})


def test_yaml_1_1_like_superset() -> None:
    assert read_yaml(b"a: no\nb: 12:30:45\nc: 017\nd: 1e3\ne: ~\nf: yes\n", "x") == {
        "a": False, "b": 45045, "c": 15, "d": "1e3", "e": None, "f": True,
    }  # fmt: skip


def test_unquoted_dates_are_the_text_that_superset_would_store() -> None:
    data = read_yaml(b"params: {since: 2024-01-01, at: 2024-01-01 10:00:00, 2024-02-02: x}\n", "x")
    assert data == {"params": {"since": "2024-01-01", "at": "2024-01-01T10:00:00", "2024-02-02": "x"}}
    assert (
        write_yaml(data)
        == b"params:\n  since: '2024-01-01'\n  at: '2024-01-01T10:00:00'\n  '2024-02-02': x\n"
    )


def test_keys_that_are_not_text_become_what_json_makes_of_them() -> None:
    data = read_yaml(b"map: {12: a, true: b, ~: c, 1.5: d}\nnumbers: [.nan, .inf]\n", "x")
    assert data == {"map": {"12": "a", "true": "b", "null": "c", "1.5": "d"}, "numbers": [None, None]}


def test_a_few_anchors_are_fine() -> None:
    assert read_yaml(b"a: &x {k: 1}\nb: *x\nc: {<<: *x, l: 2}\n", "x") == {
        "a": {"k": 1}, "b": {"k": 1}, "c": {"k": 1, "l": 2},
    }  # fmt: skip


def _bomb(levels: int, merge: bool = False) -> bytes:
    lines = ["a0: &a0 {k: 1}" if merge else "a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        both = ", ".join([f"*a{level - 1}"] * (2 if merge else 9))
        lines.append(f"a{level}: &a{level} {{<<: [{both}]}}" if merge else f"a{level}: &a{level} [{both}]")
    return "\n".join(lines).encode()


HOSTILE: dict[str, tuple[bytes, str]] = {
    "alias bomb": (_bomb(9), "expand"),
    "merge key bomb": (_bomb(30, merge=True), "expand"),
    "ten megabytes of anchors": (
        b"\n".join(b"k%d: &a%d x" % (i, i) for i in range(600_000))[: 10 * 2**20],
        "anchors",
    ),
    "ten megabytes of aliases": (b"k: &a x\nl: [" + b"*a," * 3_000_000 + b"*a]", "anchors"),
    "alias to itself": (b"a: &a [*a]", "itself"),
    "alias to nothing": (b"a: *nowhere", "alias"),
    "python object": (b"a: !!python/object/apply:os.system ['touch /tmp/x']", "not valid YAML"),
    "python name": (b"a: !!python/name:os.system", "not valid YAML"),
    "own tag": (b"a: !thing 1", "not valid YAML"),
    "tag by handle": (b"%TAG ! tag:yaml.org,2002:python/\n---\na: !name:os.system x", "not valid YAML"),
    "deep flow": (b"a: " + b"[" * 100_000, "deep"),
    "deep flow of mappings": (b"a: " + b"{a: " * 100_000, "deep"),
    "deep block": (b"a:\n" + b"\n".join(b" " * (i + 1) + b"b:" for i in range(3_000)), "deep"),
    "deep dashes": (b"a:\n  " + b"- " * 50_000 + b"x", "deep"),
    "NUL": (b"a: x\0y", "NUL"),
    "escaped NUL": (b'a: "x\\0y"', "NUL"),
    "NUL in a name": (b'"x\\0y": 1', "NUL"),
    "endless integer": (b"a: " + b"9" * 100_000, "too long"),
    "endless hexadecimal": (b"a: 0x" + b"f" * 1_000_000, "too long"),
    "endless base 60": (b"a: 1" + b":1" * 1_000_000, "too long"),
    "not a date": (b"a: 2024-13-45", "cannot be read"),
    "a list": (b"- a\n- b\n", "mapping"),
    "text": (b"hello", "mapping"),
    "nothing": (b"", "mapping"),
    "two documents": (b"a: 1\n---\nb: 2\n", "not valid YAML"),
    "set": (b"a: !!set {x, y}", "plain data"),
    "binary": (b"a: !!binary aGVsbG8=", "plain data"),
    "list as a name": (b"? [a, b]\n: 1\n", ""),
    "not UTF-8": (b"a: \xff\xfe", "UTF-8"),
    "control characters": (b"a: \x07", "not valid YAML"),
    "flood of small values": (b"a:\n" + b"- {}\n" * 320_000, "values"),
    "huge file": (b"a: " + b"x" * (17 * 2**20), "MiB"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml_is_refused_with_the_reason_in_little_time(name: str) -> None:
    content, reason = HOSTILE[name]
    started = time.thread_time()
    with pytest.raises(SupersetRefused) as caught:
        read_yaml(content, "charts/x.yaml")
    assert time.thread_time() - started < 3
    assert caught.value.code == "bundle_invalid"
    assert "charts/x.yaml" in caught.value.message
    assert reason in caught.value.message
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("name", ["alias bomb", "merge key bomb", "deep flow", "endless base 60"])
def test_hostile_yaml_is_refused_in_little_memory(name: str) -> None:
    content, _ = HOSTILE[name]
    tracemalloc.start()
    with pytest.raises(SupersetRefused):
        read_yaml(content, "charts/x.yaml")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * len(content) + 2**20


def test_the_values_of_all_files_of_a_bundle_are_limited_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_text, "MAX_VALUES", 10)
    reader = yaml_text.YamlReader()
    reader.read(b"a: [1, 2, 3]", "one")
    with pytest.raises(SupersetRefused, match="more than 10 values"):
        reader.read(b"a: [1, 2, 3, 4, 5, 6]", "two")


def test_the_plain_parser_reads_the_same_where_the_c_parser_is_missing() -> None:
    class Plain(yaml.SafeLoader):
        pass

    for text in AWKWARD:
        content = write_yaml({"value": text}).decode()
        assert yaml.load(content, Loader=Plain) == yaml.load(content, Loader=yaml_text._Loader)


class _Safe(yaml_text._Loader):  # type: ignore[misc]
    """The way through PyYAML's nodes, which the short way must agree with."""


def _through_nodes(content: bytes) -> Any:
    reader = yaml_text.YamlReader()
    return reader._plain(yaml.load(content.decode(), Loader=_Safe), "x")


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.text("ab:é", max_size=5), PLAIN, max_size=4), st.booleans())
def test_the_short_way_builds_what_the_long_one_does(data: dict[str, Any], flow: bool) -> None:
    content = yaml.safe_dump(data, default_flow_style=flow, sort_keys=False, allow_unicode=True).encode()
    assert repr(read_yaml(content, "x")) == repr(_through_nodes(content))


@pytest.mark.parametrize("word", [word for word in AWKWARD if "\n" not in word and word.strip() == word])
def test_an_unquoted_word_means_the_same_on_both_ways(word: str) -> None:
    content = f"a: {word}\n".encode()
    try:
        expected = _through_nodes(content)
    except yaml.YAMLError:
        with pytest.raises(SupersetRefused):
            read_yaml(content, "x")
    else:
        assert repr(read_yaml(content, "x")) == repr(expected)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.text("ab:é 1", max_size=5), PLAIN, max_size=4))
def test_the_short_way_writes_what_the_long_one_does(data: dict[str, Any]) -> None:
    assert yaml_text.YamlWriter().write(data) == _dumped(data)


@pytest.mark.parametrize("text", AWKWARD)
def test_awkward_texts_are_quoted_alike_on_both_ways(text: str) -> None:
    data = {"value": text, text: [text, {"deep": text}], "numbers": [1e16, -0.0, 1e-9, 10**30]}
    assert yaml_text.YamlWriter().write(data) == _dumped(data)


def _dumped(data: dict[str, Any]) -> bytes:
    return yaml.dump(data, Dumper=yaml_text._Dumper, sort_keys=False).encode()


def test_what_is_nearly_plain_takes_the_long_way() -> None:
    class Name(str):
        pass

    with pytest.raises(yaml_text._NeedsNodes):
        yaml_text.YamlWriter().write({"a": Name("x")})
    assert write_yaml({"a": (1, 2)}) == b"a:\n- 1\n- 2\n"


def test_what_superset_writes_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    content = write_yaml({"a": [1, None, True, 1.5, "x", {"b": "12", "c": "a: b"}], "d": {}})
    monkeypatch.setattr(yaml, "load", None)
    assert read_yaml(content, "x") == {"a": [1, None, True, 1.5, "x", {"b": "12", "c": "a: b"}], "d": {}}


def test_a_tag_that_may_be_a_secret_is_not_repeated() -> None:
    with pytest.raises(SupersetRefused) as refused:
        read_yaml(b"password: !Xk29hunter", "databases/a.yaml")
    assert "Xk29" not in str(refused.value)
    assert "plain data" in str(refused.value)
