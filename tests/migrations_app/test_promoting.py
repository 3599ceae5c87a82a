"""Plan and apply in one request: what is open is asked, nothing is held meanwhile, and the answer lets it go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command

from migrations_app import promoting, promotions, services
from migrations_app.errors import NotReady, WrongConfirmation
from migrations_app.models import Migration, MigrationState, Run, RunState
from sstools.errors import Invalid, NotAllowed
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, JobLock, State
from sstools.roles.models import Grant
from tests.factories import uuid_for
from tests.fakes.pair import FakePair, fake_pair

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
MAPPING = {uuid_for("Warehouse DEV"): uuid_for("Warehouse PROD")}


@pytest.fixture
def pair(release_lead: Any) -> Iterator[FakePair]:
    with fake_pair(protected=True) as made:
        made.read()
        yield made


def migration_of(pair: FakePair, actor: Any) -> Migration:
    return services.create_migration(pair.source, pair.target, selection=[uuid_for("Sales")], actor=actor)


def save_mapping(pair: FakePair, actor: Any) -> None:
    services.save_mapping(pair.source, pair.target, actor=actor, databases=MAPPING)


@pytest.fixture
def waiting(pair: FakePair, release_lead: Any, run_jobs: Callable[[], int]) -> Job:
    """A job that was asked for and rests for want of a mapping."""
    migration = migration_of(pair, release_lead)
    job = promoting.request_promotion(migration, actor=release_lead, confirmation="prod")
    run_jobs()
    job.refresh_from_db()
    return job


def test_with_nothing_open_it_is_applied_at_once(pair: FakePair, release_lead: Any, run_jobs: Any) -> None:
    save_mapping(pair, release_lead)
    migration = migration_of(pair, release_lead)
    job = promoting.request_promotion(migration, actor=release_lead, confirmation="prod")
    run_jobs()
    job.refresh_from_db()
    migration.refresh_from_db()
    run = Run.objects.get()
    assert job.state == State.SUCCEEDED
    assert (job.result or {})["run"] == run.number
    assert run.state == RunState.APPLIED
    assert migration.state == MigrationState.DONE
    assert pair.prod.writes != []


def test_what_lacks_a_mapping_waits_without_worker_or_lock_and_names_what_is_missing(
    pair: FakePair, waiting: Job
) -> None:
    assert waiting.state == State.NEEDS_INPUT
    assert (waiting.owner, waiting.lease_until) == ("", None)
    assert not JobLock.objects.exists()
    assert not Run.objects.exists()
    question = waiting.question or {}
    assert question["code"] == "unmapped"
    assert question["url"] == f"/migrations/{Migration.objects.get().number}/map/"
    (missing,) = question["missing"]["databases"]
    assert missing["uuid"] == uuid_for("Warehouse DEV")
    assert [choice["uuid"] for choice in missing["suggestions"]] == [uuid_for("Warehouse PROD")]
    assert pair.prod.writes == []


def test_saving_the_mapping_wakes_it_and_it_applies(
    pair: FakePair, waiting: Job, release_lead: Any, run_jobs: Any
) -> None:
    save_mapping(pair, release_lead)
    waiting.refresh_from_db()
    assert waiting.state == State.QUEUED
    run_jobs()
    waiting.refresh_from_db()
    assert waiting.state == State.SUCCEEDED
    assert Run.objects.get().state == RunState.APPLIED


def test_the_mapping_may_be_given_to_the_job_itself_by_name(
    pair: FakePair, waiting: Job, release_lead: Any, api: Any, run_jobs: Any
) -> None:
    client = api(release_lead)
    address = f"/api/v1/jobs/{waiting.uuid}/answer/"
    refused = client.post(address, {"databases": {"Warehouse DEV": "No such"}}, format="json")
    assert refused.status_code == 422
    assert "No such" in refused.json()["detail"]
    waiting.refresh_from_db()
    assert waiting.state == State.NEEDS_INPUT  # a wrong answer is none
    given = client.post(address, {"databases": {"Warehouse DEV": "Warehouse PROD"}}, format="json")
    assert given.status_code == 202
    run_jobs()
    waiting.refresh_from_db()
    assert waiting.state == State.SUCCEEDED
    assert Run.objects.get().state == RunState.APPLIED
    assert client.post(address, {"databases": {}}, format="json").status_code == 409


@pytest.mark.parametrize("value", ["yes", ["x"], {"password": "x"}, {"databases": "all"}, {"answers": 1}])
def test_an_answer_of_another_shape_is_refused(waiting: Job, release_lead: Any, value: Any) -> None:
    with pytest.raises(Invalid):
        jobs.answer(waiting, value, actor=release_lead)
    waiting.refresh_from_db()
    assert waiting.state == State.NEEDS_INPUT


def test_an_answer_in_the_moment_in_which_it_lay_down_is_found_later(
    pair: FakePair, waiting: Job, release_lead: Any, run_jobs: Any
) -> None:
    save_mapping(pair, release_lead)
    Job.objects.filter(pk=waiting.pk).update(state=State.NEEDS_INPUT)  # as if nobody had told it
    assert promoting.wake_the_answered() == 1
    run_jobs()
    waiting.refresh_from_db()
    assert waiting.state == State.SUCCEEDED


def test_what_is_still_open_lets_it_sleep(waiting: Job) -> None:
    assert promoting.wake_the_answered() == 0
    waiting.refresh_from_db()
    assert waiting.state == State.NEEDS_INPUT


def test_looking_again_without_an_answer_asks_again(waiting: Job, release_lead: Any, run_jobs: Any) -> None:
    jobs.answer(waiting, {}, actor=release_lead)
    run_jobs()
    waiting.refresh_from_db()
    assert waiting.state == State.NEEDS_INPUT
    assert waiting.attempt == 2


def test_asking_for_a_plan_meanwhile_joins_it(pair: FakePair, waiting: Job, release_lead: Any) -> None:
    migration = Migration.objects.get()
    assert services.request_plan(migration, actor=release_lead).pk == waiting.pk
    assert promotions.unfinished(migration) is not None
    assert promoting.request_promotion(migration, actor=release_lead, confirmation="prod").pk == waiting.pk


def test_the_name_of_a_protected_target_is_asked_for_with_the_request(
    pair: FakePair, release_lead: Any
) -> None:
    migration = migration_of(pair, release_lead)
    with pytest.raises(WrongConfirmation):
        promoting.request_promotion(migration, actor=release_lead, confirmation="dev")
    assert not Job.objects.filter(kind=promotions.PROMOTE).exists()


def test_it_needs_the_right_to_apply_when_it_is_asked_for(pair: FakePair, author: Any) -> None:
    migration = migration_of(pair, author)
    with pytest.raises(NotAllowed):
        promoting.request_promotion(migration, actor=author, confirmation="prod")


def test_it_needs_the_right_to_apply_when_it_applies(
    pair: FakePair, waiting: Job, release_lead: Any, author: Any, run_jobs: Any
) -> None:
    Grant.objects.filter(user=release_lead).delete()
    save_mapping(pair, author)  # whoever may plan may map
    run_jobs()
    waiting.refresh_from_db()
    assert waiting.state == State.FAILED
    assert (waiting.error or {})["code"] == "not_allowed"
    assert not Run.objects.exists()
    assert pair.prod.writes == []


def test_a_conflict_is_asked_about_and_its_answer_lets_it_go_on(
    pair: FakePair, release_lead: Any, run_jobs: Any
) -> None:
    save_mapping(pair, release_lead)
    pair.prod.add_dashboard("Other sales", slug="sales", uuid=uuid_for("Other sales"), charts=[])
    pair.read()
    migration = migration_of(pair, release_lead)
    job = promoting.request_promotion(migration, actor=release_lead, confirmation="prod")
    run_jobs()
    job.refresh_from_db()
    question = job.question or {}
    assert (job.state, question["code"]) == (State.NEEDS_INPUT, "conflicts")
    assert [entry["uuid"] for entry in question["missing"]["conflicts"]] == [uuid_for("Sales")]
    assert "rename" in question["missing"]["conflicts"][0]["options"]
    services.answer_conflicts(
        migration, {uuid_for("Sales"): {"answer": "rename", "value": "sales-2"}}, actor=release_lead
    )
    run_jobs()
    job.refresh_from_db()
    assert job.state == State.SUCCEEDED
    assert Run.objects.get().state == RunState.APPLIED


def test_failed_checks_are_asked_about_until_they_are_overridden(
    pair: FakePair, release_lead: Any, run_jobs: Any
) -> None:
    save_mapping(pair, release_lead)
    pair.prod.tables[uuid_for("Warehouse PROD")] = {}
    migration = migration_of(pair, release_lead)
    job = promoting.request_promotion(migration, actor=release_lead, confirmation="prod")
    run_jobs()
    job.refresh_from_db()
    question = job.question or {}
    assert question["code"] == "checks_failed"
    assert question["missing"]["checks"][0]["text"]
    jobs.answer(job, {"override_reason": "The table comes tonight."}, actor=release_lead)
    run_jobs()
    job.refresh_from_db()
    assert job.state == State.SUCCEEDED
    assert Run.objects.get().plan.migration.override_reason == "The table comes tonight."


def test_with_nothing_to_write_it_is_done(pair: FakePair, release_lead: Any, run_jobs: Any) -> None:
    save_mapping(pair, release_lead)
    for outcome in ("applying", "nothing_to_do"):
        job = promoting.request_promotion(
            migration_of(pair, release_lead), actor=release_lead, confirmation="prod"
        )
        run_jobs()
        job.refresh_from_db()
        assert (job.result or {})["outcome"] == outcome
    assert Run.objects.count() == 1


def test_a_worker_lost_after_handing_over_makes_no_second_run(
    pair: FakePair, release_lead: Any, run_jobs: Any
) -> None:
    save_mapping(pair, release_lead)
    migration = migration_of(pair, release_lead)
    job = promoting.request_promotion(migration, actor=release_lead, confirmation="prod")
    run_jobs()
    Job.objects.filter(pk=job.pk).update(
        state=State.QUEUED, result=None, finished_at=None
    )  # never noted its end
    run_jobs()
    job.refresh_from_db()
    assert job.state == State.SUCCEEDED
    assert (job.result or {})["run"] == Run.objects.get().number


def test_discarded_or_applied_by_somebody_else_it_ends(
    pair: FakePair, waiting: Job, release_lead: Any, run_jobs: Any
) -> None:
    services.discard_migration(Migration.objects.get(), actor=release_lead)
    run_jobs()
    waiting.refresh_from_db()
    assert waiting.state == State.FAILED
    assert "discarded" in (waiting.error or {})["message"]
    with pytest.raises(NotReady):
        promoting.request_promotion(Migration.objects.get(), actor=release_lead, confirmation="prod")


def test_cancelling_while_it_waits_ends_it_and_writes_nothing(waiting: Job, release_lead: Any) -> None:
    jobs.request_cancel(waiting, actor=release_lead)
    waiting.refresh_from_db()
    assert waiting.state == State.CANCELLED
    assert Migration.objects.get().state == MigrationState.PLANNED


def test_by_api_a_request_that_is_repeated_gets_the_same_job(
    pair: FakePair, release_lead: Any, api: Any, run_jobs: Any
) -> None:
    migration = migration_of(pair, release_lead)
    client = api(release_lead)
    address = f"/api/v1/migrations/{migration.uuid}/promote/"
    refused = client.post(address, {}, format="json")
    assert (refused.status_code, refused.json()["code"]) == (422, "wrong_confirmation")
    answers = [
        client.post(address, {"confirmation": "prod"}, format="json", HTTP_IDEMPOTENCY_KEY="k")
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert len({answer.json()["uuid"] for answer in answers}) == 1
    run_jobs()
    shown = client.get(answers[0].json()["url"]).json()
    assert shown["state"] == "needs_input"
    assert shown["question"]["missing"]["databases"][0]["name"] == "Warehouse DEV"


def test_the_pages_say_that_a_job_waits_and_saving_the_mapping_there_wakes_it(
    pair: FakePair, waiting: Job, release_lead: Any, signed_in: Any, run_jobs: Any
) -> None:
    client = signed_in(release_lead)
    number = Migration.objects.get().number
    job_page = client.get(f"/jobs/{waiting.uuid}/").content.decode()
    assert f'href="/migrations/{number}/map/"' in job_page
    assert "It holds no worker and no lock while it waits" in job_page
    assert "Waits for you" in client.get("/").content.decode()
    map_page = client.get(f"/migrations/{number}/map/").content.decode()
    assert "A job waits for this" in map_page
    response = client.post(
        f"/migrations/{number}/map/",
        {f"target:{uuid_for('Warehouse DEV')}": uuid_for("Warehouse PROD"), "do": "save"},
    )
    assert response.status_code == 302
    waiting.refresh_from_db()
    assert waiting.state == State.QUEUED
    run_jobs()
    assert Run.objects.get().state == RunState.APPLIED
    number = Run.objects.get().number
    assert f"run {number} applies the plan" in client.get(f"/jobs/{waiting.uuid}/").content.decode()


def test_it_is_asked_for_from_a_page_with_the_name_typed(
    pair: FakePair, release_lead: Any, author: Any, signed_in: Any
) -> None:
    migration = migration_of(pair, release_lead)
    address = f"/migrations/{migration.number}/promote/"
    assert "Type <b>prod</b>" in signed_in(release_lead).get(address).content.decode()
    refused = signed_in(release_lead).post(address, {"confirmation": "dev"})
    assert refused.status_code == 422
    assert "somebody else has to apply it" in signed_in(author).get(address).content.decode()
    assert signed_in(author).post(address, {"confirmation": "prod"}).status_code == 403
    made = signed_in(release_lead).post(address, {"confirmation": "prod"})
    job = Job.objects.get(kind=promotions.PROMOTE)
    assert made.headers["Location"] == f"/jobs/{job.uuid}/"


def test_the_command_names_what_is_open_and_goes_on_when_it_is_there(
    pair: FakePair, release_lead: Any, capsys: Any
) -> None:
    migration = migration_of(pair, release_lead)

    def promote(*words: str) -> tuple[int, dict[str, Any]]:
        code = 0
        try:
            call_command("promote", str(migration.number), "--as", "release_lead", "--json", *words)
        except SystemExit as end:
            code = int(end.code or 0)
        return code, json.loads(capsys.readouterr().out)

    code, said = promote()
    assert (code, said["error"]["code"]) == (2, "wrong_confirmation")
    code, said = promote("--confirm", "prod")
    assert (code, said["result"]) == (2, "needs_input")
    assert said["question"]["missing"]["databases"][0]["name"] == "Warehouse DEV"
    save_mapping(pair, release_lead)
    code, said = promote("--confirm", "prod")
    assert (code, said["result"]) == (0, "applied")
    assert said["run"]["state"] == "applied"
    assert promote("--confirm", "prod")[1]["result"] == "nothing_to_do"
