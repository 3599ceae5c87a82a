from argparse import ArgumentParser
from typing import Any

from migrations_app import promoting
from migrations_app.api.shapes import MigrationSerializer
from migrations_app.management.base import (
    DONE,
    PENDING,
    JobFailed,
    MigrationCommand,
    Outcome,
    is_undecided,
    queued,
    undecided,
)
from migrations_app.models import Migration, Run
from sstools.errors import SSToolsError
from sstools.jobs.models import Job, Source, State

from .apply import nothing_to_do, outcome_of


class Command(MigrationCommand):
    help = (
        "Plan a migration, and apply it if nothing is open: mapping, conflicts, checks. What is open is named, and the "
        "job waits for it: saving the mapping or the answers lets it go on. "
        "Exit codes: 0 done or nothing to do, 1 failed, 2 something is open or not confirmed (nothing was written)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("number", help="of the migration, as `plan` printed it; or its uuid")
        parser.add_argument(
            "--confirm", default="", metavar="SLUG", help="the target's slug, where it is protected"
        )
        parser.add_argument(
            "--strict", action="store_true", help="charts whose answers differ count as failed"
        )
        super().add_arguments(parser)

    def run(self, options: dict[str, Any]) -> Outcome:
        migration = self.migration(options["number"])
        if not migration.is_open and (already := nothing_to_do(migration)) is not None:
            return already
        job = promoting.request_promotion(
            migration, actor=self.actor, confirmation=options["confirm"], source=Source.COMMAND
        )
        if not self.wait:
            return queued(job, migration=MigrationSerializer(migration).data)
        try:
            job = self.do(job)
        except JobFailed as error:
            job.refresh_from_db()
            if job.state == State.NEEDS_INPUT:
                return _open(job, migration)
            if is_undecided(error):
                return undecided(error, migration=self._shape(migration))
            raise
        result = job.result or {}
        if not result.get("run"):
            text = "Nothing to do: the target holds what it should."
            return Outcome(DONE, "nothing_to_do", text, {"migration": self._shape(migration), "run": None})
        run = Run.objects.select_related("job").get(number=result["run"])
        failed: SSToolsError | None = None
        try:
            if run.job is not None:
                self.do(run.job)
        except JobFailed as error:
            failed = error
        return outcome_of(run, failed, strict=options["strict"])

    def _shape(self, migration: Migration) -> Any:
        fresh = Migration.objects.select_related("source", "target", "plan", "rolls_back").get(
            pk=migration.pk
        )
        return MigrationSerializer(fresh).data


def _open(job: Job, migration: Migration) -> Outcome:
    question = job.question or {}
    lines = "\n".join(f"  {line}" for line in question.get("missing_text", ()))
    text = f"{question.get('text', '')}\n{lines}\nJob {job.uuid} waits for it: {question.get('url', '')}"
    fresh = Migration.objects.select_related("source", "target", "plan", "rolls_back").get(pk=migration.pk)
    data = {"migration": MigrationSerializer(fresh).data, "job": str(job.uuid), "question": question}
    return Outcome(PENDING, "needs_input", text, data)
