from argparse import ArgumentParser
from typing import Any

from django.db import transaction

from migrations_app import services
from migrations_app.api.shapes import MigrationSerializer, PlanSerializer
from migrations_app.management.base import DONE, JobFailed, MigrationCommand, Outcome, queued
from migrations_app.management.commands.apply import outcome_of as outcome_of_run
from migrations_app.management.commands.plan import outcome_of as outcome_of_plan
from migrations_app.management.texts import plan_text
from migrations_app.models import Run, RunState
from sstools.errors import SSToolsError
from sstools.jobs.models import Source


class Command(MigrationCommand):
    help = (
        "Put back what a run changed, from its restore point, and remove what it created: "
        "plans, shows the plan, applies it. "
        "Exit codes: 0 done, 1 failed, 2 blocked or not confirmed (nothing was written)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("run", help="number or uuid of the run to undo")
        parser.add_argument(
            "--confirm", default="", metavar="SLUG", help="the target's slug, where it is protected"
        )
        parser.add_argument("--plan-only", action="store_true", help="show what it would do, and stop")
        super().add_arguments(parser)

    def run(self, options: dict[str, Any]) -> Outcome:
        run = self.find_run(options["run"])
        if run.state == RunState.ROLLED_BACK:
            return Outcome(DONE, "nothing_to_do", f"{run} was rolled back already.")
        with transaction.atomic():
            migration = services.create_rollback(run, actor=self.actor)
            job = services.request_plan(migration, actor=self.actor, source=Source.COMMAND)
        if not self.wait:
            return queued(job, migration=MigrationSerializer(migration).data)
        self.do(job)
        migration.refresh_from_db()
        plan = migration.plan
        assert plan is not None
        planned = outcome_of_plan(migration, plan)
        if options["plan_only"] or planned.result != "changes":
            return planned
        self.say(plan_text(migration, plan))
        job = services.request_apply(
            migration,
            plan_hash=plan.hash,
            actor=self.actor,
            confirmation=options["confirm"],
            source=Source.COMMAND,
        )
        error: SSToolsError | None = None
        try:
            self.do(job)
        except JobFailed as failed:
            error = failed
        outcome = outcome_of_run(Run.objects.get(number=job.params["run"]), error, strict=False)
        outcome.data["plan"] = PlanSerializer(plan).data
        return outcome
