"""What schedules may do: rehearse the latest good backup of an environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from environments.models import Environment
from sstools.errors import NotFoundError
from sstools.jobs.models import Job
from sstools.jobs.registry import Schedulable, Subject
from sstools.resources import resource_name
from sstools.schedules.params import ParamsForm

from . import services


class RehearsalParams(ParamsForm):
    environment = forms.ModelChoiceField(
        Environment.objects.none(),
        to_field_name="uuid",
        help_text="Its latest good backup is restored.",
    )
    scratch = forms.ModelChoiceField(
        Environment.objects.none(),
        to_field_name="uuid",
        label="Scratch environment",
        help_text="Where it is restored, and taken away again: everything in it may be replaced.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = Environment.objects.visible_to(self.user).in_order()
        for name, some in (
            ("environment", rows.filter(scratch=False)),
            ("scratch", rows.filter(scratch=True)),
        ):
            field = self.fields[name]
            assert isinstance(field, forms.ModelChoiceField)
            field.queryset = some

    def params(self) -> dict[str, Any]:
        return {name: str(self.cleaned_data[name].uuid) for name in ("environment", "scratch")}


def _find(params: dict[str, Any]) -> tuple[Environment, Environment]:
    """Raises NotFoundError."""
    names = ("environment", "scratch")
    rows = {
        str(row.uuid): row
        for row in Environment.objects.filter(uuid__in=[params.get(name) for name in names])
    }
    try:
        environment, scratch = (rows[str(params.get(name))] for name in names)
    except KeyError:
        raise NotFoundError("The environment was removed.") from None
    return environment, scratch


def _subjects(many: Sequence[dict[str, Any]]) -> list[Subject | None]:
    """About the scratch environment: that is written to."""
    uuids = {str(params.get(name)) for params in many for name in ("environment", "scratch")}
    rows = {str(row.uuid): row for row in Environment.objects.filter(uuid__in=uuids)}

    def subject(params: dict[str, Any]) -> Subject | None:
        environment, scratch = rows.get(str(params.get("environment"))), rows.get(str(params.get("scratch")))
        if environment is None or scratch is None:
            return None
        label = f"{environment.name} in {scratch.name}"
        return Subject(label, resource_name(scratch), environment.get_absolute_url(), scratch)

    return [subject(params) for params in many]


def _request(params: dict[str, Any], **asked: Any) -> Job:
    return services.request_rehearsal(*_find(params), **asked)


def _summary(job: Job) -> str:
    result = job.result or {}
    assets = sum(int(number) for number in (result.get("assets") or {}).values())
    charts = sum(int(number) for number in (result.get("charts") or {}).values())
    return f"backup {result.get('backup')}: {assets} assets equal, {charts} charts answer"


REHEARSAL = Schedulable(
    "Restores the latest good backup of an environment into a scratch environment, compares and verifies it, and "
    "takes it away again: the only proof that a backup can be restored.",
    RehearsalParams,
    _subjects,
    _request,
    _summary,
)
