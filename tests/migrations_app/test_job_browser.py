"""Pages of jobs and of runs at work in a real browser: axe in both themes, phones, polls that keep what is typed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from migrations_app.models import Migration
from sstools.jobs.models import Job, JobLock, JobLog, JobResource, State, Worker
from sstools.resources import resource_name
from tests.axe import findings
from tests.conftest import PASSWORD
from tests.factories import (
    database_row,
    make_environment,
    make_estate,
    make_job,
    make_migration,
    make_plan,
    make_run,
    uuid_for,
)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Open = Callable[..., Any]
WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 760}
APPLY = "migrations_app.apply_plan"
CHOICE = {
    "code": "cancel_choice",
    "text": "Run has written 2 of 3 assets on Prod.",
    "choices": [
        {"value": "roll_back", "label": "Roll back", "effect": "What was there comes back."},
        {"value": "finish", "label": "Finish", "effect": "It goes on to its end."},
    ],
}
ERROR = {"code": "x", "message": "Superset said no.", "remedy": "Ask it."}


@pytest.fixture
def lead(make_user: Callable[..., Any]) -> Any:
    return make_user("lead", "release_lead")


@pytest.fixture
def jobs(lead: Any) -> dict[str, Job]:
    """A job of every sort."""
    dev, prod = make_environment("dev"), make_environment("prod", protected=True)
    now = timezone.now()
    Worker.objects.create(host="worker-1", pid=8, workers=4, seen_at=now + timedelta(minutes=5))
    soon = now + timedelta(minutes=30)
    owned = {"owner": "worker-1:33:abc", "lease_until": soon, "attempt": 1}

    def job(kind: str, state: str, title: str, **fields: Any) -> Job:
        made = make_job(kind, state, title=title, actor=lead, **fields)
        JobResource.objects.create(job=made, resource=resource_name(prod), exclusive=kind == APPLY)
        return made

    def run(state: str, job_state: str, **fields: Any) -> Job:
        migration = make_migration(dev, prod, actor=lead)
        made = make_run(migration, state, actor=lead)
        of_run = job(
            APPLY, job_state, f"Run {made.number}: Dev → Prod", params={"run": made.number}, **fields
        )
        made.job = of_run
        made.save()
        return of_run

    counted = {"current_step": "Verifying charts", "progress_done": 46, "progress_total": 120}
    found = {
        "running": run("writing", "running", **owned, **counted),
        "blocked": job(APPLY, "queued", "Run 43: Dev → Prod", ready_at=now),
        "silent": job("environments.read_inventory", "running", "Read Dev", **{**owned, "lease_until": now}),
        "choice": run("writing", "needs_input", question=CHOICE, cancel_requested=True, attempt=1),
        "attention": run("needs_attention", "failed", error=ERROR),
        "failed": job("environments.check", "failed", "Test Dev", error=ERROR),
        "done": job("environments.check", "succeeded", "Test Dev", result={"state": "ok", "stages": [1, 2]}),
    }
    found["done"].retry_of = found["failed"]
    found["done"].save()
    JobLock.objects.create(job=found["running"], resource=resource_name(prod))
    at = now - timedelta(seconds=30)
    told = {"done": 0, "total": 120}
    JobLog.objects.create(
        job=found["running"], seq=1, at=at, is_step=True, text="Verifying charts", fields=told
    )
    for seq, level in enumerate(("info", "warning", "error"), start=2):
        JobLog.objects.create(job=found["running"], seq=seq, at=at, level=level, text=f"a line of {level}")
    mapping = make_migration(dev, prod, actor=lead)
    make_plan(mapping, databases=[database_row()])
    question = {
        "code": "unmapped",
        "title": "Which?",
        "text": "One is missing.",
        "url": f"/migrations/{mapping.number}/map/",
    }
    found["asks"] = job(
        "migrations_app.promote", "needs_input", "Plan and apply", question=question, attempt=1
    )
    mapping.job = found["asks"]
    mapping.save()
    return found


@pytest.fixture
def pages(jobs: dict[str, Job]) -> dict[str, str]:
    number = Migration.objects.latest("number").number
    found = {name: f"/jobs/{job.uuid}/" for name, job in jobs.items()}
    runs = {name: jobs[name].params["run"] for name in ("running", "choice", "attention")}
    of_runs = {
        f"{name} run": f"/migrations/{Migration.objects.get(runs__number=run).number}/verify/"
        for name, run in runs.items()
    }
    return {
        "home": "/",
        "list": "/jobs/",
        "none": "/jobs/?q=nothing-of-this-kind",
        "workers": "/jobs/workers/",
        "cancel": f"{found['running']}cancel/",
        "map": f"/migrations/{number}/map/",
        "plan": f"/migrations/{number}/plan/",
        "promote": f"/migrations/{number}/promote/",
        **found,
        **of_runs,
    }


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page_of_jobs(
    open_page: Open, lead: Any, pages: dict[str, str], theme: str
) -> None:
    page = open_page(lead, "/jobs/", viewport=WIDE, color_scheme=theme, reduced_motion="reduce")
    for name, url in pages.items():
        page.goto(url)
        assert findings(page) == [], name
    page.goto(pages["running"])
    page.click("#cancel-job")
    page.wait_for_selector("dialog[open]")
    assert findings(page) == [], "dialog"


def test_no_page_of_jobs_is_wider_than_a_phone(open_page: Open, lead: Any, pages: dict[str, str]) -> None:
    page = open_page(lead, "/jobs/", viewport=PHONE)
    for name, url in pages.items():
        page.goto(url)
        wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert not page.evaluate(wide), name


def test_filters_leave_nothing_empty_in_the_address(open_page: Open, lead: Any, jobs: dict[str, Job]) -> None:
    page = open_page(lead, "/jobs/", viewport=WIDE)
    page.select_option("#id_kind", "environments.check")
    page.wait_for_url("**/jobs/?kind=environments.check")
    page.click("#state-failed")
    page.wait_for_url("**/jobs/?kind=environments.check&state=failed")
    page.wait_for_selector("text=1–1 of 1 job")
    page.fill("#id_q", "test")
    page.wait_for_url("**/jobs/?q=test&kind=environments.check&state=failed")  # the state goes along


def test_what_is_typed_and_chosen_survives_the_polls(
    open_page: Open, lead: Any, jobs: dict[str, Job]
) -> None:
    page = open_page(lead, f"/jobs/{jobs['choice'].uuid}/", viewport=WIDE)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/progress/" in request.url else None)
    page.check("[name=answer][value=finish]")
    page.fill("#log-find", "words")
    page.wait_for_function("() => location.search.includes('find=words')")
    for number in range(2):
        page.wait_for_event("response", lambda answer: "/progress/" in answer.url, timeout=20000)
        assert page.is_checked("[name=answer][value=finish]"), number
        assert page.input_value("#log-find") == "words"
    assert page.evaluate("document.activeElement.id") == "log-find"
    page.reload()
    assert page.input_value("#log-find") == "words"


def test_the_log_follows_its_end_until_somebody_scrolls_away(
    open_page: Open, lead: Any, jobs: dict[str, Job]
) -> None:
    job = jobs["running"]
    JobLog.objects.bulk_create(JobLog(job=job, seq=n, text=f"line {n}") for n in range(10, 120))
    page = open_page(lead, f"/jobs/{job.uuid}/", viewport=WIDE)
    at_end = "() => ((log) => log.scrollHeight - log.scrollTop - log.clientHeight < 8)(document.getElementById('log'))"
    assert page.evaluate(at_end)
    JobLog.objects.create(job=job, seq=121, text="a new one")
    page.wait_for_selector("text=a new one", timeout=15000)
    page.wait_for_function(at_end)
    page.evaluate("document.getElementById('log').scrollTop = 0")
    page.wait_for_function("() => !document.querySelector('[data-follows]').checked")
    JobLog.objects.create(job=job, seq=122, text="another new one")
    page.wait_for_selector("#log-122", state="attached", timeout=15000)
    assert page.evaluate("document.getElementById('log').scrollTop") == 0
    assert page.text_content("#log-count-all") == "116"
    page.check("[data-follows]")
    page.wait_for_function(at_end)


def test_cancelling_after_the_first_write_is_a_choice_in_a_dialog(
    open_page: Open, lead: Any, jobs: dict[str, Job]
) -> None:
    job = jobs["running"]
    page = open_page(lead, f"/jobs/{job.uuid}/", viewport=WIDE)
    page.click("#cancel-job")
    page.wait_for_selector("dialog[open] >> text=It has begun to write on Prod")
    assert page.evaluate("document.activeElement.textContent.trim()") == "Let it go on"
    page.wait_for_event("response", lambda answer: "/progress/" in answer.url, timeout=20000)
    assert page.is_visible("dialog[open]")  # a poll does not close it
    page.click("dialog >> text=Cancel it")  # nothing chosen: the browser keeps it
    job.refresh_from_db()
    assert not job.cancel_requested
    page.check("dialog [value=roll_back]")
    page.click("dialog >> text=Cancel it")
    page.wait_for_selector("text=what was written is put back")
    job.refresh_from_db()
    assert (job.cancel_requested, job.cancel_choice) == (True, "roll_back")


def test_without_javascript_a_job_is_watched_answered_and_cancelled(
    open_page: Open, lead: Any, jobs: dict[str, Job]
) -> None:
    page = open_page(lead, f"/jobs/{jobs['running'].uuid}/", viewport=WIDE, java_script_enabled=False)
    assert page.locator('meta[http-equiv="refresh"]').count() == 1
    page.check("[name=level][value=error]", force=True)
    page.click("form[aria-label='Filter the log'] button")
    assert page.locator(".log .lvl").count() == 1
    page.click("#cancel-job")
    page.check("[value=finish]")
    page.click("button >> text=Cancel it")
    assert page.is_visible("text=it goes on to its end")
    page.goto(f"/jobs/{jobs['choice'].uuid}/")
    page.check("[name=answer][value=roll_back]")
    page.click("button >> text=Go on")
    jobs["choice"].refresh_from_db()
    assert (jobs["choice"].state, jobs["choice"].cancel_choice) == (State.QUEUED, "roll_back")


def test_the_list_shows_a_change_by_itself_and_then_rests(
    open_page: Open, lead: Any, jobs: dict[str, Job]
) -> None:
    page = open_page(lead, "/jobs/?kind=environments.read_inventory", viewport=WIDE)
    page.focus(f"#job-{jobs['silent'].uuid}")
    Job.objects.filter(pk=jobs["silent"].pk).update(state=State.SUCCEEDED, finished_at=timezone.now())
    page.wait_for_selector("#jobs .pill >> text=succeeded", timeout=20000)
    assert page.evaluate("document.activeElement.id") == f"job-{jobs['silent'].uuid}"
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(7000)
    assert asked == []


def test_a_session_that_ends_while_selecting_takes_nothing_along(open_page: Open, make_user: Any) -> None:
    user = make_user("lead2", "release_lead")
    dev, prod = make_environment("dev", asset_counts={"dashboard": 9}), make_environment("prod")
    make_estate(dev, dashboards=4)
    page = open_page(user, f"/migrations/new/?source={dev.slug}&target={prod.slug}", viewport=WIDE)
    page.fill("#id_title", "Kept")
    page.check(f"#pick-{uuid_for('Sales 2')}")
    page.wait_for_selector("#basket-title >> text=1")
    page.context.clear_cookies(name="sstools_session")
    page.check(f"#pick-{uuid_for('Sales 3')}")
    page.wait_for_url("**/login/?next=*", timeout=15000)
    page.fill("[name=username]", "lead2")
    page.fill("[name=password]", PASSWORD)
    page.click("button >> text=Sign in")
    page.wait_for_url("**/migrations/new/**")
    page.wait_for_selector("#basket-title >> text=2", timeout=15000)
    assert page.input_value("#id_title") == "Kept"
    assert page.is_checked(f"#pick-{uuid_for('Sales 3')}")
