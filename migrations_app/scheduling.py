"""What schedules may do with migrations: plan again, to hear whether something would change; verify a run again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.urls import reverse

from sstools.errors import NotFoundError
from sstools.jobs.models import Job
from sstools.jobs.registry import Schedulable, Subject
from sstools.resources import resource_name
from sstools.schedules.params import ParamsForm

from . import services
from .models import OPEN_STATES, Migration, Run, RunState

MOST_CHOICES = 200  # the newest; an older one can be named through the API


class _ChosenByNumber(forms.ModelChoiceField):  # type: ignore[type-arg]  # Django's is no generic at run time
    """A select of the newest rows that takes every row the user may see."""

    def __init__(self, model: Any, describe: Any, **kwargs: Any) -> None:
        super().__init__(model.objects.none(), **kwargs)
        self.describe = describe

    def label_from_instance(self, obj: Any) -> str:
        return str(self.describe(obj))


class MigrationParams(ParamsForm):
    migration = _ChosenByNumber(
        Migration,
        lambda migration: f"{migration.number}: {migration.title}",
        to_field_name="uuid",
        help_text="One that is not applied yet. Each run makes a new plan; the result says what would change.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = Migration.objects.visible_to(self.user).filter(state__in=OPEN_STATES)
        _offer(self.fields["migration"], rows, Migration)

    def params(self) -> dict[str, Any]:
        return {"migration": str(self.cleaned_data["migration"].uuid)}


class RunParams(ParamsForm):
    run = _ChosenByNumber(
        Run,
        lambda run: f"{run.number}: {run.migration.title}",
        to_field_name="number",
        help_text="One that was applied. Its charts' queries are run on both sides again.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = Run.objects.visible_to(self.user).filter(state=RunState.APPLIED).select_related("migration")
        _offer(self.fields["run"], rows, Run)

    def params(self) -> dict[str, Any]:
        return {"run": self.cleaned_data["run"].number}


def _offer(field: Any, rows: Any, model: Any) -> None:
    field.queryset = rows
    newest = list(rows.order_by("-number")[:MOST_CHOICES])
    field.widget.choices = [
        ("", "---------"),
        *((field.prepare_value(row), field.label_from_instance(row)) for row in newest),
    ]


def _migration(params: dict[str, Any]) -> Migration:
    rows = Migration.objects.select_related("source", "target")
    if (migration := rows.filter(uuid=str(params.get("migration"))).first()) is None:
        raise NotFoundError("The migration was removed.")
    return migration


def _run(params: dict[str, Any]) -> Run:
    rows = Run.objects.select_related("migration__target")
    if (run := rows.filter(number=int(params.get("run", 0))).first()) is None:
        raise NotFoundError("The run was removed.")
    return run


def _migration_subjects(many: Sequence[dict[str, Any]]) -> list[Subject | None]:
    uuids = {str(params.get("migration")) for params in many}
    rows = Migration.objects.select_related("target").filter(uuid__in=uuids)
    found = {str(row.uuid): row for row in rows}

    def subject(row: Migration | None) -> Subject | None:
        if row is None:
            return None
        label, url = f"{row}: {row.title}", row.get_absolute_url()
        return Subject(label, resource_name(row.target), url, row.target)

    return [subject(found.get(str(params.get("migration")))) for params in many]


def _run_subjects(many: Sequence[dict[str, Any]]) -> list[Subject | None]:
    numbers = {params.get("run") for params in many}
    found = Run.objects.select_related("migration__target").in_bulk(numbers)

    def subject(row: Run | None) -> Subject | None:
        if row is None:
            return None
        target, url = row.migration.target, reverse("migrations_app:verify", args=[row.migration_id])
        return Subject(f"{row}: {row.migration.title}", resource_name(target), url, target)

    return [subject(found.get(params.get("run", 0))) for params in many]


def _plan(params: dict[str, Any], **asked: Any) -> Job:
    return services.request_plan(_migration(params), **asked)


def _verify(params: dict[str, Any], **asked: Any) -> Job:
    return services.request_verification(_run(params), **asked)


def _what_would_change(job: Job) -> str:
    counts = (job.result or {}).get("counts", {})
    words = [f"{counts[name]} to {name}" for name in ("create", "update", "remove") if counts.get(name)] + (
        [f"{counts['blocked']} blocked"] if counts.get("blocked") else []
    )
    return ", ".join(words) if words else "nothing would change"


def _verdicts(job: Job) -> str:
    result = job.result or {}
    outside = result.get("outside", {}).get("failed", 0)
    words = [
        f"{number} {name.replace('_', ' ')}"
        for name, number in sorted(result.items())
        if isinstance(number, int) and number
    ]
    return ", ".join([*words, f"{outside} failed outside the plan"] if outside else words)


PLAN = Schedulable(
    "Plans a migration again that is not applied yet, and tells what would change. Writes nothing.",
    MigrationParams,
    _migration_subjects,
    _plan,
    _what_would_change,
)
VERIFICATION = Schedulable(
    "Runs the charts of an applied run on both sides again, and tells which fail or differ.",
    RunParams,
    _run_subjects,
    _verify,
    _verdicts,
)
