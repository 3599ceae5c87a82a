"""What is found on a target, and what is not."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from environments.canonical.documents import Kind
from environments.store import get_documents
from migrations_app.drift import services
from migrations_app.drift.models import Finding, FindingState
from migrations_app.models import Baseline, RunState
from sstools.errors import NotAllowed
from sstools.notices.models import Delivery, Notice, Webhook
from tests.factories import uuid_for

from .conftest import Scene

pytestmark = pytest.mark.django_db(transaction=True)


def test_what_a_run_did_is_no_drift(scene: Scene) -> None:
    assert scene.check() == {"open": 0, "new": 0, "edited": 0, "closed": 0, "environment": "prod"}
    assert not Finding.objects.exists()
    kept = Baseline.objects.filter(target=scene.pair.target)
    assert {row.uuid for row in kept} == {
        uuid_for(name) for name in ("Sales", "Revenue", "Regions", "orders")
    }
    assert set(get_documents(row.document_id or "" for row in kept))  # with their content


def test_an_edit_is_found_with_its_author_and_in_words(scene: Scene) -> None:
    scene.edit("chart", "Revenue", slice_name="Revenue by hand", description="why")
    assert scene.check()["new"] == 1
    finding = scene.only()
    assert (finding.kind, finding.how, finding.title) == ("chart", "changed", "Revenue by hand")
    assert finding.changed_by == "Grace Hopper"
    assert finding.changed_on is not None
    assert (timezone.now() - finding.changed_on).total_seconds() < 60
    assert (finding.run, finding.source) == (scene.run, scene.pair.source)
    assert any("Revenue by hand" in sentence for sentence in finding.sentences)
    assert len(finding.sentences) == 2


def test_any_reading_finds_it_too(scene: Scene) -> None:
    scene.edit("dataset", "orders", description="by hand")
    scene.product.refresh(scene.pair.target)
    assert scene.only().title == "orders"


def test_a_finding_is_one_row_until_it_is_gone(scene: Scene) -> None:
    before = scene.written("chart", "Revenue").get("description")
    scene.edit("chart", "Revenue", description="one")
    scene.check()
    first = scene.only()
    scene.check()
    assert scene.only().updated_at == first.updated_at
    scene.edit("chart", "Revenue", description="two")
    assert scene.check() == {"open": 1, "new": 0, "edited": 1, "closed": 0, "environment": "prod"}
    again = scene.only()
    assert (again.pk, again.edits) == (first.pk, 2)
    assert "two" in again.sentences[0]
    scene.edit("chart", "Revenue", description=before)
    assert scene.check()["closed"] == 1
    again.refresh_from_db()
    assert again.state == FindingState.GONE
    assert again.closed_at is not None
    scene.edit("chart", "Revenue", description="three")
    scene.check()
    assert scene.only().pk != first.pk


def test_what_was_deleted_and_what_was_made_by_hand(scene: Scene) -> None:
    scene.delete("dashboard", "Sales")
    scene.pair.prod.add_chart("Mine", dataset=uuid_for("orders"), uuid=uuid_for("Mine"))
    scene.check()
    found = scene.found()
    assert {title: one.how for title, one in found.items()} == {"Sales": "deleted", "Mine": "created"}
    assert found["Sales"].changed_by == ""
    assert found["Sales"].last_seen_at is not None
    assert found["Mine"].source == scene.pair.source  # the only route there
    assert found["Mine"].run == scene.run


def test_what_was_there_before_the_first_run_is_nobodys_drift(scene: Scene, monkeypatch: Any) -> None:
    scene.pair.prod.add_database("Other", uuid=uuid_for("Other"))
    assert scene.check()["open"] == 0  # connections are not ss-tools' matter
    scene.run.restore_point.entries.create(kind="chart", uuid=uuid_for("Old"))  # type: ignore[union-attr]
    scene.pair.prod.add_chart("Old", dataset=uuid_for("orders"), uuid=uuid_for("Old"))
    assert scene.check()["open"] == 0


def test_a_run_that_writes_over_it_settles_it(scene: Scene) -> None:
    scene.edit("chart", "Revenue", description="by hand")
    scene.check()
    finding = scene.only()
    migration = scene.promote()
    scene.product.answer(migration, {uuid_for("Revenue"): "take"})
    run = scene.product.apply(migration)
    scene.product.refresh(scene.pair.target)
    finding.refresh_from_db()
    assert (finding.state, finding.closed_by) == (FindingState.SETTLED, run)


def test_what_an_unfinished_run_wrote_is_not_taken_for_an_edit(scene: Scene) -> None:
    scene.edit("chart", "Revenue", description="by hand")
    migration = scene.promote()
    scene.product.answer(migration, {uuid_for("Revenue"): "take"})
    assert migration.plan is not None
    run = migration.runs.create(plan=migration.plan, state=RunState.WRITING, started_at=timezone.now())
    scene.check()
    assert not scene.found()  # a run is at it: nothing is said yet
    scene.edit("chart", "Revenue", description=None)  # as the run wants it
    Baseline.objects.filter(uuid=uuid_for("Revenue")).update(present="0" * 64)  # as if the run had changed it
    run.state, run.finished_at = RunState.NEEDS_ATTENTION, timezone.now()
    run.save()
    scene.check()
    assert not scene.found()


def test_people_and_webhooks_are_told_once(scene: Scene, make_user: Any, settings: Any) -> None:
    settings.MAIL_ENABLED = True
    ann, stranger = make_user("ann", "viewer", email="ann@x.test"), make_user("eve", email="eve@x.test")
    services.set_watch(scene.route, True, actor=ann)
    with pytest.raises(NotAllowed):
        services.set_watch(scene.route, True, actor=stranger)
    hook = Webhook.objects.create(
        name="chat", url="https://chat.test/x", host="chat.test", events=["run.applied"]
    )
    scene.route.webhooks.add(hook)
    scene.edit("chart", "Revenue", description="by hand")
    scene.edit("chart", "Regions", description="by hand")
    scene.check()
    scene.check()
    (notice,) = Notice.objects.filter(event="drift.found")
    assert notice.title == "Drift: 2 assets of Prod are not as the last run left them"
    assert "chart “Revenue” was changed by Grace Hopper" in notice.text
    assert notice.path == "/drift/?target=prod"
    told = Delivery.objects.filter(notice=notice)
    assert {one.user or one.webhook for one in told} == {ann, hook}
    scene.edit("chart", "Regions", description="and again")
    scene.check()
    notice = Notice.objects.filter(event="drift.found").latest("pk")
    assert "“Regions”" in notice.title
    services.set_watch(scene.route, False, actor=ann)
    assert not scene.route.watches.exists()


def test_a_schedule_checks_a_route(scene: Scene) -> None:
    from sstools.jobs.registry import kind

    known = kind(services.CHECK).schedulable
    assert known is not None
    form = known.form({"route": str(scene.route.uuid)}, user=scene.product.admin)
    assert form.is_valid(), form.errors
    (subject,) = known.subjects([form.params()])
    assert subject is not None
    assert (subject.label, subject.environment) == ("Up", scene.pair.target)
    scene.edit("chart", "Revenue", description="by hand")
    job = scene.product.do(known.request(form.params(), actor=scene.product.admin))
    assert known.summary is not None
    assert known.summary(job) == "1 new, 1 open"
    assert known.subjects([{"route": str(uuid_for("no such"))}]) == [None]


def test_what_cannot_be_read_is_neither_drift_nor_gone(scene: Scene) -> None:
    scene.edit("chart", "Revenue", description="by hand")
    scene.check()
    scene.pair.target.assets.filter(uuid=uuid_for("Revenue")).update(comparable="")
    from migrations_app.drift.detecting import look

    look(scene.pair.target)
    assert scene.only().title == "Revenue"
    assert Kind.CHART.value == scene.only().kind
