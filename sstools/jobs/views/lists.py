"""The list of jobs: by state, kind, person, environment, and by what they wait for."""

from collections.abc import Sequence
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils import timezone
from django.views.decorators.http import require_safe

from sstools.jobs import services, waiting
from sstools.jobs.filters import JobFilter
from sstools.jobs.models import UNFINISHED, Job, State
from sstools.roles import places
from sstools.web.htmx import render_page, wants_fragment

PAGE_SIZE = 50
LEAST_POLL, MOST_POLL = 5, 15  # seconds; the shorter one while something young is at work
#: What the chips above the list offer.
VIEWS = (
    ("", "all"),
    ("unfinished", "unfinished"),
    ("running", "running"),
    ("queued", "queued"),
    ("needs_input", "needs input"),
    ("late", "late"),
    ("failed", "failed"),
    ("succeeded", "succeeded"),
    ("cancelled", "cancelled"),
)


@require_safe
@login_required
def job_list(request: HttpRequest) -> HttpResponse:
    rows = Job.objects.visible_to(request.user)
    found = JobFilter(request.GET, queryset=rows.select_related("actor"), request=request)
    environments = places.seen_by(request.user)
    found.offer(environments)
    page = Paginator(found.qs, PAGE_SIZE).get_page(request.GET.get("page"))
    now = services.db_now()
    shown: list[Any] = list(page.object_list)
    stand = waiting.places(shown, request.user)
    names = {place.resource_name: place for place in environments}
    for job in shown:
        job.place = stand.get(job.pk)
        job.holding = [names[name] for name in job.place.resources if name in names] if job.place else []
        job.silence = waiting.silence(job, now)
        job.is_late = _is_late(job, now)
    context = {
        "filter": found,
        "page": page,
        "jobs": shown,
        "states": _states(request, rows, now),
        "applied": _applied(request, found),
        "filtered": any(found.form[name].value() for name in found.form.fields),
        "poll": _poll(shown),
        "live_text": _count(page.paginator.count) if "HX-Trigger" in request.headers else "",
    }
    if wants_fragment(request):
        context["no_worker"] = waiting.nobody_works(now)
    return render_page(request, "jobs/list.html", "jobs/_table.html", context)


def _count(number: int) -> str:
    return f"{number:,} job{'' if number == 1 else 's'}"


def _is_late(job: Job, now: Any) -> bool:
    if job.state == State.RUNNING:
        return waiting.silence(job, now) is not None
    untaken = job.ready_at is not None and job.ready_at < now - waiting.LATE
    place: waiting.Place | None = getattr(job, "place", None)
    return job.state == State.QUEUED and untaken and not (place and place.is_blocked)


def _poll(jobs: Sequence[Job]) -> int:
    """Seconds until the list is asked for again; 0 if nothing on it can change."""
    at_work = [job for job in jobs if job.state in (State.QUEUED, State.RUNNING)]
    if not at_work:
        return MOST_POLL if any(job.state == State.NEEDS_INPUT for job in jobs) else 0
    youngest = max(job.started_at or job.created_at for job in at_work)
    return LEAST_POLL if (timezone.now() - youngest).total_seconds() < 600 else MOST_POLL


def _states(request: HttpRequest, rows: QuerySet[Job], now: Any) -> list[dict[str, Any]]:
    """The states with the number of jobs that the other filters leave in each."""
    rest: QueryDict = request.GET.copy()
    for name in ("state", "page"):
        rest.pop(name, None)
    for name in [name for name, value in rest.items() if not value]:
        rest.pop(name)
    others = JobFilter(rest, queryset=rows, request=request).qs.order_by()
    numbers = dict(others.values_list("state").annotate(number=Count("pk")))
    numbers["unfinished"] = sum(numbers.get(state, 0) for state in UNFINISHED)
    numbers["late"] = waiting.late(others, now).count() if numbers["unfinished"] else 0
    numbers[""] = sum(numbers.get(state, 0) for state in State.values)
    current = request.GET.get("state", "")
    chips = []
    for value, label in VIEWS:
        query = rest.copy()
        if value:
            query["state"] = value
        url = f"{request.path}?{query.urlencode()}" if query else request.path
        chips.append(
            {
                "value": value,
                "label": label,
                "number": numbers.get(value, 0),
                "url": url,
                "is_current": value == current,
            }
        )
    return chips


def _applied(request: HttpRequest, found: JobFilter) -> list[dict[str, str]]:
    """The filters that are on and have no field of their own to show it."""
    given = {name: request.GET.get(name, "").strip() for name in ("behind", "mine")}
    chips = []
    for name, value in given.items():
        if not value:
            continue
        rest = request.GET.copy()
        rest.pop(name)
        rest.pop("page", None)
        label = "asked by me"
        if name == "behind":
            job = (
                Job.objects.visible_to(request.user).filter(uuid=value).first()
                if found.form.is_valid()
                else None
            )
            label = f"waits for {job or 'another job'}"
        chips.append({"label": label, "remove_url": f"{request.path}?{rest.urlencode()}"})
    return chips
