"""What the commands for CI have in common: who acts, exit codes, --json, and jobs done here or by the workers."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from rest_framework.utils.encoders import JSONEncoder

from environments.models import Environment
from migrations_app.errors import NotReady, PlanChanged, StalePlan, WrongConfirmation
from migrations_app.filters import find_environments, looks_like_uuid
from migrations_app.models import Migration, Run
from sstools.errors import Invalid, NotFoundError, SSToolsError, as_expected
from sstools.jobs.models import Job, State
from sstools.resources import EVERYTHING
from sstools.roles import denials
from sstools.roles.models import Grant

from .following import Interrupted, follow

DONE, FAILED, PENDING = 0, 1, 2
#: These say that something must be decided or made first; nothing broke.
UNDECIDED = (NotReady, PlanChanged, StalePlan, WrongConfirmation)
UNDECIDED_CODES = ("not_ready", "plan_changed", "stale_plan", "wrong_confirmation")


@dataclass
class Outcome:
    """How a command ended: `result` is one word for programs, `data` what --json prints too, `text` for people."""

    code: int
    result: str
    text: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None


class JobFailed(SSToolsError):
    """The job behind a command did not succeed; code and words are the job's."""


class MigrationCommand(BaseCommand):
    """Exit codes: 0 done or nothing to do, 1 failed, 2 changes pending or blocked.

    The result goes to stdout, everything else to stderr.
    """

    requires_system_checks: list[str] = []
    can_wait = True
    wrong_use = FAILED  # argparse would end with 2, which here means that changes are pending

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        leave = parser.exit

        def exit_with(status: int = 0, message: str | None = None) -> Any:
            leave(self.wrong_use if status else status, message)

        parser.exit = exit_with  # type: ignore[method-assign]
        return parser

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--json", action="store_true", help="the result as JSON (docs/commands.md has its shape)"
        )
        parser.add_argument(
            "--as",
            dest="actor",
            metavar="USER",
            default="",
            help="who acts; default: the first administrator",
        )
        parser.add_argument(
            "--queue", action="store_true", help="leave the work to the workers, and wait for it"
        )
        parser.add_argument("--no-wait", action="store_true", help="with --queue: do not wait")

    @property
    def name(self) -> str:
        """As it is typed: `promote`."""
        return type(self).__module__.rpartition(".")[2]

    def run(self, options: dict[str, Any]) -> Outcome:
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> None:
        self.here = not options["queue"]
        self.wait = not options["no_wait"]
        try:
            if self.here and not self.wait:
                raise Invalid("--no-wait needs --queue: somebody else must do the work.")
            self.actor = find_actor(options["actor"])
            with denials.collected("command", command=self.name):
                outcome = self.run(options)
        except Interrupted as stop:
            text = (
                f"Left job {stop.job.uuid} as it is. "
                "A worker goes on with it; look at it with the migration, or cancel it there."
            )
            outcome = Outcome(
                FAILED, "interrupted", error={"code": "interrupted", "message": text, "remedy": ""}
            )
        except Exception as exc:
            error = as_expected(exc)
            if error is None:
                raise
            outcome = (
                undecided(error) if is_undecided(error) else Outcome(FAILED, "failed", error=error.as_dict())
            )
        self.present(outcome, as_json=options["json"])
        if outcome.code:
            sys.exit(outcome.code)

    def present(self, outcome: Outcome, *, as_json: bool) -> None:
        if outcome.error is not None:
            self.say(f"{outcome.error['message']} {outcome.error.get('remedy') or ''}".strip())
            for field_name, messages in (outcome.error.get("detail") or {}).get("errors", {}).items():
                self.say(f"  {field_name}: {' '.join(map(str, messages))}")
        if as_json:
            body = {
                "result": outcome.result,
                "exit_code": outcome.code,
                "error": outcome.error,
                **outcome.data,
            }
            self.stdout.write(json.dumps(body, cls=JSONEncoder, ensure_ascii=False, indent=2))
        elif outcome.text:
            self.stdout.write(outcome.text)
        self.stdout.flush()

    def say(self, text: str) -> None:
        """To stderr: progress and problems, which are no part of the result."""
        self.stderr.write(text, lambda plain: plain)  # not all of it in red
        self.stderr.flush()

    def do(self, job: Job) -> Job:
        """The job, succeeded. Raises JobFailed with the job's own words if it did not; Interrupted."""
        job = follow(job, here=self.here, actor=self.actor, say=self.say)
        if job.state == State.SUCCEEDED:
            return job
        error = job.error or {}
        raise JobFailed(
            error.get("message") or f"The job ended as {job.get_state_display()}.",
            code=error.get("code") or str(job.state),
            remedy=error.get("remedy", ""),
            detail=error.get("detail"),
        )

    # -- what is meant by an argument

    def environment(self, text: str) -> Environment:
        """`env:dev`, `dev` or a uuid. Raises NotFoundError also for one that the actor may not see."""
        key = text.removeprefix("env:")
        if ":" in key:
            raise Invalid(f"“{text}” is no environment: write env:<slug>.")
        visible = Environment.objects.visible_to(self.actor)
        found: Environment | None = visible.filter(pk__in=find_environments(key).values("pk")).first()

        if found is None:
            raise NotFoundError(f"There is no environment “{key}”, or {self.actor} may not see it.")
        return found

    def migration(self, text: str) -> Migration:
        rows = Migration.objects.visible_to(self.actor).select_related(
            "source", "target", "plan", "rolls_back"
        )
        found: Migration = self._find(rows, "migration", text)
        return found

    def find_run(self, text: str) -> Run:
        rows = Run.objects.visible_to(self.actor).select_related(
            "migration__source", "migration__target", "plan"
        )
        found: Run = self._find(rows, "run", text)
        return found

    def _find(self, rows: Any, noun: str, text: str) -> Any:
        key = text.lstrip("#")
        found = None
        if looks_like_uuid(key):
            found = rows.filter(uuid=key).first()
        elif key.isascii() and key.isdigit() and len(key) < 19:
            found = rows.filter(number=int(key)).first()
        if found is None:
            raise NotFoundError(f"There is no {noun} {text}, or {self.actor} may not see it.")
        return found


def is_undecided(error: SSToolsError) -> bool:
    return isinstance(error, UNDECIDED) or error.code in UNDECIDED_CODES


def undecided(error: SSToolsError, **data: Any) -> Outcome:
    return Outcome(PENDING, "blocked", data=data, error=error.as_dict())


def queued(job: Job, **data: Any) -> Outcome:
    """With --no-wait: the work was asked for, and that is all that is known."""
    return Outcome(DONE, "queued", f"Queued as job {job.uuid}.", {"job": str(job.uuid), **data})


def find_actor(name: str) -> Any:
    """The user of that name; without a name the first superuser, else the first Admin of everything. Raises Invalid."""
    users = get_user_model().objects.filter(is_active=True)
    if name:
        user = users.filter(username=name).first()
        if user is None:
            raise Invalid(f"There is no active user “{name}”.")
        return user
    user = users.filter(is_superuser=True).order_by("pk").first()
    if user is None:
        admins = Grant.objects.filter(role="admin", scope=EVERYTHING)
        by_group = admins.exclude(group=None).values("group")
        user = (
            (
                users.filter(pk__in=admins.exclude(user=None).values("user"))
                | users.filter(groups__in=by_group)
            )
            .order_by("pk")
            .first()
        )
    if user is None:
        raise Invalid("Nobody is an administrator here.", remedy="Say who acts: --as USER.")
    return user
