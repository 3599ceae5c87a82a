"""{% load web %}: icons, states, environments, times, counts, sorting. docs/pages.md shows each in use."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any

from django import template
from django.contrib.humanize.templatetags.humanize import intcomma
from django.core.paginator import Paginator
from django.templatetags.static import static
from django.urls import get_script_prefix
from django.utils import timezone
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from sstools.texts import counted
from sstools.web import states, words

register = template.Library()
Context = dict[str, Any]


# --- Signs --------------------------------------------------------------------------------------------------------
@register.simple_tag
def icon(name: str, label: str = "", cls: str = "") -> SafeString:
    """{% icon "check" %}, or {% icon "lock" label="protected" %} where no text beside it says the same."""
    return _icon(get_script_prefix(), name, label, cls)


@lru_cache(maxsize=1024)  # a list has hundreds, of a few kinds; the prefix is in the sprite's address
def _icon(prefix: str, name: str, label: str, cls: str) -> SafeString:
    aria = format_html('role="img" aria-label="{}"', label) if label else mark_safe('aria-hidden="true"')
    return format_html(
        '<svg class="icon{}" width="16" height="16" {}><use href="{}#{}"></use></svg>',
        f" {cls}" if cls else "",
        aria,
        static("img/sprite.svg"),
        name,
    )


@register.simple_tag
def pill(
    state: Any, count: int | None = None, text: str = "", href: str = "", label: str = "", hint: str = ""
) -> SafeString:
    """{% pill "behind" 3 %}. The states are in sstools/web/states.py.

    `label` says what it is the state of, for a link that stands alone in a cell: label="Sales overview on Prod"
    makes its accessible name "Sales overview on Prod: drifted 1". `hint` is shown instead of what the state means.
    """
    if state is None or state == "":
        return mark_safe("")
    look = states.look(state)
    said = text or look.word
    number = "" if count is None else escape(intcomma(count))
    # Put together by hand: a matrix has a thousand of these.
    title = f' title="{escape(hint or look.help)}"' if hint or look.help else ""
    bold = f" <b>{number}</b>" if number else ""
    inner = f"{icon(look.icon)}<span>{escape(said)}{bold}</span>"
    classes = escape(f"pill tone-{look.tone} {look.extra}".strip())
    if not href:
        return mark_safe(f'<span class="{classes}"{title}>{inner}</span>')  # noqa: S308  escaped
    spoken = f"{label}: {said} {number}".strip()
    name = f' aria-label="{escape(spoken)}"' if label else ""
    return mark_safe(f'<a class="{classes}" href="{escape(href)}"{title}{name}>{inner}</a>')  # noqa: S308  escaped


@register.simple_tag
def state_icon(state: Any, cls: str = "") -> SafeString:
    """Only the sign of a state, where its word stands beside it anyway."""
    return icon(states.look(state).icon, cls=cls)


@register.filter
def tone(state: Any) -> str:
    """The class of a state's colours: {{ item.action|tone }} gives "tone-added"."""
    return f"tone-{states.look(state).tone}"


@register.filter
def word(state: Any) -> str:
    """A state in words."""
    return states.look(state).word


# --- Environments -------------------------------------------------------------------------------------------------
ENVIRONMENT_TONES = ("dev", "test", "stage", "prod")
_BEGINNINGS = {
    "prod": "prod",
    "live": "prod",
    "stag": "stage",
    "pre": "stage",
    "test": "test",
    "qa": "test",
    "uat": "test",
}


@register.filter
def environment_tone(environment: Any) -> str:
    """dev, test, stage or prod: what the environment's `colour` says, else a guess from its slug."""
    colour = str(_of(environment, "colour") or "").lower()
    if colour in ENVIRONMENT_TONES:
        return colour
    slug = str(_of(environment, "slug") or _of(environment, "name") or environment).lower()
    return next((kind for beginning, kind in _BEGINNINGS.items() if slug.startswith(beginning)), "dev")


@register.simple_tag
def env_tag(environment: Any, href: str = "") -> SafeString:
    """The square tag of an environment (a model, a dict or a name), with a lock if it is protected, and dashed if it is
    a scratch one.
    """
    name = _of(environment, "short_name") or _of(environment, "name") or environment
    lock = icon("lock", label="protected") if is_protected(environment) else ""
    classes = f"env env-{environment_tone(environment)}"
    if _of(environment, "is_scratch"):
        lock, classes = (
            icon("draft", label="scratch: everything in it may be replaced"),
            f"{classes} is-scratch",
        )
    if href:
        return format_html('<a class="{}" href="{}">{}{}</a>', classes, href, lock, name)
    return format_html('<span class="{}">{}{}</span>', classes, lock, name)


@register.filter
def is_protected(environment: Any) -> bool:
    return bool(_of(environment, "is_protected"))


def _of(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)


# --- Time and numbers ---------------------------------------------------------------------------------------------
@register.simple_tag
def when(moment: datetime | None, absolute: bool = False, none: str = "never") -> SafeString:
    """A moment as <time>: "4 min ago" within a day, else the date in the reader's zone; UTC in the title.

    `absolute=True` for audit, logs and schedules: always date, time and zone.
    """
    if moment is None:
        return format_html('<span class="muted">{}</span>', none)
    local = timezone.localtime(moment)
    seconds = (timezone.now() - moment).total_seconds()
    if absolute:
        text = local.strftime("%Y-%m-%d %H:%M:%S %Z")
    elif abs(seconds) < 86_400:
        text = _ago(seconds)
    else:
        this_year = local.year == timezone.localtime().year
        text = f"{local.day} {local:%b}, {local:%H:%M}" if this_year else f"{local.day} {local:%b %Y}"
    return _time(moment, text)


@register.simple_tag
def clock(moment: datetime | None, utc: bool = False) -> SafeString:
    """The time of day with seconds, for log lines; in the reader's zone, or with `utc=True` in UTC."""
    return (
        _time(moment, f"{moment.astimezone(UTC) if utc else timezone.localtime(moment):%H:%M:%S}")
        if moment
        else mark_safe("")
    )


def _time(moment: datetime, text: str) -> SafeString:
    utc = moment.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>', utc.isoformat(), f"{utc:%Y-%m-%d %H:%M:%S}", text
    )


def _ago(seconds: float) -> str:
    size = abs(seconds)
    if size < 45:
        return "just now" if seconds >= 0 else "in a moment"
    amount = f"{max(1, round(size / 60))} min" if size < 3_570 else f"{round(size / 3600)} h"
    return f"{amount} ago" if seconds >= 0 else f"in {amount}"


@register.filter
def duration(seconds: float | None) -> str:
    """0.84 -> "0.8 s", 12 -> "12 s", 123 -> "2:03", 3723 -> "1:02:03"."""
    if seconds is None:
        return ""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


@register.filter
def time_left(seconds: float) -> str:
    """An estimate says no more than it knows: 4 -> "a few seconds left", 47 -> "about 50 s left", 80 -> "about 1 min
    left".
    """
    if seconds < 8:
        return "a few seconds left"
    if seconds < 55:
        return f"about {round(seconds / 10) * 10} s left"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"about {minutes} min left"
    return f"about {minutes // 60} h {minutes % 60:02} min left"


@register.simple_tag
def count(number: int, one: str, many: str = "") -> str:
    """{% count 1204 "asset" %} gives "1,204 assets"."""
    return counted(number, one, many)


@register.filter
def number(value: int | float) -> str:
    """1204 -> "1,204"."""
    return intcomma(value)


@register.filter
def page_numbers(paginator: "Paginator[Any]", current: int) -> list[int]:
    """The numbers of a pager; 0 stands for a gap: 1 … 4 5 6 … 20."""
    last = paginator.num_pages
    kept = sorted({1, last, *range(max(1, current - 1), min(last, current + 1) + 1)})
    out: list[int] = []
    for page in kept:
        if out and page - out[-1] == 2:
            out.append(page - 1)
        elif out and page - out[-1] > 2:
            out.append(0)
        out.append(page)
    return out


@register.simple_tag
def poll_seconds(job: Any) -> int:
    """How long to wait before asking for a job again: 2 s for the first minute, then 5, after ten minutes 15."""
    started = _of(job, "started_at") or _of(job, "created_at")
    age = (timezone.now() - started).total_seconds() if started else 0
    return 2 if age < 60 else 5 if age < 600 else 15


# --- Tables -------------------------------------------------------------------------------------------------------
@register.simple_tag(takes_context=True)
def sort_th(
    context: Context,
    key: str,
    label: str,
    target: str = "",
    cls: str = "",
    param: str = "sort",
    default: str = "",
) -> SafeString:
    """A <th> that sorts by `key` through ?sort=key or ?sort=-key, and says how it is sorted now.

    `target`: the id of what htmx replaces ("#assets"); without it the whole page is loaded. `default`: the order when
    none is asked for.
    """
    query = context["request"].GET.copy()
    now = query.get(param, "") or default
    query[param] = f"-{key}" if now == key else key
    query.pop("page", None)
    url = f"?{query.urlencode()}"
    direction = {key: "ascending", f"-{key}": "descending"}.get(now, "")
    return format_html(
        '<th scope="col"{}{}><a class="sort" id="sort-{}" href="{}"{}>{}{}</a></th>',
        format_html(' class="{}"', cls) if cls else "",
        format_html(' aria-sort="{}"', direction) if direction else "",
        key,
        url,
        swaps(url, target) if target else "",
        label,
        icon("sort-desc" if direction == "descending" else "sort-asc"),
    )


@register.simple_tag
def swaps(url: str, target: str) -> SafeString:
    """The htmx attributes of a link inside a list: fetch, replace `target`, push the address."""
    return format_html(
        ' hx-get="{}" hx-target="{}" hx-swap="outerHTML show:none" hx-push-url="true"', url, target
    )


@register.filter
def dotted(path: str) -> SafeString:
    """A path of fields that may break at its dots and brackets, and is still copied as it is."""
    return mark_safe(re.sub(r"([.\[])", r"<wbr>\1", escape(path)))  # noqa: S308  escaped


# --- Changes and pictures -----------------------------------------------------------------------------------------
@register.simple_tag
def before_after(before: Any, after: Any) -> tuple[SafeString, SafeString]:
    """{% before_after a b as pair %}{{ pair.0 }}{{ pair.1 }}: both values with the changed words marked."""
    return words.word_marks("" if before is None else str(before), "" if after is None else str(after))


@register.simple_tag
def spark(values: Sequence[float], sentence: str) -> SafeString:
    """A line of the last values, 96 x 24; `sentence` says the same to those who do not see it."""
    return _spark(tuple(values), sentence)


@lru_cache(maxsize=1024)  # most are alike
def _spark(values: tuple[float, ...], sentence: str) -> SafeString:
    top = max([*values, 1])
    step = 96 / max(len(values) - 1, 1)
    points = " ".join(f"{i * step:.1f},{22 - 20 * value / top:.1f}" for i, value in enumerate(values))
    return format_html(
        '<svg class="spark" viewBox="0 0 96 24" role="img" aria-label="{}"><polyline points="{}"></polyline></svg>',
        sentence,
        points,
    )


@register.simple_tag
def stack_bar(parts: Iterable[tuple[str, int]], sentence: str) -> SafeString:
    """Shares as one bar: (state, number) pairs, in the tones of the states."""
    kept = [(state, number) for state, number in parts if number > 0]
    total = sum(number for _, number in kept) or 1
    edges = [0.0]
    for _, number in kept:
        edges.append(edges[-1] + 100 * number / total)
    rects = format_html_join(
        "",
        '<rect class="tone-{}" x="{}" width="{}" height="8"></rect>',
        (
            (states.look(state).tone, f"{start:.2f}", f"{end - start:.2f}")
            for (state, _), (start, end) in zip(kept, pairwise(edges), strict=True)
        ),
    )
    return format_html(
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>',
        sentence,
        rects,
    )
