"""What the style page shows: invented, fixed, in the shapes that the partials expect."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from django import forms
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.utils import timezone

DEV = {"name": "Dev", "slug": "dev", "colour": "dev", "is_protected": False}
TEST = {"name": "Test", "slug": "test", "colour": "test", "is_protected": False}
STAGE = {"name": "Stage", "slug": "stage", "colour": "stage", "is_protected": False}
PROD = {"name": "Prod", "slug": "prod", "colour": "prod", "is_protected": True}

STATES = (
    (
        "An asset against its reference",
        (
            "in_sync",
            "behind",
            "drifted",
            "diverged",
            "differs",
            "absent",
            "only_here",
            "unknown",
            "read_failed",
        ),
    ),
    (
        "A line of a plan",
        ("create", "update", "keep", "adopt", "blocked", "same", "removed", "left_out", "mapped"),
    ),
    ("A verdict", ("ok", "differs", "failed", "not_checkable", "slower")),
    ("A job", ("queued", "running", "succeeded", "failed", "cancelling", "cancelled", "needs_input")),
    (
        "A migration",
        (
            "draft",
            "planned",
            "stale",
            "waiting",
            "approved",
            "applying",
            "verifying",
            "done",
            "rolled_back",
            "needs_attention",
            "accepted",
            "discarded",
        ),
    ),
    ("An environment", ("reached", "unreachable", "refused", "untested")),
)
COUNTED = {"behind": 3, "drifted": 1, "diverged": 2}


class FilterForm(forms.Form):
    q = forms.CharField(
        label="Find",
        required=False,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Name, slug or uuid"}),
    )
    state = forms.ChoiceField(
        label="State", required=False, choices=[("", "any"), ("drifted", "drifted"), ("behind", "behind")]
    )
    owner = forms.ChoiceField(label="Owner", required=False, choices=[("", "anyone"), ("ap", "Alice Parker")])


class SampleForm(forms.Form):
    name = forms.CharField(label="Name", help_text="Shown in tags and lists. Short is good: Prod, Stage.")
    url = forms.URLField(
        label="Address", assume_scheme="https", help_text="Where people open Superset, with https://."
    )
    timeout = forms.IntegerField(label="Read timeout", min_value=1, help_text="Seconds.")
    notes = forms.CharField(label="Notes", required=False, widget=forms.Textarea(attrs={"rows": 3}))
    sign_in = forms.ChoiceField(
        label="Sign-in",
        choices=[("password", "User and password"), ("token", "Token")],
        widget=forms.RadioSelect,
        initial="password",
    )
    protected = forms.BooleanField(
        label="Protected",
        required=False,
        help_text="Every write asks for the name, and may need an approval.",
    )


def _rows() -> list[dict[str, Any]]:
    now = timezone.now()
    table = (
        ("Sales overview", "sales-overview", "drifted", 1, 4, 12, "Alice Parker", 0.1),
        ("Finance P&L", "finance-pl", "diverged", 2, 6, 31, "Ivan Petrov", 2),
        ("Ops capacity", "ops-capacity", "behind", 7, 9, 22, "Alice Parker", 5),
        (
            "Churn cohorts by acquisition channel and first product bought",
            "churn",
            "differs",
            None,
            11,
            40,
            "Kira Orlova",
            20,
        ),
        ("Refunds", "refunds", "absent", None, 3, 7, "Ivan Petrov", 30),
        ("Legacy KPI", "legacy-kpi", "only_here", None, 8, 16, "unknown", 900),
        ("World Bank’s data", "world-health", "in_sync", None, 10, 10, "Alice Parker", 44),
        ("Unicode test", "", "unknown", None, 1, 1, "Kira Orlova", 3),
    )
    keys = ("title", "slug", "state", "count", "charts", "queries", "owner", "hours")
    rows = [dict(zip(keys, row, strict=True)) for row in table]
    for row in rows:
        row["changed_on"] = now - timedelta(hours=float(row["hours"]))  # type: ignore[arg-type]
    return rows


def context(request: HttpRequest) -> dict[str, Any]:
    now = timezone.now()
    refused = SampleForm({"name": "", "url": "bi example", "timeout": "0", "sign_in": "password"})
    refused.is_valid()
    rows = _rows()
    job = SimpleNamespace(
        title="Run 42: apply to Prod",
        state="running",
        is_finished=False,
        cancel_requested=False,
        current_step="Writing datasets",
        progress_done=6,
        progress_total=13,
        progress_percent=46,
        ran_seconds=72,
        started_at=now - timedelta(seconds=72),
        error=None,
    )
    failed = SimpleNamespace(
        title="Run 41: apply to Prod",
        state="failed",
        is_finished=True,
        cancel_requested=False,
        current_step="Charts",
        progress_done=6,
        progress_total=13,
        progress_percent=46,
        ran_seconds=41.3,
        started_at=now,
        error={
            "code": "refused",
            "message": "Superset refused chart Refund rate: unknown column net_amount.",
            "remedy": "6 assets were written, 7 were not. Roll back the 6, or add the column and apply the 7 left.",
        },
    )
    return {
        "environments": [DEV, TEST, STAGE, PROD],
        "dev": DEV,
        "stage": STAGE,
        "prod": PROD,
        "states": STATES,
        "counted": [(state, COUNTED.get(state)) for state in STATES[0][1]],
        "rows": rows,
        "page_obj": Paginator(range(412), 50).page(3),
        "filter_form": FilterForm({"state": "drifted"}),
        "chips": [
            {"label": "Needs attention 5", "remove_url": "?"},
            {"label": "State: drifted", "remove_url": "?"},
        ],
        "form": refused,
        "fresh_form": SampleForm(),
        "steps": [
            {"label": "Select", "url": "#stepper", "state": "done", "note": "4 dashboards"},
            {"label": "Map", "url": "#stepper", "state": "done", "note": "2 databases"},
            {"label": "Plan", "url": "#stepper", "state": "current"},
            {"label": "Approve", "url": "", "state": "todo"},
            {"label": "Apply", "url": "", "state": "todo"},
            {"label": "Verify", "url": "", "state": "todo"},
        ],
        "stuck_steps": [
            {"label": "Select", "url": "#stepper", "state": "done"},
            {"label": "Map", "url": "#stepper", "state": "blocked", "note": "1 database open"},
            {"label": "Plan", "url": "#stepper", "state": "failed"},
            {"label": "Approve", "url": "#stepper", "state": "skipped", "note": "not needed"},
            {"label": "Apply", "url": "#stepper", "state": "current"},
        ],
        "job": job,
        "job_progress": SimpleNamespace(done=6, total=13, percent=46, seconds_left=84),
        "failed_job": failed,
        "job_steps": [
            {"title": "Restore point 319", "state": "done", "note": "13 assets", "seconds": 4.1},
            {"title": "Databases", "state": "skipped", "note": "mapped, never written", "seconds": None},
            {"title": "Datasets", "state": "running", "note": "1 of 2, sales_fact", "seconds": 12},
            {"title": "Charts", "state": "waiting", "note": "7", "seconds": None},
            {"title": "Dashboards", "state": "waiting", "note": "4", "seconds": None},
        ],
        "failed_steps": [
            {"title": "Restore point 318", "state": "done", "note": "13 assets", "seconds": 4.1},
            {
                "title": "Charts",
                "state": "failed",
                "note": "2 of 7",
                "seconds": 9.3,
                "detail": "Refund rate: unknown column net_amount",
            },
        ],
        "log": [
            (now - timedelta(seconds=70), "info", "restore point 319 taken: 13 assets, 0.2 MB"),
            (now - timedelta(seconds=58), "info", "dataset sales_fact: 14 columns sent"),
            (
                now - timedelta(seconds=57),
                "warning",
                "dataset sales_fact: column region kept from Prod, Dev has none of that name",
            ),
            (
                now - timedelta(seconds=40),
                "error",
                "chart Refund rate: Superset said “unknown column net_amount”",
            ),
        ],
        "changes": [
            ("update", "params.metrics[0].sqlExpression", "SUM(amount)", "SUM(net_amount)"),
            ("update", "params.time_range", "Last quarter", "Last 12 months"),
            ("create", "params.time_grain_sqla", None, "P1M"),
            ("removed", "params.row_limit", "10000", None),
        ],
        "verdicts": [
            (
                "Revenue by month",
                "echarts_timeseries_line",
                "ok",
                0.8,
                0.9,
                "132 rows, 3 columns, same totals",
            ),
            ("Refund rate", "big_number_total", "failed", 0.2, 0.4, "Prod: column net_amount does not exist"),
            (
                "Top regions",
                "table",
                "differs",
                3.1,
                0.9,
                "Prod has 41 rows, Dev 44; SUM(amount) differs by 0.4 %",
            ),
            (
                "Map of shops",
                "deck_scatter",
                "not_checkable",
                None,
                None,
                "Its query is built in the browser only",
            ),
        ],
        "now": now,
        "yesterday": now - timedelta(hours=20),
        "long_ago": now - timedelta(days=420),
        "soon": now + timedelta(minutes=12),
        "weeks": [1, 0, 2, 5, 3, 3, 8, 2, 0, 1, 4, 6],
        "shares": [("same", 380), ("behind", 21), ("drifted", 3), ("diverged", 2), ("removed", 6)],
    }
