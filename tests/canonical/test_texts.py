"""Ids in SQL and in links: ours become tokens, strangers' stay, those of nothing lead nowhere."""

# ruff: noqa: E501  one case, one line

from __future__ import annotations

import pytest

from environments.canonical.documents import Kind
from environments.canonical.ids import IdTable, as_id
from environments.canonical.texts import (
    hide_tokens,
    show_tokens,
    text_references,
    text_to_canonical,
    text_to_target,
)

D, C, E = (f"{letter * 8}-0000-4000-8000-000000000012" for letter in "dce")
HERE = IdTable([(Kind.DASHBOARD, 12, D), (Kind.CHART, 12, C), (Kind.DATASET, 12, E)])
THERE = IdTable([(Kind.DASHBOARD, 7012, D), (Kind.CHART, 8012, C), (Kind.DATASET, 9012, E)])
BASE, OTHER = "https://dev.example.org/bi", "https://prod.example.org"


def _moved(text: str) -> str:
    return text_to_target(text_to_canonical(text, HERE, BASE)[0], THERE, OTHER)[0]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("[x](/superset/dashboard/12/)", "[x](/superset/dashboard/7012/)"),
        ("/superset/dashboard/12", "/superset/dashboard/7012"),
        ("/superset/dashboard/12?standalone=1#TAB-12", "/superset/dashboard/7012?standalone=1#TAB-12"),
        ("[x](/superset/dashboard/births/)", "[x](/superset/dashboard/births/)"),
        ("/superset/dashboard/12births/", "/superset/dashboard/12births/"),
        ("/superset/dashboard/p/12abc/", "/superset/dashboard/p/12abc/"),
        (f"{BASE}/superset/dashboard/12/", f"{OTHER}/superset/dashboard/7012/"),
        (f'<a href="{BASE}">home</a>', f'<a href="{OTHER}">home</a>'),
        (f"{BASE}ngo/superset/dashboard/12/", f"{BASE}ngo/superset/dashboard/12/"),
        ("https://other.example.org/superset/dashboard/12/", "https://other.example.org/superset/dashboard/12/"),
        ("//other.example.org/superset/dashboard/12/ /superset/dashboard/12/", "//other.example.org/superset/dashboard/12/ /superset/dashboard/7012/"),
        ("[a](https://other/x) [b](/superset/dashboard/12/)", "[a](https://other/x) [b](/superset/dashboard/7012/)"),
        ("/explore/?slice_id=12&x=12", "/explore/?slice_id=8012&x=12"),
        ("/explore/?a=b&amp;slice_id=12", "/explore/?a=b&amp;slice_id=8012"),
        ("/explore/?form_data=%7B%22slice_id%22%3A12%7D", "/explore/?form_data=%7B%22slice_id%22%3A8012%7D"),
        ('/explore/?form_data={"slice_id": 12}', '/explore/?form_data={"slice_id": 8012}'),
        ("/explore/?form_data=%7B%22datasource%22%3A%2212__table%22%7D", "/explore/?form_data=%7B%22datasource%22%3A%229012__table%22%7D"),
        ("/explore/?datasource_type=table&datasource_id=12", "/explore/?datasource_type=table&datasource_id=9012"),
        ("/superset/slice/12/", "/superset/slice/8012/"),
        ("/superset/explore/table/12/", "/superset/explore/table/9012/"),
        ("/tablemodelview/edit/12", "/tablemodelview/edit/9012"),
        ("{{ dataset(12) }}", "{{ dataset(9012) }}"),
        ("{{dataset(12,include_metrics=True)}}", "{{dataset(9012,include_metrics=True)}}"),
        ("{% set x = dataset(dataset_id=12) %}", "{% set x = dataset(dataset_id=9012) %}"),
        ("{{ metric('a (b)', 12) }}", "{{ metric('a (b)', 9012) }}"),
        ("{{ metric(metric_key=\"n\", dataset_id = 12) }}", "{{ metric(metric_key=\"n\", dataset_id = 9012) }}"),
        ("{{ metric(dataset_id=12, metric_key='n') }}", "{{ metric(dataset_id=9012, metric_key='n') }}"),
        ("{{ metric('n') }}", "{{ metric('n') }}"),
        ("select dataset(12)", "select dataset(12)"),
        ("select dataset(12) from {{ dataset(12) }}", "select dataset(12) from {{ dataset(9012) }}"),
        ("{{ my_dataset(12) }} {{ x.dataset(12) }}", "{{ my_dataset(12) }} {{ x.dataset(12) }}"),
        ("where slice_id=12 and datasource_id=12", "where slice_id=12 and datasource_id=12"),
        ("select 12 -- see /superset/dashboard/12/", "select 12 -- see /superset/dashboard/7012/"),
        ("⟦base⟧ ⟦ ⟦chart:cccccccc-0000-4000-8000-000000000012⟧", "⟦base⟧ ⟦ ⟦chart:cccccccc-0000-4000-8000-000000000012⟧"),
        ("100% :a {x} 12", "100% :a {x} 12"),
        ("", ""),
    ],
)  # fmt: skip
def test_what_names_an_asset_names_it_on_the_target(source: str, target: str) -> None:
    assert _moved(source) == target


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("[x](/bi/superset/dashboard/12/)", "[x](/reports/superset/dashboard/7012/)"),
        ("[x](/bi/superset/dashboard/births/)", "[x](/reports/superset/dashboard/births/)"),
        ("<a href='/bi/explore/?slice_id=12'>", "<a href='/reports/explore/?slice_id=8012'>"),
        ("/bi/tablemodelview/edit/12", "/reports/tablemodelview/edit/9012"),
        # Without the path it led nowhere on the source, and nothing else can be meant.
        ("[x](/superset/dashboard/12/)", "[x](/reports/superset/dashboard/7012/)"),
        # Not links to a page of this Superset.
        ("/bi/other/12 /bingo/superset/dashboard/12/", "/bi/other/12 /bingo/superset/dashboard/7012/"),
        ("https://x.org/bi/superset/dashboard/12/", "https://x.org/bi/superset/dashboard/12/"),
        (f"{BASE}/superset/dashboard/12/", "https://prod.example.org/reports/superset/dashboard/7012/"),
    ],
)
def test_links_without_a_host_begin_below_the_path_of_the_target(source: str, target: str) -> None:
    below = f"{OTHER}/reports"
    canonical = text_to_canonical(source, HERE, BASE)[0]
    assert text_to_target(canonical, THERE, below)[0] == target
    assert text_to_canonical(target, THERE, below)[0] == canonical  # what is read back is what was wanted


def test_links_without_a_host_lose_a_path_that_the_target_does_not_have() -> None:
    canonical = text_to_canonical("[x](/bi/superset/dashboard/12/)", HERE, BASE)[0]
    assert canonical == f"[x](/superset/dashboard/⟦dashboard:{D}⟧/)"
    assert text_to_target(canonical, THERE, OTHER)[0] == "[x](/superset/dashboard/7012/)"


@pytest.mark.parametrize("text", ["/superset/dashboard/99/", "{{ dataset(99) }}", "/explore/?slice_id=99"])
def test_what_names_nothing_names_nothing_on_the_target(text: str) -> None:
    """As it stands it would name whatever has that id there."""
    canonical, found = text_to_canonical(text, HERE, BASE)
    assert canonical == text.replace("99", "0")
    assert [reference.uuid for reference in found] == [None]
    assert text_to_canonical(canonical, THERE, OTHER) == (canonical, ())


def test_a_reference_without_an_id_leads_nowhere_and_is_named() -> None:
    canonical = text_to_canonical("/superset/dashboard/12/ {{ dataset(12) }}", HERE, BASE)[0]
    text, missing = text_to_target(canonical, IdTable(), OTHER)
    assert text == "/superset/dashboard/0/ {{ dataset(0) }}"
    assert {(item.kind, item.uuid) for item in missing} == {(Kind.DASHBOARD, D), (Kind.DATASET, E)}
    assert set(text_references(canonical)) == {(Kind.DASHBOARD, D), (Kind.DATASET, E)}


def test_hidden_tokens_come_back() -> None:
    canonical = text_to_canonical(f"{BASE}/superset/dashboard/12/ {{{{ dataset(12) }}}}", HERE, BASE)[0]
    hidden, tokens = hide_tokens(canonical)
    assert "⟦" not in hidden
    assert "dashboard:" not in hidden
    assert show_tokens(hidden, tokens) == canonical


@pytest.mark.parametrize(
    ("value", "number"),
    [(12, 12), ("12", 12), ("012", 12), (True, None), ("", None), ("1e3", None), ("-1", None), ("²", None),
     (None, None), (1.0, None), ("9" * 40, None), ([], None)],
)  # fmt: skip
def test_ids_are_numbers_or_their_digits(value: object, number: int | None) -> None:
    assert as_id(value) == number
