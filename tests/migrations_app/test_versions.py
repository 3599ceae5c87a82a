"""Between releases: what an older target lacks is in the plan, what a newer one changes at import is in the run."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from migrations_app.models import PlanItem, Run
from tests.factories import uuid_for
from tests.fakes.pair import fake_pair

pytestmark = pytest.mark.django_db(transaction=True)


def _command(*words: str) -> tuple[int, str]:
    out, code = io.StringIO(), 0
    try:
        call_command(words[0], *words[1:], "--as", "release_lead", stdout=out, stderr=io.StringIO())
    except SystemExit as end:
        code = int(str(end.code))
    return code, out.getvalue()


PLAN = ("plan", "--from", "env:dev", "--to", "env:prod", "--all", "--map", "Warehouse DEV=Warehouse PROD")


def test_what_superset_turns_into_another_type_is_shown_and_neither_a_failure_nor_an_edit(
    release_lead: Any, signed_in: Callable[[Any], Client]
) -> None:
    with fake_pair() as pair:
        chart = pair.dev.record("chart", uuid_for("Revenue"))["data"]
        chart["viz_type"] = chart["params"]["viz_type"] = "dist_bar"
        code, out = _command(*PLAN, "--no-verify", "--json")
        planned = json.loads(out)
        assert code == 2
        assert "viz_type_converted" in {problem["code"] for problem in planned["plan"]["problems"]}
        number = str(planned["migration"]["number"])
        code, out = _command("apply", number)
        assert (code, "turned “Revenue” from dist_bar into echarts_timeseries_bar" in out) == (0, True)
        run = Run.objects.get()
        (told,) = run.steps.get(name="read_back").result["converted"]
        assert {"viz_type", "params.x_axis"} <= {*told["fields"]}
        page = signed_in(release_lead).get(f"/migrations/{number}/verify/").content.decode()
        assert "Superset made dist_bar into echarts_timeseries_bar" in page
        assert "params.x_axis" in page
        assert _command(*PLAN)[0] == 0  # nothing to do
        # An edit on the target is one all the same.
        pair.prod.record("chart", uuid_for("Revenue"))["data"]["description"] = "Theirs"
        pair.prod.record("chart", uuid_for("Revenue"))["changed_on"] = pair.prod._now()
        assert _command(*PLAN, "--no-verify")[0] == 2
        edited = PlanItem.objects.filter(title="Revenue").latest("pk")
        assert edited.conflict is not None
        assert edited.conflict["code"] == "drifted"


def test_what_an_older_target_lacks_is_named_before(release_lead: Any) -> None:
    with fake_pair(target_version="4.1.4") as pair:
        orders = pair.dev.record("dataset", uuid_for("orders"))["data"]
        orders["currency_code_column"] = "region"
        pair.dev.record("chart", uuid_for("Regions"))["data"]["viz_type"] = "gantt_chart"
        code, out = _command(*PLAN, "--json")
        assert code == 2
        body = json.loads(out)
        blocked = dict(PlanItem.objects.filter(action="blocked").values_list("title", "blocked_by"))
        assert "Superset 4.1.4 has no charts of the type gantt_chart." in blocked["Regions"]
        assert "“Regions” is blocked" in blocked["Sales"]
        (lost,) = [loss["text"] for loss in body["plan"]["losses"] if loss["code"] == "unknown_field"]
        assert "“currency_code_column” is unknown to Superset 4.1.4: amounts are not shown" in lost
        code, out = _command(*PLAN, "--leave-out", uuid_for("Regions"), "--no-verify", "--json")
        assert _command("apply", str(json.loads(out)["migration"]["number"]))[0] == 0
        assert "currency_code_column" not in pair.prod.record("dataset", uuid_for("orders"))["data"]
