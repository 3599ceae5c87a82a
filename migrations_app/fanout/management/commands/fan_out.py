import time
from argparse import ArgumentParser
from typing import Any

from migrations_app.fanout import running, services
from migrations_app.fanout.advancing import advance
from migrations_app.fanout.api import shown_run
from migrations_app.fanout.models import FanOutRun, FanOutRunState
from migrations_app.fanout.states import Standing, counts_of, seen_of, standings
from migrations_app.management.base import DONE, FAILED, PENDING, JobFailed, MigrationCommand, Outcome
from sstools.errors import Invalid
from sstools.jobs.models import Job, Source

LOOK_SECONDS = 0.3


class Command(MigrationCommand):
    help = (
        "Plan all copies of a fan-out, and apply those that are ready, in order. "
        "Exit codes: 0 done or nothing to do, 1 a copy failed, 2 changes pending, blocked, or not confirmed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="of the fan-out, or its uuid")
        parser.add_argument(
            "--plan", action="store_true", help="plan the copies, write nothing (the default)"
        )
        parser.add_argument("--apply", action="store_true", help="plan, then apply every copy that is ready")
        parser.add_argument(
            "--copy", action="append", default=[], metavar="KEY", help="only this one; as often as wanted"
        )
        parser.add_argument(
            "--confirm", action="append", default=[], metavar="SLUG", help="of each protected target"
        )
        parser.add_argument(
            "--continue",
            dest="go_on",
            action="store_true",
            help="go on with the next copy after one that failed",
        )
        super().add_arguments(parser)

    def run(self, options: dict[str, Any]) -> Outcome:
        if options["plan"] and options["apply"]:
            raise Invalid("--plan or --apply, not both.")
        if not self.wait:
            raise Invalid("--no-wait is not for a fan-out: its copies follow each other.")
        fan_out = services.find_by_name(options["name"], self.actor)
        run = running.plan(fan_out, actor=self.actor, keys=options["copy"], via=Source.COMMAND)
        found = self._settled(run)
        if not options["apply"] or not any(running.is_green(one) for one in found):
            return self._outcome(run, found)
        running.apply(
            run,
            actor=self.actor,
            seen=seen_of(found),
            confirmed=options["confirm"],
            stops_at_failure=not options["go_on"],
            via=Source.COMMAND,
        )
        return self._outcome(run, self._settled(run))

    def _settled(self, run: FanOutRun) -> list[Standing]:
        """Does, or waits for, the jobs of all copies until nothing is at work any more."""
        tried: set[int] = set()
        while advance(run).is_at_work:
            entries = running.visible_entries(run, self.actor)
            jobs = [
                job
                for entry in entries
                for job in (_job_of(entry),)
                if job is not None and not job.is_finished
            ]
            fresh = [job for job in jobs if job.pk not in tried]
            for job in fresh[:1] if self.here else ():
                tried.add(job.pk)
                try:
                    self.do(job)
                except JobFailed as error:
                    self.say(f"{error.message} {error.remedy}".strip())
            if not fresh or not self.here:
                time.sleep(LOOK_SECONDS)
        return standings(running.visible_entries(run, self.actor))

    def _outcome(self, run: FanOutRun, found: list[Standing]) -> Outcome:
        run = running.find_run(run.number, self.actor)
        counts = counts_of(found)
        if any(one.is_failure for one in found):
            code, result = FAILED, "failed"
        elif run.state == FanOutRunState.HELD or any(one.name in ("blocked", "waiting") for one in found):
            code, result = PENDING, "blocked"
        elif any(one.is_green for one in found):
            code, result = PENDING, "changes"
        elif any(_has_red(one) for one in found):
            code, result = FAILED, "red"
        else:
            code, result = DONE, "applied" if counts.get("applied") else "nothing_to_do"
        lines = [f"{run}: {', '.join(f'{number} {name}' for name, number in counts.items())}"]
        for one in found:
            migration = one.entry.migration
            number = f"migration {migration.number}" if migration is not None else "no migration"
            words = one.word or one.name.replace("_", " ")
            lines.append(
                f"  {one.entry.copy.key} → {one.entry.copy.target.slug}: {words} ({number}) {one.text}".rstrip()
            )
        return Outcome(code, result, "\n".join(lines), {"fan_out_run": shown_run(run, self.actor)})


def _job_of(entry: Any) -> Job | None:
    if entry.apply_run is not None:
        found: Job | None = entry.apply_run.job
    else:
        found = entry.migration.job if entry.migration is not None else None
    return found


def _has_red(one: Standing) -> bool:
    run = one.entry.apply_run
    return run is not None and bool(run.verdict_counts.get("failed"))
