"""Trees of files: what is written is read back as it was, and is the same text each time."""

from __future__ import annotations

import posixpath
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from environments.canonical.documents import Document, Kind, canonical_json
from environments.canonical.reading import read_assets
from environments.superset.errors import SupersetRefused
from environments.superset.yaml_text import read_yaml
from migrations_app.git.tree import (
    MANIFEST,
    Found,
    header_files,
    names_of,
    read_documents,
    write_documents,
)
from migrations_app.git.yaml_files import NotWritable, to_yaml
from tests.canonical.builders import example_files, raw_dataset, uid
from tests.canonical.estates import estates
from tests.canonical.model import ModelSuperset

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_texts = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")),
    st.sampled_from(
        [
            "no",
            "1e5",
            "12:30:45",
            "2020-01-01",
            "=",
            "<<",
            "a: b",
            "a #b",
            "- x",
            "a\nb\n",
            " a\nb",
            "a\n\n\nb\n\n",
            "x" * 2000,
            "a\n  b \n\t c",
            "\ufeffa\nb",
            "a\r\nb",
            "a\u2028b\nc",
            "key\n",
            "\n",
            "# a\nb",
            "a\n---\nb",
            "a\n...\n",
            uid("c", 1),
        ]
    ),
)
_json = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), _texts
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_texts, inner, max_size=4)),
    max_leaves=25,
)


def examples() -> dict[str, Document]:
    """The example assets, and a virtual dataset."""
    sql = "select a, -- “b”\n  c\nfrom t\n"
    return dict(read_assets([*example_files(), raw_dataset(7, table_name="My SQL", sql=sql)]).documents)


def tree_of(documents: Any, **more: Any) -> dict[str, bytes]:
    written = write_documents(documents, names=names_of(documents), **more)
    assert written.problems == ()
    return {**header_files(), **written.files}


def same(found: Found, documents: Any) -> bool:
    return {uuid: one.fingerprint for uuid, one in found.documents.items()} == {
        uuid: one.fingerprint for uuid, one in documents.items()
    }


@settings(QUICK, max_examples=150)
@given(st.dictionaries(_texts, _json, max_size=5))
def test_any_value_is_read_back_from_its_yaml(data: dict[str, Any]) -> None:
    text = to_yaml(data, {uid("c", 1): "A name: with # and 'quotes'\nand lines"})
    found = read_yaml(text.encode(), "x.yaml")
    assert canonical_json(found) == canonical_json(data)


@QUICK
@given(estates())
def test_an_estate_is_read_back_as_it_was_and_written_the_same_again(source: ModelSuperset) -> None:
    documents = {
        uuid: one
        for uuid, one in source.documents().items()
        if "\\u0000" not in canonical_json(one.to_json())
    }
    files = tree_of(list(documents.values()))
    found = read_documents(files)
    assert found.problems == ()
    assert same(found, documents), [note.text for note in found.notes]
    again = tree_of(list(reversed(list(found.documents.values()))), paths=found.paths)
    assert again == files


def test_the_examples_are_read_back_and_their_tree_is_made_for_readers() -> None:
    documents = examples()
    files = tree_of(list(documents.values()))
    assert same(read_documents(files), documents)
    chart = next(path for path in files if path.startswith("charts/genders_by_state_"))
    dataset = next(one for one in documents.values() if one.title == "birth_names")
    assert f"dataset_uuid: {dataset.uuid}  # birth_names\n" in files[chart].decode()
    beside = f"datasets/my_sql_{uid('e', 7)[:8]}.sql"
    assert files[beside].decode() == documents[uid("e", 7)].body["sql"] + "\n"
    assert f"sql_file: {posixpath.basename(beside)}\n" in files[beside[:-4] + ".yaml"].decode()


@QUICK
@given(
    st.lists(
        st.one_of(_texts, st.sampled_from(["../../etc/passwd", "CON", "a/b\\c", "Продажи за год", "é", "é"])),
        max_size=6,
    )
)
def test_no_name_leads_anywhere_and_no_two_files_have_one_name(titles: list[str]) -> None:
    uuids = [f"0000000{number % 2}-0000-0000-0000-{number:012d}" for number in range(len(titles))]
    documents = [
        Document(Kind.DATABASE, uuid, {"database_name": title, "sqlalchemy_uri": "postgresql://h/d"})
        for uuid, title in zip(uuids, titles, strict=True)
    ]
    written = write_documents(documents, names=names_of(documents))
    folded = {path.casefold() for path in written.files}
    assert len(folded) == len(titles)
    for path in written.files:
        folder, name = path.split("/")
        assert folder == "databases"
        assert name[0] not in "._-" or name.startswith("unnamed")
        assert len(name.encode()) < 255
        assert name.isprintable()
        assert not set(name) & set('\\:*?"<>| ')


def test_a_renamed_asset_stays_in_its_file() -> None:
    one = Document(Kind.DATABASE, uid("b", 1), {"database_name": "Old", "sqlalchemy_uri": "x://h"})
    first = write_documents([one], names={})
    renamed = write_documents([one.replace(database_name="New")], names={}, paths=first.paths)
    assert renamed.paths == first.paths == {one.uuid: f"databases/old_{one.uuid[:8]}.yaml"}


@pytest.mark.parametrize("bad", ["a\0b", "a\ud800b"])
def test_what_no_file_can_hold_is_named_and_the_rest_is_written(bad: str) -> None:
    with pytest.raises(NotWritable):
        to_yaml({"a": bad}, {})
    documents = [
        Document(Kind.DATABASE, uid("b", number), {"database_name": name, "sqlalchemy_uri": "x://h"})
        for number, name in enumerate([bad, "fine"])
    ]
    written = write_documents(documents, names={})
    assert [note.uuid for note in written.problems] == [uid("b", 0)]
    assert list(written.paths) == [uid("b", 1)]


def edited(files: dict[str, bytes], start: str, old: str, new: str) -> dict[str, bytes]:
    path = next(path for path in files if path.startswith(start) and path.endswith(".yaml"))
    text = files[path].decode()
    assert old in text
    return {**files, path: text.replace(old, new).encode()}


def test_what_people_edit_is_brought_into_order_or_named_with_its_file() -> None:
    documents = examples()
    files = tree_of(list(documents.values()))
    chart = "charts/genders_by_state_"
    found = read_documents(edited(files, chart, "slice_name: Genders by State", "slice_name: By state"))
    changed = [
        uuid for uuid, one in found.documents.items() if one.fingerprint != documents[uuid].fingerprint
    ]
    assert [found.documents[uuid].title for uuid in changed] == ["By state"]
    # Line ends of Windows, in a checkout, change nothing.
    crlf = {path: content.replace(b"\n", b"\r\n") for path, content in files.items()}
    assert same(read_documents(crlf), documents)
    # A password in clear is masked, and said.
    secret = edited(files, "databases/", "://", "://me:hunter2@")
    read = read_documents(secret)
    assert "hunter2" not in str([one.body for one in read.documents.values()])
    assert "secret_masked" in {note.code for note in read.notes}

    for start, old, new, word in (
        (chart, "uuid: ", "uuid: x", "uuid"),
        (chart, "\nparams:", "\nparams: 5\nother:", "params"),
        (chart, "\nparams:", "\n  - a\n params:", "not valid YAML"),
        (chart, "viz_type:", "viz_type: !!python/name:os.system", "tag"),
    ):
        damaged = read_documents(edited(files, start, old, new))
        assert [(problem.path.startswith(start), word in problem.text) for problem in damaged.problems] == [
            (True, True)
        ], new
        assert len(damaged.documents) == len(documents) - 1


def test_sql_is_taken_from_its_own_folder_only() -> None:
    documents = examples()
    files = {**tree_of(list(documents.values())), "secrets.sql": b"select 1"}
    path, text = next((path, text.decode()) for path, text in files.items() if b"sql_file: " in text)
    name = text.partition("sql_file: ")[2].partition("\n")[0]
    for other in ("../secrets.sql", "/etc/passwd", "gone.sql", "5"):
        problems = read_documents({**files, path: text.replace(name, other).encode()}).problems
        assert [problem.path for problem in problems] == [path]


def test_one_uuid_in_two_files_and_a_tree_of_a_later_format_are_refused() -> None:
    documents = examples()
    files = tree_of(list(documents.values()))
    path = next(path for path in files if path.startswith("charts/"))
    problems = read_documents({**files, "charts/zz_copy.yaml": files[path]}).problems
    assert [(one.path, path in one.text) for one in problems] == [("charts/zz_copy.yaml", True)]
    for manifest in (b"format: 2\nkind: ss-tools assets\n", b"a: 1\n", b"[]"):
        with pytest.raises(SupersetRefused):
            read_documents({**files, MANIFEST: manifest})
