from argparse import ArgumentParser
from typing import Any

from django.db import transaction

from migrations_app import services
from migrations_app.api.shapes import MigrationSerializer, RunDetailSerializer
from migrations_app.management.base import (
    DONE,
    FAILED,
    JobFailed,
    MigrationCommand,
    Outcome,
    is_undecided,
    queued,
    undecided,
)
from migrations_app.management.texts import red_count, run_text
from migrations_app.models import Migration, MigrationState, Run, RunState
from sstools.errors import SSToolsError
from sstools.jobs.models import Source


class Command(MigrationCommand):
    help = (
        "Apply the plan of a migration: lock the target, take a restore point, write, read back, verify. "
        "Exit codes: 0 done or nothing to do, 1 failed, 2 blocked, stale or not confirmed (nothing was written)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("number", help="of the migration, as `plan` printed it; or its uuid")
        parser.add_argument(
            "--plan-hash", default="", help="apply this plan and no other (12 characters will do)"
        )
        parser.add_argument(
            "--confirm", default="", metavar="SLUG", help="the target's slug, where it is protected"
        )
        parser.add_argument(
            "--bypass", default="", metavar="REASON", help="why it goes on outside of the target's windows"
        )
        parser.add_argument(
            "--override", default=None, metavar="REASON", help="why failed checks shall not stop it"
        )
        parser.add_argument(
            "--roll-back-when-red",
            action="store_true",
            help="undo everything if a chart fails that works on the source",
        )
        parser.add_argument(
            "--strict", action="store_true", help="charts whose answers differ count as failed"
        )
        super().add_arguments(parser)

    def run(self, options: dict[str, Any]) -> Outcome:
        migration = self.migration(options["number"])
        if (already := nothing_to_do(migration)) is not None:
            return already
        plan_hash = options["plan_hash"] or (migration.plan.hash if migration.plan else "")
        with transaction.atomic():
            if migration.is_open and (options["override"] is not None or options["roll_back_when_red"]):
                migration = services.update_migration(
                    migration,
                    actor=self.actor,
                    override_reason=options["override"],
                    roll_back_when_red=options["roll_back_when_red"] or None,
                )
            job = services.request_apply(
                migration,
                plan_hash=plan_hash,
                actor=self.actor,
                confirmation=options["confirm"],
                bypass_reason=options["bypass"],
                source=Source.COMMAND,
            )
        run = Run.objects.get(number=job.params["run"])
        if not self.wait:
            return queued(job, migration=MigrationSerializer(migration).data, run=str(run.uuid))
        error: SSToolsError | None = None
        try:
            self.do(job)
        except JobFailed as failed:
            error = failed
        return outcome_of(run, error, strict=options["strict"])


def nothing_to_do(migration: Migration) -> Outcome | None:
    """A pipeline that is run again must not fail where the work is done."""
    plan = migration.plan
    data = {"migration": MigrationSerializer(migration).data, "run": None}
    if migration.state == MigrationState.DONE:
        return Outcome(DONE, "nothing_to_do", f"{migration} is done already.", data)
    in_plan = plan is not None and migration.state == MigrationState.PLANNED
    if in_plan and plan is not None and not (plan.write_count or plan.blocked_count or plan.kept_count):
        return Outcome(DONE, "nothing_to_do", "Nothing to do: the target holds what it should.", data)
    return None


def outcome_of(run: Run, error: SSToolsError | None, *, strict: bool) -> Outcome:
    """What became of a run: applied, with no chart red, is 0; stopped by a stale plan is 2; the rest is 1."""
    run = Run.objects.select_related("migration__source", "migration__target", "plan", "job").get(pk=run.pk)
    data = {"migration": MigrationSerializer(run.migration).data, "run": RunDetailSerializer(run).data}
    text = run_text(run)
    described = error.as_dict() if error else run.error
    if error is not None and is_undecided(error):
        outcome = undecided(error, **data)
        outcome.text = text
        return outcome
    if run.state != RunState.APPLIED:
        return Outcome(FAILED, str(run.state), text, data, described)
    if red := red_count(run, strict=strict):
        described = described or {
            "code": "verification_red",
            "message": f"Written, but {red} charts fail on {run.migration.target.name}.",
            "remedy": f"Look at them, or roll back: manage.py rollback {run.number}",
        }
        return Outcome(FAILED, "red", text, data, described)
    if described:  # applied, and something about it is not as it should be: verification did not finish
        return Outcome(FAILED, "applied", text, data, described)
    return Outcome(DONE, "applied", text, data)
