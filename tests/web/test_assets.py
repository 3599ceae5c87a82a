"""What templates and static files keep to: nothing inline, nothing from elsewhere, icons that exist, small files."""

import gzip
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.template.loader import get_template

from sstools.web import home, navigation, states

ROOT = Path(settings.BASE_DIR)
TEMPLATES = sorted(path for path in (ROOT / "templates").rglob("*.html") if "admin" not in path.parts)
CSS = (ROOT / "static/css/app.css").read_text()
ICONS = set(re.findall(r'<symbol id="([\w-]+)"', (ROOT / "static/img/sprite.svg").read_text()))
NAMES = [str(path.relative_to(ROOT / "templates")) for path in TEMPLATES]


@pytest.fixture(params=TEMPLATES, ids=NAMES)
def template(request: pytest.FixtureRequest) -> str:
    return request.param.read_text()


def test_there_are_templates_to_look_at():
    assert "base.html" in NAMES
    assert len(NAMES) > 20


@pytest.mark.parametrize("name", NAMES)
def test_every_template_compiles(name: str):
    assert get_template(name)


def test_nothing_is_inline(template: str):
    assert not re.search(r"<style\b", template), "styles belong to app.css"
    assert not re.search(r"\sstyle\s*=", template), "the CSP forbids style attributes"
    assert not re.search(r"\son[a-z]+\s*=\s*[\"']", template), "the CSP forbids event attributes"
    assert "javascript:" not in template
    assert not re.search(r"hx-(on|vals\s*=\s*[\"']js)", template), "needs eval"
    assert not re.search(r"hx-trigger=\"(?:[^\"]*,\s*)?\w+\[", template), "trigger filters need eval"
    for script in re.findall(r"<script\b[^>]*>", template):
        assert " src=" in script or "application/json" in script


def test_nothing_comes_from_elsewhere(template: str):
    for address in re.findall(r"(?:src|href)=\"(https?:)?//", re.sub(r"<a\s[^>]*>", "", template)):
        pytest.fail(f"loads from {address}")


def test_every_form_that_posts_has_a_token(template: str):
    for form in re.findall(r"<form\b[^>]*method=\"post\".*?</form>", template, re.S | re.I):
        assert "{% csrf_token %}" in form


def test_every_htmx_request_also_works_without_javascript(template: str):
    for tag in re.findall(r"<(?:a|form)\b[^>]*\shx-(?:get|post)=[^>]*>", template):
        assert re.search(r"\s(href|action)=", tag), tag


def test_every_icon_exists(template: str):
    for name in re.findall(r"{%\s*icon\s+\"([\w-]+)\"", template):
        assert name in ICONS
    for name in re.findall(r"icon_name=\"([\w-]+)\"", template):
        assert name in ICONS


def test_every_state_and_every_page_of_the_rail_has_an_icon_that_exists():
    used = {look.icon for look in states.LOOKS.values()} | {states.UNKNOWN.icon}
    used |= {entry.icon for group in navigation.GROUPS for entry in group.entries}
    assert used <= ICONS


def test_the_tones_of_states_are_classes_of_the_stylesheet():
    for look in states.LOOKS.values():
        assert f".tone-{look.tone}" in CSS
        for extra in look.extra.split():
            assert f".{extra}" in CSS


def test_the_eight_sync_states_differ_in_sign_and_word():
    names = ("in_sync", "behind", "drifted", "diverged", "differs", "absent", "only_here", "unknown")
    looks = [states.LOOKS[name] for name in names]
    assert len({look.icon for look in looks}) == len({look.word for look in looks}) == 8


def test_the_stylesheet_loads_nothing():
    assert "@import" not in CSS
    assert "url(" not in CSS


@pytest.mark.parametrize(
    ("path", "budget"),
    [
        ("css/app.css", 12 * 1024),
        ("js/app.js", 6 * 1024),
        ("img/sprite.svg", 12 * 1024),
        ("img/logo.svg", 1024),
    ],
)
def test_files_stay_small(path: str, budget: int):
    """Gzipped, in bytes: the whole look is loaded once and fits into what a slow line carries in a second."""
    assert len(gzip.compress((ROOT / "static" / path).read_bytes(), 9, mtime=0)) <= budget


def test_the_steps_of_the_overview_are_told_apart():
    assert len({step.key for step in home.START}) == len(home.START) == 3
