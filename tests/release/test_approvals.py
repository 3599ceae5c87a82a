"""Who must approve a plan, when it may be applied, and what goes on in spite of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from migrations_app import promoting
from migrations_app import services as migrations
from migrations_app.errors import NotReady, PlanChanged
from migrations_app.gates import GateClosed
from migrations_app.models import Migration, Run
from migrations_app.release import gate, overview, services
from migrations_app.release.models import Bypass, Decision, FreezePeriod, Route
from sstools.audit.models import AuditEvent
from sstools.errors import Invalid, NotAllowed
from sstools.jobs.models import Job, State
from sstools.jobs.runner import run_job
from sstools.notices.models import Notice
from sstools.roles.models import Group, Membership
from sstools.roles.permissions import Permission
from tests.factories import make_environment, uuid_for
from tests.fakes.pair import FakePair

pytestmark = pytest.mark.django_db(transaction=True)


def protect(pair: FakePair, admin: Any, **values: Any) -> None:
    services.save_protection(pair.target, values, actor=admin)


def decide(migration: Migration, user: Any, verdict: str = "approved", comment: str = "fine") -> Decision:
    migration.refresh_from_db()
    assert migration.plan is not None
    return services.decide(
        migration, verdict=verdict, plan_hash=migration.plan.hash, actor=user, comment=comment
    )


def apply(migration: Migration, user: Any, **more: Any) -> Job:
    migration.refresh_from_db()
    assert migration.plan is not None
    return migrations.request_apply(migration, plan_hash=migration.plan.hash, actor=user, **more)


def refused(migration: Migration, user: Any, **more: Any) -> str:
    """The code of the refusal; nothing was started."""
    with pytest.raises(GateClosed) as caught:
        apply(migration, user, **more)
    assert not Run.objects.exists()
    return caught.value.code


# --- Approvals ----------------------------------------------------------------------------------------------------


def test_without_rules_nobody_is_asked(planned: Any, pair: FakePair, admin: Any) -> None:
    assert apply(planned(), admin).state == State.QUEUED


def test_a_plan_needs_its_approvals_and_then_goes(
    planned: Any, pair: FakePair, admin: Any, leads: Any
) -> None:
    protect(pair, admin, approvals=2)
    migration = planned()
    assert refused(migration, leads[0]) == "approval_missing"
    decide(migration, leads[0])
    assert refused(migration, leads[0]) == "approval_missing"
    decide(migration, leads[1])
    job = apply(migration, leads[0])
    run_job(str(job.uuid))
    job.refresh_from_db()
    assert job.state == State.SUCCEEDED
    verbs = AuditEvent.objects.filter(action="migration:approve").values_list("actor_name", flat=True)
    assert sorted(verbs) == ["lea", "leo"]


def test_saying_it_twice_is_one_approval(planned: Any, pair: FakePair, admin: Any, leads: Any) -> None:
    protect(pair, admin, approvals=2)
    migration = planned()
    decide(migration, leads[0])
    decide(migration, leads[0])
    assert refused(migration, admin) == "approval_missing"


def test_nobody_approves_their_own(planned: Any, pair: FakePair, admin: Any, leads: Any) -> None:
    protect(pair, admin, approvals=1)
    migration = planned()
    owner = planned.product.admin
    with pytest.raises(services.OwnPlan):
        decide(migration, owner)
    # Also not by a row that came about otherwise, nor who only made the plan anew.
    plan = migration.plan
    assert plan is not None
    Decision.objects.create(plan=plan, plan_hash=plan.hash, user=owner, verdict="approved")
    assert refused(migration, admin) == "approval_missing"
    plan.created_by = leads[0]
    plan.save()
    with pytest.raises(services.OwnPlan):
        decide(migration, leads[0])


def test_who_lacks_the_right_does_not_count(
    planned: Any, pair: FakePair, admin: Any, author: Any, leads: Any
) -> None:
    protect(pair, admin, approvals=1)
    migration = planned()
    with pytest.raises(NotAllowed):
        decide(migration, author)
    decide(migration, leads[0])
    leads[0].grants.all().delete()  # and who lost it since does not count any more
    assert refused(migration, admin) == "approval_missing"


def test_another_plan_starts_without_any(planned: Any, pair: FakePair, admin: Any, leads: Any) -> None:
    protect(pair, admin, approvals=1)
    migration = planned()
    seen = migration.plan
    assert seen is not None
    decide(migration, leads[0])
    pair.dev.record("chart", uuid_for("Revenue"))["data"]["description"] = "changed after the approval"
    pair.dev.record("chart", uuid_for("Revenue"))["changed_on"] = timezone.now()
    planned.product.plan(migration)
    assert refused(migration, admin) == "approval_missing"
    with pytest.raises(PlanChanged):
        services.decide(migration, verdict="approved", plan_hash=seen.hash, actor=leads[1])


def test_an_approval_expires(planned: Any, pair: FakePair, admin: Any, leads: Any) -> None:
    protect(pair, admin, approvals=1, approval_hours=1)
    migration = planned()
    decision = decide(migration, leads[0])
    assert decision.expires_at is not None
    Decision.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert refused(migration, admin) == "approval_missing"
    assert gate.approval_of(migration, migration.plan).expired  # type: ignore[arg-type]


def test_a_rejection_stops_it_whatever_others_say(
    planned: Any, pair: FakePair, admin: Any, leads: Any
) -> None:
    protect(pair, admin, approvals=1)
    migration = planned()
    decide(migration, leads[0])
    with pytest.raises(Invalid, match="wrong"):
        decide(migration, leads[1], "rejected", comment=" ")
    decide(migration, leads[1], "rejected", comment="net, not gross")
    with pytest.raises(GateClosed, match="net, not gross"):
        apply(migration, admin)
    decide(migration, leads[1])  # thought better of it
    assert apply(migration, admin)


def test_only_those_who_are_named_count(planned: Any, pair: FakePair, admin: Any, leads: Any) -> None:
    board = Group.objects.create(name="board", source="local")
    Membership.objects.create(group=board, user=leads[1])
    protect(pair, admin, approvals=1, groups=[board])
    migration = planned()
    decide(migration, leads[0])
    assert refused(migration, admin) == "approval_missing"
    decide(migration, leads[1])
    assert apply(migration, admin)


def test_a_route_asks_for_its_own(planned: Any, pair: FakePair, admin: Any, leads: Any) -> None:
    planned()  # reads both environments
    route = services.save_route(
        None,
        {
            "name": "To prod",
            "source": pair.source,
            "target": pair.target,
            "approvals": 1,
            "users": [leads[1]],
            "verify": False,
        },
        actor=admin,
    )
    migration = services.start_by_route(route, selection=[uuid_for("Sales")], actor=admin)
    assert migration.verify is False
    planned.product.plan(migration)
    assert refused(migration, leads[0]) == "approval_missing"
    decide(migration, leads[1])
    assert apply(migration, leads[0])
    with pytest.raises(Exception, match="history"):
        services.delete_route(route, actor=admin)


def test_the_way_back_is_free_unless_said_otherwise(
    planned: Any, pair: FakePair, admin: Any, leads: Any
) -> None:
    migration = planned()
    job = apply(migration, admin)
    run_job(str(job.uuid))
    protect(pair, admin, approvals=1)
    services.add_freeze(
        pair.target,
        since=timezone.now() - timedelta(hours=1),
        until=timezone.now() + timedelta(hours=1),
        reason="year's end",
        actor=admin,
    )
    rollback = migrations.create_rollback(Run.objects.get(), actor=admin)
    planned.product.plan(rollback)
    assert migrations.why_not_applicable(rollback) == ""
    protect(pair, admin, rollbacks_too=True)
    assert "approval is missing" in migrations.why_not_applicable(rollback)


def test_who_may_approve_is_asked_and_sees_it_on_the_overview(
    planned: Any, pair: FakePair, admin: Any, leads: Any, settings: Any, author: Any
) -> None:
    settings.MAIL_ENABLED = True
    protect(pair, admin, approvals=1)
    migration = planned()
    people = services.ask_for_approval(migration, actor=planned.product.admin)
    assert set(people) >= set(leads)
    assert author not in people
    assert planned.product.admin not in people
    assert Notice.objects.get(event="approval.asked").deliveries.count() == 2  # those with an address
    assert overview.waiting_for(leads[0]) == [migration]
    assert overview.waiting_for(author) == []
    decide(migration, leads[0])
    assert overview.waiting_for(leads[0]) == []


# --- Windows ------------------------------------------------------------------------------------------------------


def freeze(pair: FakePair, admin: Any) -> FreezePeriod:
    return services.add_freeze(
        pair.target,
        since=timezone.now() - timedelta(hours=1),
        until=timezone.now() + timedelta(hours=1),
        reason="year's end",
        actor=admin,
    )


def test_a_freeze_stops_it_and_a_reason_of_who_may_goes_on(
    planned: Any, pair: FakePair, admin: Any, leads: Any
) -> None:
    migration = planned()
    freeze(pair, admin)
    assert refused(migration, admin) == "window_closed"
    with pytest.raises(NotAllowed):
        apply(migration, leads[0], bypass_reason="it burns")
    assert refused(migration, admin, bypass_reason="  ") == "window_closed"
    assert apply(migration, admin, bypass_reason="it burns")
    bypass = Bypass.objects.get()
    assert (bypass.user, bypass.reason) == (admin, "it burns")
    event = AuditEvent.objects.get(action="migration:bypass")
    assert event.data["reason"] == "it burns"


def test_an_approval_is_never_bypassed(planned: Any, pair: FakePair, admin: Any) -> None:
    protect(pair, admin, approvals=1)
    freeze(pair, admin)
    assert refused(planned(), admin, bypass_reason="it burns") == "approval_missing"


def test_what_waits_goes_on_when_the_freeze_ends(planned: Any, pair: FakePair, admin: Any) -> None:
    migration = planned()
    row = freeze(pair, admin)
    job = promoting.request_promotion(migration, actor=admin)
    run_job(str(job.uuid))
    job.refresh_from_db()
    assert (job.state, job.question["code"]) == (State.NEEDS_INPUT, "window_closed")
    services.end_freeze(row, actor=admin)
    job.refresh_from_db()
    assert job.state == State.QUEUED
    run_job(str(job.uuid))
    assert Run.objects.count() == 1


def test_what_waits_goes_on_when_it_is_approved(planned: Any, pair: FakePair, admin: Any, leads: Any) -> None:
    protect(pair, admin, approvals=1)
    migration = planned()
    job = promoting.request_promotion(migration, actor=planned.product.admin)
    run_job(str(job.uuid))
    job.refresh_from_db()
    assert job.question["code"] == "approval_missing"
    decide(migration, leads[0])
    run_job(str(job.uuid))
    job.refresh_from_db()
    assert (job.state, (job.result or {}).get("outcome")) == (State.SUCCEEDED, "applying"), (
        job.error,
        job.question,
    )


@pytest.mark.parametrize(
    "windows",
    [
        "always",
        [{"days": [7], "start": "09:00", "end": "10:00"}],
        [{"days": [], "start": "09:00", "end": "10:00"}],
        [{"days": [1], "start": "9 o'clock", "end": "10:00"}],
        [{"days": [1], "start": "09:00+02:00", "end": "10:00"}],
        [{}],
        [None],
    ],
)
def test_a_window_that_is_none_is_refused_with_words(pair: FakePair, admin: Any, windows: Any) -> None:
    with pytest.raises(Invalid) as caught:
        protect(pair, admin, windows=windows)
    assert caught.value.errors["windows"]


def test_who_may_set_rules(pair: FakePair, leads: Any, admin: Any) -> None:
    with pytest.raises(NotAllowed):
        protect(pair, leads[0], approvals=0)
    with pytest.raises(NotAllowed):
        freeze(pair, leads[0])
    with pytest.raises(NotAllowed):
        services.save_route(None, {"name": "x", "source": pair.source, "target": pair.target}, actor=leads[0])
    protect(pair, admin, approvals=1, zone_name="Europe/Berlin")
    event = AuditEvent.objects.get(action="environment:protect")
    assert (event.data["before"]["approvals"], event.data["after"]["approvals"]) == (0, 1)


def test_a_route_that_is_switched_off_takes_nothing(pair: FakePair, planned: Any, admin: Any) -> None:
    planned()
    values = {"name": "To prod", "source": pair.source, "target": pair.target, "is_enabled": False}
    route = services.save_route(None, values, actor=admin)
    with pytest.raises(NotReady, match="switched off"):
        services.start_by_route(route, selection=[uuid_for("Sales")], actor=admin)
    again = services.save_route(None, {**values, "name": "To prod!"}, actor=admin)
    assert {row.slug for row in Route.objects.all()} == {"to-prod", "to-prod-2"}
    services.delete_route(again, actor=admin)


def test_a_route_that_prunes_is_moved_only_with_the_right_to_prune_there(
    pair: FakePair, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_environment("other", url="http://other.test")
    values = {"name": "To prod", "source": pair.source, "target": pair.target, "prune": True}
    route = services.save_route(None, values, actor=admin)
    require = services.policy.require

    def nowhere_else(user: Any, permission: Any, where: Any) -> None:
        if permission == Permission.MIGRATION_PRUNE:
            raise NotAllowed(f"not on {where.slug}")
        require(user, permission, where)

    monkeypatch.setattr(services.policy, "require", nowhere_else)
    services.save_route(route, {"prune": True, "description": "as it was"}, actor=admin)
    with pytest.raises(NotAllowed, match="not on other"):
        services.save_route(Route.objects.get(), {"target": other}, actor=admin)
    assert Route.objects.get().target == pair.target
    services.save_route(Route.objects.get(), {"target": other, "prune": False}, actor=admin)
