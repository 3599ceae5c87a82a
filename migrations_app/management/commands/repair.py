from argparse import ArgumentParser
from typing import Any

from environments import services as environments
from migrations_app import repairs, services
from migrations_app.api.shapes import MigrationSerializer
from migrations_app.management.base import DONE, MigrationCommand, Outcome, queued
from migrations_app.management.commands.plan import outcome_of
from sstools.errors import Invalid
from sstools.jobs.models import Source


class Command(MigrationCommand):
    help = (
        "Plan the repair of dashboards that other tools damaged; writes nothing. "
        "Exit codes: 0 nothing is damaged, 1 failed, 2 changes pending or blocked."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("environment", metavar="env:SLUG", help="where the dashboards are")
        parser.add_argument(
            "--dashboard",
            action="append",
            default=[],
            metavar="UUID",
            help="this one; as often as wanted. Without it all that are damaged",
        )
        parser.add_argument(
            "--meant",
            choices=("by_uuid", "by_id"),
            help="where id and uuid of a place name different charts and either may be meant: which one is right",
        )
        parser.add_argument(
            "--no-read", action="store_true", help="go by the last reading, do not read first"
        )
        super().add_arguments(parser)

    def run(self, options: dict[str, Any]) -> Outcome:
        environment = self.environment(options["environment"])
        if options["meant"] and not self.wait:
            raise Invalid("--meant needs the plan: leave out --no-wait.")
        if not options["no_read"]:
            self.do(environments.request_reading(environment, actor=self.actor, source=Source.COMMAND))
        try:
            migration = repairs.create_repair(
                environment, options["dashboard"], actor=self.actor, via=Source.COMMAND
            )
        except Invalid as error:
            if error.code != "nothing_to_repair" or options["dashboard"]:
                raise
            return Outcome(DONE, "nothing_to_do", f"Nothing on {environment.name} is damaged.")
        job = migration.job
        assert job is not None
        if not self.wait:
            return queued(job, migration=MigrationSerializer(migration).data)
        self.do(job)
        migration.refresh_from_db()
        assert migration.plan is not None
        asked = migration.plan.items.filter(conflict__code="two_truths", action="blocked")
        if options["meant"] and (answers := {item.uuid: options["meant"] for item in asked}):
            services.answer_conflicts(migration, answers, actor=self.actor)
            self.do(services.request_plan(migration, actor=self.actor, source=Source.COMMAND))
            migration.refresh_from_db()
        assert migration.plan is not None
        return outcome_of(migration, migration.plan)
