"""Canonical, rendered, imported, exported, canonical again: the same. Over generated estates, and the examples."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from environments.canonical.comparison import comparison_fingerprint
from environments.canonical.documents import Document, Documents, Kind
from environments.canonical.reading import read_assets
from environments.canonical.rendering import importable, render

from .builders import example_files
from .estates import TARGET_IDS, estates
from .model import ModelSuperset, without_databases

SLOW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
URL = "https://prod.example.org"


def _moved(documents: Documents, url: str = URL) -> ModelSuperset:
    """A target that holds the same assets under ids of its own."""
    target = ModelSuperset(TARGET_IDS, url, 5)
    for document in documents.values():
        target.id_of(document.kind, document.uuid)
        if document.kind == Kind.DATABASE:
            target.add(document.kind, document.uuid, dict(document.body))
    target.take_in(render(map(importable, documents.values()), target.ids, url))
    return target


def _differences(wanted: Documents, found: Documents) -> dict[str, list[Any]]:
    return {
        document.title: [
            (key, value, found[uuid].body.get(key))
            for key, value in importable(document).body.items()
            if value != found[uuid].body.get(key)
        ]
        for uuid, document in without_databases(wanted).items()
        if importable(document).fingerprint != found[uuid].fingerprint
    }


@SLOW
@given(estates(), st.sampled_from(["", "/bi", "/superset"]))
def test_what_arrives_is_what_left(source: ModelSuperset, path: str) -> None:
    documents = source.documents()
    assert _differences(documents, _moved(documents, URL + path).documents()) == {}


@SLOW
@given(estates())
def test_two_exports_of_one_state_are_equal(source: ModelSuperset) -> None:
    """Random names of appended rows, and the order of columns, of files and of sets, differ between the two."""
    first, second = source.documents(), source.documents()
    assert {uuid: item.fingerprint for uuid, item in first.items()} == {
        uuid: item.fingerprint for uuid, item in second.items()
    }


@SLOW
@given(estates())
def test_no_id_of_the_source_is_in_what_is_sent(source: ModelSuperset) -> None:
    documents = source.documents()
    target = _moved(documents)
    ids = {str(number) for _, number, _ in source.ids}
    for item in render([importable(document) for document in documents.values()], target.ids, URL):
        text = json.dumps(
            [item.data.get("position"), item.data.get("metadata"), item.data.get("sql"), item.data.get("query_context"),
             {key: value for key, value in (item.data.get("params") or {}).items() if key != "free"}],
            ensure_ascii=False,
        )  # fmt: skip
        named = re.findall(
            r'"(?:chartId|slice_id|datasetId|id|value)\\?": (\d+)|"(\d+)__table|slice_id=(\d+)|dataset\((\d+)\)'
            r"|/superset/dashboard/(\d+)|chart-(\d+)-layer",
            text,
        )
        assert not {number for groups in named for number in groups} & ids
        assert "⟦" not in text.replace("⟦base⟧x", "")


@SLOW
@given(estates(), st.randoms())
def test_the_order_of_files_means_nothing(source: ModelSuperset, random: Any) -> None:
    files = source.export()
    shuffled = list(files)
    random.shuffle(shuffled)
    one = read_assets(files, source.ids, source.url)
    other = read_assets(shuffled, source.ids, source.url)
    assert {uuid: item.fingerprint for uuid, item in one.documents.items()} == {
        uuid: item.fingerprint for uuid, item in other.documents.items()
    }


def test_the_examples_arrive_as_they_left() -> None:
    reading = read_assets(example_files(), None, "http://dev.example.org")
    assert len(reading.documents) == 23
    assert reading.notes == ()
    target = _moved(reading.documents)
    assert _differences(reading.documents, target.documents()) == {}
    again = _moved(target.documents())
    assert _differences(reading.documents, again.documents()) == {}


def test_documents_survive_the_store() -> None:
    for document in read_assets(example_files()).documents.values():
        loaded = Document.from_json(json.loads(json.dumps(document.to_json())))
        assert loaded.fingerprint == document.fingerprint
        assert comparison_fingerprint(loaded) == comparison_fingerprint(document)


@pytest.mark.parametrize("kind", [Kind.DASHBOARD, Kind.CHART, Kind.DATASET])
def test_one_uuid_under_another_id_is_the_same_document(kind: Kind) -> None:
    """Every integer id of the examples, changed: nothing of a document knows it."""
    files = example_files()
    plain = read_assets(files)
    target = _moved(plain.documents)
    kept = {number for _, number, _ in target.ids}
    assert kept.isdisjoint(number for _, number, _ in plain.ids)
    found = target.documents()
    of_kind = [item for item in plain.documents.values() if item.kind == kind]
    assert of_kind
    assert all(found[item.uuid].fingerprint == item.fingerprint for item in of_kind)
