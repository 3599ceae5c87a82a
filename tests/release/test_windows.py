"""When an environment may be written to."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrations_app.release.windows import Freeze, Weekly, opening

BERLIN = ZoneInfo("Europe/Berlin")
WEEKDAYS = frozenset(range(5))


def at(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-11-23 08:59", False),  # a Monday
        ("2026-11-23 09:00", True),
        ("2026-11-23 16:59:59", True),
        ("2026-11-23 17:00", False),
        ("2026-11-28 12:00", False),  # a Saturday
    ],
)
def test_a_window_of_working_days(moment: str, is_open: bool) -> None:
    weekly = [Weekly(WEEKDAYS, time(9), time(17))]
    assert opening(at(moment), BERLIN, weekly, []).is_open is is_open


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-11-23 22:00", True),
        ("2026-11-24 05:59", True),
        ("2026-11-24 06:00", False),
        ("2026-11-23 05:00", False),  # Sunday's night would be its own window
        ("2026-11-28 05:00", True),  # Friday's night ends on Saturday
    ],
)
def test_a_window_past_midnight_belongs_to_the_day_on_which_it_begins(moment: str, is_open: bool) -> None:
    weekly = [Weekly(WEEKDAYS, time(22), time(6))]
    assert opening(at(moment), BERLIN, weekly, []).is_open is is_open


def test_without_windows_it_is_always_open_and_never_while_frozen() -> None:
    now = at("2026-12-24 12:00")
    freeze = Freeze(now - timedelta(days=1), now + timedelta(days=3), "holidays")
    assert opening(now, BERLIN, [], []).is_open
    state = opening(now, BERLIN, [], [freeze])
    assert not state.is_open
    assert "holidays" in state.why
    assert state.opens_at == freeze.until


def test_it_opens_at_the_first_window_after_a_freeze() -> None:
    now = at("2026-11-23 10:00")
    weekly = [Weekly(WEEKDAYS, time(9), time(17))]
    freeze = Freeze(now - timedelta(hours=1), at("2026-11-24 20:00"), "audit")
    assert opening(now, BERLIN, weekly, [freeze]).opens_at == at("2026-11-25 09:00")
    inside = Freeze(now - timedelta(hours=1), at("2026-11-24 12:00"), "audit")
    assert opening(now, BERLIN, weekly, [inside]).opens_at == at("2026-11-24 12:00")


def test_the_clock_of_the_environment_counts_also_when_it_changes() -> None:
    weekly = [Weekly(frozenset(range(7)), time(2, 30), time(3, 30))]
    spring, autumn = datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)
    # 02:30 does not exist in spring: the window is from 03:00 to 03:30 summer time, 01:00 to 01:30 UTC.
    assert not opening(spring + timedelta(minutes=59), BERLIN, weekly, []).is_open
    assert opening(spring + timedelta(hours=1), BERLIN, weekly, []).is_open
    assert not opening(spring + timedelta(hours=1, minutes=30), BERLIN, weekly, []).is_open
    # In autumn it comes twice.
    assert opening(autumn + timedelta(minutes=30), BERLIN, weekly, []).is_open
    assert opening(autumn + timedelta(hours=1, minutes=30), BERLIN, weekly, []).is_open


@given(
    moment=st.datetimes(min_value=datetime(2026, 1, 1), max_value=datetime(2027, 1, 1)),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]),
    days=st.frozensets(st.integers(0, 6), min_size=1),
    start=st.times(),
    end=st.times(),
)
def test_where_it_says_that_it_opens_it_is_open(
    moment: datetime, zone: str, days: frozenset[int], start: time, end: time
) -> None:
    place = ZoneInfo(zone)
    weekly = [Weekly(days, start.replace(microsecond=0, second=0), end.replace(microsecond=0, second=0))]
    state = opening(moment.replace(tzinfo=UTC), place, weekly, [])
    if state.opens_at is not None:
        assert not state.is_open
        assert opening(state.opens_at, place, weekly, []).is_open
