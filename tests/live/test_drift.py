"""Somebody edits a real Superset by hand: found with who and what, and each of the three answers does what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from environments.canonical.documents import Kind
from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest
from migrations_app.drift import answers, services
from migrations_app.drift.models import Finding, FindingState
from migrations_app.models import Migration, Run
from migrations_app.release.models import Route
from tests.live.product import Product, actions, by_title, fingerprints, product

pytestmark = [pytest.mark.live]
__all__ = ["product"]

Lease = Callable[..., RunningSuperset]


def test_an_edit_by_hand_is_found_taken_reverted_and_accepted(product: Product, fresh_target: Lease) -> None:
    dev, prod = fresh_target(contents="examples"), fresh_target()
    source, target = product.register("dev", dev), product.register("prod", prod)
    route = Route.objects.create(slug="up", name="Up", source=source, target=target)

    def check() -> dict[str, Finding]:
        product.do(services.request_check(route, actor=product.admin))
        return {one.title: one for one in Finding.objects.open()}

    def go(migration: Migration) -> Run:
        assert migration.job is not None
        product.do(migration.job)
        return product.apply(migration)

    (dashboard,) = product.uuids(source, "dashboard", title="Featured Charts")
    run = product.apply(product.migrate(source, target, [dashboard], verify=False))
    assert check() == {}

    Rest(prod).add_user("grace", "a long password 1", "Admin")
    grace = Rest(prod, "grace", "a long password 1")
    shown = product.read(target)
    charts = sorted(
        (item for item in shown.documents.values() if item.kind == Kind.CHART), key=lambda item: item.title
    )
    ids = {item.title: shown.ids.id_of(Kind.CHART, item.uuid) for item in charts}
    taken, worse, kept, gone = (item.title for item in charts[:4])
    for title, fields in {
        taken: {"slice_name": "Better by hand"},
        worse: {"description": "worse by hand"},
        kept: {"description": "only on prod"},
    }.items():
        grace.call("PUT", f"/api/v1/chart/{ids[title]}", fields)
    grace.call("DELETE", f"/api/v1/chart/{ids[gone]}")

    found = check()
    assert {title: one.how for title, one in found.items() if one.kind == "chart"} == {
        "Better by hand": "changed",
        worse: "changed",
        kept: "changed",
        gone: "deleted",
    }
    better = found["Better by hand"]
    assert "grace" in better.changed_by.lower()
    assert better.changed_on is not None
    assert better.changed_on > run.finished_at  # type: ignore[operator]
    assert (better.run, better.source) == (run, source)
    assert any("Better by hand" in sentence and taken in sentence for sentence in better.sentences)
    assert check().keys() == found.keys()
    assert Finding.objects.count() == len(found)  # nothing twice

    # Taken: the source has it, and nothing else of what was edited.
    go(answers.take([better], actor=product.admin))
    there = product.read(source)
    assert by_title(there, Kind.CHART, "Better by hand").uuid == better.asset_uuid
    assert by_title(there, Kind.CHART, worse).body.get("description") != "worse by hand"
    better.refresh_from_db()
    assert better.state == FindingState.TAKEN

    # Reverted: as the run left it, what was deleted as well; the dashboard that shows it, too.
    back = [one for title, one in found.items() if title not in ("Better by hand", kept)]
    go(answers.revert(back, actor=product.admin))
    now = product.read(target).documents
    for finding in back:
        assert now[finding.asset_uuid].body == shown.documents[finding.asset_uuid].body, finding.title

    # Accepted: no drift any more, and the next promote keeps it and says why.
    answers.accept([found[kept]], reason="Prod has its own words", actor=product.admin)
    assert check() == {}
    product.refresh(source)
    again = product.migrate(source, target, [dashboard], verify=False)
    assert again.plan is not None
    assert actions(again.plan) == {kept: "keep"}
    assert "Prod has its own words" in (again.plan.items.get(title=kept).conflict or {})["text"]

    # A chart is taken off its dashboard and deleted: both are taken, the source has neither any more. It can be undone.
    unwanted = next(
        item for item in charts[4:] if item.title in {one.title for one in there.documents.values()}
    )
    board = shown.ids.id_of(Kind.DASHBOARD, dashboard)
    position = json.loads(grace.call("GET", f"/api/v1/dashboard/{board}")["result"]["position_json"])
    position = {key: one for key, one in position.items() if not _shows(one, ids[unwanted.title])}
    for one in position.values():
        if isinstance(one, dict) and "children" in one:
            one["children"] = [child for child in one["children"] if child in position]
    grace.call("PUT", f"/api/v1/dashboard/{board}", {"json_metadata": json.dumps({"positions": position})})
    grace.call("DELETE", f"/api/v1/chart/{ids[unwanted.title]}")
    found = check()
    assert {title: one.how for title, one in found.items()} == {
        unwanted.title: "deleted",
        "Featured Charts": "changed",
    }
    before = product.read(source)
    run = go(answers.take(list(found.values()), actor=product.admin))
    after = product.read(source).documents
    assert before.documents.keys() - after.keys() == {unwanted.uuid}
    assert unwanted.uuid not in str(after[dashboard].body)
    assert check() == {}
    product.apply(product.roll_back(run))
    assert fingerprints(product.read(source)) == fingerprints(before)


def _shows(node: Any, chart: int | None) -> bool:
    """Whether a part of a layout is that chart's, by its id."""
    return isinstance(node, dict) and node.get("meta", {}).get("chartId") == chart
