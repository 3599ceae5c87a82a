"""The page that restores: what of a backup, where to and how; it makes a migration and asks for its plan."""

from __future__ import annotations

from typing import Any

import pytest

from environments.backups.models import Backup, BackupState
from migrations_app.models import Migration
from tests.factories import uuid_for
from tests.migrations_app.scenes import Scene

from .taking import take_backup

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_restore_is_chosen_on_its_page(
    furnished: Scene, signed_in: Any, author: Any, admin: Any, viewer: Any, stranger: Any
) -> None:
    scene, dev, here = furnished, furnished.pair.dev, furnished.pair.source
    backup = take_backup(here, scene.product)
    url = f"/backups/{backup.number}/restore/"
    dev.record("chart", uuid_for("Revenue"))["data"]["slice_name"] = "Broken"
    dev.add_chart("Later", dataset=uuid_for("orders"), uuid=uuid_for("Later"))
    scene.pair.read(here)
    browser = signed_in(author)

    page = browser.get(url, {"asset": f"chart:{uuid_for('Revenue')}"})
    text = page.content.decode()
    assert page.status_code == 200
    assert page.context["basket"] == uuid_for("Revenue")
    assert not page.context["everything"]
    assert {item.title: item.state for item, _ in page.context["rows"]} == {
        "Sales": "same",
        "Regions": "same",
        "Revenue": "differs",
        "orders": "same",
    }
    assert "1 asset is there now and not in this backup" in text
    assert "migration:prune" in text  # why an author cannot have it removed
    security = {row["label"] for row in page.context["beside"] if row["is_security"]}
    assert any("ow-level" in label or "rule" in label.lower() for label in security), security
    assert "env-band" not in text

    # The list is searched, and what was ticked stays.
    data = {
        "what": "picked",
        "basket": uuid_for("Revenue"),
        "target": here.slug,
        "how": "over",
        "verify": "on",
    }
    found = browser.post(url, {**data, "q": "sal", "do": "filter"}, headers={"HX-Request": "true"})
    assert [item.title for item, _ in found.context["rows"]] == ["Sales"]
    assert found.context["chosen_count"] == 1
    ticked = browser.post(
        url, {**data, "shown": uuid_for("Sales"), "pick": uuid_for("Sales"), "do": "filter"}
    )
    assert ticked.context["chosen_count"] == 2
    empty = browser.post(url, {**data, "basket": "", "do": "create"})
    assert (empty.status_code, "Nothing is ticked." in empty.content.decode()) == (422, True)
    red = browser.post(url, {**data, "verify": "", "roll_back_when_red": "on", "do": "create"})
    assert (red.status_code, "needs the verification" in red.content.decode()) == (422, True)
    assert not Migration.objects.exists()

    made = browser.post(url, {**data, "with_dependencies": "on", "do": "create"})
    migration = Migration.objects.get()
    assert made.headers["Location"] == f"/migrations/{migration.number}/plan/"
    assert (migration.selection, migration.is_put_back) == ([uuid_for("Revenue")], True)
    assert migration.job is not None
    scene.product.do(migration.job)
    for step in ("select", "map", "plan"):
        shown = browser.get(f"/migrations/{migration.number}/{step}/")
        assert (shown.status_code, f"backup {backup.number}" in shown.content.decode()) == (200, True), step
    assert "What came after backup" in shown.content.decode()

    # Who may remove has a box to tick; a copy is named.
    lead = signed_in(admin)
    everything = {"what": "all", "target": here.slug, "how": "over", "remove_later": "on", "do": "create"}
    lead.post(url, everything)
    whole = Migration.objects.order_by("-number")[0]
    assert (whole.prune, len(whole.selection)) == (True, 4)
    beside = {**everything, "how": "beside", "copy_title": "{title} then"}
    assert "put back over that environment" in lead.post(url, beside).content.decode()
    beside.pop("remove_later")
    lead.post(url, beside)
    assert (Migration.objects.order_by("-number")[0].copy_terms or {})["title"] == "{title} then"

    assert "migration:plan" in signed_in(viewer).get(url).content.decode()
    assert signed_in(stranger).get(url).status_code == 404
    Backup.objects.filter(pk=backup.pk).update(state=BackupState.FAILED)
    assert browser.get(url).status_code == 409
