"""{% load schedules %}: moments of a timetable, always with date, time and zone."""

from datetime import UTC, datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag
def at(moment: datetime | None, zone: Any = None, none: str = "—") -> SafeString:
    """{% at run.at schedule.zone %}: "Tue 2026-11-24 02:00 CET"; without a zone in the reader's own."""
    if moment is None:
        return format_html('<span class="muted">{}</span>', none)
    local = moment.astimezone(zone or timezone.get_current_timezone())
    utc = moment.astimezone(UTC)
    return format_html(
        '<time class="nowrap" datetime="{}" title="{} UTC">{}</time>',
        utc.isoformat(),
        f"{utc:%Y-%m-%d %H:%M:%S}",
        f"{local:%a %Y-%m-%d %H:%M %Z}",
    )
