"""One job: how far it is, who has it, what it waits for, what came of it, and what may be done next."""

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from sstools.jobs import pages, registry, services, steps, waiting
from sstools.jobs.models import Job, State
from sstools.roles import places
from sstools.web.htmx import go_to, render_page, wants_fragment

from .common import find_job, shown_value
from .log import log_context

CHAIN = 10  # jobs of a chain of tries that are shown
BEHIND = 5  # jobs that wait for this one, by name
ENDED = {State.SUCCEEDED: "is done", State.FAILED: "failed", State.CANCELLED: "was cancelled"}


@require_safe
@login_required
def job_detail(request: HttpRequest, uuid: UUID) -> HttpResponse:
    job = find_job(request, uuid)
    context = {**state_context(request, job), **log_context(request, job)}
    return render_page(request, "jobs/detail.html", None, context)


@require_safe
@login_required
def job_progress(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """What the page asks for until the job has ended."""
    job = find_job(request, uuid)
    if not wants_fragment(request):
        return go_to(request, "jobs:detail", uuid=uuid)
    return render_page(request, "jobs/detail.html", "jobs/_live.html", state_context(request, job))


def state_context(request: HttpRequest, job: Job) -> dict[str, Any]:
    """All of the page that changes with the job; the log stays outside."""
    now = services.db_now()
    page = pages.page_of(job, request.user)
    lines = steps.step_lines(job)
    place = waiting.places([job], request.user).get(job.pk)
    may_drive = services.may_drive(job, request.user)
    kind = registry.find(job.kind)
    return {
        "job": job,
        "shown": page,
        "kind_title": kind.title if kind else job.kind,
        "steps": page.steps if page.steps is not None else steps.steps_of(job, lines),
        "progress": steps.progress_of(job, lines),
        "place": place,
        "silence": waiting.silence(job, now),
        "claim": waiting.Claim.of(job.owner) if job.state == State.RUNNING else None,
        "held": _named(request, list(job.held_locks.values_list("resource", flat=True))),
        "wanted": _named(request, list(place.resources)) if place else [],
        "behind": list(waiting.waiting_behind(job).order_by("pk")[: BEHIND + 1])
        if not job.is_finished
        else [],
        "no_worker": not job.is_finished and waiting.nobody_works(now),
        "link": services.link_of(job),
        "may_cancel": _can_be_cancelled(job) and services.may_cancel(job, request.user),
        "cancel_asks": bool(kind and kind.cancel_choices) and job.attempt > 0,
        # The page has the dialog as it was made with; where that no longer fits, the button leads to a page of its own.
        "cancel_dialog": "cancel-dialog-choices" if page.cancel_choices else "cancel-dialog",
        "may_retry": job.can_be_retried and bool(kind and kind.can_retry) and may_drive,
        "may_answer": job.state == State.NEEDS_INPUT and may_drive,
        "chain": _chain(request, job),
        "result": [] if page.headline else [_result(*item) for item in (job.result or {}).items()],
        "live_text": f"{job} {ENDED[State(job.state)]}." if job.is_finished else _said(job),
    }


def _can_be_cancelled(job: Job) -> bool:
    """Not while it asks which cancel is meant: the answer is the cancel."""
    asks = job.state == State.NEEDS_INPUT and (job.question or {}).get("code") == services.CANCEL_CHOICE
    return not job.is_finished and not asks


def _said(job: Job) -> str:
    """What screen readers are told: a state, not every percent."""
    return f"{job} waits for an answer." if job.state == State.NEEDS_INPUT else ""


def _named(request: HttpRequest, resources: list[str]) -> list[places.Place]:
    """Those of the resources that the reader may know of, as people know them."""
    if not resources:
        return []
    return [place for place in places.seen_by(request.user) if place.resource_name in resources]


def _chain(request: HttpRequest, job: Job) -> list[Job]:
    """The tries at the same work, the first one first; empty where there was one try. None that is not visible."""
    first, before = job, [job]
    while first.retry_of_id is not None and len(before) < CHAIN:
        first = Job.objects.get(pk=first.retry_of_id)
        before.insert(0, first)
    last = job
    while len(before) < 2 * CHAIN and (after := last.retries.order_by("pk").last()) is not None:
        before.append(after)
        last = after
    if len(before) == 1:
        return []
    rows = Job.objects.visible_to(request.user).filter(pk__in=[each.pk for each in before])
    return list(rows.select_related("actor").order_by("pk"))


def _result(key: str, value: Any) -> tuple[str, str, bool]:
    """(name, text, whether the text is long) of a value in a job's result."""
    text = shown_value(value)
    return key.replace("_", " "), text, "\n" in text
