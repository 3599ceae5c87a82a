"""Relative time ranges made absolute, so that both sides are asked for the same span.

Follows `get_since_until` of superset/utils/date_parser.py (read at 6.1.0) for everything that needs no dictionary of
natural language or holidays. What it doesn't know it doesn't guess: `freeze` answers None, and Superset itself can be
asked (GET /api/v1/time_range/?q=…). Times are without a zone, as Superset's are: the caller's `now` stands for the
server's local time, and differences of zones don't matter because both sides get the same bounds.
"""

from __future__ import annotations

import calendar
import re
from datetime import datetime, timedelta
from typing import Final

from .model import NO_TIME_RANGE

_SEPARATOR: Final = " : "
_FORMAT: Final = "%Y-%m-%dT%H:%M:%S"
_UNIT = "second|minute|hour|day|week|month|quarter|year"
_ABSOLUTE = re.compile(
    r"^\d{4}(-\d{1,2}(-\d{1,2}([T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?)?)?)?(Z|[+-]\d{2}:?\d{2})?$"
)
_AGO = re.compile(rf"^(\d+)\s+({_UNIT})s?\s+(ago|later|from now)$", re.IGNORECASE)
_EDGE = re.compile(
    r"^(start of|beginning of|end of)\s{1,5}(this|last|next|prior)\s{1,5}(\d+)?\s{0,5}(day|week|month|quarter|year)s?$",
    re.IGNORECASE,
)
_FIRST_OF = re.compile(
    r"^(?:first|1st)\s{1,5}(?:day\s{1,5})?of\s{1,5}(?:(?:(this|last|next|prior)|the)\s{1,5})?(day|week|month|quarter|year)s?$",
    re.IGNORECASE,
)
_FIRST_PART = re.compile(
    r"^(?:first|1st)\s{1,5}(week|month|quarter)\s{1,5}of\s{1,5}(?:(this|last|next|prior)\s{1,5})?(?:the\s{1,5})?(week|month|quarter|year)$",
    re.IGNORECASE,
)
_SCOPE = re.compile(
    r"^(this|last|next|prior)\s{1,5}(\d+)?\s{0,5}(second|minute|day|week|month|quarter|year)s?$",
    re.IGNORECASE,
)
_CALENDAR = re.compile(r"^previous calendar (week|month|quarter|year)")
_CURRENT = re.compile(r"^Current (day|week|month|quarter|year)")
_FUNCTION = re.compile(r"^\s*(DATETIME|DATEADD|DATETRUNC|LASTDAY)\s*\(", re.IGNORECASE)
_FINE_UNITS = frozenset(("second", "minute", "hour"))


def is_absolute(time_range: str) -> bool:
    """Whether a time range says the same tomorrow: explicit dates, open ends, or no range at all."""
    text = time_range.strip()
    if text in ("", NO_TIME_RANGE):
        return True
    if _SEPARATOR not in time_range and not time_range.startswith(": ") and not time_range.endswith(" :"):
        return False
    return all(not part or _ABSOLUTE.match(part) for part in _parts(time_range))


def freeze(
    time_range: str, now: datetime, *, relative_start: str = "today", relative_end: str = "today"
) -> str | None:
    """The range as `since : until` with explicit times; None where only Superset itself can tell.

    A range that is absolute already comes back as it is.
    """
    if is_absolute(time_range):
        return time_range
    now = now.replace(microsecond=0, tzinfo=None)
    try:
        bounds = _bounds(time_range, now, relative_start, relative_end)
    except (_Unknown, OverflowError, ValueError):
        return None
    since, until = bounds
    if since is None and until is None:
        return NO_TIME_RANGE
    if since and until and since > until:
        return None  # Superset refuses it; let it say so
    return _SEPARATOR.join(bound.strftime(_FORMAT) if bound else "" for bound in bounds)


class _Unknown(Exception):
    pass


def _parts(time_range: str) -> list[str]:
    return [part.strip() for part in f" {time_range} ".split(_SEPARATOR, 1)]


def _bounds(text: str, now: datetime, start: str, end: str) -> tuple[datetime | None, datetime | None]:
    if _SEPARATOR not in f" {text} ":
        if match := _CALENDAR.match(text):
            unit = match[1]
            return _trunc(_add(_midnight(now), -1, unit), unit), _trunc(_midnight(now), unit)
        if match := _CURRENT.match(text):
            unit = match[1]
            return _trunc(_midnight(now), unit), _trunc(_add(_midnight(now), 1, unit), unit)
        if match := _FIRST_PART.match(text):
            first = _trunc(_scoped(match[2] or "this", 1, match[3], now), match[3])
            return first, _add(first, 1, match[1])
        if text.startswith("Last"):
            return _moment(text, now), _moment(end, now)
        if text.startswith("Next"):
            return _moment(start, now), _moment(text, now)
        # Superset ignores a range it doesn't recognise as one and takes everything until the relative end
        raise _Unknown(text)
    since, until = _parts(text)
    return (_moment(since, now) if since else None), (_moment(until, now) if until else None)


def _moment(text: str, now: datetime) -> datetime:
    text = text.strip()
    lowered = text.lower()
    if lowered == "now":
        return now
    if lowered in ("today", "yesterday", "tomorrow"):
        return _midnight(now) + timedelta(days=("yesterday", "today", "tomorrow").index(lowered) - 1)
    if match := _EDGE.match(text):
        unit = match[4].lower()
        moment = _scoped(match[2], int(match[3] or 1), unit, now)
        return _last_day(moment, unit) if match[1].lower() == "end of" else _trunc(moment, unit)
    if match := _FIRST_OF.match(text):
        return _trunc(_scoped(match[1] or "this", 1, match[2], now), match[2].lower())
    if match := _SCOPE.match(text):
        return _scoped(match[1], int(match[2] or 1), match[3], now)
    if match := _AGO.match(text):
        unit = match[2].lower()
        if unit == "quarter":
            raise _Unknown(text)
        moment = _add(now, -int(match[1]) if match[3].lower() == "ago" else int(match[1]), unit)
        return moment if unit in _FINE_UNITS else _midnight(moment)
    if _FUNCTION.match(text):
        moment, rest = _function(text, now)
        if rest.strip():
            raise _Unknown(text)
        return moment
    if _ABSOLUTE.match(text):
        return _iso(text)
    raise _Unknown(text)


def _iso(text: str) -> datetime:
    for form in (
        "%Y-%m-%dT%H:%M:%S",
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%d",
        "%Y-%m",
        "%Y",
    ):
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    raise _Unknown(text)


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _scoped(scope: str, count: int, unit: str, now: datetime) -> datetime:
    unit = unit.lower()
    base = now if unit in _FINE_UNITS else _midnight(now)
    sign = {"this": 0, "last": -1, "prior": -1, "next": 1}[scope.lower()]
    return _add(base, sign * count, unit)


def _add(moment: datetime, count: int, unit: str) -> datetime:
    unit = unit.lower()
    months = {"month": 1, "quarter": 3, "year": 12}.get(unit)
    if months is None:
        return moment + count * timedelta(**{f"{unit}s": 1})
    index = moment.year * 12 + moment.month - 1 + count * months
    year, month = divmod(index, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)


def _trunc(moment: datetime, unit: str) -> datetime:
    unit = unit.lower()
    if unit in _FINE_UNITS:
        zero = {"second": {}, "minute": {"second": 0}, "hour": {"minute": 0, "second": 0}}[unit]
        return moment.replace(microsecond=0, **zero)  # type: ignore[arg-type]
    day = _midnight(moment)
    if unit == "week":
        return day - timedelta(days=day.weekday())
    if unit == "month":
        return day.replace(day=1)
    if unit == "quarter":
        return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
    return day.replace(month=1, day=1) if unit == "year" else day


def _last_day(moment: datetime, unit: str) -> datetime:
    day = _midnight(moment)
    if unit == "year":
        return day.replace(month=12, day=31)
    if unit == "month":
        return day.replace(day=calendar.monthrange(day.year, day.month)[1])
    if unit == "week":
        return day + timedelta(days=6 - day.weekday())
    raise _Unknown(unit)  # Superset's own parser has no last day of a day or quarter


_TEXT = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)')\s*""")
_NUMBER = re.compile(r"\s*([+-]?\d+)\s*")
_WORD = re.compile(rf"\s*({_UNIT})\s*,?\s*", re.IGNORECASE)


def _function(text: str, now: datetime) -> tuple[datetime, str]:
    """Read one DATETIME, DATEADD, DATETRUNC or LASTDAY with what it holds; also what follows it."""
    head = _FUNCTION.match(text)
    if head is None:
        raise _Unknown(text)
    name, rest = head[1].upper(), text[head.end() :]
    if name == "DATETIME":
        operand = _TEXT.match(rest)
        if operand is None:
            raise _Unknown(text)
        moment, rest = _moment(operand[1] or operand[2] or "", now), rest[operand.end() :]
        return moment, _after(rest, ")")
    moment, rest = _function(rest, now)
    rest = _after(rest, ",")
    count = 0
    if name == "DATEADD":
        number = _NUMBER.match(rest)
        if number is None:
            raise _Unknown(text)
        count, rest = int(number[1]), _after(rest[number.end() :], ",")
    word = _WORD.match(rest)
    if word is None:
        raise _Unknown(text)
    unit, rest = word[1].lower(), _after(rest[word.end() :], ")")
    if name == "DATEADD":
        return _add(moment, count, unit), rest
    return (_trunc if name == "DATETRUNC" else _last_day)(moment, unit), rest


def _after(text: str, mark: str) -> str:
    stripped = text.lstrip()
    if not stripped.startswith(mark):
        raise _Unknown(text)
    return stripped[len(mark) :]
