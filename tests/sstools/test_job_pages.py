"""Pages of jobs: list, progress that is polled, log that is appended, and what each person may press."""

import re

import pytest

from sstools.jobs import services
from sstools.jobs.models import Job, JobLog, State, Worker

DEV = "environment:11111111-1111-4111-8111-111111111111"
PROD = "environment:22222222-2222-4222-8222-222222222222"

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture
def job(author):
    return services.enqueue("trial.apply", {"name": "n"}, actor=author, locks=[PROD], title="Apply to PROD")


def text(response):
    assert response.status_code == 200, response
    return response.content.decode()


def test_everything_asks_to_sign_in(client, job):
    for address in ("/jobs/", f"/jobs/{job.uuid}/", f"/jobs/{job.uuid}/log.txt"):
        assert client.get(address).headers["Location"].startswith("/login/?next=")


def test_the_empty_list_says_what_comes_here_and_that_no_worker_runs(author, signed_in):
    page = text(signed_in(author).get("/jobs/"))
    assert "No jobs yet" in page
    assert "No worker was seen" in page
    Worker.objects.create(host="h", pid=1, workers=4, seen_at=services.db_now())
    assert "No worker was seen" not in text(signed_in(author).get("/jobs/"))


def test_the_list_shows_who_waits_for_whom(author, signed_in, job):
    services.enqueue("trial.write", {"name": "second"}, actor=author, locks=[PROD], title="Second")
    services.claim(str(job.uuid))
    page = text(signed_in(author).get("/jobs/"))
    assert len(re.findall(rf'waits for <a id="holder-\d+-{job.pk}" href="/jobs/{job.uuid}/"', page)) == 1
    assert "1 before it" in page


def test_the_list_as_a_fragment_and_filtered_to_nothing(author, signed_in, job):
    client = signed_in(author)
    fragment = text(client.get("/jobs/", **HTMX))
    assert fragment.lstrip().startswith('<div id="jobs"')
    assert "<html" not in fragment
    assert "No job matches" in text(client.get("/jobs/?q=nonsense"))


def test_the_number_of_queries_does_not_grow_with_the_list(author, signed_in, django_assert_max_num_queries):
    client = signed_in(author)
    for n in range(40):
        services.enqueue("trial.write", {"name": f"{n}"}, actor=author, locks=[PROD])
    with django_assert_max_num_queries(16):
        page = text(client.get("/jobs/"))
    assert page.count("<tr>") == 41


def test_a_job_that_waits_names_the_one_before_it_unless_the_reader_may_not_see_that(
    author, make_user, signed_in, job
):
    outsider = make_user("outsider", "viewer", on=DEV)
    services.claim(str(job.uuid))
    second = services.enqueue("trial.write", {"name": "b"}, actor=outsider, locks=[PROD], title="Second")
    seen_by_author = text(signed_in(author).get(f"/jobs/{second.uuid}/"))
    assert "Waits for its turn" in seen_by_author
    assert str(job.uuid) in seen_by_author
    seen_by_outsider = text(signed_in(outsider).get(f"/jobs/{second.uuid}/"))
    assert "Another job works on the same environment" in seen_by_outsider
    assert str(job.uuid) not in seen_by_outsider


def test_progress_is_polled_until_the_end_and_not_longer(author, signed_in, job, run_jobs):
    client = signed_in(author)
    poll = f'hx-get="/jobs/{job.uuid}/progress/"'
    assert poll in text(client.get(f"/jobs/{job.uuid}/"))
    assert poll in text(client.get(f"/jobs/{job.uuid}/progress/", **HTMX))
    run_jobs()
    ended = text(client.get(f"/jobs/{job.uuid}/progress/", **HTMX))
    assert poll not in ended
    assert "hx-trigger" not in ended
    assert "Apply to PROD is done." in ended
    assert client.get(f"/jobs/{job.uuid}/progress/").status_code == 302  # opened cold


def test_steps_are_shown_with_their_times_and_how_they_went(author, signed_in, run_jobs):
    refused = services.enqueue("trial.refuse", actor=author)
    run_jobs()
    page = text(signed_in(author).get(f"/jobs/{refused.uuid}/"))
    assert 'class="is-failed"' in page
    assert "The plan is stale." in page
    assert "Make a new plan." in page
    assert "Try again" in page


def test_the_log_grows_by_what_is_new_and_stops_with_the_job(author, signed_in, job):
    client, log = signed_in(author), f"/jobs/{job.uuid}/log/"
    mine = services.claim(str(job.uuid))
    for n in range(3):
        services.log(mine, "info", f"line {n}")
    assert text(client.get(log, **HTMX)).count("<time") == 3
    assert client.get(f"{log}?after=3", **HTMX).status_code == 204
    services.log(mine, "warning", "<b>late</b>")
    new = text(client.get(f"{log}?after=3", **HTMX))
    assert "&lt;b&gt;late&lt;/b&gt;" in new
    assert "line 2" not in new
    assert 'hx-get="' in new
    assert "after=4" in new
    services.finish(mine, State.SUCCEEDED)
    assert "hx-trigger" not in text(client.get(f"{log}?after=4", **HTMX))


def test_a_long_log_shows_its_end_first_and_loads_older_lines(author, signed_in, job):
    client = signed_in(author)
    JobLog.objects.bulk_create([JobLog(job=job, seq=n, text=f"line {n}") for n in range(1, 451)])
    page = text(client.get(f"/jobs/{job.uuid}/"))
    assert "250 older lines" in page
    assert "line 250<" not in page
    assert "line 251<" in page
    older = text(client.get(f"/jobs/{job.uuid}/log/?before=251", **HTMX))
    assert "50 older lines" in older
    assert "line 51<" in older
    assert "line 251<" not in older


def test_the_log_by_level_and_words(author, signed_in, job):
    client = signed_in(author)
    levels = ["info", "warning", "error"]
    JobLog.objects.bulk_create(
        [JobLog(job=job, seq=n + 1, level=levels[n], text=f"{levels[n]} x") for n in range(3)]
    )
    assert text(client.get(f"/jobs/{job.uuid}/log/?level=warning", **HTMX)).count("<time") == 2
    assert text(client.get(f"/jobs/{job.uuid}/log/?level=error", **HTMX)).count("<time") == 1
    assert text(client.get(f"/jobs/{job.uuid}/log/?find=INFO", **HTMX)).count("<time") == 1
    assert text(client.get(f"/jobs/{job.uuid}/log/?level=nonsense&after=x", **HTMX)).count("<time") == 3


def test_the_raw_log_is_text_in_utc_and_complete(author, signed_in, job, run_jobs):
    run_jobs()
    response = signed_in(author).get(f"/jobs/{job.uuid}/log.txt?download")
    lines = b"".join(response.streaming_content).decode().splitlines()
    assert response.headers["Content-Disposition"] == f'attachment; filename="job-{job.uuid}.log"'
    assert len(lines) == 4
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+Z info    First", lines[1])


def test_cancelling_from_the_page(author, viewer, signed_in, job):
    assert f"/jobs/{job.uuid}/cancel/" not in text(signed_in(viewer).get(f"/jobs/{job.uuid}/"))
    assert signed_in(viewer).post(f"/jobs/{job.uuid}/cancel/").status_code == 403
    client = signed_in(author)
    assert f"/jobs/{job.uuid}/cancel/" in text(client.get(f"/jobs/{job.uuid}/"))
    assert "Let it go on" in text(client.get(f"/jobs/{job.uuid}/cancel/"))
    job.refresh_from_db()
    assert job.state == State.QUEUED  # only looked at
    fragment = text(client.post(f"/jobs/{job.uuid}/cancel/", **HTMX))
    assert "The job was cancelled." in fragment
    job.refresh_from_db()
    assert job.state == State.CANCELLED
    assert client.post(f"/jobs/{job.uuid}/cancel/").status_code == 409


def test_trying_again_from_the_page(author, release_lead, signed_in, job):
    services.request_cancel(job, actor=author)
    refused = text(signed_in(author).get(f"/jobs/{job.uuid}/"))
    assert "Trying it again needs the right migration:apply." in refused
    assert f"/jobs/{job.uuid}/retry/" not in refused  # the button is there, and disabled
    assert signed_in(author).post(f"/jobs/{job.uuid}/retry/").status_code == 403
    client = signed_in(release_lead)
    assert "Try again" in text(client.get(f"/jobs/{job.uuid}/"))
    response = client.post(f"/jobs/{job.uuid}/retry/")
    again = Job.objects.get(retry_of=job)
    assert response.headers["Location"] == f"/jobs/{again.uuid}/"
    page = text(client.get(f"/jobs/{job.uuid}/"))
    assert "Tries at the same work" in page
    assert f'href="/jobs/{again.uuid}/"' in page


def test_answering_from_the_page(author, viewer, signed_in, run_jobs):
    job = services.enqueue("trial.ask", actor=author)
    run_jobs()
    client = signed_in(author)
    page = text(client.get(f"/jobs/{job.uuid}/"))
    assert 'name="answer"' in page
    assert 'name="answer"' not in text(signed_in(viewer).get(f"/jobs/{job.uuid}/"))
    assert client.post(f"/jobs/{job.uuid}/answer/", {"answer": "nonsense"}).status_code == 422
    assert client.post(f"/jobs/{job.uuid}/answer/", {"answer": "dwh"}).status_code == 302
    run_jobs()
    job.refresh_from_db()
    assert job.result == {"chosen": "dwh"}


def test_jobs_of_others_are_not_there_for_a_stranger(stranger, signed_in, job):
    client = signed_in(stranger)
    for address in ("", "progress/", "log/", "log.txt"):
        assert client.get(f"/jobs/{job.uuid}/{address}").status_code == 404
    for address in ("cancel/", "retry/", "answer/"):
        assert client.post(f"/jobs/{job.uuid}/{address}").status_code == 404


def test_the_admin_shows_jobs_audit_and_grants_and_changes_no_job(make_user, signed_in, author, job):
    client = signed_in(make_user("root", is_staff=True, is_superuser=True))
    for model in (
        "jobs/job",
        "jobs/joblog",
        "jobs/joblock",
        "jobs/worker",
        "audit/auditevent",
        "roles/grant",
        "roles/apitoken",
    ):
        assert client.get(f"/admin/{model}/").status_code == 200
    assert client.get(f"/admin/jobs/job/{job.pk}/change/").status_code == 200
    assert client.post(f"/admin/jobs/job/{job.pk}/change/", {"state": "failed"}).status_code == 403
    assert client.get("/admin/jobs/job/add/").status_code == 403
    assert client.post(f"/admin/jobs/job/{job.pk}/delete/", {"post": "yes"}).status_code == 403
