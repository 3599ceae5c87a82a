"""The pages of schedules in a real browser."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from environments.models import Environment
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, State
from sstools.schedules import firing, services
from sstools.schedules.models import Schedule
from tests.axe import findings
from tests.factories import make_environment

from .conftest import at, due, end

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Make = Callable[..., Schedule]
Open = Callable[..., Any]
PHONE, WIDE = {"width": 320, "height": 640}, {"width": 1280, "height": 900}
PICTURES = os.environ.get("SSTOOLS_TEST_PICTURES", "")  # a folder: look at what the tests see


def picture(page: Any, name: str) -> None:
    if PICTURES:
        page.screenshot(path=str(Path(PICTURES) / f"{name}.png"), full_page=True, caret="initial")


@pytest.fixture
def estate(make_schedule: Make, author: Any, admin: Any) -> dict[str, Schedule]:
    """One schedule in each state, with a history."""
    make_environment("prod", protected=True)
    good = due(
        make_schedule(
            author,
            name="Nightly reading of dev",
            kind="environments.read_inventory",
            time_zone="Europe/Berlin",
            cron="0 2 * * *",
        ),
        "2026-11-20 01:00",
    )
    for day, (state, fields) in enumerate(
        (
            (State.SUCCEEDED, {"result": {"new": 2, "changed": 5, "gone": 1}}),
            (State.FAILED, {"error": {"code": "timeout", "message": "Dev did not answer within 60 s."}}),
            (State.SUCCEEDED, {"result": {"new": 0, "changed": 0, "gone": 0}}),
        ),
        start=20,
    ):
        firing.fire_due(at(f"2026-11-{day} 01:00:01"))
        end(Job.objects.latest("pk"), state, **fields)
        firing.settle()
    firing.fire_due(at("2026-11-25 09:00"))
    end(Job.objects.latest("pk"), State.SUCCEEDED, result={"new": 0, "changed": 3, "gone": 0})
    firing.settle()
    failing = due(make_schedule(author, name="Hourly test", cron="@hourly"), "2026-11-24 02:00")
    firing.fire_due(at("2026-11-24 02:00:01"))
    message = "The name bi-dev.example.org was not found."
    end(Job.objects.latest("pk"), State.FAILED, error={"code": "name_not_resolved", "message": message})
    firing.settle()
    late = make_schedule(admin, name="Weekday test", cron="30 6 * * mon-fri", time_zone="America/New_York")
    paused = make_schedule(author, name="Sunday test", cron="0 3 * * sun")
    services.pause(paused, actor=admin, reason="Dev is being moved to another host.")
    soon, long_ago = jobs.db_now() + timedelta(hours=5), jobs.db_now() - timedelta(hours=1)
    Schedule.objects.exclude(paused_at__isnull=False).update(
        late_at=soon, next_fire_at=soon, next_due_at=soon
    )
    Schedule.objects.filter(pk=late.pk).update(late_at=long_ago, next_fire_at=long_ago, next_due_at=long_ago)
    return {"good": good, "failing": failing, "late": late, "paused": paused}


def test_a_schedule_from_nothing_to_its_first_run(
    open_page: Open, author: Any, environment: Environment
) -> None:
    page = open_page(author, "/schedules/", viewport=WIDE, timezone_id="Asia/Kolkata")
    picture(page, "empty")
    page.click("main .empty >> text=New schedule")
    page.click("text=Read an environment")
    page.wait_for_selector("#id_cron")
    picture(page, "new")
    page.select_option("#id_params-environment", label="Dev")
    page.fill("#id_name", "Nightly reading of dev")
    page.fill("#id_cron", "")
    page.type("#id_cron", "0 25 * * *", delay=20)
    page.wait_for_selector("#preview >> text=Hour: 25 is not between 0 and 23.")
    picture(page, "wrong-expression")
    page.click("text=Sundays, 03:00")
    page.wait_for_selector("#preview >> text=At 03:00, only on Sunday")
    assert page.input_value("#id_cron") == "0 3 * * sun"
    assert page.input_value("#id_name") == "Nightly reading of dev"  # nothing typed is lost
    assert page.evaluate("document.activeElement.value") == "0 3 * * sun"  # the focus stays on the preset
    page.fill("#id_cron", "15 2 * * mon-fri")
    page.wait_for_selector("#preview >> text=At 02:15, Monday through Friday")
    page.select_option("#id_time_zone", "America/New_York")
    page.wait_for_selector("#preview >> text=in America/New_York")
    assert page.locator("#preview time").count() == 6
    picture(page, "filled-in")
    page.click("text=Make the schedule")
    page.wait_for_url("**/schedules/*-*/")
    picture(page, "made")
    schedule = Schedule.objects.get()
    assert (schedule.cron, schedule.time_zone) == ("15 2 * * mon-fri", "America/New_York")
    page.click("main >> text=Pause…")
    page.fill("#id_reason", "Moving house")
    picture(page, "pause")
    page.click("text=Pause it")
    page.wait_for_selector("#schedule-state >> text=Moving house")
    page.click("main >> text=Resume")
    page.wait_for_selector("main >> text=Pause")
    page.click("text=Run now")
    page.wait_for_url("**/jobs/**")
    page.goto(schedule.get_absolute_url())
    assert page.locator("#schedule-state[hx-get]").count() == 1
    end(Job.objects.get(), State.SUCCEEDED, result={"new": 4, "changed": 0, "gone": 0})
    firing.settle()
    page.wait_for_selector("#schedule-state:not([hx-get]) >> text=4 new", timeout=15_000)
    page.click("text=Delete…")
    page.click("button >> text=Delete Nightly reading of dev")
    page.wait_for_url("**/schedules/")
    assert not Schedule.objects.exists()


def test_without_javascript_a_preset_fills_in_and_saving_works(
    open_page: Open, author: Any, environment: Environment
) -> None:
    page = open_page(
        author, "/schedules/new/?kind=environments.check", viewport=WIDE, java_script_enabled=False
    )
    page.select_option("#id_params-environment", label="Dev")
    page.fill("#id_name", "By hand")
    page.click("text=Every hour")
    assert page.input_value("#id_cron") == "0 * * * *"
    assert page.input_value("#id_name") == "By hand"
    assert "Every hour" in page.inner_text("#preview")
    page.click("text=Make the schedule")
    assert Schedule.objects.get().cron == "0 * * * *"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_states_are_shown_and_axe_finds_nothing(
    open_page: Open, admin: Any, estate: dict[str, Schedule], scheme: str
) -> None:
    page = open_page(admin, "/schedules/", viewport=WIDE, color_scheme=scheme)
    picture(page, f"list-{scheme}")
    assert findings(page) == []
    for name, schedule in estate.items():
        page.goto(schedule.get_absolute_url())
        picture(page, f"{name}-{scheme}")
        assert findings(page) == [], name
    for path in (
        "/schedules/new/",
        f"{estate['good'].get_absolute_url()}edit/",
        f"{estate['good'].get_absolute_url()}delete/",
        f"{estate['good'].get_absolute_url()}pause/",
    ):
        page.goto(path)
        picture(page, f"{path.strip('/').split('/')[-1]}-{scheme}")
        assert findings(page) == [], path


def test_no_page_is_wider_than_a_small_phone(
    open_page: Open, admin: Any, estate: dict[str, Schedule]
) -> None:
    here = estate["good"].get_absolute_url()
    page = open_page(admin, "/schedules/", viewport=PHONE)
    for path in ("/schedules/", "/schedules/new/", here, f"{here}edit/", f"{here}delete/", f"{here}pause/"):
        page.goto(path)
        picture(page, f"phone-{path.strip('/').split('/')[-1]}")
        assert page.evaluate("document.documentElement.scrollWidth") == 320, path
