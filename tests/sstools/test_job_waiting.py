"""What pages say of jobs that wait, rest or are not heard of: places in line, silence, time left, workers."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from sstools import __version__
from sstools.jobs import services, steps, waiting
from sstools.jobs.models import Job, JobLock, JobLog, JobResource, Priority, Source, State, Worker

pytestmark = pytest.mark.django_db
DEV = "environment:11111111-1111-4111-8111-111111111111"
PROD = "environment:22222222-2222-4222-8222-222222222222"
HTMX = {"HTTP_HX_REQUEST": "true"}
SignedIn = Callable[[Any], Client]


def text(response: Any, status: int = 200) -> str:
    assert response.status_code == status, response
    return str(response.content.decode())


def ask_for(actor: Any, name: str = "n", **fields: Any) -> Job:
    return services.enqueue("trial.write", {"name": name}, actor=actor, title=name, **fields)


def running(actor: Any, *, lease: float, title: str = "Read it", **fields: Any) -> Job:
    """A job that a worker has, with so many seconds of lease left."""
    now = timezone.now()
    values = {"owner": "host-a:4711:abc", "attempt": 1, "started_at": now, **fields}
    job = Job.objects.create(
        kind="trial.write",
        title=title,
        actor=actor,
        state=State.RUNNING,
        lease_until=now + timedelta(seconds=lease),
        **values,
    )
    JobResource.objects.create(job=job, resource=PROD, exclusive=True)
    return job


# --- Places in line -------------------------------------------------------------------------------------------------
def test_the_place_in_line_follows_urgency_and_then_time(author: Any) -> None:
    background = ask_for(author, "night", source=Source.SCHEDULE)
    first, second = ask_for(author, "one"), ask_for(author, "two")
    places = waiting.places([background, first, second], author)
    assert [places[job.pk].ahead for job in (first, second, background)] == [0, 1, 2]
    assert background.priority == Priority.BACKGROUND


def test_behind_a_lock_the_holder_and_those_before_it_count(author: Any) -> None:
    jobs = [ask_for(author, name, locks=[PROD]) for name in ("a", "b", "c")]
    elsewhere = ask_for(author, "d", locks=[DEV])
    services.claim(str(jobs[0].uuid))
    places = waiting.places([*jobs, elsewhere], author)
    assert jobs[0].pk in places  # as the object says; the row runs
    assert [places[job.pk].ahead for job in jobs[1:]] == [1, 2]
    assert [holder and holder.pk for holder in places[jobs[2].pk].holders] == [jobs[0].pk]
    assert places[elsewhere.pk].ahead == 0
    assert not places[elsewhere.pk].is_blocked


def test_places_cost_the_same_for_one_and_for_fifty(
    author: Any, django_assert_max_num_queries: Any, signed_in: SignedIn
) -> None:
    holder = ask_for(author, "holder", locks=[PROD])
    services.claim(str(holder.uuid))
    jobs = [ask_for(author, str(number), locks=[PROD]) for number in range(50)]
    author.is_authenticated  # noqa: B018  grants are read outside
    with django_assert_max_num_queries(7):
        assert waiting.places(jobs, author)[jobs[-1].pk].ahead == 50


def test_a_thousand_queued_jobs_cost_the_list_no_more_queries_than_ten(
    author: Any, signed_in: SignedIn, django_assert_max_num_queries: Any
) -> None:
    now = timezone.now()
    made = Job.objects.bulk_create(
        Job(
            kind="trial.write",
            title=f"Job {n}",
            actor=author,
            ready_at=now,
            line_at=now + timedelta(seconds=n),
        )
        for n in range(1000)
    )
    JobResource.objects.bulk_create(
        JobResource(job=job, resource=PROD, exclusive=n % 2 == 0) for n, job in enumerate(made)
    )
    JobLock.objects.create(resource=PROD, job=made[0])
    client = signed_in(author)
    client.get("/jobs/")
    with django_assert_max_num_queries(18):
        page = text(client.get("/jobs/?state=queued"))
    assert "1–50 of 1,000 jobs" in page
    assert page.count("<tr>") == 51


# --- Filters --------------------------------------------------------------------------------------------------------
@pytest.fixture
def many(author: Any, viewer: Any) -> dict[str, Job]:
    """One job of each sort."""
    holder = ask_for(author, "holder", locks=[PROD])
    services.claim(str(holder.uuid))
    jobs = {
        "holder": holder,
        "blocked": ask_for(author, "blocked", locks=[PROD]),
        "claimable": ask_for(viewer, "claimable", about=[DEV], source=Source.API),
        "ours": ask_for(None, "ours", about=[DEV], source=Source.SCHEDULE),
        "asks": services.enqueue("trial.ask", actor=author, title="asks"),
        "done": ask_for(author, "done"),
    }
    Job.objects.filter(pk=jobs["asks"].pk).update(state=State.NEEDS_INPUT, question={"title": "Which one?"})
    Job.objects.filter(pk=jobs["done"].pk).update(state=State.SUCCEEDED, finished_at=timezone.now())
    Job.objects.filter(pk=jobs["ours"].pk).update(ready_at=timezone.now() - timedelta(minutes=2))
    return jobs


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", "holder blocked claimable ours asks done"),
        ("state=unfinished", "holder blocked claimable ours asks"),
        ("state=late", "ours"),
        ("waiting=job", "blocked"),
        ("waiting=worker", "claimable ours"),
        ("waiting=answer", "asks"),
        ("who=me", "holder blocked asks done"),
        ("mine=true", "holder blocked asks done"),
        ("who=view", "claimable"),
        ("who=ss-tools", "ours"),
        ("source=api", "claimable"),
        ("kind=trial.ask", "asks"),
        ("env=nowhere", ""),
        ("q=block", "blocked"),
        ("behind={holder}", "blocked"),
        ("behind={blocked}", ""),
        ("q={done}", "done"),
        ("state=nonsense&waiting=x&behind=y", "holder blocked claimable ours asks done"),
    ],
)
def test_each_filter_shows_what_it_says_on_page_and_api(
    author: Any, signed_in: SignedIn, api: Any, many: dict[str, Job], query: str, names: str
) -> None:
    query = query.format(**{name: job.uuid for name, job in many.items()})
    page = text(signed_in(author).get(f"/jobs/?{query}"))
    shown = {name for name, job in many.items() if f'id="job-{job.uuid}"' in page}
    assert shown == set(names.split())
    if "nonsense" not in query:
        rows = api(author).get(f"/api/v1/jobs/?{query}").json()["results"]
        assert {row["uuid"] for row in rows} == {str(many[name].uuid) for name in names.split()}


def test_the_states_are_counted_under_the_other_filters(
    author: Any, signed_in: SignedIn, many: dict[str, Job]
) -> None:
    page = text(signed_in(author).get("/jobs/?who=me&state=needs_input"))
    for state, number in {
        "all": 4,
        "unfinished": 3,
        "running": 1,
        "queued": 1,
        "needs_input": 1,
        "late": 0,
    }.items():
        chip = page[page.index(f'id="state-{state}"') :]
        assert f'<span class="num">{number}</span>' in chip[:600], state
    assert 'href="/jobs/?who=me&amp;state=queued"' in page


def test_a_list_that_can_change_asks_for_itself_and_one_that_cannot_does_not(
    author: Any, signed_in: SignedIn, many: dict[str, Job]
) -> None:
    client = signed_in(author)
    page = text(client.get("/jobs/?state=unfinished"))
    assert 'hx-get="/jobs/?state=unfinished" hx-trigger="every 5s"' in page
    assert 'http-equiv="refresh"' in page
    assert 'hx-trigger="every' not in text(client.get("/jobs/?state=succeeded"))
    Job.objects.filter(state__in=(State.RUNNING, State.QUEUED)).update(
        started_at=timezone.now() - timedelta(hours=1), created_at=timezone.now() - timedelta(hours=1)
    )
    assert 'hx-trigger="every 15s"' in text(client.get("/jobs/?state=unfinished", **HTMX))


def test_a_holder_that_the_reader_may_not_see_stays_nameless(
    make_user: Any, signed_in: SignedIn, author: Any
) -> None:
    holder = ask_for(author, "Secret holder", locks=[PROD])
    services.claim(str(holder.uuid))
    outsider = make_user("outsider", "viewer", on=DEV)
    mine = ask_for(outsider, "mine", locks=[PROD])
    for address in ("/jobs/", f"/jobs/{mine.uuid}/"):
        page = text(signed_in(outsider).get(address))
        assert "Secret holder" not in page
        assert "nother job" in page


# --- Not heard of ---------------------------------------------------------------------------------------------------
def test_a_worker_that_gives_no_sign_is_said_before_another_takes_over(
    author: Any, signed_in: SignedIn, settings: Any
) -> None:
    lease = settings.JOB_LEASE_SECONDS
    client = signed_in(author)
    fresh = running(author, lease=lease * 0.9, title="fresh")
    assert "No sign" not in text(client.get(f"/jobs/{fresh.uuid}/"))
    silent = running(author, lease=lease * 0.3, title="silent")
    page = text(client.get(f"/jobs/{silent.uuid}/"))
    assert f"No sign from its worker for {round(lease * 0.7)} s" in page
    assert "another takes over at" in page
    assert "host-a" in page
    assert "process 4711" in page
    gone = running(author, lease=-5, title="gone")
    assert "Another worker takes it over" in text(client.get(f"/jobs/{gone.uuid}/"))
    last = running(author, lease=5, title="last", losses=settings.JOB_MAX_ATTEMPTS - 1)
    assert "it is given up" in text(client.get(f"/jobs/{last.uuid}/"))
    listed = text(client.get("/jobs/?state=late"))
    shown = [f'id="job-{job.uuid}"' in listed for job in (silent, gone, last, fresh)]
    assert shown == [True, True, True, False]


def test_of_a_silent_job_no_time_left_is_told(author: Any, signed_in: SignedIn) -> None:
    job = running(author, lease=25, progress_done=50, progress_total=100, current_step="Reading")
    told = {"done": 0, "total": 100}
    at = timezone.now() - timedelta(seconds=30)
    JobLog.objects.create(job=job, seq=1, at=at, is_step=True, text="Reading", fields=told)
    assert "about 30 s left" in text(signed_in(author).get(f"/jobs/{job.uuid}/"))
    Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() + timedelta(seconds=5))
    page = text(signed_in(author).get(f"/jobs/{job.uuid}/"))
    assert "50 of 100" in page
    assert " left" not in page


# --- Time left ------------------------------------------------------------------------------------------------------
def line(job: Job, seq: int, ago: float, text_: str, **fields: Any) -> JobLog:
    at = timezone.now() - timedelta(seconds=ago)
    return JobLog.objects.create(job=job, seq=seq, at=at, is_step=True, text=text_, fields=fields)


def test_time_left_is_told_from_the_speed_since_the_count_began(author: Any) -> None:
    job = running(author, lease=25, progress_done=30, progress_total=100)
    lines = [line(job, 1, 100, "Connecting"), line(job, 2, 40, "Reading", done=10, total=100)]
    progress = steps.progress_of(job, lines)
    assert progress is not None
    assert (progress.done, progress.total, progress.percent) == (30, 100, 30)
    assert progress.seconds_left == pytest.approx(40 / 20 * 70, rel=0.05)


def test_steps_that_share_a_total_are_one_count(author: Any) -> None:
    job = running(author, lease=25, progress_done=3, progress_total=4)
    lines = [line(job, n + 1, 40 - 10 * n, f"Part {n}", done=n, total=4) for n in range(4)]
    progress = steps.progress_of(job, lines)
    assert progress is not None
    assert progress.seconds_left == pytest.approx(40 / 3, rel=0.1)


def test_what_an_earlier_step_counted_says_nothing_of_the_present_one(author: Any) -> None:
    job = running(author, lease=25, progress_done=100, progress_total=100)
    lines = [line(job, 1, 40, "Reading", done=0, total=100), line(job, 2, 5, "Tidying up")]
    assert steps.progress_of(job, lines) is None


@pytest.mark.parametrize(("done", "ago"), [(0, 60.0), (1, 60.0), (50, 1.0), (100, 60.0)])
def test_too_little_to_go_by_is_no_estimate(author: Any, done: int, ago: float) -> None:
    job = running(author, lease=25, progress_done=done, progress_total=100)
    progress = steps.progress_of(job, [line(job, 1, ago, "Reading", done=0, total=100)])
    assert progress is not None
    assert progress.seconds_left is None


def test_without_a_total_there_is_no_number_at_all(author: Any, signed_in: SignedIn) -> None:
    job = running(author, lease=25, current_step="Reading")
    line(job, 1, 30, "Reading")
    page = text(signed_in(author).get(f"/jobs/{job.uuid}/"))
    assert '<progress aria-label="Read it"></progress>' in page
    assert " left" not in page


def test_a_handler_that_counts_says_where_it_began(author: Any, run_jobs: Any) -> None:
    job = services.enqueue("trial.write", {"name": "n", "steps": 2}, actor=author)
    run_jobs()
    (first,) = job.logs.filter(is_step=True)
    assert first.fields == {"done": 0, "total": 2}


# --- Log ------------------------------------------------------------------------------------------------------------
@pytest.fixture
def logged(author: Any) -> Job:
    job = running(author, lease=25)
    at = timezone.now().replace(hour=10, minute=33, second=7, microsecond=0)
    levels = ["info"] * 3 + ["warning"] * 2 + ["error"]
    JobLog.objects.bulk_create(
        JobLog(job=job, seq=n + 1, at=at, level=level, text=f"line {n} ünï", fields={"n": n})
        for n, level in enumerate(levels)
    )
    return job


def test_the_levels_are_counted_under_the_words(author: Any, signed_in: SignedIn, logged: Job) -> None:
    page = text(signed_in(author).get(f"/jobs/{logged.uuid}/"))
    for level, number in (("all", 6), ("warning", 3), ("error", 1)):
        assert f'id="log-count-{level}">{number}</span>' in page
    found = text(signed_in(author).get(f"/jobs/{logged.uuid}/log/?find=line+5", **HTMX))
    assert 'id="log-count-all" hx-swap-oob="true">1</span>' in found


def test_what_is_filtered_is_in_the_address_so_that_a_reload_shows_the_same(
    author: Any, signed_in: SignedIn, logged: Job
) -> None:
    client = signed_in(author)
    answer = client.get(f"/jobs/{logged.uuid}/log/?level=error&find=line&utc=1", **HTMX)
    address = answer.headers["HX-Replace-Url"]
    assert address == f"/jobs/{logged.uuid}/?level=error&find=line&utc=1"
    page = text(client.get(address))
    assert page.count('class="lvl"') == 1
    assert 'value="line"' in page
    assert 'name="utc" value="1" checked' in page


def test_times_are_shown_in_the_readers_zone_or_in_utc(author: Any, signed_in: SignedIn, logged: Job) -> None:
    from sstools.web.models import Preference

    Preference.objects.create(user=author, time_zone="Asia/Tokyo")
    client = signed_in(author)
    assert ">19:33:07</time>" in text(client.get(f"/jobs/{logged.uuid}/"))
    assert ">10:33:07</time>" in text(client.get(f"/jobs/{logged.uuid}/?utc=1"))


def test_the_log_as_json_lines_is_whole(author: Any, signed_in: SignedIn, logged: Job) -> None:
    response = signed_in(author).get(f"/jobs/{logged.uuid}/log.jsonl?download")
    lines = [json.loads(row) for row in b"".join(response.streaming_content).decode().splitlines()]
    assert response.headers["Content-Disposition"] == f'attachment; filename="job-{logged.uuid}.jsonl"'
    assert [row["seq"] for row in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[5]["level"] == "error"
    assert lines[5]["fields"] == {"n": 5}
    assert lines[5]["text"] == "line 5 ünï"


def test_older_lines_are_there_without_javascript(author: Any, signed_in: SignedIn) -> None:
    job = running(author, lease=25)
    JobLog.objects.bulk_create(JobLog(job=job, seq=n, text=f"line {n}.") for n in range(1, 451))
    client = signed_in(author)
    assert f'href="/jobs/{job.uuid}/?before=251#log"' in text(client.get(f"/jobs/{job.uuid}/"))
    page = text(client.get(f"/jobs/{job.uuid}/?before=251"))
    assert "line 250." in page
    assert "line 251." not in page
    assert "Newest lines" in page
    assert 'id="log-more"' not in page  # older lines do not grow


# --- Tries, workers, questions --------------------------------------------------------------------------------------
def test_all_tries_at_the_same_work_are_named(author: Any, signed_in: SignedIn, run_jobs: Any) -> None:
    tries = [services.enqueue("trial.refuse", actor=author)]
    for _ in range(2):
        run_jobs()
        tries[-1].refresh_from_db()
        tries.append(services.retry(tries[-1], actor=author))
    first, second, third = tries
    for job in (first, second, third):
        page = text(signed_in(author).get(f"/jobs/{job.uuid}/"))
        others = {first, second, third} - {job}
        assert all(f'id="try-{other.uuid}"' in page for other in others)
        assert "This one" in page


def test_a_failure_has_its_remedy_and_an_id_to_copy(author: Any, signed_in: SignedIn, run_jobs: Any) -> None:
    job = services.enqueue("trial.refuse", actor=author)
    run_jobs()
    page = text(signed_in(author).get(f"/jobs/{job.uuid}/"))
    assert "The plan is stale." in page
    assert "Make a new plan." in page
    assert f'<code id="job-id">{job.uuid}</code>' in page
    assert 'data-copy="job-id"' in page
    assert "<code>stale_plan</code>" in page


def test_the_workers_page_shows_who_is_alive_and_what_each_does(
    author: Any, make_user: Any, signed_in: SignedIn
) -> None:
    now = timezone.now()
    Worker.objects.create(host="host-a", pid=1, workers=4, seen_at=now, started_at=now)
    Worker.objects.create(host="host-b", pid=2, workers=2, seen_at=now - timedelta(minutes=5), started_at=now)
    job = running(author, lease=25, title="Read the big one")
    page = text(signed_in(author).get("/jobs/workers/"))
    assert page.count("alive</span>") == 1
    assert page.count("not seen</span>") == 1
    assert f'href="/jobs/{job.uuid}/"' in page
    assert "No worker was seen" not in page
    outsider = make_user("outsider", "viewer", on=DEV)
    hidden = text(signed_in(outsider).get("/jobs/workers/"))
    assert "Read the big one" not in hidden
    assert "A job that you may not see" in hidden


def test_the_workers_page_is_for_those_who_may_see_jobs(
    stranger: Any, signed_in: SignedIn, client: Client
) -> None:
    assert signed_in(stranger).get("/jobs/workers/").status_code == 403
    assert client.get("/jobs/workers/").status_code == 302


def test_without_workers_every_page_says_so_while_something_waits(author: Any, signed_in: SignedIn) -> None:
    client = signed_in(author)
    assert "No worker was seen" not in text(client.get("/"))
    job = ask_for(author)
    for address in ("/", "/migrations/", "/jobs/", f"/jobs/{job.uuid}/", "/jobs/workers/"):
        assert "No worker was seen" in text(client.get(address)), address
    for address in ("/jobs/", f"/jobs/{job.uuid}/progress/", "/jobs/workers/"):
        fragment = text(client.get(address, **HTMX))
        assert 'id="no-worker" hx-swap-oob="true"><div' in fragment, address
    Worker.objects.create(host="h", pid=1, workers=4, seen_at=timezone.now())
    assert "No worker was seen" not in text(client.get("/jobs/"))
    assert 'id="no-worker" hx-swap-oob="true"></div>' in text(client.get("/jobs/", **HTMX))


def test_what_waits_for_an_answer_is_on_the_overview_of_those_who_may_give_it(
    author: Any, viewer: Any, signed_in: SignedIn, run_jobs: Any
) -> None:
    services.enqueue("trial.ask", actor=author, title="Choose one", about=[PROD])
    run_jobs()
    page = text(signed_in(author).get("/"))
    assert "Waits for you" in page
    assert page.index("Waits for you") < page.index('class="begin"')  # before everything else
    assert "wait for your answer" in page
    other = text(signed_in(viewer).get("/"))
    assert "Waits for you" not in other
    assert "wait for your answer" not in other


def test_a_question_is_kept_while_the_page_asks_for_news(
    author: Any, signed_in: SignedIn, run_jobs: Any
) -> None:
    job = services.enqueue("trial.ask", actor=author)
    run_jobs()
    client = signed_in(author)
    page = text(client.get(f"/jobs/{job.uuid}/"))
    assert 'id="question-1" hx-preserve="true"' in page
    assert 'http-equiv="refresh"' not in page  # would take away what is being chosen
    assert 'id="question-1"' in text(client.get(f"/jobs/{job.uuid}/progress/", **HTMX))


def test_the_version_that_workers_tell_is_that_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())
    assert project["project"]["version"] == __version__


def test_two_versions_at_work_are_said(author: Any, signed_in: SignedIn) -> None:
    now = timezone.now()
    Worker.objects.create(host="a", pid=1, workers=4, version="0.1.0", seen_at=now)
    assert "Different versions" not in text(signed_in(author).get("/jobs/workers/"))
    Worker.objects.create(host="b", pid=1, workers=4, version="0.2.0", seen_at=now)
    assert "Different versions" in text(signed_in(author).get("/jobs/workers/"))


def test_rest_says_what_the_page_says(author: Any, api: Any, many: dict[str, Job]) -> None:
    client = api(author)
    blocked = client.get(f"/api/v1/jobs/{many['blocked'].uuid}/").json()
    assert (blocked["ahead"], blocked["waits_for"]) == (1, [str(many["holder"].uuid)])
    holder = client.get(f"/api/v1/jobs/{many['holder'].uuid}/").json()
    assert holder["holds"] == [PROD]
    assert holder["worker"].count(":") == 1
    assert holder["silent_seconds"] is None
    Job.objects.filter(pk=many["holder"].pk).update(lease_until=timezone.now())
    assert client.get(f"/api/v1/jobs/{many['holder'].uuid}/").json()["silent_seconds"] > 0
    workers = client.get("/api/v1/workers/").json()
    assert workers["line"]["blocked"] == 1
    assert workers["line"]["by_priority"]["background"] == 1


def test_rest_reads_the_log_by_level_and_words(author: Any, api: Any, logged: Job) -> None:
    client = api(author)
    log = f"/api/v1/jobs/{logged.uuid}/log/"
    assert [row["seq"] for row in client.get(f"{log}?level=warning").json()] == [4, 5, 6]
    assert [row["seq"] for row in client.get(f"{log}?level=error&find=line").json()] == [6]
    assert client.get(f"{log}?level=nonsense").status_code == 400


def test_rest_tells_of_workers_only_to_those_who_may_see_jobs(stranger: Any, api: Any) -> None:
    assert api(stranger).get("/api/v1/workers/").status_code == 403
