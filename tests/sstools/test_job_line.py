"""Who goes first: priorities, the lane of background jobs, messages as hints. Rows and functions, no processes."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db.models import F
from django_q.models import OrmQ

from sstools.jobs import lanes, runner, services
from sstools.jobs.broker import Broker
from sstools.jobs.models import Job, JobLock, Priority, Source, State, Worker
from tests.sstools.queue import expire, forget_message, in_threads
from tests.trial.models import Effect

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
PROD = "environment:prod"
DEV = "environment:dev"


def write(name: str, priority: Priority = Priority.INTERACTIVE, **values: Any) -> Job:
    return services.enqueue("trial.write", {"name": name}, actor=None, priority=priority, **values)


def nightly(name: str, **values: Any) -> Job:
    return write(name, Priority.BACKGROUND, **values)


def workers(*numbers: int) -> None:
    """So many machines with so many workers each."""
    for number in numbers:
        Worker.objects.create(host="here", pid=1, workers=number, seen_at=services.db_now())


# --- Priorities


def test_a_job_stands_in_line_by_who_asked_and_by_when(author):
    nightly = services.enqueue("trial.write", {"name": "n"}, actor=author, source=Source.SCHEDULE)
    program = services.enqueue("trial.write", {"name": "p"}, actor=author, source=Source.API)
    person = services.enqueue("trial.write", {"name": "q"}, actor=author)
    said = services.enqueue("trial.write", {"name": "r"}, actor=author, priority=Priority.BACKGROUND)
    assert [job.priority for job in (nightly, program, person, said)] == [
        "background",
        "normal",
        "interactive",
        "background",
    ]
    in_line = Job.objects.order_by("line_at", "pk")
    assert list(in_line) == [person, program, nightly, said]
    Job.objects.filter(pk=nightly.pk).update(line_at=F("line_at") - timedelta(minutes=31))
    assert in_line.all().first() == nightly  # it has waited longer than it is less urgent


def test_a_person_who_asks_for_what_a_schedule_asked_for_moves_it_forward(author):
    nightly = services.enqueue("trial.write", {"name": "n"}, actor=None, join_key="n", source=Source.SCHEDULE)
    OrmQ.objects.all().delete()
    mine = services.enqueue("trial.write", {"name": "n"}, actor=author, join_key="n")
    assert (mine.pk, mine.joined, mine.priority) == (nightly.pk, True, "interactive")
    assert mine.line_at < nightly.line_at
    assert OrmQ.objects.count() == 1
    again = services.enqueue("trial.write", {"name": "n"}, actor=None, join_key="n", source=Source.SCHEDULE)
    assert (again.priority, again.line_at) == ("interactive", mine.line_at)


# --- Taking the first in line


def test_a_message_is_a_hint_and_the_worker_takes_what_is_first_in_line():
    first, second = nightly("n"), write("p")
    assert runner.run_next(str(first.uuid)) == State.SUCCEEDED
    assert list(Effect.objects.values_list("name", flat=True)) == ["p/0"]
    assert runner.run_next(str(second.uuid)) == State.SUCCEEDED
    assert runner.run_next(str(first.uuid)) == "nothing to claim"
    assert list(Effect.objects.order_by("pk").values_list("name", flat=True)) == ["p/0", "n/0"]


def test_a_late_message_for_a_finished_job_finds_other_work_or_none():
    done = write("a")
    runner.run_next(str(done.uuid))
    assert runner.run_next(str(done.uuid)) == "nothing to claim"
    write("b")
    assert runner.run_next(str(done.uuid)) == State.SUCCEEDED
    assert Effect.objects.count() == 2


def test_the_job_of_a_dead_worker_stands_where_it_stood():
    lost, later = write("a"), write("b")
    services.claim(str(lost.uuid))
    expire(lost)
    again = services.claim_next()
    assert (again.pk, again.losses) == (lost.pk, 1)
    assert services.claim_next().pk == later.pk


def test_what_waits_for_a_lock_is_passed_over_and_goes_before_younger_ones_when_it_is_free():
    holder = write("a", locks=[PROD])
    mine = services.claim(str(holder.uuid))
    nightly_first, person = nightly("b", locks=[PROD]), write("c", locks=[PROD])
    other = write("d", locks=[DEV])
    assert services.claim_next().pk == other.pk
    assert services.claim_next() is None
    OrmQ.objects.all().delete()
    services.finish(mine, State.SUCCEEDED)
    assert [message.task["args"][0] for message in OrmQ.objects.all()] == [str(person.uuid)]
    assert services.claim_next().pk == person.pk
    assert services.claim(str(nightly_first.uuid)) is None


def test_many_workers_take_a_job_each():
    jobs = [write(f"{number}", locks=[f"environment:{number % 3}"]) for number in range(9)]
    claims = in_threads(8, lambda _: services.claim_next())
    assert not [claim for claim in claims if isinstance(claim, Exception)]
    taken = {claim.pk for claim in claims if claim is not None}
    assert len(taken) == len([claim for claim in claims if claim is not None])
    assert set(Job.objects.filter(state=State.RUNNING).values_list("pk", flat=True)) == taken
    assert set(JobLock.objects.values_list("job_id", flat=True)) == taken
    while services.claim_next() is not None:
        pass
    assert taken <= {job.pk for job in jobs}
    assert Job.objects.filter(state=State.RUNNING).count() == 3  # one for each resource, not more


# --- The lane of background jobs


@pytest.mark.parametrize(("number", "most"), [(1, 1), (2, 1), (3, 2), (4, 3), (8, 6), (12, 9)])
def test_how_many_workers_background_jobs_may_take(number, most):
    assert lanes.most(number) == most


def test_background_jobs_never_take_the_last_worker():
    workers(2, 1)
    night = [nightly(f"n{number}") for number in range(4)]
    taken = [services.claim_next() for _ in range(3)]
    assert [job and job.pk for job in taken] == [night[0].pk, night[1].pk, None]
    person = write("p")
    assert services.claim_next().pk == person.pk

    OrmQ.objects.all().delete()
    services.finish(taken[0], State.SUCCEEDED)
    assert [message.task["args"][0] for message in OrmQ.objects.all()] == [str(night[2].uuid)]
    assert services.claim_next().pk == night[2].pk
    assert services.claim_next() is None


def test_the_room_of_a_worker_that_died_is_free_again():
    workers(2)
    first = nightly("a")
    nightly("b")
    services.claim(str(first.uuid))
    assert services.claim_next() is None
    expire(first)
    assert services.claim_next().pk == first.pk
    assert services.claim_next() is None


def test_background_jobs_that_wait_for_room_are_neither_sent_again_nor_called_stuck():
    workers(2)
    services.claim(str(nightly("a").uuid))
    waiting = nightly("b")
    forget_message(waiting)
    Job.objects.filter(pk=waiting.pk).update(ready_at=F("ready_at") - timedelta(hours=1))
    assert services.sweep() == services.Swept(0, 0, 0)
    assert (services.oldest_wait_seconds(), services.stalled_seconds()) == (0, 0)


def test_many_workers_at_once_do_not_overfill_the_lane():
    workers(4)
    for number in range(8):
        nightly(f"{number}")
    claims = in_threads(8, lambda _: services.claim_next())
    assert not [claim for claim in claims if isinstance(claim, Exception)]
    while services.claim_next() is not None:
        pass
    assert Job.objects.filter(state=State.RUNNING).count() == 3


# --- Lost messages


def test_a_persons_message_is_sent_again_within_seconds_others_within_the_grace_time(settings):
    person, program = write("a"), write("b", Priority.NORMAL)
    assert (person.resend_at - person.ready_at).total_seconds() <= 5
    assert (program.resend_at - program.ready_at).total_seconds() == settings.JOB_GRACE_SECONDS


def test_no_message_is_sent_while_enough_are_on_their_way_and_the_first_in_line_gets_the_next():
    jobs = [nightly("n"), write("a"), write("b")]
    for job in jobs:
        Job.objects.filter(pk=job.pk).update(resend_at=services.db_now() - timedelta(seconds=1))
    assert services.resend() == 0
    for job in jobs:
        forget_message(job)
    assert services.resend() == 3
    sent = [message.task["args"][0] for message in OrmQ.objects.order_by("pk")]
    assert sent == [str(jobs[1].uuid), str(jobs[2].uuid), str(jobs[0].uuid)]
    assert services.resend() == 0


def test_a_message_that_a_cluster_hides_in_its_memory_does_not_count():
    job = write("a")
    OrmQ.objects.update(lock=services.db_now() + timedelta(hours=6))
    Job.objects.filter(pk=job.pk).update(resend_at=services.db_now() - timedelta(seconds=1))
    assert services.resend() == 1


def test_looking_for_lost_messages_is_cheap_when_there_are_none(django_assert_max_num_queries):
    write("a")
    with django_assert_max_num_queries(4):
        assert services.resend() == 0


# --- Moving


def test_the_queue_stalls_when_a_worker_is_free_and_nothing_begins():
    waiting = write("a")
    assert services.stalled_seconds() < 5
    long_ago = services.db_now() - timedelta(hours=1)
    Job.objects.filter(pk=waiting.pk).update(ready_at=long_ago)
    assert services.stalled_seconds() > 3000  # nobody is there
    workers(1)
    assert services.stalled_seconds() > 3000  # somebody is there, and does nothing
    busy = write("b")
    Job.objects.filter(pk=waiting.pk).update(line_at=F("line_at") + timedelta(hours=1))
    mine = services.claim_next()
    assert (mine.pk, services.stalled_seconds()) == (busy.pk, 0)  # all workers are busy
    services.finish(mine, State.SUCCEEDED)
    assert services.stalled_seconds() < 60  # something ended just now


# --- The broker


def test_a_cluster_without_a_free_worker_leaves_messages_to_others(monkeypatch):
    monkeypatch.setattr("sstools.jobs.broker.sleep", lambda seconds: None)
    monkeypatch.setattr("sstools.jobs.broker.Conf.WORKERS", 1)
    broker = Broker(django_settings.Q_CLUSTER["name"])
    assert broker.dequeue() is None
    write("a")
    mine = services.claim_next()
    write("b")
    Job.objects.filter(pk=mine.pk).update(started_at=F("started_at") - timedelta(seconds=10))
    assert broker.dequeue() is None
    assert broker.queue_size() == 2
    expire(mine)  # its worker is dead
    assert len(broker.dequeue()) == 1
    assert broker.queue_size() == 1


def test_workers_of_another_cluster_do_not_count(monkeypatch):
    monkeypatch.setattr("sstools.jobs.broker.Conf.WORKERS", 1)
    write("a")
    mine = services.claim_next()
    host, pid, _, rest = mine.owner.split(":")
    Job.objects.filter(pk=mine.pk).update(
        owner=f"{host}:{pid}:1:{rest}", started_at=F("started_at") - timedelta(seconds=10)
    )
    assert len(Broker(django_settings.Q_CLUSTER["name"]).dequeue()) == 1


def test_an_end_and_a_claim_of_what_it_frees_do_not_wait_for_each_other():
    """The claim has the row and waits for the lock, the end has the lock and would like to write the row."""
    for round in range(4):
        holder = write(f"a{round}", locks=[PROD])
        mine = services.claim(str(holder.uuid))
        waiting = write(f"b{round}", locks=[PROD])
        results = in_threads(
            2,
            lambda index, mine=mine, waiting=waiting: (
                services.finish(mine, State.SUCCEEDED) if index == 0 else services.claim(str(waiting.uuid))
            ),
        )
        assert results[0] is True, results
        assert not isinstance(results[1], Exception), results
        taken = results[1] or services.claim_next()
        assert taken.pk == waiting.pk
        services.finish(taken, State.SUCCEEDED)
