from argparse import ArgumentParser
from typing import Any

from migrations_app import services
from migrations_app.api.shapes import RunDetailSerializer
from migrations_app.management.base import DONE, FAILED, MigrationCommand, Outcome, queued
from migrations_app.management.texts import red_count, run_text
from migrations_app.models import Run
from sstools.jobs.models import Source


class Command(MigrationCommand):
    help = (
        "Run every chart's query of an applied run on source and target once more; writes to neither. "
        "Exit codes: 0 no chart is red, 1 failed, 2 the run cannot be verified."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("run", help="number or uuid of a run")
        parser.add_argument(
            "--strict", action="store_true", help="charts whose answers differ count as failed"
        )
        super().add_arguments(parser)

    def run(self, options: dict[str, Any]) -> Outcome:
        run = self.find_run(options["run"])
        job = services.request_verification(run, actor=self.actor, source=Source.COMMAND)
        if not self.wait:
            return queued(job, run=str(run.uuid))
        self.do(job)
        run = Run.objects.select_related("migration__source", "migration__target", "plan", "job").get(
            pk=run.pk
        )
        data = {"run": RunDetailSerializer(run).data}
        if red := red_count(run, strict=options["strict"]):
            words = f"{red} charts fail on {run.migration.target.name}."
            error = {
                "code": "verification_red",
                "message": words,
                "remedy": f"Roll back: manage.py rollback {run.number}",
            }
            return Outcome(FAILED, "red", run_text(run), data, error)
        return Outcome(DONE, "verified", run_text(run), data)
