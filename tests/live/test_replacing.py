"""The example estate of a real Superset: texts replaced all over it, every chart that is touched asked before and
after, and rolled back to what it was.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from environments.lab.instance import RunningSuperset
from migrations_app.replacing import services
from tests.live.product import Product, fingerprints, product

pytestmark = [pytest.mark.live]
__all__ = ["product"]

Lease = Callable[..., RunningSuperset]


def test_texts_of_the_example_estate_are_replaced_verified_and_rolled_back(
    product: Product, fresh_target: Lease
) -> None:
    target = product.register("prod", fresh_target(contents="examples"))
    before = product.read(target)

    # A space more is another text everywhere, and the same SQL.
    asked = {
        "find": r"\b(sum|count|sales|select|from)(\s|\()",
        "replace": r"\1 \2",
        "how": "pattern",
        "ignore_case": True,
    }
    migration = services.create_replacement(target, actor=product.admin, **asked)
    assert migration.job is not None
    product.do(migration.job)
    migration.refresh_from_db()
    assert migration.plan is not None
    planned = set(migration.plan.items.filter(action="update").values_list("target_uuid", flat=True))
    assert {migration.plan.items.get(target_uuid=uuid).kind for uuid in planned} == {
        "dashboard",
        "chart",
        "dataset",
    }
    found = dict(migration.replacement.found)
    assert {"sql", "metrics", "titles"} <= found.keys()

    run = product.apply(migration)
    assert run.state == "applied"
    statuses = list(run.bystanders.values_list("status", flat=True))
    assert set(statuses) <= {"ok", "not_checkable"}
    assert statuses.count("ok") > 10
    after = product.read(target)
    changed = {uuid for uuid, print_ in fingerprints(after).items() if print_ != fingerprints(before)[uuid]}
    assert changed == planned
    titles = {document.title for document in after.documents.values()}
    assert "Sales  Dashboard" in titles

    product.apply(product.roll_back(run))
    assert fingerprints(product.read(target)) == fingerprints(before)
