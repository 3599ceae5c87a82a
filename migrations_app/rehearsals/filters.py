"""One set of filters for the page and the API."""

from __future__ import annotations

from typing import Any

import django_filters

from environments.models import Environment

from .models import Rehearsal, RehearsalState


class RehearsalFilter(django_filters.FilterSet):  # type: ignore[misc]
    """?environment=prod &scratch=sandbox &state=failed &backup=318"""

    environment = django_filters.ChoiceFilter(
        field_name="environment__slug", label="Backup of", empty_label="any", choices=[]
    )
    scratch = django_filters.ChoiceFilter(
        field_name="scratch__slug", label="Restored in", empty_label="any", choices=[]
    )
    state = django_filters.ChoiceFilter(choices=RehearsalState.choices, label="State", empty_label="any")
    backup = django_filters.NumberFilter(field_name="backup_number", label="Backup")

    class Meta:
        model = Rehearsal
        fields: list[str] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.request is not None:
            rows = list(Environment.objects.visible_to(self.request.user).in_order())
            self._offer("environment", [(row.slug, row.name) for row in rows if not row.scratch])
            self._offer("scratch", [(row.slug, row.name) for row in rows if row.scratch])

    def _offer(self, name: str, choices: Any) -> None:
        found = self.filters[name]
        found.extra["choices"] = choices
        # A filter keeps its form field once somebody looked at it, as whoever writes the schema does.
        found.__dict__.pop("_field", None)
