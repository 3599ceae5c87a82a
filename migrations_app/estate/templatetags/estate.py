"""{% load estate %}: cells and sparklines of the matrix."""

from collections.abc import Sequence

from django import template
from django.utils.safestring import SafeString, mark_safe

from migrations_app.estate.matrix import Cell, Row
from sstools.web.templatetags.web import pill, spark

register = template.Library()


@register.simple_tag
def cell_pill(row: Row, cell: Cell) -> SafeString:
    """The state of a cell, as a link to the comparison behind it: "Sales overview on Prod: drifted 1"."""
    state = cell.state
    if state is None:
        return mark_safe("")
    label = f"{row.title} on {cell.column.environment.name}"
    hint = "; ".join(state.sentences)
    if state.changes > len(state.sentences) > 0:
        hint += f"; and {state.changes - len(state.sentences)} more"
    return pill(state.state, cell.count, href=cell.url, label=label, hint=hint)


@register.simple_tag
def weeks_spark(weeks: Sequence[int]) -> SafeString:
    """How often something new was seen of an asset, week by week."""
    total = sum(weeks)
    return spark(weeks, f"New contents seen in {len(weeks)} weeks: {total}, in the last week {weeks[-1]}")
