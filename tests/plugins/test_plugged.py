"""Plugins and the work of people: checks in plans, jobs that follow, cards on asset pages; also ones that fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from migrations_app.models import Migration, MigrationState
from sstools.jobs.models import Job, State
from sstools.jobs.runner import run_job
from sstools.plugins import services
from sstools.plugins.extension import Event
from sstools.plugins.models import Plugin, PluginResult
from sstools.plugins.running import follow
from tests.factories import uuid_for
from tests.fakes.pair import FakePair, fake_pair
from tests.live.product import Product
from tests.plugins import packages

pytestmark = pytest.mark.django_db(transaction=True)

BROKEN = """
import time
def raises(call): raise RuntimeError("the check is broken")
def loops(call):
    while True: pass
plugin = e.Plugin("broken", "Broken", "0.1", ">=1.0,<2",
    jobs=[e.Job("fails", "Fails", raises, on=[e.Event.PLAN_MADE])],
    plan_checks=[e.PlanCheck("raises", "Raises", raises), e.PlanCheck("loops", "Loops", loops, seconds=1)],
    panels=[e.Panel("raises", "Raises", ["chart"], raises), e.Panel("loops", "Loops", ["chart"], loops, seconds=1)])
"""


@pytest.fixture
def pair() -> Any:
    with fake_pair(protected=True) as made:
        yield made


def planned(pair: FakePair, product: Product) -> Migration:
    return product.migrate(pair.source, pair.target, [uuid_for("Sales")])


def test_checks_stand_in_the_plan_and_jobs_follow_it_whatever_other_plugins_do(
    pair: FakePair,
    installed: Callable[..., Plugin],
    run_jobs: Callable[[], int],
    signed_in: Callable[[Any], Client],
) -> None:
    product = Product()
    naming, broken = installed(packages.example()), installed(packages.of_code("broken", BROKEN))
    services.configure(naming, {"strict": True}, actor=product.admin)
    migration = planned(pair, product)
    assert not [
        one for one in migration.plan.problems if one["code"].startswith("plugin")
    ]  # nothing is on yet

    scope = f"environment:{pair.target.uuid}"
    for plugin in (naming, broken):
        services.enable(plugin, scope, actor=product.admin)
    migration = planned(pair, product)
    assert migration.state == MigrationState.PLANNED
    told = [(one["severity"], one["code"], one["text"]) for one in migration.plan.problems]
    names = [one for one in told if one[1] == "plugin.acme-naming.name"]
    assert ("error", "plugin.acme-naming.name", "“Revenue” is no name as Acme has them.") in names
    assert [text for _, code, text in told if code == "plugin_check_failed"] == [
        "The check “Raises” of the plugin Broken could not be made: RuntimeError: the check is broken",
        "The check “Loops” of the plugin Broken could not be made: It took longer than 1 seconds.",
    ]
    page = signed_in(product.admin).get(f"/migrations/{migration.number}/plan/", follow=True).content.decode()
    assert "could not be made: It took longer than 1 seconds." in page

    # jobs that follow: in the name of who planned; one that fails takes nothing with it
    run_jobs()
    jobs = {job.params["plugin"]: job for job in Job.objects.filter(kind="plugins.run")}
    assert {name: job.state for name, job in jobs.items()} == {"acme-naming": "succeeded", "broken": "failed"}
    assert {job.actor for job in jobs.values()} == {product.admin}
    assert jobs["broken"].error["message"] == "RuntimeError: the check is broken"
    assert jobs["acme-naming"].params["event"]["plan"] == migration.plan.hash
    assert PluginResult.objects.get().scope == scope
    broken.refresh_from_db()
    whats = [one["what"] for one in broken.failures]
    assert whats == ["job fails", "plan check loops", "plan check raises"]
    page = signed_in(product.admin).get("/plugins/broken/").content.decode()
    assert "Last trouble" in page
    assert "It took longer than 1 seconds." in page


def test_a_job_that_its_person_may_not_start_is_left_out_and_said(
    pair: FakePair, installed: Callable[..., Plugin], make_user: Callable[..., Any]
) -> None:
    product = Product()
    naming = installed(packages.example())
    scope = f"environment:{pair.target.uuid}"
    services.enable(naming, scope, actor=product.admin)
    assert follow(Event.PLAN_MADE, {}, scope=scope, actor=make_user("vera", "viewer")) == []
    naming.refresh_from_db()
    assert naming.failures[0]["code"] == "not_allowed"
    (job,) = follow(Event.PLAN_MADE, {}, scope=scope, actor=make_user("ann", "author"))
    job.actor.grants.all().delete()  # the right is gone before the job starts
    run_job(str(job.uuid))
    job.refresh_from_db()
    assert (job.state, job.error["code"]) == (State.FAILED, "not_allowed")


def test_cards_are_asked_for_one_by_one_and_one_that_fails_says_so(
    pair: FakePair, installed: Callable[..., Plugin], signed_in: Callable[[Any], Client]
) -> None:
    product = Product()
    naming, broken = installed(packages.example()), installed(packages.of_code("broken", BROKEN))
    page = f"/charts/{uuid_for('Revenue')}/"
    client = signed_in(product.admin)
    assert "by the plugin" not in client.get(page).content.decode()
    for plugin in (naming, broken):
        services.enable(plugin, f"environment:{pair.source.uuid}", actor=product.admin)
    answer = client.get(page)
    assert answer.status_code == 200
    assert answer.content.decode().count("by the plugin") == 3
    card = f"{page}panels/acme-naming/name/?env=dev"
    assert "Not named as Acme has it." in client.get(card, headers={"HX-Request": "true"}).content.decode()
    assert "Not named as Acme has it." in client.get(card).content.decode()  # without JavaScript: a page
    for name, why in (
        ("raises", "RuntimeError: the check is broken"),
        ("loops", "It took longer than 1 seconds."),
    ):
        answer = client.get(f"{page}panels/broken/{name}/?env=dev", headers={"HX-Request": "true"})
        assert answer.status_code == 200
        assert why in answer.content.decode()
    assert client.get(f"{page}panels/broken/none/?env=dev").status_code == 404
    assert client.get(f"/dashboards/{uuid_for('Sales')}/panels/broken/raises/?env=dev").status_code == 404
