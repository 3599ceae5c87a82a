"""What schedules may do with environments: test the connection, read what is there."""

from collections.abc import Sequence
from typing import Any

from django import forms

from sstools.errors import NotFoundError
from sstools.jobs.models import Job
from sstools.jobs.registry import Schedulable, Subject
from sstools.resources import resource_name
from sstools.schedules.params import ParamsForm

from . import services
from .models import Environment


class EnvironmentParams(ParamsForm):
    environment = forms.ModelChoiceField(
        Environment.objects.none(), to_field_name="uuid", help_text="The Superset that it concerns."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["environment"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = Environment.objects.visible_to(self.user).in_order()

    def params(self) -> dict[str, Any]:
        return {"environment": str(self.cleaned_data["environment"].uuid)}


def find(params: dict[str, Any]) -> Environment:
    """Raises NotFoundError."""
    environment: Environment | None = Environment.objects.filter(uuid=params.get("environment")).first()
    if environment is None:
        raise NotFoundError("The environment was removed.")
    return environment


def subjects(many: Sequence[dict[str, Any]]) -> list[Subject | None]:
    uuids = {str(uuid) for params in many if (uuid := params.get("environment"))}
    found = {str(row.uuid): row for row in Environment.objects.filter(uuid__in=uuids)}
    return [_subject(found.get(str(params.get("environment")))) for params in many]


def _subject(row: Environment | None) -> Subject | None:
    return Subject(row.name, resource_name(row), row.get_absolute_url(), row) if row else None


def _check(params: dict[str, Any], **asked: Any) -> Job:
    return services.request_check(find(params), **asked)


def _read(params: dict[str, Any], **asked: Any) -> Job:
    return services.request_reading(find(params), **asked)


def _state(job: Job) -> str:
    return {"ok": "reached", "warning": "reached, with warnings", "failed": "the test failed"}.get(
        (job.result or {}).get("state", ""), ""
    )


def _changes(job: Job) -> str:
    result = job.result or {}
    words = [f"{result[name]} {name}" for name in ("new", "changed", "gone") if result.get(name)]
    return ", ".join(words) if words else "nothing changed"


CHECK = Schedulable(
    "Tries everything that a migration needs from an environment, and says what is missing.",
    EnvironmentParams,
    subjects,
    _check,
    _state,
)
READING = Schedulable(
    "Reads what is there now: the lists of an environment, and an export of what they say has changed.",
    EnvironmentParams,
    subjects,
    _read,
    _changes,
)
