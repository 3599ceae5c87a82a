"""Two real Supersets: what the source deleted goes from the target where nothing else uses it, and comes back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from environments.canonical.documents import Kind
from environments.lab.instance import RunningSuperset
from environments.lab.rest import Rest
from tests.live.product import Product, actions, fingerprints, product

pytestmark = [pytest.mark.live]
__all__ = ["product"]

Lease = Callable[..., RunningSuperset]


def test_what_the_source_deleted_is_removed_with_proof_and_comes_back_with_its_uuid(
    product: Product, fresh_target: Lease
) -> None:
    dev, prod = fresh_target(contents="examples"), fresh_target()
    source, target = product.register("dev", dev), product.register("prod", prod)
    (board,) = product.uuids(source, "dashboard", title="Featured Charts")
    product.apply(product.migrate(source, target, [board], verify=False))
    product.refresh(target)

    here = product.read(source)
    charts = sorted(
        uuid for uuid, document in product.read(target).documents.items() if document.kind == Kind.CHART
    )
    unused, local = charts[:2]
    for uuid in (unused, local):
        Rest(dev).call("DELETE", f"/api/v1/chart/{here.ids.id_of(Kind.CHART, uuid)}")
    there = product.read(target)
    made = Rest(prod).call("POST", "/api/v1/dashboard/", {"dashboard_title": "Local"})
    boards = [there.ids.id_of(Kind.DASHBOARD, board), made["id"]]
    Rest(prod).call("PUT", f"/api/v1/chart/{there.ids.id_of(Kind.CHART, local)}", {"dashboards": boards})
    product.refresh(source)
    product.refresh(target)
    before = product.read(target)

    migration = product.migrate(source, target, [board], verify=False, prune=True)
    assert migration.plan is not None
    found = {one["uuid"]: one for one in migration.plan.pruning}
    assert found[unused]["removes"], found
    assert found[local]["reason"] == "Used by dashboard “Local”, which stays."
    title = before.documents[unused].title
    assert actions(migration.plan) == {"Featured Charts": "update", title: "remove"}
    run = product.apply(migration)
    after = product.read(target)
    assert unused not in after.documents
    assert local in after.documents

    product.apply(product.roll_back(run))
    assert fingerprints(product.read(target)) == fingerprints(before)
