"""{% load web %}."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from django.core.paginator import Paginator
from django.template import RequestContext, Template
from django.test import RequestFactory
from django.utils import timezone

from sstools.web import states
from sstools.web.templatetags import web
from sstools.web.words import word_marks

PROD = {"name": "Prod", "slug": "prod", "is_protected": True}


def render(template: str, query: str = "", **context: object) -> str:
    request = RequestFactory().get("/x/" + query)
    return Template("{% load web %}" + template).render(RequestContext(request, context))


def test_an_icon_is_decoration_unless_it_is_named():
    assert 'aria-hidden="true"' in render('{% icon "check" %}')
    assert 'role="img" aria-label="done"' in render('{% icon "check" label="done" %}')


def test_a_pill_has_sign_word_and_number():
    html = render('{% pill "behind" 1204 %}')
    assert "#arrow-down" in html
    assert "behind <b>1,204</b>" in html


def test_the_name_of_a_pill_that_links_says_of_what_it_is_the_state():
    html = render('{% pill "drifted" 1 href="/x/" label="Sales on Prod" %}')
    assert 'href="/x/"' in html
    assert 'aria-label="Sales on Prod: drifted 1"' in html


def test_text_of_others_is_escaped():
    assert "<script>" not in render(
        "{% pill state text=text %}{% env_tag text %}", state="<script>", text="<script>"
    )


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ("in_sync", "in sync"),
        ("Not checkable", "not checkable"),
        ("remove", "remove"),
        ("brand-new", "brand new"),
    ],
)
def test_states_are_found_by_name_and_unknown_ones_shown_as_they_are(state: str, word: str):
    assert states.look(state).word == word


def test_an_environment_shows_its_tone_and_its_lock():
    html = render("{% env_tag prod %}", prod=PROD)
    assert "env-prod" in html
    assert 'aria-label="protected"' in html
    assert "#lock" not in render("{% env_tag dev %}", dev={"name": "Dev", "slug": "dev"})


@pytest.mark.parametrize(
    ("environment", "tone"),
    [
        ({"slug": "production"}, "prod"),
        ({"slug": "staging-eu"}, "stage"),
        ({"slug": "uat"}, "test"),
        ({"slug": "sandbox"}, "dev"),
        ({"slug": "prod", "colour": "test"}, "test"),
        (SimpleNamespace(slug="x", name="X", colour="stage"), "stage"),
        ("prod", "prod"),
    ],
)
def test_the_tone_of_an_environment(environment: object, tone: str):
    assert web.environment_tone(environment) == tone


# --- Time ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("back", "text"),
    [
        (timedelta(seconds=5), "just now"),
        (timedelta(minutes=4), "4 min ago"),
        (timedelta(minutes=59, seconds=50), "1 h ago"),
        (timedelta(hours=23), "23 h ago"),
        (-timedelta(minutes=12, seconds=5), "in 12 min"),
    ],
)
def test_moments_within_a_day_are_relative(back: timedelta, text: str):
    assert f">{text}</time>" in web.when(timezone.now() - back)


def test_older_moments_are_dates_in_the_readers_zone_with_utc_in_the_title():
    moment = datetime(2024, 12, 31, 23, 30, tzinfo=UTC)
    with timezone.override("Europe/Moscow"):
        assert web.when(moment) == (
            '<time datetime="2024-12-31T23:30:00+00:00" title="2024-12-31 23:30:00 UTC">1 Jan 2025</time>'
        )
        assert ">2025-01-01 02:30:00 MSK</time>" in web.when(moment, absolute=True)
        assert ">02:30:00</time>" in web.clock(moment)


def test_never_is_a_word_too():
    assert ">never<" in web.when(None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.84, "0.8 s"),
        (9.96, "10 s"),
        (12, "12 s"),
        (59.6, "1:00"),
        (123, "2:03"),
        (3723, "1:02:03"),
        (None, ""),
    ],
)
def test_durations(seconds: float | None, text: str):
    assert web.duration(seconds) == text


@pytest.mark.parametrize(("age", "seconds"), [(5, 2), (90, 5), (1000, 15)])
def test_a_job_is_asked_less_often_the_longer_it_runs(age: int, seconds: int):
    assert web.poll_seconds(SimpleNamespace(started_at=timezone.now() - timedelta(seconds=age))) == seconds


def test_counting():
    assert (web.count(1, "asset"), web.count(1204, "asset"), web.count(0, "entry", "entries")) == (
        "1 asset",
        "1,204 assets",
        "0 entries",
    )


# --- Tables -------------------------------------------------------------------------------------------------------
def heading(query: str) -> str:
    return render('{% sort_th "name" "Name" target="#assets" %}', query)


def test_a_heading_sorts_keeps_the_filters_and_goes_back_to_the_first_page():
    html = heading("?q=sales&page=4")
    assert 'href="?q=sales&amp;sort=name"' in html
    assert 'hx-get="?q=sales&amp;sort=name" hx-target="#assets"' in html
    assert "aria-sort" not in html


def test_a_sorted_heading_says_so_and_turns_around():
    assert 'aria-sort="ascending"' in heading("?sort=name")
    assert "sort=-name" in heading("?sort=name")
    assert 'aria-sort="descending"' in heading("?sort=-name")


@pytest.mark.parametrize(
    ("pages", "current", "shown"),
    [
        (1, 1, [1]),
        (9, 3, [1, 2, 3, 4, 0, 9]),
        (9, 5, [1, 0, 4, 5, 6, 0, 9]),
        (4, 1, [1, 2, 3, 4]),
        (5, 1, [1, 2, 0, 5]),
    ],
)
def test_a_pager_shows_the_ends_and_the_neighbours(pages: int, current: int, shown: list[int]):
    assert web.page_numbers(Paginator(range(pages * 10), 10), current) == shown


def test_a_pager_keeps_the_filters():
    page = Paginator(range(412), 50).page(3)
    html = render('{% include "_pagination.html" with noun="asset" target="#x" %}', query="?q=a", page=page)
    assert "101–150 of 412 assets" in " ".join(html.split())
    assert 'href="?q=a&amp;page=4"' in html
    assert 'hx-get="?q=a&amp;page=4"' in html


# --- Changes ------------------------------------------------------------------------------------------------------
def test_only_the_changed_words_are_marked():
    assert word_marks("SUM(amount) AS x", "SUM(net_amount) AS x") == (
        "SUM(<del>amount</del>) AS x",
        "SUM(<ins>net_amount</ins>) AS x",
    )


def test_texts_that_have_little_in_common_are_marked_as_a_whole():
    assert word_marks("abc", "xyz") == ("<del>abc</del>", "<ins>xyz</ins>")


def test_marks_escape_what_they_mark():
    left, right = word_marks("a <b> & c", "a <i> & c")
    assert "<b>" not in left
    assert "<i>" not in right
    assert left == "a &lt;<del>b</del>&gt; &amp; c"


def test_very_long_texts_are_not_compared_word_by_word():
    left, right = word_marks("a " * 5_000, "b " * 5_000)
    assert left.startswith("<del>")
    assert right.count("<ins>") == 1


def test_a_path_may_break_at_its_dots_and_stays_escaped():
    assert web.dotted("params.metrics[0].<x>") == "params<wbr>.metrics<wbr>[0]<wbr>.&lt;x&gt;"


def test_a_bar_shows_shares_and_says_them():
    html = web.stack_bar([("same", 3), ("behind", 1), ("drifted", 0)], "3 same, 1 behind")
    assert 'x="0.00" width="75.00"' in html
    assert 'x="75.00" width="25.00"' in html
    assert html.count("<rect") == 2
    assert 'aria-label="3 same, 1 behind"' in html


def test_a_line_of_nothing_is_still_a_picture():
    assert "points=" in web.spark([], "no changes")
    assert "0.0,22.0" in web.spark([0, 0], "no changes")
