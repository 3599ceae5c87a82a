"""Cron expressions: what is refused and why, and which moments they mean on days when the clock is changed."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sstools.schedules import jitter
from sstools.schedules.cron import Cron, CronError, zone_named

BERLIN, NEW_YORK, KOLKATA = "Europe/Berlin", "America/New_York", "Asia/Kolkata"

# expression, zone, from here (UTC) on, the next runs in UTC
CLOCK_CHANGES = [
    # Berlin, 29 March 2026: 02:00 to 03:00 does not exist (01:00 UTC). The run comes right after the gap, once.
    ("30 2 * * *", BERLIN, "2026-03-28 12:00", ["2026-03-29 01:00", "2026-03-30 00:30"]),
    ("0,15,30 2 * * *", BERLIN, "2026-03-29 00:30", ["2026-03-29 01:00", "2026-03-30 00:00"]),
    ("0 3 * * *", BERLIN, "2026-03-28 12:00", ["2026-03-29 01:00", "2026-03-30 01:00"]),
    (
        "30 2,3 * * *",
        BERLIN,
        "2026-03-28 12:00",
        ["2026-03-29 01:00", "2026-03-29 01:30", "2026-03-30 00:30"],
    ),
    # Berlin, 25 October 2026: 02:00 to 03:00 twice, from 00:00 and from 01:00 UTC. The first counts.
    ("30 2 * * *", BERLIN, "2026-10-24 12:00", ["2026-10-25 00:30", "2026-10-26 01:30"]),
    ("30 2 * * *", BERLIN, "2026-10-25 00:30", ["2026-10-26 01:30"]),
    (
        "*/20 2 * * *",
        BERLIN,
        "2026-10-25 00:10",
        ["2026-10-25 00:20", "2026-10-25 00:40", "2026-10-26 01:00"],
    ),
    ("0 3 * * *", BERLIN, "2026-10-24 12:00", ["2026-10-25 02:00"]),
    # Every hour: by elapsed time, nothing extra after the gap and nothing left out in the doubled hour.
    ("30 * * * *", BERLIN, "2026-03-29 00:00", ["2026-03-29 00:30", "2026-03-29 01:30", "2026-03-29 02:30"]),
    ("0 * * * *", BERLIN, "2026-03-29 00:00", ["2026-03-29 01:00", "2026-03-29 02:00"]),
    ("30 * * * *", BERLIN, "2026-10-24 23:45", ["2026-10-25 00:30", "2026-10-25 01:30", "2026-10-25 02:30"]),
    ("0 0-23 * * *", BERLIN, "2026-10-25 00:00", ["2026-10-25 01:00", "2026-10-25 02:00"]),
    # New York, 8 March 2026: 02:00 to 03:00 does not exist (07:00 UTC); 1 November: 01:00 to 02:00 twice.
    ("30 2 * * *", NEW_YORK, "2026-03-07 12:00", ["2026-03-08 07:00", "2026-03-09 06:30"]),
    ("30 1 * * *", NEW_YORK, "2026-10-31 12:00", ["2026-11-01 05:30", "2026-11-02 06:30"]),
    ("30 1 * * sun", NEW_YORK, "2026-11-01 05:30", ["2026-11-08 06:30"]),
    ("@hourly", NEW_YORK, "2026-11-01 04:00", ["2026-11-01 05:00", "2026-11-01 06:00", "2026-11-01 07:00"]),
    # Kolkata never changes, and is half an hour off.
    ("30 2 * * *", KOLKATA, "2026-03-28 00:00", ["2026-03-28 21:00", "2026-03-29 21:00"]),
    ("30 2 * * *", KOLKATA, "2026-10-24 22:00", ["2026-10-25 21:00", "2026-10-26 21:00"]),
    ("0 * * * *", KOLKATA, "2026-03-29 00:00", ["2026-03-29 00:30", "2026-03-29 01:30"]),
    # Half an hour is skipped and doubled on Lord Howe; a day was skipped in Apia.
    ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03 00:00", ["2026-10-03 15:30", "2026-10-04 15:15"]),
    ("*/30 * * * *", "Australia/Lord_Howe", "2026-04-04 14:35", ["2026-04-04 15:00", "2026-04-04 15:30"]),
    ("0 12 30 12 *", "Pacific/Apia", "2011-12-28 00:00", ["2011-12-30 10:00", "2012-12-29 22:00"]),
    # The ordinary ones.
    ("0 0 L * *", "UTC", "2026-01-31 00:00", ["2026-02-28 00:00", "2026-03-31 00:00"]),
    ("0 9 * * fri#2", "UTC", "2026-11-01 00:00", ["2026-11-13 09:00", "2026-12-11 09:00"]),
    ("0 0 29 2 *", "UTC", "2026-11-01 00:00", ["2028-02-29 00:00", "2032-02-29 00:00"]),
    (
        "0 0 13 * fri",
        "UTC",
        "2026-11-10 00:00",
        ["2026-11-13 00:00", "2026-11-20 00:00"],
    ),  # either, as in cron
    ("@weekly", "UTC", "2026-11-23 00:00", ["2026-11-29 00:00"]),
]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(("expression", "zone", "after", "expected"), CLOCK_CHANGES)
def test_runs_around_clock_changes(expression: str, zone: str, after: str, expected: list[str]) -> None:
    runs = islice(Cron.parse(expression).runs(utc(after), ZoneInfo(zone)), len(expected))
    assert [f"{run.at:%Y-%m-%d %H:%M}" for run in runs] == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("0 25 * * *", "Hour: 25 is not between 0 and 23."),
        ("60 * * * *", "Minute: 60 is not between 0 and 59."),
        ("* * 0 * *", "Day of month: 0 is not between 1 and 31."),
        ("* * * 13 *", "Month: 13 is not between 1 and 12, or jan to dec."),
        ("* * * * 8", "Day of week: 8 is not between 0 and 7, or sun to sat."),
        ("* * * * funday", "Day of week: funday is not between 0 and 7, or sun to sat."),
        ("*/0 * * * *", "Minute: the step 0 is not between 1 and 60."),
        ("*/x * * * *", "Minute: the step x is not between 1 and 60."),
        ("5/15 * * * *", "Minute: 5/15 has a step without a range; write 5-59/15."),
        ("0 22-2 * * *", "Hour: 22-2 runs backwards; write 22-23,0-2."),
        ("1,,2 * * * *", "Minute: “” is not understood. Possible: *, */15, 5, 1-5, 1,15."),
        ("0 0 ? * *", "Day of month: “?” is not known here; write *."),
        ("0 0 * * mon#6", "Day of week: a month has no 6th such day; 1 to 5."),
        ("0 0 30 2 *", "There is no such date. Look at the day of month and the month."),
        ("H * * * *", "Minute: h is not between 0 and 59."),
        (
            "0 0 * *",
            "Five fields are needed: minute, hour, day of month, month, day of week. These are 4.",
        ),
        (
            "0 0 0 * * *",
            "Five fields are needed: minute, hour, day of month, month, day of week. These are 6.",
        ),
        ("", "Five fields are needed: minute, hour, day of month, month, day of week. These are 0."),
        (
            "@reboot",
            "@reboot is not known. Possible: @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly.",
        ),
    ],
)
def test_what_is_wrong_is_said_by_field(expression: str, message: str) -> None:
    with pytest.raises(CronError) as refused:
        Cron.parse(expression)
    assert refused.value.messages == [message]


def test_all_wrong_fields_are_named_at_once() -> None:
    with pytest.raises(CronError) as refused:
        Cron.parse("61 24 * dec-x *")
    assert [text.split(":")[0] for text in refused.value.messages] == ["Minute", "Hour", "Month"]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 2 * * *", "At 02:00, every day"),
        ("@daily", "At 00:00, every day"),
        ("*/15 * * * *", "Every 15 minutes"),
        ("30 * * * *", "At 30 minutes past the hour"),
        ("30 6 * * MON-FRI", "At 06:30, Monday through Friday"),
        ("0 4 1 * *", "At 04:00, on day 1 of the month"),
        ("0 2 L * *", "At 02:00, on the last day of the month"),
        ("0 9 * * fri#2", "At 09:00, on the second Friday of the month"),
        ("0 3 * * sat-sun", "At 03:00, Saturday through Sunday"),
    ],
)
def test_an_expression_in_words(expression: str, words: str) -> None:
    assert Cron.parse(f"  {expression} ").words == words


def test_the_zone_is_an_iana_name() -> None:
    assert zone_named("Europe/Berlin").key == "Europe/Berlin"
    for name in ("Mars/Olympus", "", "Europe", "../etc/passwd", "CEST\0"):
        with pytest.raises(ValueError, match="no time zone"):
            zone_named(name)


ZONES = st.sampled_from(
    [BERLIN, NEW_YORK, KOLKATA, "Australia/Lord_Howe", "UTC", "America/Havana", "Africa/Casablanca"]
)
EXPRESSIONS = st.sampled_from(
    [
        "* * * * *",
        "*/7 * * * *",
        "30 * * * *",
        "0 */2 * * *",
        "*/10 0-3 * * *",
        "30 2 * * *",
        "0 0 * * *",
        "0 1 * * sun",
    ]
)
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2030, 1, 1)).map(
    lambda naive: naive.replace(tzinfo=UTC)
)


@settings(max_examples=150, deadline=None)
@given(EXPRESSIONS, ZONES, MOMENTS)
def test_runs_only_go_forward_and_the_latest_is_the_one_before_the_next(
    expression: str, zone_name: str, moment: datetime
) -> None:
    cron, zone = Cron.parse(expression), ZoneInfo(zone_name)
    runs = [run.at for run in islice(cron.runs(moment, zone), 5)]
    assert runs == sorted(set(runs))
    assert runs[0] > moment.replace(microsecond=0)
    for run in runs:
        latest = cron.latest(run, zone)
        assert latest is not None
        assert latest.at == run
        before = cron.latest(run - timedelta(seconds=1), zone)
        assert before is not None
        following = cron.next(before.at, zone)
        assert following is not None
        assert following.at == run


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([BERLIN, NEW_YORK, KOLKATA]), st.integers(0, 23), st.integers(0, 59), MOMENTS)
def test_a_daily_run_comes_once_on_every_day_of_the_calendar(
    zone_name: str, hour: int, minute: int, moment: datetime
) -> None:
    """Whatever happens to the clock: no day without, and no day with two."""
    zone = ZoneInfo(zone_name)
    runs = list(islice(Cron.parse(f"{minute} {hour} * * *").runs(moment, zone), 400))
    days = [run.at.astimezone(zone).date() for run in runs]
    assert days == [days[0] + timedelta(days=number) for number in range(400)]


@settings(max_examples=200, deadline=None)
@given(st.uuids(), MOMENTS, st.integers(0, 3600))
def test_jitter_stays_within_its_bound_and_is_the_same_every_time(
    key: object, due: datetime, seconds: int
) -> None:
    found = jitter.share(str(key), due, seconds)
    assert 0 <= found <= seconds
    assert found == jitter.share(str(key), due.astimezone(ZoneInfo(BERLIN)), seconds)


def test_jitter_spreads_schedules_and_runs() -> None:
    due = utc("2026-11-23 02:00")
    over_schedules = {jitter.share(f"schedule {number}", due, 300) for number in range(200)}
    over_runs = {jitter.share("one", due + timedelta(days=day), 300) for day in range(200)}
    for found in (over_schedules, over_runs):
        assert len(found) > 100
        assert min(found) < 20
        assert max(found) > 280
