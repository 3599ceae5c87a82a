from argparse import ArgumentParser
from typing import Any

from migrations_app.api.shapes import MigrationSerializer
from migrations_app.management.base import MigrationCommand, Outcome, queued
from migrations_app.management.commands.plan import outcome_of
from migrations_app.replacing import services
from migrations_app.replacing.terms import KINDS, Field, How
from sstools.jobs.models import Source


class Command(MigrationCommand):
    help = (
        "Plan the replacement of texts in assets of an environment; writes nothing. "
        "Exit codes: 0 nothing fits, 1 failed, 2 changes pending or blocked."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("environment", metavar="env:SLUG", help="where the assets are")
        parser.add_argument("--find", required=True, metavar="TEXT", help="what is replaced")
        parser.add_argument("--replace", required=True, metavar="TEXT", help="what stands there instead")
        parser.add_argument(
            "--how",
            choices=[how.value for how in How],
            default=How.TEXT.value,
            help="text: anywhere; words: as whole words; pattern: a regular expression (RE2)",
        )
        parser.add_argument("--ignore-case", action="store_true", help="in any case")
        parser.add_argument(
            "--in",
            dest="fields",
            action="append",
            default=[],
            choices=[field.value for field in Field],
            help="where it is looked for; as often as wanted. Without it everywhere",
        )
        parser.add_argument(
            "--kind",
            action="append",
            default=[],
            choices=[kind.value for kind in KINDS],
            help="only in assets of this kind; as often as wanted",
        )
        parser.add_argument("--title", default="", metavar="PART", help="only where the title contains it")
        parser.add_argument(
            "--database", default="", metavar="UUID", help="only what reads from this connection"
        )
        parser.add_argument(
            "--asset",
            action="append",
            default=[],
            metavar="UUID",
            help="only this one and what it stands on; as often as wanted",
        )
        super().add_arguments(parser)

    def run(self, options: dict[str, Any]) -> Outcome:
        migration = services.create_replacement(
            self.environment(options["environment"]),
            actor=self.actor,
            via=Source.COMMAND,
            find=options["find"],
            replace=options["replace"],
            how=options["how"],
            ignore_case=options["ignore_case"],
            fields=options["fields"],
            kinds=options["kind"],
            title=options["title"],
            database=options["database"],
            selection=options["asset"],
        )
        job = migration.job
        assert job is not None
        if not self.wait:
            return queued(job, migration=MigrationSerializer(migration).data)
        self.do(job)
        migration.refresh_from_db()
        assert migration.plan is not None
        return outcome_of(migration, migration.plan)
