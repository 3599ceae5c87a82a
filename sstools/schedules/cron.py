"""Cron expressions, and the moments they mean in a time zone. No Django, no clock.

Days on which the clock is changed, in the two ways that people expect (and that cron of Debian and of Red Hat has):

- A schedule of certain hours ("0 2 * * *") runs once for each time on the wall: a time that does not exist comes right
  after the gap, one that exists twice counts the first time.
- A schedule of every hour ("*/15 * * * *") runs by elapsed time: nothing extra after a gap, and in both passes of a
  doubled hour.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice, pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cron_descriptor import Options, get_description
from croniter import CroniterError, croniter

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
MOST_LOOKS = (
    5_000  # times on the wall to look at for one answer; the longest doubled stretch ever was a day: 1,440
)
SECOND = timedelta(seconds=1)
PROBE = timedelta(hours=12)  # zones never changed twice within so short a time
WINDOWS = tuple(timedelta(hours=hours) for hours in (1, 24, 31 * 24, 366 * 24, 9 * 366 * 24))


class CronError(ValueError):
    """`messages` say for each field what is wrong with it."""

    def __init__(self, *messages: str) -> None:
        super().__init__(" ".join(messages))
        self.messages = list(messages)


@dataclass(frozen=True)
class Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def problem(self, text: str) -> str:
        """What is wrong with this field of an expression, as a sentence; "" if nothing is."""
        for item in text.split(","):
            if problem := self._problem_of_item(item):
                return f"{self.name}: {problem}"
        return ""

    def _problem_of_item(self, item: str) -> str:
        if item == "?":
            return "“?” is not known here; write *."
        if self.name == "Day of month" and item == "l":
            return ""
        if self.name == "Day of week" and (nth := re.fullmatch(r"(\w+)#(\d+)", item)):
            return self._problem_of_value(nth[1]) or (
                "" if 1 <= int(nth[2]) <= 5 else f"a month has no {nth[2]}th such day; 1 to 5."
            )
        found = re.fullmatch(r"(\*|\w+)(?:-(\w+))?(?:/(\w+))?", item)
        if not found or (found[1] == "*" and found[2]):
            return f"“{item}” is not understood. Possible: *, */15, 5, 1-5, 1,15."
        first, last, step = found.groups()
        if first != "*" and (problem := self._problem_of_value(first)):
            return problem
        if last is not None:
            if problem := self._problem_of_value(last):
                return problem
            if self._number(last) < self._number(first) and self.name != "Day of week":
                return f"{item} runs backwards; write {first}-{self.high},{self.low}-{last}."
        if step is not None:
            if first != "*" and last is None:
                return f"{item} has a step without a range; write {first}-{self.high}/{step}."
            if not step.isdecimal() or not 1 <= int(step) <= self.high - self.low + 1:
                return f"the step {step} is not between 1 and {self.high - self.low + 1}."
        return ""

    def _problem_of_value(self, text: str) -> str:
        if text in self.names or (text.isdecimal() and len(text) < 4 and self.low <= int(text) <= self.high):
            return ""
        also = f", or {self.names[0]} to {self.names[-1]}" if self.names else ""
        return f"{text} is not between {self.low} and {self.high}{also}."

    def _number(self, text: str) -> int:
        return self.names.index(text) + (self.low if self.low else 0) if text in self.names else int(text)


FIELDS = (
    Field("Minute", 0, 59),
    Field("Hour", 0, 23),
    Field("Day of month", 1, 31),
    Field("Month", 1, 12, tuple(MONTHS)),
    Field("Day of week", 0, 7, tuple(DAYS)),
)


class Run(NamedTuple):
    """`at` in UTC; `wall` what the expression says, in the zone, without a zone. They differ after a gap."""

    at: datetime
    wall: datetime


@dataclass(frozen=True)
class Cron:
    """A parsed expression. `text` as it was written, `fields` its five fields."""

    text: str
    fields: str
    is_every_hour: bool

    @classmethod
    def parse(cls, text: str) -> "Cron":
        """Raises CronError."""
        text = " ".join(text.split()).lower()
        if text.startswith("@"):
            if text not in ALIASES:
                raise CronError(f"{text} is not known. Possible: {', '.join(ALIASES)}.")
            fields = ALIASES[text]
        else:
            fields = text
        parts = fields.split(" ")
        if len(parts) != len(FIELDS):
            number = len(parts) if fields else 0
            raise CronError(
                f"Five fields are needed: minute, hour, day of month, month, day of week. These are {number}."
            )
        problems = [
            problem for field, part in zip(FIELDS, parts, strict=True) if (problem := field.problem(part))
        ]
        if problems:
            raise CronError(*problems)
        try:
            times = croniter(fields, datetime(2024, 1, 1))
            times.get_next(datetime)
            hours = times.expanded[1]
        except CroniterError as exc:
            raise CronError("There is no such date. Look at the day of month and the month.") from exc
        return cls(text, fields, hours == ["*"] or set(hours) == set(range(24)))

    @cached_property
    def words(self) -> str:
        """The expression in English: "At 06:30, Monday through Friday"."""
        options = Options()
        options.use_24hour_time_format = True
        text = str(get_description(self.fields.upper(), options))
        is_daily = self.fields.endswith(" * * *") and not self.is_every_hour
        return f"{text}, every day" if is_daily and text.startswith("At") else text

    def runs(self, after: datetime, zone: ZoneInfo) -> Iterator[Run]:
        """All runs later than `after`, in order."""
        while (run := self.next(after, zone)) is not None:
            yield run
            after = run.at

    def next(self, after: datetime, zone: ZoneInfo) -> Run | None:
        """The first run later than `after`; None if there is none within fifty years."""
        after = after.astimezone(UTC).replace(microsecond=0)
        try:
            return (
                self._by_elapsed_time(after, zone) if self.is_every_hour else self._by_the_wall(after, zone)
            )
        except CroniterError:
            return None

    def latest(self, until: datetime, zone: ZoneInfo) -> Run | None:
        """The last run that is not later than `until`, found without looking at all those before it."""
        for window in WINDOWS:
            found = None
            for run in self.runs(until - window, zone):
                if run.at > until:
                    break
                found = run
            if found is not None:
                return found
        return None

    def shortest_pause(self, after: datetime, zone: ZoneInfo, looked_at: int = 100) -> timedelta | None:
        """The least time between two of the next runs; None if there are not two."""
        moments = [run.at for run in islice(self.runs(after, zone), looked_at)]
        return min((later - earlier for earlier, later in pairwise(moments)), default=None)

    def _by_the_wall(self, after: datetime, zone: ZoneInfo) -> Run | None:
        times = croniter(self.fields, _wall(after, zone))
        for _ in range(MOST_LOOKS):
            wall: datetime = times.get_next(datetime)
            if (at := _moment(wall, zone)) > after:
                return Run(at, wall)
        return None

    def _by_elapsed_time(self, after: datetime, zone: ZoneInfo) -> Run | None:
        start, offset = after, _offset(after + SECOND, zone)
        for _ in range(MOST_LOOKS):
            wall: datetime = croniter(self.fields, (start + offset).replace(tzinfo=None)).get_next(datetime)
            at = wall.replace(tzinfo=UTC) - offset
            change = _next_change(start + SECOND, at, zone)
            if change is None:
                return Run(at, wall)
            start, offset = change - SECOND, _offset(change, zone)  # the change itself may be a run
        return None


def zone_named(name: str) -> ZoneInfo:
    """Raises ValueError with a sentence for a name that is no IANA time zone."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError; a folder's name an OSError
        raise ValueError(f"There is no time zone “{name}”. Names look like Europe/Berlin or UTC.") from None


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)


def _moment(wall: datetime, zone: ZoneInfo) -> datetime:
    """When the clock on the wall first shows that; within a gap, the moment right after it."""
    at = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if _wall(at, zone) == wall:
        return at
    before = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)  # PEP 495: in a gap this is the earlier one
    return _next_change(before, at, zone) or at


def _next_change(after: datetime, until: datetime, zone: ZoneInfo) -> datetime | None:
    """The first moment later than `after`, and not later than `until`, that has another offset than `after`."""
    offset = _offset(after, zone)
    low, high = after, min(after + PROBE, until)
    while _offset(high, zone) == offset:
        if high >= until:
            return None
        low, high = high, min(high + PROBE, until)
    while high - low > SECOND:
        middle = low + timedelta(seconds=(high - low) // SECOND // 2)
        if _offset(middle, zone) == offset:
            low = middle
        else:
            high = middle
    return high
