"""The frame of the pages in a real browser: narrow, by keyboard, without JavaScript, while the server is gone."""

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from sstools.jobs.models import Job, State
from tests.conftest import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Open = Callable[..., Any]
WIDE = {"width": 1280, "height": 800}


@pytest.fixture
def designer(make_user: Any) -> Any:
    return make_user("designer", "admin", is_staff=True)


@pytest.fixture
def job(designer: Any) -> Job:
    now = timezone.now()
    return Job.objects.create(
        kind="trial.wait",
        title="Read Dev",
        actor=designer,
        state=State.RUNNING,
        started_at=now,
        lease_until=now + timezone.timedelta(hours=1),
        progress_done=1,
        progress_total=3,
        current_step="Charts",
        attempt=1,
    )


@pytest.mark.parametrize("path", ["/login/", "/", "/me/", "/styleguide/", "/jobs/", "/no/such/page/"])
def test_no_page_is_wider_than_a_small_phone(open_page: Open, designer: Any, job: Job, path: str):
    page = open_page(None if path == "/login/" else designer, path, viewport={"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") == 320


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_theme_follows_the_system_until_one_is_chosen(open_page: Open, designer: Any, theme: str):
    page = open_page(designer, "/me/", color_scheme=theme)
    dark = "rgb(16, 22, 29)"
    ground = lambda: page.evaluate("getComputedStyle(document.body).backgroundColor")  # noqa: E731
    assert (ground() == dark) == (theme == "dark")
    page.check("text=Dark")
    assert ground() == dark
    page.click("button >> text=Save")
    page.wait_for_selector(".toast")
    assert ground() == dark


def test_the_menu_of_a_narrow_page_opens_and_closes_without_javascript(open_page: Open, designer: Any):
    page = open_page(designer, "/", viewport={"width": 360, "height": 640}, java_script_enabled=False)
    assert not page.is_visible("nav.rail")
    page.click("[popovertarget=rail]")
    assert page.is_visible("nav.rail >> text=Jobs")
    page.keyboard.press("Escape")
    assert not page.is_visible("nav.rail")


def test_signing_in_and_out_works_without_javascript(open_page: Open, designer: Any):
    page = open_page(None, "/me/", java_script_enabled=False, viewport=WIDE)
    page.fill("[name=username]", "designer")
    page.fill("[name=password]", PASSWORD)
    page.click("button >> text=Sign in")
    assert page.url.endswith("/me/")
    page.click("[popovertarget=user-menu]")
    page.click("button >> text=Sign out")
    assert page.url.endswith("/login/")


def test_a_dialog_opens_without_javascript_and_gives_the_focus_back(open_page: Open, designer: Any):
    page = open_page(designer, "/styleguide/", java_script_enabled=False, viewport=WIDE)
    page.click("[commandfor=sample-dialog]")
    assert page.is_visible("#sample-dialog")
    page.keyboard.press("Escape")
    assert not page.is_visible("#sample-dialog")


def test_a_wrong_name_is_not_sent_even_without_javascript(open_page: Open, designer: Any):
    page = open_page(designer, "/styleguide/", java_script_enabled=False, viewport=WIDE)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    page.fill("#confirm-name", "dev")
    page.click("form.confirm button")
    page.wait_for_timeout(300)
    assert "POST" not in sent
    page.fill("#confirm-name", "prod")
    page.click("form.confirm button")
    page.wait_for_load_state()
    assert "POST" in sent


def test_shortcuts_go_by_the_place_of_the_key_and_rest_while_typing(open_page: Open, designer: Any):
    page = open_page(designer, "/styleguide/", viewport=WIDE)
    press = """code => document.activeElement.dispatchEvent(
        new KeyboardEvent("keydown", {code, key: "я", bubbles: true}))"""
    page.focus("#id_q")
    page.evaluate(press, "KeyG")
    page.evaluate(press, "KeyJ")
    page.wait_for_timeout(200)
    assert page.url.endswith("/styleguide/")
    page.evaluate("document.activeElement.blur()")
    page.evaluate(press, "KeyG")
    page.evaluate(press, "KeyJ")
    page.wait_for_url("**/jobs/")


def test_shortcuts_can_be_switched_off(open_page: Open, designer: Any):
    page = open_page(designer, "/me/", viewport=WIDE)
    page.uncheck("#id_shortcuts")
    page.click("button >> text=Save")
    page.wait_for_selector(".toast")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Shift+Slash")
    assert not page.is_visible("#shortcuts")


def test_checking_boxes_counts_them(open_page: Open, designer: Any):
    page = open_page(designer, "/styleguide/", viewport=WIDE)
    assert page.text_content("[data-checked-count]") == "1"
    assert page.evaluate("document.querySelector('[data-check-all]').indeterminate")
    page.check("[data-check-all]")
    assert page.text_content("[data-checked-count]") == "8"
    page.uncheck("[data-check] >> nth=0")
    assert page.text_content("[data-checked-count]") == "7"


def test_filtering_swaps_the_table_keeps_the_focus_and_pushes_the_address(
    open_page: Open, designer: Any, job: Job
):
    Job.objects.create(kind="trial.other", title="Nightly backup", actor=designer, state=State.SUCCEEDED)
    page = open_page(designer, "/jobs/", viewport=WIDE)
    assert page.is_visible("text=Nightly backup")
    page.fill("#id_q", "nightly")
    page.wait_for_url("**/jobs/?*nightly*")
    page.wait_for_function("!document.querySelector('#jobs').textContent.includes('Read Dev')")
    assert page.is_visible("text=Nightly backup")
    assert page.evaluate("document.activeElement.id") == "id_q"
    page.go_back()
    page.wait_for_selector("text=Read Dev")
    assert page.locator("h1").count() == 1


def test_progress_is_asked_for_until_the_job_ends(open_page: Open, designer: Any, job: Job):
    page = open_page(designer, f"/jobs/{job.uuid}/", viewport=WIDE)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    Job.objects.filter(pk=job.pk).update(progress_done=2, current_step="Dashboards")
    page.wait_for_selector("text=Dashboards", timeout=6000)
    Job.objects.filter(pk=job.pk).update(state=State.SUCCEEDED, finished_at=timezone.now(), progress_done=3)
    page.wait_for_selector("#job-progress .pill >> text=succeeded", timeout=8000)
    page.wait_for_timeout(3000)
    asked.clear()
    page.wait_for_timeout(5000)
    assert asked == []


def test_a_lost_server_is_said_and_asked_again(open_page: Open, designer: Any, job: Job):
    page = open_page(designer, f"/jobs/{job.uuid}/", viewport=WIDE)
    page.context.set_offline(True)
    page.wait_for_selector("#offline:not([hidden])", timeout=8000)
    assert "No connection" in page.text_content("#offline")
    page.context.set_offline(False)
    page.wait_for_selector("#offline", state="hidden", timeout=20000)


def test_an_ended_session_leads_to_the_login_page_and_back(open_page: Open, designer: Any, job: Job):
    page = open_page(designer, f"/jobs/{job.uuid}/", viewport=WIDE)
    page.context.clear_cookies()
    page.wait_for_url("**/login/?next=*", timeout=8000)
    page.fill("[name=username]", "designer")
    page.fill("[name=password]", PASSWORD)
    page.click("button >> text=Sign in")
    page.wait_for_url(f"**/jobs/{job.uuid}/")


def test_a_server_error_is_said_and_the_page_stays(open_page: Open, designer: Any, job: Job):
    page = open_page(designer, "/jobs/", viewport=WIDE)
    page.route("**/jobs/?*", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
    page.fill("#id_q", "x")
    page.wait_for_selector(".toast >> text=502")
    assert page.is_visible("text=Read Dev")
