"""The commands for CI: exit codes, JSON, names, mapping and answers, over two small Supersets."""

import io
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command, get_commands, load_command_class
from django.core.management.base import DjangoHelpFormatter
from django.utils import timezone

from migrations_app.management import following
from migrations_app.management.commands import plan as plan_command
from migrations_app.models import Migration, Run, RunState
from sstools.audit.models import AuditEvent
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, Source, State
from tests.factories import uuid_for
from tests.fakes.pair import FakePair, fake_pair

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.out)
        return body


Run_ = Callable[..., Ended]


@pytest.fixture
def pair(release_lead: Any) -> Iterator[FakePair]:
    with fake_pair(protected=True) as made:
        yield made


@pytest.fixture
def command(release_lead: Any) -> Run_:
    """manage.py <words>, as release_lead unless --as says otherwise."""

    def run(*words: str) -> Ended:
        out, err = io.StringIO(), io.StringIO()
        code = 0
        actor = () if "--as" in words else ("--as", "release_lead")
        try:
            call_command(words[0], *words[1:], *actor, stdout=out, stderr=err)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        return Ended(code, out.getvalue(), err.getvalue())

    return run


def latest() -> str:
    migration = Migration.objects.first()
    assert migration is not None
    return str(migration.number)


NAMES = ("plan", "apply", "promote", "verify", "rollback")
DJANGOS = DjangoHelpFormatter.show_last | {"--help"}  # options that every command of Django has
OUR_APPS = ("sstools", "environments", "migrations_app")
WAY = ("--from", "env:dev", "--to", "env:prod")
MAP = ("--map", "Warehouse DEV=Warehouse PROD")


@pytest.mark.both_databases
def test_plan_apply_and_a_second_plan_have_their_exit_codes(pair: FakePair, command: Run_) -> None:
    planned = command("plan", *WAY, "--all", *MAP, "--no-verify", "--json")
    assert planned.code == 2
    body = planned.json
    assert (body["result"], body["exit_code"], body["error"]) == ("changes", 2, None)
    assert body["plan"]["counts"]["create"] == 4
    assert "Reading Dev" in planned.err

    number = str(body["migration"]["number"])
    unconfirmed = command("apply", number, "--json")
    assert (unconfirmed.code, unconfirmed.json["result"]) == (2, "blocked")
    assert unconfirmed.json["error"]["code"] == "wrong_confirmation"
    assert pair.prod.writes == []

    applied = command(
        "apply", number, "--plan-hash", body["plan"]["hash"][:12], "--confirm", "prod", "--json"
    )
    assert applied.code == 0, applied.err
    assert (applied.json["result"], applied.json["run"]["state"]) == ("applied", "applied")
    assert len(applied.json["run"]["written"]) == 4
    job = Job.objects.get(kind="migrations_app.apply_plan")
    assert (job.source, job.actor.username, job.state) == (Source.COMMAND, "release_lead", State.SUCCEEDED)  # type: ignore[union-attr]

    writes = len(pair.prod.writes)
    once_more = command("apply", number, "--confirm", "prod")
    assert (once_more.code, "done already" in once_more.out) == (0, True)
    again = command("plan", *WAY, "--all")
    assert (again.code, "Nothing to do" in again.out) == (0, True)
    nothing = command("apply", latest(), "--confirm", "prod", "--json")
    assert (nothing.code, nothing.json["result"]) == (0, "nothing_to_do")
    assert len(pair.prod.writes) == writes


def test_a_run_is_rolled_back_by_one_command(pair: FakePair, command: Run_) -> None:
    command("plan", *WAY, "--dashboard", "sales", *MAP, "--no-verify")
    assert command("apply", latest(), "--confirm", "prod").code == 0
    run = Run.objects.get()
    shown = command("rollback", str(run.number), "--plan-only", "--json")
    assert (shown.code, shown.json["plan"]["counts"]["remove"]) == (2, 4)
    unconfirmed = command("rollback", str(run.number))
    assert unconfirmed.code == 2
    assert pair.prod.assets["dashboard"] != {}
    done = command("rollback", str(run.uuid), "--confirm", "prod", "--json")
    assert done.code == 0, done.err
    assert done.json["run"]["state"] == "applied"
    assert pair.prod.assets["dashboard"] == {}
    again = command("rollback", str(run.number), "--confirm", "prod", "--json")
    assert (again.code, again.json["result"]) == (0, "nothing_to_do")


def test_an_unmapped_database_blocks_until_the_suggestion_is_accepted(pair: FakePair, command: Run_) -> None:
    blocked = command("plan", *WAY, "--dashboard", "Sales")
    assert blocked.code == 2
    assert "database Warehouse DEV is not mapped: perhaps Warehouse PROD" in blocked.out
    assert "Blocked:" in blocked.out
    accepted = command("plan", *WAY, "--dashboard", "SALES", "--accept-suggestions", "--json")
    assert (accepted.code, accepted.json["result"]) == (2, "changes")
    assert accepted.json["plan"]["databases"][0]["target"] == uuid_for("Warehouse PROD")


def test_two_connections_that_fit_alike_are_not_chosen_between(pair: FakePair, command: Run_) -> None:
    twin = pair.prod.add_database("Warehouse TEST", uri="sqlite:///twin.db")
    pair.prod.tables[twin] = pair.prod.tables[uuid_for("Warehouse PROD")]
    ended = command("plan", *WAY, "--all", "--accept-suggestions", "--json")
    assert (ended.code, ended.json["result"]) == (2, "blocked")
    assert "several connections fit alike" in ended.err


def test_a_conflict_is_answered_on_the_command_line(pair: FakePair, command: Run_) -> None:
    command("plan", *WAY, "--all", *MAP, "--no-verify")
    assert command("apply", latest(), "--confirm", "prod").code == 0
    record = pair.prod.record("chart", uuid_for("Revenue"))
    record["data"]["slice_name"], record["changed_on"] = "Edited on prod", timezone.now()
    blocked = command("plan", *WAY, "--chart", "Revenue", "--no-verify")
    assert blocked.code == 2
    assert "answers: keep, take, leave_out" in blocked.out
    wrong = command("plan", *WAY, "--chart", "Revenue", "--answer", f"{uuid_for('Revenue')}=adopt", "--json")
    assert (wrong.code, wrong.json["error"]["code"]) == (1, "wrong_answer")
    taken = command(
        "plan", *WAY, "--chart", "Revenue", "--answer", f"{uuid_for('Revenue')}=take", "--no-verify", "--json"
    )
    assert (taken.code, taken.json["result"], taken.json["plan"]["counts"]["update"]) == (2, "changes", 1)
    assert command("apply", str(taken.json["migration"]["number"]), "--confirm", "prod").code == 0
    assert pair.prod.record("chart", uuid_for("Revenue"))["data"]["slice_name"] == "Revenue"


def test_a_stale_plan_is_pending_and_writes_nothing(pair: FakePair, command: Run_) -> None:
    command("plan", *WAY, "--all", *MAP, "--no-verify")
    pair.dev.record("chart", uuid_for("Revenue"))["data"]["slice_name"] = "Moved"
    ended = command("apply", latest(), "--confirm", "prod", "--json")
    assert (ended.code, ended.json["result"], ended.json["error"]["code"]) == (2, "blocked", "stale_plan")
    assert pair.prod.writes == []
    other = command("apply", latest(), "--confirm", "prod", "--plan-hash", "0" * 12, "--json")
    assert (other.code, other.json["error"]["code"]) == (2, "plan_changed")


def test_failed_checks_block_unless_overridden(pair: FakePair, command: Run_) -> None:
    pair.prod.tables[uuid_for("Warehouse PROD")] = {"main.orders": {"region": "VARCHAR"}}
    planned = command("plan", *WAY, "--all", *MAP, "--no-verify")
    assert (planned.code, "error: " in planned.out) == (2, True)
    assert command("apply", latest(), "--confirm", "prod").code == 2
    assert command("apply", latest(), "--confirm", "prod", "--override", "it comes tonight").code == 0
    assert Migration.objects.get().override_reason == "it comes tonight"


def test_the_source_is_read_first_so_that_all_means_all(pair: FakePair, command: Run_) -> None:
    pair.dev.add_dashboard("New since", charts=[uuid_for("Revenue")])
    old = command("plan", *WAY, "--dashboard", "New since", "--no-read", *MAP, "--json")
    assert (old.code, old.json["error"]["code"]) == (1, "unknown_asset")
    assert command("plan", *WAY, "--dashboard", "New since", *MAP).code == 2


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("plan", "--from", "env:nowhere", "--to", "prod", "--all"), 1, "not_found"),
        (("plan", "--from", "backup:3", "--to", "prod", "--all"), 1, "not_found"),
        (("plan", *WAY, "--all", "--beside"), 1, "invalid"),
        (("plan", *WAY), 1, "invalid"),
        (("plan", *WAY, "--all", "--chart", "Revenue"), 1, "invalid"),
        (("plan", *WAY, "--chart", "No such"), 1, "unknown_asset"),
        (("plan", *WAY, "--all", "--map", "nonsense"), 1, "invalid"),
        (("plan", *WAY, "--all", "--map", "Warehouse DEV=No such"), 1, "wrong_mapping"),
        (("plan", *WAY, "--all", "--no-wait"), 1, "invalid"),
        (("plan", "--from", "dev", "--to", "dev", "--all"), 1, "same_environment"),
        (("plan", *WAY, "--all", "--as", "nobody"), 1, "invalid"),
        (("apply", "77"), 1, "not_found"),
        (("apply", "x"), 1, "not_found"),
        (("verify", "77"), 1, "not_found"),
        (("rollback", "77"), 1, "not_found"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_code(
    pair: FakePair, command: Run_, words: tuple[str, ...], code: int, error: str
) -> None:
    ended = command(*words, "--json")
    assert (ended.code, ended.json["error"]["code"]) == (code, error)
    assert ended.json["exit_code"] == code
    assert ended.err.strip()
    assert Migration.objects.count() == 0


def test_names_that_two_assets_share_are_asked_for_by_uuid(pair: FakePair, command: Run_) -> None:
    twin = pair.dev.add_chart("Revenue", dataset=uuid_for("orders"))
    ended = command("plan", *WAY, "--chart", "Revenue", *MAP, "--json")
    assert ended.code == 1
    assert twin in ended.json["error"]["message"]
    assert command("plan", *WAY, "--chart", twin, *MAP).code == 2


def test_rights_hold_for_commands_too(pair: FakePair, command: Run_, author: Any, stranger: Any) -> None:
    hidden = command("plan", *WAY, "--all", "--as", "stranger", "--json")
    assert (hidden.code, hidden.json["error"]["code"]) == (1, "not_found")
    assert command("plan", *WAY, "--all", *MAP, "--as", "author").code == 2
    refused = command("apply", latest(), "--confirm", "prod", "--as", "author", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "not_allowed")
    assert pair.prod.writes == []
    denied = AuditEvent.objects.get(action="access:denied")  # what one may not know of is no refusal
    assert (denied.actor_name, denied.source, denied.data) == (
        "author",
        "command",
        {"permission": "migration:apply", "command": "apply"},
    )


def test_without_a_name_the_first_administrator_acts(pair: FakePair, make_user: Callable[..., Any]) -> None:
    out = io.StringIO()
    with pytest.raises(SystemExit) as nobody:
        call_command("plan", *WAY, "--all", "--json", stdout=out, stderr=io.StringIO())
    assert (nobody.value.code, "--as USER" in out.getvalue()) == (1, True)
    make_user("granted", "admin")
    with pytest.raises(SystemExit):
        call_command("plan", *WAY, "--all", *MAP, stdout=io.StringIO(), stderr=io.StringIO())
    assert Migration.objects.get().created_by.username == "granted"  # type: ignore[union-attr]


def test_a_superset_that_is_away_fails_with_its_remedy(pair: FakePair, command: Run_) -> None:
    pair.dev.misbehave("GET", "/api/v1/", "refused", times=None)
    ended = command("plan", *WAY, "--all", "--json")
    assert ended.code == 1
    assert (ended.json["error"]["code"], bool(ended.json["error"]["remedy"])) == ("connection_refused", True)


def test_a_misspelt_option_is_a_failure_and_not_a_pending_change(pair: FakePair, capsys: Any) -> None:
    from migrations_app.management.commands.plan import Command

    with pytest.raises(SystemExit) as end:
        Command().run_from_argv(["manage.py", "plan", "--form", "env:dev"])
    assert end.value.code == 1
    assert "usage:" in capsys.readouterr().err


def test_left_to_the_workers_and_not_waited_for(pair: FakePair, command: Run_, run_jobs: Any) -> None:
    ended = command("plan", *WAY, "--all", *MAP, "--queue", "--no-wait", "--json")
    assert (ended.code, ended.json["result"]) == (0, "queued")
    job = Job.objects.get(uuid=ended.json["job"])
    assert job.state == State.QUEUED
    run_jobs()
    assert Migration.objects.get().state == "planned"


@pytest.mark.both_databases
def test_left_to_the_workers_and_waited_for(
    pair: FakePair, command: Run_, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sstools.jobs.runner import run_job

    def worker() -> None:
        deadline = time.monotonic() + 30
        try:
            while time.monotonic() < deadline and not Job.objects.filter(state=State.SUCCEEDED).exists():
                for uuid in Job.objects.filter(state=State.QUEUED).values_list("uuid", flat=True):
                    run_job(str(uuid))
                time.sleep(0.1)
        finally:
            from django.db import connections

            connections.close_all()

    monkeypatch.setattr(following, "_start", lambda job: pytest.fail("must not be done here"))
    thread = threading.Thread(target=worker)
    thread.start()
    ended = command("plan", *WAY, "--all", *MAP, "--no-read", "--queue")
    thread.join()
    assert (ended.code, "To apply it" in ended.out) == (2, True)


@pytest.mark.both_databases
def test_a_busy_target_is_waited_for(pair: FakePair, command: Run_, release_lead: Any) -> None:
    command("plan", *WAY, "--all", *MAP, "--no-verify")
    other = jobs.enqueue(
        "trial.write", {"name": "holder"}, actor=release_lead, locks=[pair.target], title="The holder"
    )
    assert jobs.claim(str(other.uuid)) is not None
    held = Job.objects.get(pk=other.pk)

    def let_go() -> None:
        from django.db import connections

        time.sleep(1.5)
        jobs.finish(held, State.SUCCEEDED)
        connections.close_all()

    thread = threading.Thread(target=let_go)
    thread.start()
    ended = command("apply", latest(), "--confirm", "prod")
    thread.join()
    assert ended.code == 0, ended.err
    assert "waits for: The holder" in ended.err


def test_a_signal_stops_the_job_before_anything_is_written(pair: FakePair, command: Run_) -> None:
    command("plan", *WAY, "--all", *MAP, "--no-verify")
    reached = threading.Event()

    def slow(request: Any) -> None:
        if not reached.is_set():
            reached.set()
            os.kill(os.getpid(), signal.SIGTERM)
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline and not Job.objects.filter(cancel_requested=True).exists():
                time.sleep(0.05)

    pair.prod.misbehave("GET", "/api/v1/assets/export/", slow, times=1)
    ended = command("apply", latest(), "--confirm", "prod", "--json")
    assert reached.is_set()
    assert ended.code == 1
    assert "Asked the job to stop" in ended.err
    assert (ended.json["result"], ended.json["error"]["code"]) == ("stopped", "cancelled")
    assert pair.prod.writes == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_second_signal_leaves_the_job_as_it_is(pair: FakePair, command: Run_) -> None:
    command("plan", *WAY, "--all", *MAP, "--no-verify")
    reached, go_on = threading.Event(), threading.Event()

    def slow(request: Any) -> None:
        if not reached.is_set():
            reached.set()
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
            os.kill(os.getpid(), signal.SIGTERM)
            go_on.wait(30)

    pair.prod.misbehave("GET", "/api/v1/assets/export/", slow, times=1)
    ended = command("apply", latest(), "--confirm", "prod", "--json")
    job = Job.objects.get(kind="migrations_app.apply_plan")
    go_on.set()  # outside of a test the process would be gone by now, and the lease would run out
    for thread in threading.enumerate():
        if thread.name == f"job {job.uuid}":
            thread.join(30)
    assert (ended.code, ended.json["result"]) == (1, "interrupted")
    assert (job.state, str(job.uuid) in ended.json["error"]["message"]) == (State.RUNNING, True)
    assert pair.prod.writes == []


def _options(app: str, name: str) -> set[str]:
    parser = load_command_class(app, name).create_parser("manage.py", name)
    return {option for action in parser._actions for option in action.option_strings}


def test_the_documents_name_options_results_and_codes_that_exist() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "commands.md").read_text()
    ours = {name: app for name, app in get_commands().items() if str(app).startswith(OUR_APPS)}
    options = {name: _options(str(app), name) for name, app in ours.items()}
    assert set(re.findall(r"manage\.py ([a-z_]+)", text)) - options.keys() - {"shell"} == set()
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    assert named - set().union(*options.values()) == set()
    # Of the commands that have no page of their own every option is named.
    own = {option for name in NAMES for option in options[name] - DJANGOS if option.startswith("--")}
    assert own - named - {"--title", "--no-verify"} == set()
    source = "".join(
        path.read_text() for path in (Path(plan_command.__file__).parents[2]).rglob("management/**/*.py")
    )
    for result in re.findall(r"^\| (`[a-z_`, ]+) \| ", text, flags=re.MULTILINE):
        for word in re.findall(r"[a-z_]+", result):
            assert f'"{word}"' in source or word in RunState.values, word
