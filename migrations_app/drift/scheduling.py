"""What schedules may do about drift: check a route."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from migrations_app.release.models import Route
from sstools.errors import NotFoundError
from sstools.jobs.models import Job
from sstools.jobs.registry import Schedulable, Subject
from sstools.resources import resource_name
from sstools.schedules.params import ParamsForm

from . import services


class RouteParams(ParamsForm):
    route = forms.ModelChoiceField(
        Route.objects.none(),
        to_field_name="uuid",
        help_text="Its target is read and held against what the last runs left there.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["route"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = Route.objects.visible_to(self.user)

    def params(self) -> dict[str, Any]:
        return {"route": str(self.cleaned_data["route"].uuid)}


def find_route(params: dict[str, Any]) -> Route:
    """Raises NotFoundError."""
    if (
        route := Route.objects.select_related("target").filter(uuid=str(params.get("route"))).first()
    ) is None:
        raise NotFoundError("The route was removed.")
    return route


def _subjects(many: Sequence[dict[str, Any]]) -> list[Subject | None]:
    rows = Route.objects.select_related("target").filter(
        uuid__in={str(params.get("route")) for params in many}
    )
    found = {str(row.uuid): row for row in rows}

    def subject(row: Route | None) -> Subject | None:
        return (
            Subject(row.name, resource_name(row.target), row.get_absolute_url(), row.target) if row else None
        )

    return [subject(found.get(str(params.get("route")))) for params in many]


def _request(params: dict[str, Any], **asked: Any) -> Job:
    return services.request_check(find_route(params), **asked)


def _summary(job: Job) -> str:
    result = job.result or {}
    words = [f"{result[name]} {name}" for name in ("new", "edited", "closed") if result.get(name)]
    return ", ".join([*words, f"{result.get('open', 0)} open"])


CHECK = Schedulable(
    "Reads the target of a route, finds what was edited there by hand since the last run, and tells whoever watches.",
    RouteParams,
    _subjects,
    _request,
    _summary,
)
