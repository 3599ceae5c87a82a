"""When an environment may be written to. Pure: no Django, no clock.

Times of day are those of the environment's time zone. A window that ends before it begins goes on past midnight; with
equal times it lasts the whole day. On the day on which clocks change, a window is as long as the clock says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
LOOK_AHEAD_DAYS = 15


@dataclass(frozen=True)
class Weekly:
    """Open on these days (0 is Monday) from `start` to `end`."""

    days: frozenset[int]
    start: time
    end: time

    def covers(self, local: datetime) -> bool:
        clock, day = local.time().replace(tzinfo=None), local.weekday()
        if self.start < self.end:
            return day in self.days and self.start <= clock < self.end
        if self.start == self.end and self.start == time():
            return day in self.days
        return (day in self.days and clock >= self.start) or ((day - 1) % 7 in self.days and clock < self.end)


@dataclass(frozen=True)
class Freeze:
    """Closed from `since` until `until`, both aware; `reason` is for people."""

    since: datetime
    until: datetime
    reason: str


@dataclass(frozen=True)
class Opening:
    """`opens_at`: when it is open next, aware; None if now, or not within LOOK_AHEAD_DAYS."""

    is_open: bool
    why: str = ""
    opens_at: datetime | None = None


def opening(now: datetime, zone: ZoneInfo, weekly: Iterable[Weekly], freezes: Iterable[Freeze]) -> Opening:
    """Whether it is open at `now` (aware). Without weekly windows it is, unless it is frozen."""
    weekly, freezes = list(weekly), sorted(freezes, key=lambda freeze: freeze.since)
    frozen = next((freeze for freeze in freezes if freeze.since <= now < freeze.until), None)
    is_open = frozen is None and _within(now, zone, weekly)
    if is_open:
        return Opening(True)
    if frozen is not None:
        why = f"It is frozen until {frozen.until.astimezone(zone):%Y-%m-%d %H:%M %Z}: {frozen.reason}."
    else:
        why = "It is outside of the windows in which it may be written to."
    return Opening(False, why, _next(now, zone, weekly, freezes))


def _within(moment: datetime, zone: ZoneInfo, weekly: list[Weekly]) -> bool:
    local = moment.astimezone(zone)
    return not weekly or any(window.covers(local) for window in weekly)


def _next(now: datetime, zone: ZoneInfo, weekly: list[Weekly], freezes: list[Freeze]) -> datetime | None:
    """It can only become open where a window begins or a freeze ends."""
    today = now.astimezone(zone).date()
    moments = {freeze.until for freeze in freezes if freeze.until > now}
    for offset in range(LOOK_AHEAD_DAYS + 1):
        day = today + timedelta(days=offset)
        for window in weekly:
            if day.weekday() in window.days:
                moments.add(datetime.combine(day, window.start, tzinfo=zone))
    for moment in sorted(moments):
        frozen = any(freeze.since <= moment < freeze.until for freeze in freezes)
        if moment > now and not frozen and _within(moment, zone, weekly):
            return moment
    return None
