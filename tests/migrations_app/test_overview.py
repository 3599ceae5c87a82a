"""What the overview says about migrations."""

from typing import Any

import pytest
from django.test import Client

from migrations_app import overview
from migrations_app.models import MigrationState, RunState
from tests.factories import make_migration, make_plan, make_run

pytestmark = pytest.mark.django_db


def test_it_names_what_needs_attention_and_links_the_newest(admin: Any, signed_in: Any) -> None:
    migration = make_migration(state=MigrationState.NEEDS_ATTENTION)
    browser: Client = signed_in(admin)
    page = browser.get("/").content.decode()
    assert "1 need attention" in page
    assert migration.get_absolute_url() in page


def test_the_third_step_is_done_once_a_run_was_applied(admin: Any) -> None:
    assert overview.done_steps(admin) == set()
    migration = make_migration()
    make_plan(migration)
    make_run(migration, RunState.APPLIED)
    assert overview.done_steps(admin) == {"migration"}


def test_a_stranger_is_told_nothing(stranger: Any) -> None:
    migration = make_migration()
    make_plan(migration)
    make_run(migration, RunState.APPLIED)
    assert list(overview.facts(stranger)) == []
    assert list(overview.sections(stranger)) == []
