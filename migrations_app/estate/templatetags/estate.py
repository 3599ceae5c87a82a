"""{% load estate %}: cells and sparklines of the matrix, and a card for the page of an environment."""

from collections.abc import Sequence
from typing import Any

from django import template
from django.db.models import Count
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from environments.models import Environment
from migrations_app.engine.sync import Sync
from migrations_app.estate import matrix, overview
from migrations_app.estate.matrix import Cell, Row
from migrations_app.estate.models import SyncState
from sstools.web import states
from sstools.web.templatetags.web import pill, spark, when

register = template.Library()
MUTED = {word: f'<span class="muted">{word}</span>' for word in ("source", "not here", "not read")}
ORDER = (
    Sync.IN_SYNC,
    Sync.BEHIND,
    Sync.DRIFTED,
    Sync.DIVERGED,
    Sync.DIFFERS,
    Sync.ABSENT,
    Sync.ONLY_HERE,
    Sync.UNKNOWN,
)


@register.simple_tag
def matrix_rows(rows: Sequence[Row], reference: Environment) -> SafeString:
    """The rows of the matrix. Not a template: there may be 250 of them with a thousand cells, which takes one twice as
    long.
    """
    return mark_safe("".join(_row(row, escape(reference.name)) for row in rows))  # noqa: S308  escaped


def _row(row: Row, reference: str) -> str:
    title, asset = escape(row.title), row.asset
    if row.is_on_reference:
        box = f'name="pick" value="{escape(row.key)}" data-check{" checked" if row.is_chosen else ""}'
    else:
        box = f'disabled title="Not on {reference}: a migration from there cannot take it"'
    name = f'<a href="{escape(row.url)}">{title}</a>' if row.url else title
    slug = f" · {escape(asset.slug)}" if asset is not None and asset.slug else ""
    changed = when(asset.changed_on) if asset is not None and asset.changed_on else ""
    return (
        f'<tr><td class="col-check"><label><span class="sr">Select {title}</span>'
        f'<input type="checkbox" {box}></label></td>'
        f'<th scope="row" class="col-name">{name}<span class="sub">{row.kind}{slug}</span></th>'
        f"{''.join(_cell(row, cell) for cell in row.cells)}"
        f'<td class="col-num">{"" if row.charts is None else row.charts}</td>'
        f"<td>{weeks_spark(row.weeks) if row.weeks else ''}</td>"
        f'<td class="nowrap">{changed}</td></tr>'
    )


def _cell(row: Row, cell: Cell) -> str:
    column, state = cell.column, cell.state
    note = ""
    if column.is_reference:
        inner = MUTED["source" if row.is_on_reference else "not here"]
    elif state is None:
        inner = MUTED["not here" if column.environment.inventory_at else "not read"]
    else:
        inner = cell_pill(row, cell)
        if state.needs_attention and state.changed_by:
            note = f'<span class="sub">{escape(state.changed_by)}</span>'
        elif state.is_settled:
            note = '<span class="sub">as decided</span>'
    old = ' class="is-old"' if column.is_old else ""
    return f"<td{old}>{inner}{note}</td>"


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


def weeks_spark(weeks: Sequence[int]) -> SafeString:
    """How often something new was seen of an asset, week by week."""
    total = sum(weeks)
    return spark(weeks, f"New contents seen in {len(weeks)} weeks: {total}, in the last week {weeks[-1]}")


@register.inclusion_tag("estate/_compared.html", takes_context=True)
def compared_with(context: Any, environment: Environment) -> dict[str, Any]:
    """The card of an environment's page: how it stands against the others, those before it on the way first."""
    user = context["request"].user
    others = [item for item in overview.visible_environments(user) if item != environment]
    counts: dict[int, dict[str, int]] = {}
    found = SyncState.objects.visible_to(user).filter(target=environment, source__in=others).order_by()
    for source, state, number in found.values_list("source", "state").annotate(number=Count("pk")):
        counts.setdefault(source, {})[state] = number
    rows = []
    for other in others:
        if of_other := counts.get(other.pk):
            parts = [(state.value, of_other[state]) for state in ORDER if of_other.get(state)]
            rows.append(
                {
                    "environment": other,
                    "parts": [
                        (state, number, _list_of(other, environment, state)) for state, number in parts
                    ],
                    "shares": parts,
                    "sentence": ", ".join(f"{number} {states.look(state).word}" for state, number in parts),
                }
            )
    return {"environment": environment, "compared": rows}


def _list_of(source: Environment, target: Environment, state: str) -> str:
    return matrix.overview_url(ref=source.slug, env=target.slug, type="all", state=state)
