"""The pages of schedules."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from environments.models import Environment
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, State
from sstools.roles.models import Grant
from sstools.schedules import firing, overview, services
from sstools.schedules.models import Firing, Schedule
from sstools.web.models import Preference
from tests.factories import make_environment

from .conftest import at, due, end, scope

pytestmark = pytest.mark.django_db
Make = Callable[..., Schedule]
SignIn = Callable[[Any], Client]


def form_data(environment: Environment, **fields: str) -> dict[str, str]:
    return {
        "name": "Nightly",
        "params-environment": str(environment.uuid),
        "cron": "0 2 * * *",
        "time_zone": "Europe/Berlin",
        "missed": "run_once",
        "grace_seconds": "600",
        "jitter_seconds": "0",
        **fields,
    }


# --- The list


def test_an_empty_list_says_what_to_do(signed_in: SignIn, author: Any, viewer: Any) -> None:
    assert "New schedule" in signed_in(author).get("/schedules/").text
    assert "needs the right schedule:edit" in signed_in(viewer).get("/schedules/").text


def test_the_list_shows_state_times_and_owner(
    signed_in: SignIn, author: Any, viewer: Any, make_schedule: Make
) -> None:
    schedule = make_schedule(author, cron="30 6 * * mon-fri", time_zone="America/New_York")
    page = signed_in(viewer).get("/schedules/").text
    assert schedule.get_absolute_url() in page
    for words in ("At 06:30, Monday through Friday", "America/New_York", "author", "never", ">on<"):
        assert words in page
    assert "disabled" in page.partition("New schedule")[0].rpartition("<button")[2]
    fragment = signed_in(viewer).get("/schedules/?q=nothing-like-it", headers={"HX-Request": "true"}).text
    assert "No schedule matches" in fragment
    assert "<html" not in fragment


def test_the_list_is_filtered_by_state(signed_in: SignIn, author: Any, make_schedule: Make) -> None:
    services.pause(make_schedule(author, name="Resting one"), actor=author)
    late = make_schedule(author, name="Late one")
    long_ago = jobs.db_now() - timedelta(days=1)
    Schedule.objects.filter(pk=late.pk).update(late_at=long_ago)
    make_schedule(author, name="Good one")
    client = signed_in(author)
    for state, name in (("paused", "Resting one"), ("late", "Late one"), ("on", "Good one")):
        page = client.get(f"/schedules/?state={state}").text
        assert [one in page for one in ("Resting one", "Late one", "Good one")].count(True) == 1
        assert name in page


def test_queries_of_the_list_do_not_grow_with_its_rows(
    signed_in: SignIn, author: Any, make_schedule: Make
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            assert signed_in(author).get("/schedules/").status_code == 200
        return len(seen)

    due(make_schedule(author), "2026-11-23 02:00")
    firing.fire_due(at("2026-11-23 02:00:01"))
    few = queries()
    for number in range(20):
        other = make_environment(f"more-{number}")
        schedule = make_schedule(author, name=f"n{number}", params={"environment": str(other.uuid)})
        due(schedule, "2026-11-24 02:00")
    firing.fire_due(at("2026-11-24 02:00:01"))
    assert queries() <= few


def test_one_sees_only_what_concerns_ones_environments(
    signed_in: SignIn,
    admin: Any,
    make_user: Callable[..., Any],
    make_schedule: Make,
    environment: Environment,
) -> None:
    ann = make_user("ann", role="viewer", on=scope(environment))
    prod = make_environment("prod")
    hidden = make_schedule(admin, name="Of prod", params={"environment": str(prod.uuid)})
    make_schedule(admin, name="Of dev")
    client = signed_in(ann)
    page = client.get("/schedules/").text
    assert "Of dev" in page
    assert "Of prod" not in page
    for path in ("", "edit/", "delete/"):
        assert client.get(f"/schedules/{hidden.uuid}/{path}").status_code == 404
    for path in ("pause", "resume", "run", "take-over", "delete"):
        assert client.post(f"/schedules/{hidden.uuid}/{path}/").status_code == 404


def test_signed_out_people_are_sent_to_the_login(client: Client, author: Any, make_schedule: Make) -> None:
    schedule = make_schedule(author)
    for path in ("", "new/", "preview/", f"{schedule.uuid}/", f"{schedule.uuid}/edit/"):
        answer = client.get(f"/schedules/{path}")
        assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (302, "/login/")


# --- Making and editing


def test_a_schedule_is_made_on_two_pages(signed_in: SignIn, author: Any, environment: Environment) -> None:
    client = signed_in(author)
    kinds = client.get("/schedules/new/").text
    assert "?kind=environments.check" in kinds
    assert "Tries everything that a migration needs" in kinds
    page = client.get(f"/schedules/new/?kind=environments.check&environment={environment.uuid}").text
    assert f'value="{environment.uuid}" selected' in page
    assert "At 02:00, every day" in page  # the preview is there without JavaScript
    answer = client.post("/schedules/new/?kind=environments.check", form_data(environment))
    schedule = Schedule.objects.get()
    assert answer.headers["Location"] == schedule.get_absolute_url()
    assert (schedule.owner, schedule.time_zone, schedule.name) == (author, "Europe/Berlin", "Nightly")


def test_errors_stand_beside_their_fields(signed_in: SignIn, author: Any, environment: Environment) -> None:
    client = signed_in(author)
    answer = client.post(
        "/schedules/new/?kind=environments.check",
        form_data(environment, **{"cron": "99 2 * * *", "name": "", "params-environment": ""}),
    )
    assert answer.status_code == 422
    for words in (
        "Minute: 99 is not between 0 and 59.",
        'id="id_name_error"',
        'id="id_params-environment_error"',
    ):
        assert words in answer.text
    answer = client.post(
        "/schedules/new/?kind=environments.check",
        form_data(environment, cron="*/5 * * * *", jitter_seconds="300"),
    )
    assert answer.status_code == 422
    assert "It must be shorter than the time between two runs, 300 s." in answer.text
    assert not Schedule.objects.exists()


def test_a_preset_fills_the_form_in_also_without_javascript(
    signed_in: SignIn, author: Any, environment: Environment
) -> None:
    answer = signed_in(author).post(
        "/schedules/new/?kind=environments.check", form_data(environment, preset="0 3 * * sun", name="Kept")
    )
    assert answer.status_code == 200
    assert 'value="0 3 * * sun"' in answer.text
    assert 'value="Kept"' in answer.text
    assert "At 03:00, only on Sunday" in answer.text
    assert f'value="{environment.uuid}" selected' in answer.text
    assert not Schedule.objects.exists()


def test_what_one_has_no_right_for_is_no_kind(signed_in: SignIn, viewer: Any, author: Any) -> None:
    assert signed_in(viewer).get("/schedules/new/").status_code == 403
    assert signed_in(viewer).get("/schedules/new/?kind=environments.check").status_code == 403
    client = signed_in(author)
    assert client.get("/schedules/new/?kind=migrations_app.apply_plan").status_code == 404
    assert client.get("/schedules/new/?kind=nonsense").status_code == 404


def test_editing_shows_what_is_stored_and_saves_it(
    signed_in: SignIn, author: Any, make_schedule: Make, environment: Environment
) -> None:
    schedule = make_schedule(author, missed="skip", grace_seconds=1200)
    client = signed_in(author)
    page = client.get(f"/schedules/{schedule.uuid}/edit/").text
    assert f'value="{environment.uuid}" selected' in page
    assert 'value="1200"' in page
    answer = client.post(f"/schedules/{schedule.uuid}/edit/", form_data(environment, name="Renamed"))
    assert answer.status_code == 302
    schedule.refresh_from_db()
    assert (schedule.name, schedule.missed, schedule.grace_seconds) == ("Renamed", "run_once", 600)


def test_the_preview_answers_while_one_types(signed_in: SignIn, author: Any) -> None:
    client = signed_in(author)
    Preference.objects.create(user=author, time_zone="Asia/Kolkata")
    query = {"cron": "30 2 * * *", "time_zone": "Europe/Berlin"}
    fragment = client.get("/schedules/preview/", query, headers={"HX-Request": "true"}).text
    assert "At 02:30, every day" in fragment
    assert fragment.count(" 02:30 CE") == 3  # Berlin
    assert fragment.count(" IST</time>") == 3  # for the reader
    wrong = client.get("/schedules/preview/", {"cron": "0 25 * * *", "time_zone": "x"}).text
    assert "Hour: 25 is not between 0 and 23." in wrong
    assert "There is no time zone “x”" in wrong
    assert 'id="timing"' in client.get("/schedules/preview/", {**query, "preset": "@daily"}).text


# --- One schedule


def test_the_detail_page_tells_everything(
    signed_in: SignIn, author: Any, viewer: Any, make_schedule: Make
) -> None:
    schedule = due(make_schedule(author, time_zone="Europe/Berlin", cron="0 3 * * *"), "2026-11-24 02:00")
    firing.fire_due(at("2026-11-24 02:00:01"))
    page = signed_in(viewer).get(schedule.get_absolute_url()).text
    assert 'hx-trigger="every' in page  # its job is at work
    assert "Tue 2026-11-24 03:00 CET" in page
    assert "Changing it needs the right schedule:edit on Dev." in page
    assert page.count("disabled aria-describedby") == 4
    end(
        Job.objects.get(),
        State.FAILED,
        error={"code": "timeout", "message": "It did not answer.", "remedy": ""},
    )
    firing.settle()
    page = signed_in(author).get(schedule.get_absolute_url()).text
    assert 'hx-trigger="every' not in page
    assert "Its last run failed" in page
    assert "It did not answer." in page
    assert f"/jobs/{Job.objects.get().uuid}/" in page


def test_a_late_schedule_says_so_and_what_to_do(signed_in: SignIn, author: Any, make_schedule: Make) -> None:
    schedule = make_schedule(author)
    long_ago = jobs.db_now() - timedelta(hours=1)
    Schedule.objects.update(late_at=long_ago, next_due_at=long_ago, next_fire_at=long_ago)
    page = signed_in(author).get(schedule.get_absolute_url()).text
    assert "was not started" in page
    assert "No worker was seen in the last minute" in page
    home = signed_in(author).get("/").text
    assert "should have started by now" in home
    assert "/schedules/?state=late" in home


def test_buttons_pause_resume_run_take_over_and_delete(
    signed_in: SignIn, author: Any, admin: Any, make_schedule: Make
) -> None:
    schedule = make_schedule(author)
    client = signed_in(admin)
    at_ = schedule.get_absolute_url()
    assert "Pause it" in client.get(f"{at_}pause/").text
    assert client.post(f"{at_}pause/", {"reason": "Moving house"}).headers["Location"] == at_
    page = client.get(at_).text
    assert "by admin" in page
    assert "Moving house" in page
    client.post(f"{at_}resume/")
    client.post(f"{at_}take-over/")
    schedule.refresh_from_db()
    assert (schedule.owner, schedule.is_paused) == (admin, False)
    answer = client.post(f"{at_}run/")
    job = Job.objects.get()
    assert answer.headers["Location"] == f"/jobs/{job.uuid}/"
    assert client.post(f"{at_}run/").headers["Location"] == f"/jobs/{job.uuid}/"
    assert Firing.objects.count() == Job.objects.count() == 1
    assert "Its history of 1 run." in client.get(f"{at_}delete/").text
    assert client.post(f"{at_}delete/").headers["Location"] == "/schedules/"
    assert not Schedule.objects.exists()
    assert Job.objects.exists()
    for path in ("resume", "run", "take-over"):
        assert client.get(f"{at_}{path}/").status_code == 405


def test_a_schedule_whose_owner_is_gone_offers_to_take_it_over(
    signed_in: SignIn, author: Any, admin: Any, make_schedule: Make
) -> None:
    schedule = due(make_schedule(author), "2026-11-24 02:00")
    author.delete()
    firing.fire_due(at("2026-11-24 02:00:01"))
    client = signed_in(admin)
    page = client.get(schedule.get_absolute_url()).text
    assert "Its owner was removed. Somebody must take it over." in page
    answer = client.post(f"{schedule.get_absolute_url()}resume/")
    assert answer.status_code == 409
    assert "Take it over first." in answer.text
    client.post(f"{schedule.get_absolute_url()}take-over/")
    client.post(f"{schedule.get_absolute_url()}resume/")
    schedule.refresh_from_db()
    assert (schedule.owner, schedule.is_paused) == (admin, False)


def test_who_may_edit_and_not_run_is_told_which_right_is_missing(
    signed_in: SignIn, author: Any, make_user: Callable[..., Any], make_schedule: Make
) -> None:
    from sstools.roles.models import CustomRole

    CustomRole.objects.create(
        key="clerk", name="Clerk", permissions=["schedule:edit", "schedule:view", "environment:view"]
    )
    clerk = make_user("clerk", role="clerk")
    schedule = make_schedule(author)
    client = signed_in(clerk)
    assert (
        "Running it needs the right environment:test on Dev." in client.get(schedule.get_absolute_url()).text
    )
    assert client.post(f"{schedule.get_absolute_url()}run/").status_code == 403
    assert client.post(f"{schedule.get_absolute_url()}pause/").status_code == 302
    assert not Job.objects.exists()


def test_rows_broken_by_hand_break_no_page(signed_in: SignIn, admin: Any, make_schedule: Make) -> None:
    one, two, three = (make_schedule(admin, name=name) for name in ("a", "b", "c"))
    Schedule.objects.filter(pk=one.pk).update(cron="nonsense")
    Schedule.objects.filter(pk=two.pk).update(time_zone="Mars/Olympus")
    Schedule.objects.filter(pk=three.pk).update(kind="plugin.gone", owner=None)
    client = signed_in(admin)
    assert client.get("/schedules/").status_code == 200
    for schedule in (one, two, three):
        assert client.get(schedule.get_absolute_url()).status_code == 200
    assert "Its times are not understood" in client.get(one.get_absolute_url()).text
    assert client.get(f"{three.get_absolute_url()}edit/").status_code == 409
    assert client.post(f"{three.get_absolute_url()}delete/").status_code == 302


def test_an_environment_names_its_schedules_and_leads_to_a_new_one(
    signed_in: SignIn, author: Any, viewer: Any, make_schedule: Make, environment: Environment
) -> None:
    schedule = make_schedule(author)
    page = signed_in(viewer).get("/environments/dev/").text
    assert schedule.get_absolute_url() in page
    assert "Read it on schedule" not in page
    page = signed_in(author).get("/environments/dev/").text
    link = f"/schedules/new/?kind=environments.read_inventory&amp;environment={environment.uuid}"
    assert link in page
    assert f'value="{environment.uuid}" selected' in signed_in(author).get(link.replace("&amp;", "&")).text


# --- Django's admin


def test_the_admin_goes_through_the_service(
    client: Client, make_user: Callable[..., Any], make_schedule: Make, environment: Environment
) -> None:
    root = make_user("root", is_superuser=True, is_staff=True)
    client.force_login(root)
    data = {
        "name": "From the admin",
        "kind": "environments.check",
        "params": f'{{"environment": "{environment.uuid}"}}',
        "cron": "99 * * * *",
        "time_zone": "UTC",
        "jitter_seconds": "0",
        "grace_seconds": "600",
        "missed": "run_once",
    }
    page = client.post("/admin/schedules/schedule/add/", data).text
    assert "Minute: 99 is not between 0 and 59." in page
    assert not Schedule.objects.exists()
    assert client.post("/admin/schedules/schedule/add/", {**data, "cron": "0 2 * * *"}).status_code == 302
    schedule = Schedule.objects.get()
    assert (schedule.owner, schedule.name) == (root, "From the admin")
    assert schedule.next_due_at is not None
    change = f"/admin/schedules/schedule/{schedule.pk}/change/"
    assert client.get(change).status_code == 200
    assert client.post(change, {**data, "cron": "0 5 * * *"}).status_code == 302
    schedule.refresh_from_db()
    assert schedule.next_due_at is not None
    assert schedule.next_due_at.hour == 5
    for action in ("pause", "resume", "run"):
        posted = {"action": action, "_selected_action": [schedule.pk]}
        assert client.post("/admin/schedules/schedule/", posted).status_code == 302
    assert Job.objects.count() == 1
    assert client.get("/admin/schedules/firing/").status_code == 200
    assert client.post(f"/admin/schedules/schedule/{schedule.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Schedule.objects.exists()
    from sstools.audit.models import AuditEvent

    actions = set(AuditEvent.objects.filter(action__startswith="schedule:").values_list("action", flat=True))
    assert actions == {
        f"schedule:{verb}" for verb in ("create", "update", "pause", "resume", "run", "delete")
    }


def test_staff_without_the_right_sees_nothing_in_the_admin(
    client: Client, make_user: Callable[..., Any], admin: Any, make_schedule: Make
) -> None:
    make_schedule(admin)
    staff = make_user("staff", role="viewer", is_staff=True)
    client.force_login(staff)
    schedule = Schedule.objects.get()
    assert client.post("/admin/schedules/schedule/add/", {}).status_code == 403
    assert client.post(f"/admin/schedules/schedule/{schedule.pk}/change/", {}).status_code in (302, 403)
    assert client.post(f"/admin/schedules/schedule/{schedule.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Schedule.objects.count() == 1
    assert Grant.objects.filter(user=staff).exists()


# --- Elsewhere


def test_a_late_schedule_shows_on_the_overview_and_in_the_icon_of_every_tab(
    signed_in: SignIn, author: Any, viewer: Any, stranger: Any, make_schedule: Make
) -> None:
    schedule = make_schedule(author)
    reader = signed_in(viewer)
    assert "favicon-alert" not in reader.get("/jobs/").text
    due(schedule, "2026-11-01T02:00")
    assert "1 schedule late" in reader.get("/jobs/").text
    page = reader.get("/").text
    assert "favicon-alert" in page
    assert "should have started by now" in page
    assert "/schedules/?state=late" in page
    assert next(iter(overview.facts(viewer))).order < 10  # before what is there on good days too
    assert "favicon-alert" not in signed_in(stranger).get("/").text  # who may not know of it
    services.pause(schedule, actor=author)
    assert "favicon-alert" not in reader.get("/jobs/").text


def test_a_job_leads_to_the_schedule_that_asked_for_it(
    signed_in: SignIn, author: Any, viewer: Any, make_user: Callable[..., Any], make_schedule: Make
) -> None:
    schedule = make_schedule(author, name="Every night")
    due(schedule, "2026-11-01T02:00")
    firing.fire_due(at("2026-11-01T02:00:05"))
    job = Job.objects.get()
    link = f'<a id="fact-origin" href="{schedule.get_absolute_url()}">Every night</a>'
    assert link in signed_in(viewer).get(f"/jobs/{job.uuid}/").text
    blind = make_user("blind")
    Job.objects.update(actor=blind)  # one sees one's own jobs, and schedules only by right
    page = signed_in(blind).get(f"/jobs/{job.uuid}/").text
    assert "a schedule" in page
    assert "Every night" not in page
