"""Files in a real browser: a tree is uploaded and audited, its report read on a phone, and a migration made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from environments.superset.archives import pack_files
from migrations_app.files.models import FileAudit
from migrations_app.models import Migration
from sstools.jobs.runner import run_job
from tests.axe import findings
from tests.fakes.pair import fake_pair
from tests.files.damage import damaged, tree_files

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Open = Callable[..., Any]
WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 320, "height": 700}


def test_a_tree_is_audited_and_migrated_by_keyboard_and_pointer(
    open_page: Open, admin: Any, tmp_path: Path
) -> None:
    bad, good = tmp_path / "damaged.zip", tmp_path / "slack.zip"
    bad.write_bytes(pack_files(damaged()[0]))
    good.write_bytes(pack_files(tree_files()))
    with fake_pair():
        page = open_page(admin, "/files/audits/", viewport=WIDE)
        page.set_input_files("#id_file", str(bad))
        page.select_option("#id_target", "prod")
        page.click("main button.btn-primary")
        page.wait_for_selector("#auditing")
        row = FileAudit.objects.get()
        assert row.job is not None
        run_job(str(row.job.uuid))
        page.wait_for_selector(
            "#findings table", timeout=60_000
        )  # the page asks by itself, and goes on to the report
        assert "cannot be read" in page.inner_text("#findings")
        assert findings(page) == []
        page.select_option("#id_code", "secret_in_file")
        page.wait_for_selector("#findings tbody tr:nth-child(3)", state="detached")
        assert page.locator("#findings tbody tr").count() == 2
        page.set_viewport_size(PHONE)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.set_viewport_size(WIDE)
        page.goto("/migrations/from-file/")
        page.set_input_files("#id_file", str(good))
        page.click("main button.btn-primary")
        page.wait_for_selector("main input[name=pick]")
        assert findings(page) == []
        page.set_viewport_size(PHONE)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.select_option("#id_target", "prod")
        page.click("main button.btn-primary")
        page.wait_for_url("**/plan/")
        assert Migration.objects.get().source_name == "slack.zip"
