"""What a run does when things go wrong around it: crashes, other people, lost answers. Over two small Supersets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.urls import reverse
from django.utils import timezone

from environments import reading as reading_module
from environments.store import get_documents
from migrations_app import leftovers, mappings, services
from migrations_app.applying import reading
from migrations_app.models import Migration, MigrationState, Run, RunState, StepState, Verdict
from sstools.errors import Invalid, NotAllowed
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, JobLock, State
from sstools.jobs.runner import JobContext, run_job
from sstools.jobs.services import LeaseLost
from sstools.resources import resource_name
from tests.factories import uuid_for
from tests.fakes.pair import FakePair, column, fake_pair
from tests.live.product import Product, actions

pytestmark = pytest.mark.django_db(transaction=True)

IMPORT = "/api/v1/assets/import/"


@pytest.fixture
def pair() -> Iterator[FakePair]:
    with fake_pair() as made:
        yield made


@pytest.fixture
def product(transactional_db: None) -> Product:
    return Product()


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nothing waits for long: what would have been waited, in seconds."""
    waited: list[float] = []

    def wait(ctx: JobContext, seconds: float, *, cancellable: bool = True) -> None:
        ctx.checkpoint(cancellable=cancellable)
        waited.append(seconds)

    monkeypatch.setattr(JobContext, "wait", wait)
    return waited


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every estate counts as too large to be exported whole."""
    monkeypatch.setattr(reading, "SMALL_ESTATE", 0)
    monkeypatch.setattr(reading_module, "SMALL_ESTATE", 0)


def planned(product: Product, pair: FakePair, **fields: Any) -> Migration:
    return product.migrate(pair.source, pair.target, [uuid_for("Sales")], **fields)


def change(superset: Any, title: str, text: str = "changed") -> None:
    """As somebody at work in Superset does."""
    record = superset.record("chart", uuid_for(title))
    record["data"]["description"] = text
    record["changed_on"] = timezone.now()


def refresh_columns(superset: Any) -> None:
    """A dataset's columns read anew from its table: `changed_on` stays as it is."""
    superset.record("dataset", uuid_for("orders"))["data"]["columns"].append(column("extra", "INTEGER"))


def queue_apply(product: Product, migration: Migration) -> Job:
    migration.refresh_from_db()
    assert migration.plan is not None
    return services.request_apply(migration, plan_hash=migration.plan.hash, actor=product.admin)


def dies(request: httpx.Request) -> httpx.Response | None:
    """The worker is gone before the request leaves it."""
    raise LeaseLost


def resumed(job: Job) -> Job:
    """Another worker takes over after the lease of the first has run out."""
    Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    run_job(str(job.uuid))
    job.refresh_from_db()
    return job


# --- Targets too large to be exported whole -----------------------------------------------------------------


def test_new_assets_on_a_large_target_are_found_again_after_the_write(
    product: Product, pair: FakePair, large: None
) -> None:
    run = product.apply(planned(product, pair))
    assert (run.state, run.error) == (RunState.APPLIED, None)
    assert len(run.written) == 4


def test_on_a_large_target_an_asset_that_came_after_the_plan_makes_it_stale(
    product: Product, pair: FakePair, large: None
) -> None:
    migration = planned(product, pair)
    pair.prod.add_dashboard("Theirs", charts=[], uuid=uuid_for("Sales"))
    run = product.apply(migration, "failed")
    assert (run.state, run.error["code"]) == (RunState.STOPPED, "stale_plan")
    assert not pair.prod.writes


@pytest.mark.parametrize("taken", ["slug", "table"])
def test_on_a_large_target_a_name_that_was_taken_after_the_plan_makes_it_stale(
    product: Product, pair: FakePair, large: None, taken: str
) -> None:
    migration = planned(product, pair)
    if taken == "slug":
        pair.prod.add_dashboard("Theirs", charts=[], slug="sales")
    else:
        pair.prod.add_dataset("orders", database=uuid_for("Warehouse PROD"), schema="main")
    run = product.apply(migration, "failed")
    assert (run.state, run.error["code"]) == (RunState.STOPPED, "stale_plan")
    assert not pair.prod.writes


def test_a_run_on_large_environments_is_verified_again(product: Product, pair: FakePair, large: None) -> None:
    run = product.apply(planned(product, pair))
    product.refresh(pair.target)
    product.do(services.request_verification(run, actor=product.admin))
    assert {verdict.status for verdict in Verdict.objects.filter(run=run)} == {"ok"}


# --- Between plan and apply ---------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["source", "target"])
def test_after_a_stale_plan_the_next_one_sees_what_no_list_tells(
    product: Product, pair: FakePair, side: str
) -> None:
    product.apply(planned(product, pair))
    migration = planned(product, pair)
    change(pair.dev, "Revenue")
    product.plan(migration)
    refresh_columns(pair.dev if side == "source" else pair.prod)
    assert product.apply(migration, "failed").error["code"] == "stale_plan"
    plan = product.plan(migration)
    assert "orders" in actions(plan)
    if plan.blocked_count:  # an edit on the target is for somebody to decide
        product.answer(migration, {uuid_for("orders"): "keep"})
    assert product.apply(migration).state == RunState.APPLIED


def test_a_connection_that_is_gone_or_another_makes_the_plan_stale(product: Product, pair: FakePair) -> None:
    migration = planned(product, pair)
    connection = pair.prod.record("database", uuid_for("Warehouse PROD"))
    connection["data"]["sqlalchemy_uri"] = "sqlite:///other.db"
    run = product.apply(migration, "failed")
    assert run.error["code"] == "stale_plan"
    assert "Warehouse PROD" in run.error["message"]

    product.plan(migration)
    del pair.prod.assets["database"][connection["id"]]
    assert product.apply(migration, "failed").error["code"] == "stale_plan"
    assert not pair.prod.writes
    assert product.plan(migration).blocked_count


# --- A worker is lost ---------------------------------------------------------------------------------------


def test_a_run_goes_on_after_its_worker_was_lost_and_says_which_step_was_interrupted(
    product: Product, pair: FakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queue_apply(product, planned(product, pair))
    pair.prod.misbehave("POST", IMPORT, dies)
    run_job(str(job.uuid))
    assert resumed(job).state == State.SUCCEEDED
    run = Run.objects.get()
    assert run.state == RunState.APPLIED
    assert len(run.created) == 4
    states = list(run.steps.values_list("name", "state"))
    assert states.count(("write", StepState.FAILED)) == 1
    assert StepState.RUNNING not in [state for _, state in states]


def test_an_import_that_a_lost_worker_sent_is_not_sent_again(
    product: Product, pair: FakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Superset goes on with it while the next worker begins: it is seen on the second look."""
    job = queue_apply(product, planned(product, pair))
    late: list[httpx.Request] = []

    def sent_and_died(request: httpx.Request) -> httpx.Response | None:
        late.append(request)
        raise LeaseLost

    def waits(self: Any, seconds: float, **kwargs: Any) -> None:
        if late:
            pair.prod._answer(late.pop())

    pair.prod.misbehave("POST", IMPORT, sent_and_died)
    monkeypatch.setattr("sstools.jobs.runner.JobContext.wait", waits)
    run_job(str(job.uuid))
    before = len([request for request in pair.prod.writes if IMPORT in request.url.path])
    assert resumed(job).state == State.SUCCEEDED
    after = len([request for request in pair.prod.writes if IMPORT in request.url.path])
    assert (before, after) == (1, 2)  # the first bundle once, and the dashboard's


def test_a_connection_that_changed_before_the_worker_was_lost_is_noticed_after(
    product: Product, pair: FakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queue_apply(product, planned(product, pair))

    def overwrites_and_dies(request: httpx.Request) -> httpx.Response | None:
        pair.prod.record("database", uuid_for("Warehouse PROD"))["data"]["sqlalchemy_uri"] = (
            "sqlite:///dev.db"
        )
        raise LeaseLost

    pair.prod.misbehave("POST", IMPORT, overwrites_and_dies)
    run_job(str(job.uuid))
    assert resumed(job).state == State.FAILED
    assert "the connection “Warehouse PROD” of the target" in (job.error or {})["message"]
    assert Run.objects.get().state == RunState.STOPPED  # the import itself came to nothing


@pytest.mark.parametrize("where", ["planning", "removing"])
def test_a_roll_back_whose_worker_was_lost_is_brought_to_its_end(
    product: Product, pair: FakePair, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    job = queue_apply(product, planned(product, pair))
    refused = httpx.Response(422, json={"message": {"dashboards/x.yaml": "no"}})

    def second_import(request: httpx.Request) -> httpx.Response | None:
        pair.prod.misbehave("POST", IMPORT, refused)
        if where == "planning":
            pair.prod.misbehave("GET", "/api/v1/dashboard/", dies)
        else:
            pair.prod.misbehave("DELETE", "/api/v1/", dies)
        return None

    pair.prod.misbehave("POST", IMPORT, second_import)
    run_job(str(job.uuid))
    imports = len([request for request in pair.prod.writes if IMPORT in request.url.path])
    assert resumed(job).state == State.FAILED
    assert [request for request in pair.prod.writes if IMPORT in request.url.path][imports:] == []
    run = Run.objects.order_by("number").first()
    assert run is not None
    assert run.state == RunState.ROLLED_BACK, run.error
    assert not any(pair.prod.assets[kind] for kind in ("dashboard", "chart", "dataset"))
    assert not Run.objects.unfinished().exists()
    assert not Migration.objects.filter(state=MigrationState.APPLYING).exists()


# --- Somebody cancels ---------------------------------------------------------------------------------------


def test_a_cancel_after_the_first_write_does_not_stop_the_undoing(product: Product, pair: FakePair) -> None:
    job = queue_apply(product, planned(product, pair))

    def cancelled_and_refused(request: httpx.Request) -> httpx.Response | None:
        Job.objects.filter(pk=job.pk).update(cancel_requested=True, cancel_choice="finish")
        pair.prod.misbehave("POST", IMPORT, httpx.Response(422, json={"message": "no"}))
        return None

    pair.prod.misbehave("POST", IMPORT, cancelled_and_refused)
    product.do(job, "failed")
    run = Run.objects.order_by("number").first()
    assert run is not None
    assert run.state == RunState.ROLLED_BACK, run.error
    assert not any(pair.prod.assets[kind] for kind in ("dashboard", "chart", "dataset"))


# --- While a plan is being made -----------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["answer", "selection", "mapping"])
def test_what_is_changed_while_a_plan_is_being_made_is_in_the_plan(
    product: Product, pair: FakePair, what: str
) -> None:
    """Whoever changes it asks for a plan and joins the job that is at work with what was asked for before."""
    migration = planned(product, pair)
    pair.dev.record("dataset", uuid_for("orders"))["data"]["sql"] = "SELECT * FROM dev.orders"
    job = services.request_plan(migration, actor=product.admin)

    def meanwhile(request: httpx.Request) -> None:
        if what == "answer":
            services.answer_conflicts(migration, {uuid_for("Regions"): "leave_out"}, actor=product.admin)
        elif what == "selection":
            services.update_migration(migration, selection=[uuid_for("Revenue")], actor=product.admin)
        else:
            rows = [{"find": "dev", "replace": "prod"}]
            services.save_mapping(pair.source, pair.target, substitutions=rows, actor=product.admin)
        assert services.request_plan(migration, actor=product.admin) == job

    pair.prod.misbehave("GET", "/api/v1/database/", meanwhile)
    product.do(job)
    migration.refresh_from_db()
    assert migration.plan is not None
    items = {item.title: item for item in migration.plan.items.select_related("wanted")}
    if what == "answer":
        assert items["Regions"].action == "leave_out"
    elif what == "selection":
        assert set(items) == {"Revenue", "orders"}
    else:
        found = get_documents([items["orders"].wanted_id or ""])
        assert [document.body["sql"] for document in found.values()] == ["SELECT * FROM prod.orders"]


def test_a_pattern_that_never_ends_ends_the_plan_and_not_the_worker(
    product: Product, pair: FakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mappings, "PATTERN_SECONDS", 0.3)
    migration = planned(product, pair)
    pair.dev.record("dataset", uuid_for("orders"))["data"]["sql"] = "SELECT '" + "a" * 60 + "!'"
    pair.dev.record("dataset", uuid_for("orders"))["changed_on"] = timezone.now()
    rows = [{"find": "(a+)+$", "replace": "b", "is_pattern": True}]
    services.save_mapping(pair.source, pair.target, substitutions=rows, actor=product.admin)
    job = product.do(services.request_plan(migration, actor=product.admin), "failed")
    assert (job.error or {})["code"] == "pattern_too_slow"
    assert "(a+)+$" in (job.error or {})["message"]


@pytest.mark.parametrize(
    "row",
    [
        {"find": "a" * 1001, "replace": ""},
        {"find": "(" * 499 + ")" * 499, "replace": "", "is_pattern": True},
        {"find": "a\0b", "replace": ""},
        {"find": "(a)", "replace": r"\2", "is_pattern": True},
    ],
    ids=["too long", "too deep", "NUL", "no such group"],
)
def test_substitutions_that_cannot_work_are_refused(
    product: Product, pair: FakePair, row: dict[str, Any]
) -> None:
    with pytest.raises(Invalid) as refused:
        services.save_mapping(pair.source, pair.target, substitutions=[row], actor=product.admin)
    assert refused.value.errors.keys() == {"substitutions.0"}


# --- People who may not look at the source ------------------------------------------------------------------


def test_a_source_that_one_may_not_see_is_neither_shown_nor_read(
    product: Product, pair: FakePair, make_user: Any, signed_in: Any
) -> None:
    """A release lead of the target alone sees what is planned for it, and applies it; what else there is on the
    source stays unknown to them.
    """
    pair.dev.add_dashboard("Salaries", charts=[], uuid=uuid_for("Salaries"))
    product.refresh(pair.source)
    migration = planned(product, pair)
    lead = make_user("lead", "release_lead", on=resource_name(pair.target))
    client = signed_in(lead)
    add = reverse("migrations_app:add", args=[migration.number])
    answer = client.get(add + "?q=salaries")
    assert answer.status_code == 403
    assert b"Salaries" not in answer.content
    selection = [uuid_for("Salaries")]
    with pytest.raises(NotAllowed):
        services.update_migration(migration, selection=selection, actor=lead)
    with pytest.raises(NotAllowed):
        services.request_plan(migration, actor=lead)
    with pytest.raises(NotAllowed):
        services.save_mapping(pair.source, pair.target, substitutions=[], actor=lead)
    assert migration.plan is not None
    job = services.request_apply(migration, plan_hash=migration.plan.hash, actor=lead)
    assert product.do(job).actor == lead


# --- Somebody works on the target while a run is being verified ---------------------------------------------


@pytest.mark.parametrize("run_before", [True, False], ids=["updated", "created"])
def test_undoing_leaves_an_edit_that_came_after_the_write_and_names_it(
    product: Product, pair: FakePair, run_before: bool
) -> None:
    if run_before:
        product.apply(planned(product, pair))
        change(pair.dev, "Revenue")
        change(pair.dev, "Regions")
    migration = planned(product, pair, roll_back_when_red=True)

    def edited_and_failing(payload: Any) -> str:
        change(pair.prod, "Revenue", "an hour of work")
        return "no such column"

    pair.prod.answers[uuid_for("orders")] = edited_and_failing
    product.do(queue_apply(product, migration), "failed")
    run = migration.runs.get()
    assert run.state == RunState.NEEDS_ATTENTION
    assert "“Revenue”" in run.error["message"]
    assert "“Regions”" not in run.error["message"]
    assert pair.prod.record("chart", uuid_for("Revenue"))["data"]["description"] == "an hour of work"
    if run_before:  # the rest is as before
        assert not pair.prod.record("chart", uuid_for("Regions"))["data"].get("description")
    else:  # it stands on the dataset, which stays as well
        assert {record["data"]["slice_name"] for record in pair.prod.assets["chart"].values()} == {"Revenue"}
        assert len(pair.prod.assets["dataset"]) == 1
        assert not pair.prod.assets["dashboard"]


def test_a_roll_back_that_loses_every_worker_leaves_nothing_under_way(
    product: Product, pair: FakePair, settings: Any
) -> None:
    settings.JOB_MAX_ATTEMPTS = 1
    job = queue_apply(product, planned(product, pair))

    def first_import(request: httpx.Request) -> None:
        pair.prod.misbehave("POST", IMPORT, httpx.Response(422, json={"message": "no"}))
        pair.prod.misbehave("DELETE", "/api/v1/", dies)

    pair.prod.misbehave("POST", IMPORT, first_import)
    run_job(str(job.uuid))
    assert Run.objects.unfinished().count() == 2
    Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    jobs.sweep()
    assert not Run.objects.unfinished().exists()
    assert not Migration.objects.filter(state=MigrationState.APPLYING).exists()
    run = Run.objects.order_by("number").first()
    assert run is not None
    assert run.state == RunState.NEEDS_ATTENTION
    assert "Undoing it did not come to its end" in run.error["message"]
    assert run.looked_at is None
    look = Job.objects.get(kind=leftovers.LOOK)
    held = set(look.held_locks.values_list("resource", flat=True))
    assert (
        held == set(job.lock_names()) == set(look.lock_names())
    )  # nobody writes before it is known what is there
    product.do(look)
    run.refresh_from_db()
    assert run.state == RunState.NEEDS_ATTENTION
    charts = {uuid_for("Revenue"), uuid_for("Regions"), uuid_for("orders")}
    assert (set(run.written), set(run.unwritten)) == (charts, {uuid_for("Sales")})
    assert set(run.created) == charts
    assert not JobLock.objects.exists()


# --- Half a request -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("later", [False, True], ids=["first", "second"])
@pytest.mark.parametrize("times", [1, 4])
def test_a_line_that_breaks_while_an_import_is_sent_costs_no_waiting(
    product: Product, pair: FakePair, waits: list[float], times: int, later: bool
) -> None:
    """What left in part is nothing to Superset: it is sent again at once, three times, and nobody waits until it must
    have ended. A target that goes on so before the first write ends the run, after it it is waited for.
    """
    job = queue_apply(product, planned(product, pair))
    if later:
        pair.prod.misbehave("POST", IMPORT, lambda _: pair.prod.misbehave("POST", IMPORT, "cut", times=times))
    else:
        pair.prod.misbehave("POST", IMPORT, "cut", times=times)
    run_job(str(job.uuid))
    job.refresh_from_db()
    run = Run.objects.get()
    if times == 4 and not later:
        assert run.state == RunState.STOPPED
        assert "only a part" in (run.error or {})["message"]
    else:
        assert (job.state, run.state) == (State.SUCCEEDED, RunState.APPLIED)
        sent = [request for request in pair.prod.writes if IMPORT in request.url.path]
        assert len(sent) == 2 + times
    assert sum(waits) <= 1
