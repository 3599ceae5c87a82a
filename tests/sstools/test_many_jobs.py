"""A thousand jobs wait: pages ask the database as often as with a few, and a worker finds its job by an index."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from sstools.jobs import services
from sstools.jobs.claiming import _first_in_line
from sstools.jobs.models import Job, JobLock, JobResource, Priority, State, Worker

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]
PAGES = ["/jobs/", "/jobs/?state=unfinished", "/jobs/workers/", "/", "/api/v1/jobs/"]


def queue_up(number: int, *, blocked: bool = False) -> None:
    jobs = Job.objects.bulk_create(
        Job(kind="trial.write", title=f"{n}", params={"name": f"{n}"}, ready_at=timezone.now())
        for n in range(number)
    )
    JobResource.objects.bulk_create(
        JobResource(job=job, resource="environment:x" if blocked else f"environment:{job.pk}", exclusive=True)
        for job in jobs
    )


def test_pages_ask_the_database_as_often_with_a_thousand_jobs_as_with_sixty(admin, signed_in):
    """Sixty fill the first page of the list."""
    Worker.objects.create(host="here", pid=1, workers=4, seen_at=services.db_now())
    browser = signed_in(admin)

    def asked() -> dict[str, int]:
        counts = {}
        for page in [*PAGES, f"/jobs/{Job.objects.earliest('pk').uuid}/"]:
            assert browser.get(page).status_code == 200, page
            with CaptureQueriesContext(
                connection,
            ) as queries:
                browser.get(page)
            counts[page] = len(queries)
        return counts

    queue_up(60)
    few = asked()
    queue_up(940)
    assert asked() == few


def test_a_worker_finds_its_job_by_an_index_among_many(django_assert_max_num_queries):
    holder = Job.objects.create(kind="trial.write", state=State.RUNNING)
    JobLock.objects.create(resource="environment:x", job=holder)
    done = timezone.now()
    Job.objects.bulk_create(
        Job(kind="trial.write", state=State.SUCCEEDED, priority=Priority.NORMAL, finished_at=done)
        for _ in range(5_000)
    )
    queue_up(1_000, blocked=True)
    free = Job.objects.create(kind="trial.write")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    with django_assert_max_num_queries(8), CaptureQueriesContext(connection) as queries:
        assert _first_in_line([]) == free.pk
    if connection.vendor != "postgresql":
        return
    (search,) = [
        query["sql"] for query in queries if '"line_at"' in query["sql"] and "'queued'" in query["sql"]
    ]
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + search)
        plan = cursor.fetchone()[0]
        plan = (json.loads(plan) if isinstance(plan, str) else plan)[0]
    assert "jobs_in_line" in json.dumps(plan), json.dumps(plan, indent=1)
    assert plan["Execution Time"] < 1_000  # milliseconds; some ten on a quiet machine
