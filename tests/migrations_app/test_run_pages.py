"""Runs at work and runs that did not come to their end: cancelling them, and the ways on, on both of their pages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from migrations_app.models import Migration, MigrationState, Run, RunState
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, JobLock, JobResource, State
from sstools.resources import resource_name
from tests.factories import make_environment, make_estate, make_job, make_migration, make_plan, make_run

pytestmark = pytest.mark.django_db
APPLY = "migrations_app.apply_plan"
HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture
def lead(release_lead: Any, signed_in: Callable[[Any], Client]) -> Client:
    return signed_in(release_lead)


def text(client: Client, address: str, status: int = 200, **headers: Any) -> str:
    response = client.get(address, **headers)
    assert response.status_code == status, response
    return response.content.decode()


def at_work(actor: Any, state: str = RunState.WRITING, **fields: Any) -> tuple[Migration, Run, Job]:
    """A run whose job a worker has."""
    make_environment("dev")
    migration = make_migration(target=make_environment("prod"), actor=actor)
    run = make_run(migration, state, actor=actor)
    now = timezone.now()
    job = make_job(
        APPLY,
        title=f"Run {run.number}",
        params={"run": run.number},
        actor=actor,
        attempt=1,
        owner="host-a:11:x",
        lease_until=now + timedelta(minutes=10),
        **fields,
    )
    JobResource.objects.create(job=job, resource=resource_name(migration.target), exclusive=True)
    JobLock.objects.create(job=job, resource=resource_name(migration.target))
    run.job = job
    run.save()
    return migration, run, job


def test_before_the_first_write_a_cancel_is_a_plain_one(lead: Client, release_lead: Any) -> None:
    _, _run, job = at_work(release_lead, RunState.RESTORE_POINT)
    page = text(lead, f"/jobs/{job.uuid}/cancel/")
    assert "Nothing is written on Prod yet" in page
    assert 'name="choice"' not in page
    assert lead.post(f"/jobs/{job.uuid}/cancel/").status_code == 302
    job.refresh_from_db()
    assert (job.cancel_requested, job.cancel_choice, job.state) == (True, "", State.RUNNING)
    assert "it ends at its next safe point" in text(lead, f"/jobs/{job.uuid}/")


@pytest.mark.parametrize(
    ("choice", "said"), [("roll_back", "what was written is put back"), ("finish", "it goes on to its end")]
)
def test_after_the_first_write_one_chooses_what_becomes_of_it(
    lead: Client, release_lead: Any, choice: str, said: str
) -> None:
    migration, _run, job = at_work(release_lead)
    for address in (
        f"/jobs/{job.uuid}/",
        f"/jobs/{job.uuid}/cancel/",
        f"/migrations/{migration.number}/verify/",
    ):
        page = text(lead, address)
        assert "It has begun to write on Prod" in page
        assert 'value="roll_back"' in page
        assert 'value="finish"' in page
    assert lead.post(f"/jobs/{job.uuid}/cancel/", {"choice": "x"}).status_code == 422
    assert lead.post(f"/jobs/{job.uuid}/cancel/", {"choice": choice}).status_code == 302
    job.refresh_from_db()
    assert (job.cancel_requested, job.cancel_choice) == (True, choice)
    assert said in text(lead, f"/jobs/{job.uuid}/")


def test_a_run_that_asks_which_cancel_is_meant_is_answered_on_either_page(
    lead: Client, release_lead: Any
) -> None:
    migration, _run, job = at_work(release_lead)
    question = {
        "code": "cancel_choice",
        "text": "It has written to Prod already.",
        "choices": [
            {"value": "finish", "label": "Finish", "effect": "Writes the rest."},
            {"value": "roll_back", "label": "Roll back", "effect": "Puts back what was there."},
        ],
    }
    jobs.ask(job, question, keep_locks=True)
    for address in (f"/jobs/{job.uuid}/", f"/migrations/{migration.number}/verify/"):
        page = text(lead, address)
        assert "Puts back what was there." in page
        assert "Prod stays locked for it" in page
        assert 'id="cancel-job"' not in page  # the answer is the cancel
        assert "begun, rests now" in page
    lead.post(f"/jobs/{job.uuid}/answer/", {"answer": "roll_back"})
    job.refresh_from_db()
    assert (job.state, job.cancel_choice) == (State.QUEUED, "roll_back")


@pytest.mark.parametrize(
    ("run_state", "job_state", "cancelled", "headline"),
    [
        ("stopped", "cancelled", True, "Cancelled before anything was written: Prod was not touched"),
        ("stopped", "failed", False, "Stopped before writing: Prod was not touched"),
        ("rolled_back", "cancelled", True, "Rolled back on request: Prod is as it was before the run"),
        ("rolled_back", "failed", False, "Rolled back: Prod is as it was before the run"),
        (
            "applied",
            "succeeded",
            True,
            "Finished, as was chosen when it was cancelled: 3 of 3 written on Prod",
        ),
        ("applied", "succeeded", False, "Done: 3 of 3 written on Prod, as planned"),
        ("needs_attention", "failed", False, "Failed: 0 written, 3 not as planned"),
        ("accepted", "failed", False, "Left as it is: 0 written on Prod, 3 not as planned"),
    ],
)
def test_the_job_says_what_came_of_the_run(
    lead: Client, release_lead: Any, run_state: str, job_state: str, cancelled: bool, headline: str
) -> None:
    make_environment("dev")
    migration = make_migration(target=make_environment("prod"), actor=release_lead)
    run = make_run(migration, "needs_attention" if run_state == "accepted" else run_state)
    error = (
        None
        if job_state == "succeeded"
        else {"code": "x", "message": "Superset said no.", "remedy": "Ask it."}
    )
    job = make_job(APPLY, job_state, params={"run": run.number}, cancel_requested=cancelled, error=error)
    Run.objects.filter(pk=run.pk).update(state=run_state, job=job)
    page = text(lead, f"/jobs/{job.uuid}/")
    assert headline in page
    assert ("Superset said no." in page) == (error is not None)
    assert ("Roll back…" in page) == (run_state in ("applied", "needs_attention", "accepted"))
    assert ("Write the 3 left…" in page) == (run_state == "needs_attention")
    assert ("chart “Revenue 1.2”, create" in page) == (run_state in ("needs_attention", "accepted"))


def stuck(actor: Any, **fields: Any) -> Run:
    """A run that wrote one of three."""
    dev = make_environment("dev", inventory_at=timezone.now())
    make_estate(dev)
    migration = make_migration(dev, make_environment("prod"), actor=actor)
    run = make_run(migration, "needs_attention", error={"code": "x", "message": "Lost.", "remedy": "Look."})
    uuids = [item.target_uuid for item in run.plan.items.all() if item.action in ("create", "update")]
    run.written, run.unwritten = uuids[:1], uuids[1:]
    for name, value in fields.items():
        setattr(run, name, value)
    run.save()
    return run


def test_the_lists_are_exact_and_say_what_is_neither_as_planned_nor_as_before(
    lead: Client, release_lead: Any
) -> None:
    run = stuck(release_lead)
    run.error = {**(run.error or {}), "detail": {"between": run.unwritten[:1]}}
    run.save()
    page = text(lead, f"/migrations/{run.migration_id}/verify/")
    assert "Needs attention. Failed: 1 written, 2 not as planned" in page
    assert page.count("neither as planned nor as before") == 1
    assert "Roll back the 1…" in page


def test_writing_the_rest_leads_to_its_own_plan(lead: Client, release_lead: Any) -> None:
    run = stuck(release_lead)
    address = f"/migrations/{run.migration_id}/retry-rest/"
    answer = lead.post(address, {"run": run.number})
    rest = Migration.objects.get(continues=run)
    assert answer.headers["Location"] == f"/migrations/{rest.number}/plan/"
    assert len(rest.selection) == 2
    assert lead.post(address, {"run": run.number}).headers["Location"] == answer.headers["Location"]
    assert f'href="/migrations/{rest.number}/"' in text(lead, f"/migrations/{run.migration_id}/verify/")


def test_a_run_of_which_nobody_knows_is_looked_at_first(lead: Client, release_lead: Any) -> None:
    run = stuck(release_lead, looked_at=None)
    page = text(lead, f"/migrations/{run.migration_id}/verify/")
    assert "what is on Prod is not known" in page
    assert "left…" not in page
    assert "Leave it as it is" not in page
    assert lead.post(f"/migrations/{run.migration_id}/retry-rest/", {"run": run.number}).status_code == 409
    answer = lead.post(f"/migrations/{run.migration_id}/look-again/", {"run": run.number})
    assert answer.headers["Location"] == f"/migrations/{run.migration_id}/verify/"
    job = Job.objects.get(kind="migrations_app.settle_run")
    page = text(lead, f"/migrations/{run.migration_id}/verify/")
    assert f'href="/jobs/{job.uuid}/"' in page
    poll = f"/migrations/{run.migration_id}/verify/?run={run.number}&verifying"
    assert lead.get(poll, **HTMX).status_code == 204
    jobs.request_cancel(job, actor=release_lead)
    assert "HX-Redirect" in lead.get(poll, **HTMX).headers


def test_leaving_it_as_it_is_takes_a_comment_and_needs_no_attention_any_more(
    lead: Client, release_lead: Any
) -> None:
    run = stuck(release_lead)
    answer = lead.post(f"/migrations/{run.migration_id}/accept/", {"run": run.number, "comment": "Fine so."})
    assert answer.status_code == 302
    run.refresh_from_db()
    assert (run.state, run.migration.state) == (RunState.ACCEPTED, MigrationState.ACCEPTED)
    page = text(lead, f"/migrations/{run.migration_id}/verify/")
    assert "Fine so." in page
    assert "Roll back…" in page
    assert lead.post(f"/migrations/{run.migration_id}/accept/", {"run": run.number}).status_code == 409


def test_who_may_not_is_told_why_and_refused(
    author: Any, viewer: Any, release_lead: Any, signed_in: Callable[[Any], Client]
) -> None:
    run = stuck(release_lead)
    page = text(signed_in(author), f"/migrations/{run.migration_id}/verify/")
    assert "needs the right migration:rollback" in page
    assert "Leaving it as it is: This needs the right migration:apply" in page
    assert "Write the 2 left…" in page
    for name in ("retry-rest", "look-again", "accept", "rollback"):
        address = f"/migrations/{run.migration_id}/{name}/"
        assert signed_in(viewer).post(address, {"run": run.number}).status_code == 403, name
        assert signed_in(viewer).get(address).status_code == 405, name
    assert Run.objects.get().state == RunState.NEEDS_ATTENTION


def test_a_lost_worker_is_said_on_the_runs_page_before_another_takes_over(
    lead: Client, release_lead: Any, settings: Any
) -> None:
    migration, _run, job = at_work(release_lead)
    now = timezone.now()
    assert "No sign from its worker" not in text(lead, f"/migrations/{migration.number}/verify/")
    Job.objects.filter(pk=job.pk).update(
        lease_until=now + timedelta(seconds=settings.JOB_LEASE_SECONDS * 0.4)
    )
    assert "another takes over at" in text(lead, f"/migrations/{migration.number}/verify/")


def test_a_planning_that_is_then_applied_says_so(lead: Client, release_lead: Any) -> None:
    make_environment("dev")
    migration = make_migration(target=make_environment("prod"), actor=release_lead)
    job = make_job("migrations_app.promote", params={"migration": str(migration.uuid), "confirmation": ""})
    migration.job = job
    migration.save()
    page = text(lead, f"/migrations/{migration.number}/plan/")
    assert "If nothing is open, it is applied to Prod at once" in page
    make_plan(migration)
    error = {"code": "not_allowed", "message": "You may not.", "remedy": ""}
    Job.objects.filter(pk=job.pk).update(state=State.FAILED, error=error, finished_at=timezone.now())
    page = text(lead, f"/migrations/{migration.number}/plan/")
    assert "It was planned, and not applied" in page
    assert "You may not." in page
