import json
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from sstools.errors import SSToolsError
from sstools.jobs.models import Source
from sstools.roles import denials
from sstools.schedules import services
from sstools.schedules.models import Schedule, with_subjects


class Command(BaseCommand):
    help = "List the schedules with their state, last result and next run; or ask for one now."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="as JSON, for programs")
        parser.add_argument("--run", metavar="UUID", type=UUID, help="ask for this one's job now")
        parser.add_argument(
            "--as", dest="user", metavar="USER", help="who acts; default the first administrator"
        )

    def handle(self, *args: Any, json: bool, run: UUID | None, user: str | None, **options: Any) -> None:
        actor = self._actor(user)
        rows = Schedule.objects.visible_to(actor).with_state()
        if run is not None:
            self._run(rows.filter(uuid=run).first(), actor, json)
        elif json:
            self._print([_facts(schedule) for schedule in _complete(rows)])
        else:
            self._table([_facts(schedule) for schedule in _complete(rows)])

    def _actor(self, name: str | None) -> Any:
        users = get_user_model()._default_manager.filter(is_active=True)
        found = (
            users.filter(username=name).first()
            if name
            else users.filter(is_superuser=True).order_by("pk").first()
        )
        if found is None:
            raise CommandError(f"There is no active user {name}." if name else "There is no administrator.")
        return found

    def _run(self, schedule: Schedule | None, actor: Any, as_json: bool) -> None:
        if schedule is None:
            raise CommandError("There is no such schedule, or this user may not see it.")
        try:
            with denials.collected("command", command="schedules"):
                job = services.run_now(schedule, actor=actor, source=Source.COMMAND)
        except SSToolsError as exc:
            raise CommandError(str(exc)) from None
        if as_json:
            self._print({"schedule": str(schedule.uuid), "job": str(job.uuid), "joined": job.joined})
        else:
            self.stdout.write(f"{schedule}: job {job.uuid}{' was at work already' if job.joined else ''}")

    def _print(self, value: Any) -> None:
        self.stdout.write(json.dumps(value, indent=2))

    def _table(self, rows: list[dict[str, Any]]) -> None:
        if not rows:
            self.stdout.write("There are no schedules.")
        for row in rows:
            last = f"{row['last_due_at']} {row['last_result']}" if row["last_due_at"] else "never"
            self.stdout.write(f"{row['state']:<8} {row['name']}  [{row['uuid']}]")
            self.stdout.write(
                f"         {row['kind']} {row['concerns']} · {row['words']} ({row['time_zone']})"
            )
            self.stdout.write(f"         next {row['next_due_at'] or 'none'} · last {last}")


def _complete(rows: Any) -> list[Schedule]:
    return list(with_subjects(list(rows.select_related("owner", "last_firing__job"))))


def _facts(schedule: Schedule) -> dict[str, Any]:
    last = schedule.last_firing
    return {
        "uuid": str(schedule.uuid),
        "name": schedule.name,
        "kind": schedule.kind,
        "params": schedule.params,
        "concerns": schedule.subject.label if schedule.subject else "",
        "cron": schedule.cron,
        "time_zone": schedule.time_zone,
        "words": schedule.words,
        "state": schedule.current_state,
        "pause_reason": schedule.pause_reason,
        "owner": schedule.owner.get_username() if schedule.owner else None,
        "next_due_at": schedule.next_due_at.isoformat() if schedule.next_due_at else None,
        "last_due_at": last.due_at.isoformat() if last else None,
        "last_result": last.state if last else None,
        "last_text": last.text if last else "",
        "consecutive_failures": schedule.consecutive_failures,
    }
