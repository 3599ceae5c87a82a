"""What a plan was made for: a version of the target, and the failed checks that somebody overrode."""

from collections.abc import Iterator

import pytest

from environments.models import Environment
from migrations_app import services
from migrations_app.models import Migration
from tests.factories import uuid_for
from tests.fakes.pair import FakePair, fake_pair
from tests.live.product import Product

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def pair() -> Iterator[FakePair]:
    with fake_pair() as made:
        yield made


@pytest.fixture
def product(transactional_db: None) -> Product:
    return Product()


def planned(product: Product, pair: FakePair) -> Migration:
    return product.migrate(pair.source, pair.target, [uuid_for("Sales")])


def test_a_target_of_another_version_than_planned_for_makes_the_plan_stale(
    product: Product, pair: FakePair
) -> None:
    migration = planned(product, pair)
    Environment.objects.filter(pk=pair.target.pk).update(version="6.0.0")
    run = product.apply(migration, "failed")
    assert run.error["code"] == "stale_plan"
    assert "was Superset 6.0.0" in run.error["message"]
    assert run.requests.get("write", 0) == 0
    # What it is now was kept: planned again, it goes.
    product.plan(migration)
    assert product.apply(migration).state == "applied"


def test_a_reason_to_override_does_not_hold_for_errors_that_came_later(
    product: Product, pair: FakePair
) -> None:
    migration = planned(product, pair)
    services.update_migration(migration, actor=product.admin, override_reason="the table comes tomorrow")
    product.plan(migration)
    assert migration.override_reason == "the table comes tomorrow"  # no new error, nothing to forget
    Migration.objects.filter(pk=migration.pk).update(selection=[uuid_for("Sales"), uuid_for("gone since")])
    plan = product.plan(migration)
    assert [problem["code"] for problem in plan.errors] == ["selection_gone"]
    assert migration.override_reason == ""
    assert services.why_not_applicable(migration) == "1 checks failed."


def test_a_selection_has_an_upper_bound(
    product: Product, pair: FakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "MAX_SELECTION", 1)
    with pytest.raises(services.Invalid) as refused:
        services.create_migration(
            pair.source, pair.target, selection=[uuid_for("Sales"), uuid_for("x")], actor=product.admin
        )
    assert refused.value.code == "selection_too_large"
