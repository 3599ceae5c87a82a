"""What an expression would do: in words, and its next runs. For the form, the detail page and the API."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from zoneinfo import ZoneInfo

from sstools.jobs import services as jobs

from .cron import Cron, CronError, Run, zone_named

RUNS = 3


@dataclass(frozen=True)
class Preview:
    """`errors` by field: cron, time_zone; then there are no runs."""

    words: str = ""
    zone: ZoneInfo | None = None
    runs: tuple["Shown", ...] = ()
    errors: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Shown:
    at: datetime
    note: str = ""


def preview(cron: str, time_zone: str, number: int = RUNS) -> Preview:
    errors: dict[str, list[str]] = {}
    words, zone, timetable = "", None, None
    try:
        timetable = Cron.parse(cron)
        words = timetable.words
    except CronError as exc:
        errors["cron"] = exc.messages
    try:
        zone = zone_named(time_zone)
    except ValueError as exc:
        errors["time_zone"] = [str(exc)]
    if errors or timetable is None or zone is None:
        return Preview(words, zone, errors=errors)
    runs = islice(timetable.runs(jobs.db_now(), zone), number)
    return Preview(words, zone, tuple(shown(runs, zone)))


def shown(runs: Iterable[Run], zone: ZoneInfo) -> Iterable[Shown]:
    """Runs with a word about those that the clock moves."""
    for run in runs:
        is_moved = run.at.astimezone(zone).replace(tzinfo=None) != run.wall
        yield Shown(run.at, f"{run.wall:%H:%M} does not exist on that day" if is_moved else "")
