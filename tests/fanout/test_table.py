"""The table of copies: read in any of its forms, and every error told by its line."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrations_app.fanout.table import Row, as_csv, parse, row_problems, table_problems, terms_of
from sstools.errors import Invalid

TEMPLATE = SimpleNamespace(
    uuid="aaaaaaaa-0000-4000-8000-00000000000a",
    title="{title} of {tenant}",
    slug="{slug}-{key}",
    chart_title="{title}",
    dataset_name="{name}",
    shares_datasets=False,
    changes=[],
    selection=[],
)


def errors_of(text: str) -> dict[str, list[str]]:
    with pytest.raises(Invalid) as raised:
        parse(text)
    assert raised.value.code == "wrong_copies"
    return raised.value.errors


def problems(*rows: Row, **template: Any) -> list[str]:
    fan_out = SimpleNamespace(**{**vars(TEMPLATE), **template})
    given = [(row, terms_of(fan_out, row)) for row in rows]
    alone = [text for row, terms in given for text in row_problems(row, terms)]
    return [*alone, *(text for _, text in table_problems(given, "dev"))]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_columns_are_apart_as_people_have_them(delimiter: str) -> None:
    text = "\ufeffkey,target,title,database:DWH,schema,tenant\r\nacme,prod,,Prod DWH,t_acme,Acme\r\n\r\n"
    (row,) = parse(text.replace(",", delimiter))
    assert (row.key, row.target, row.values, row.line) == ("acme", "prod", {"tenant": "Acme"}, 2)
    assert row.parameters == {"databases": {"DWH": "Prod DWH"}, "schemas": {"*": "t_acme"}}


def test_every_error_has_its_line() -> None:
    assert errors_of("key;tenant\na;b") == {"line 1": ["The column “target” is missing."]}
    assert "is there twice" in errors_of("key,target,key\n")["line 1"][0]
    assert "no name of a value" in errors_of("key,target,Tenant Name\n")["line 1"][0]
    found = errors_of('key,target,uuids\nacme,prod,mine\n"two\nlines",prod,\nb,prod,own,left over\n')
    assert list(found) == ["line 2", "line 5"]
    assert "neither own nor source" in found["line 2"][0]
    assert "4 cells, and 3 columns" in found["line 5"][0]
    assert "no CSV" in errors_of('key,target\n"a"b,prod\n')["line 2"][0]
    assert parse("") == parse("key,target\n") == []


def test_what_a_row_lacks_is_said_in_words() -> None:
    fine = Row("acme", "prod", {"tenant": "Acme"})
    assert problems(fine) == []
    assert "no value of that name" in problems(Row("acme", "prod"))[0]
    assert "is no key" in problems(Row("a b", "prod", {"tenant": "x"}))[0]
    assert "no name of a value" in problems(Row("a", "prod", {"tenant": "x", "key": "y"}))[0]
    assert "too long" in problems(Row("a", "prod", {"tenant": "x" * 501}))[0]
    assert "no NUL" in problems(Row("a", "prod", {"tenant": "x"}, {"schemas": {"x\0": "y"}}))[0]
    shared = Row("a", "prod", {"tenant": "x"}, {"schemas": {"*": "y"}})
    assert "share the source's datasets" in problems(shared, shares_datasets=True)[0]
    change = {"find": "x", "replace": "{nobody}", "where": "sql", "is_pattern": False}
    assert "“x” asks for {nobody}" in problems(fine, changes=[change])[0]


def test_rows_that_cannot_be_beside_each_other_are_named() -> None:
    one, two = (Row(key, "prod", {"tenant": key}) for key in ("one", "two"))
    assert problems(one, two) == []
    assert "is there twice" in problems(one, Row("one", "stage", {"tenant": "x"}))[0]
    assert "the same slug as those of “one”" in problems(one, two, slug="{slug}-copy")[0]
    assert "the same title as those of “one”" in problems(one, two, title="{title}!")[0]
    assert problems(one, Row("two", "stage", {"tenant": "one"}), slug="{slug}-copy", title="{title}!") == []
    beside = Row("de", "dev", {"tenant": "x"}, {"slug": "{slug}"})
    assert "that of the source" in problems(beside)[0]
    keeps = Row("up", "prod", {"tenant": "x"}, keeps_uuids=True)
    assert "cannot keep" in problems(Row("up", "dev", {"tenant": "x"}, keeps_uuids=True))[0]
    assert "has several" in problems(keeps, one)[0]


_texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12).map(str.strip)
_rows = st.builds(
    Row,
    key=st.from_regex(r"\A[a-z0-9]{1,5}\Z"),
    target=st.sampled_from(["prod", "stage"]),
    values=st.fixed_dictionaries({"tenant": _texts, "more": _texts}),
    parameters=st.dictionaries(
        st.sampled_from(["schemas", "databases"]),
        st.fixed_dictionaries({"*": _texts.filter(bool)}),
        max_size=2,
    ),
    keeps_uuids=st.booleans(),
)


@given(st.lists(_rows, min_size=1, max_size=4))
def test_a_table_that_is_written_is_read_as_it_was(rows: list[Row]) -> None:
    again = parse(as_csv(rows))
    assert [(row.key, row.target, row.values, row.parameters, row.keeps_uuids) for row in again] == [
        (row.key, row.target, row.values, row.parameters, row.keeps_uuids) for row in rows
    ]


def test_a_superset_that_is_registered_twice_is_one() -> None:
    rows = [Row("acme", "prod", keeps_uuids=True), Row("globex", "twin", keeps_uuids=True)]
    given = [(row, terms_of(TEMPLATE, row)) for row in rows]
    same = {"dev": "http://a", "prod": "http://b", "twin": "http://b"}
    texts = [text for _, text in table_problems(given, "dev", same)]
    assert any("Only one copy of a target may keep" in text for text in texts)
    texts = [text for _, text in table_problems(given[1:], "dev", {**same, "dev": "http://b"})]
    assert any("beside its source cannot keep" in text for text in texts)
