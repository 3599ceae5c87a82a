"""Pages of background work: the list, one job with its progress and its log."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from sstools.errors import Conflict, Invalid
from sstools.jobs.models import Worker
from sstools.web.htmx import go_to, render_page, wants_fragment

from . import services
from .filters import JobFilter
from .models import Job, JobLog, Level, Source, State

PAGE_SIZE = 50
LOG_LINES = 200  # at once; older ones are fetched on demand
LEVELS = {"": "all", Level.WARNING.value: "warnings", Level.ERROR.value: "errors"}
_AT_LEAST = {Level.WARNING.value: (Level.WARNING, Level.ERROR), Level.ERROR.value: (Level.ERROR,)}


def _find(request: HttpRequest, uuid: UUID) -> Job:
    rows = Job.objects.visible_to(request.user).select_related("actor", "retry_of", "cancel_requested_by")
    return get_object_or_404(rows.prefetch_related("resources"), uuid=uuid)


@require_safe
@login_required
def job_list(request: HttpRequest) -> HttpResponse:
    rows = Job.objects.visible_to(request.user).with_is_blocked().select_related("actor")
    found = JobFilter(request.GET, queryset=rows, request=request)
    page = Paginator(found.qs, PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "filter": found,
        "page": page,
        "filtered": any(found.form[name].value() for name in found.form.fields),
        "no_worker": not Worker.objects.alive(services.db_now()).exists(),
    }
    return render_page(request, "jobs/list.html", "jobs/_table.html", context)


@require_safe
@login_required
def job_detail(request: HttpRequest, uuid: UUID) -> HttpResponse:
    job = _find(request, uuid)
    return render_page(request, "jobs/detail.html", None, {**_state(request, job), **_log(request, job)})


@require_safe
@login_required
def job_progress(request: HttpRequest, uuid: UUID) -> HttpResponse:
    job = _find(request, uuid)
    if not wants_fragment(request):
        return go_to(request, "jobs:detail", uuid=uuid)
    return render_page(request, "jobs/detail.html", "jobs/_progress.html", _state(request, job))


@require_safe
@login_required
def job_log(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Lines after `?after=`, or the last ones before `?before=`. 204 while there is nothing new."""
    job = _find(request, uuid)
    if not wants_fragment(request):
        return go_to(request, "jobs:detail", uuid=uuid)
    context = _log(request, job)
    if not context["lines"] and not job.is_finished and "after" in request.GET:
        return HttpResponse(status=204)
    partial = "jobs/_log_lines.html" if {"after", "before"} & request.GET.keys() else "jobs/_log.html"
    return render_page(request, "jobs/detail.html", partial, {"job": job, **context})


@require_safe
@login_required
def job_log_text(request: HttpRequest, uuid: UUID) -> StreamingHttpResponse:
    """The whole log as text; `?download` as a file. Times are UTC."""
    job = _find(request, uuid)
    response = StreamingHttpResponse(_text(job), content_type="text/plain; charset=utf-8")
    if "download" in request.GET:
        response["Content-Disposition"] = f'attachment; filename="job-{job.uuid}.log"'
    return response


@require_POST
@login_required
def job_cancel(request: HttpRequest, uuid: UUID) -> HttpResponse:
    job = services.request_cancel(_find(request, uuid), actor=request.user, source=Source.PAGE)
    messages.info(
        request, "The job ends at its next safe point." if not job.is_finished else "The job was cancelled."
    )
    if wants_fragment(request):
        return render_page(
            request, "jobs/detail.html", "jobs/_progress.html", _state(request, _find(request, uuid))
        )
    return go_to(request, "jobs:detail", uuid=uuid)


@require_POST
@login_required
def job_retry(request: HttpRequest, uuid: UUID) -> HttpResponse:
    job = services.retry(_find(request, uuid), actor=request.user, source=Source.PAGE)
    return go_to(request, "jobs:detail", uuid=job.uuid)


@require_POST
@login_required
def job_answer(request: HttpRequest, uuid: UUID) -> HttpResponse:
    job = _find(request, uuid)
    if job.question is None:
        raise Conflict("This job does not wait for input.", code="not_waiting")
    choices = job.question.get("choices")
    value = request.POST.get("answer", "").strip()
    if not value or (choices and value not in [str(choice["value"]) for choice in choices]):
        raise Invalid("Choose one of the answers.", errors={"answer": ["Choose one of the answers."]})
    services.answer(job, value, actor=request.user, source=Source.PAGE)
    return go_to(request, "jobs:detail", uuid=uuid)


def _state(request: HttpRequest, job: Job) -> dict[str, Any]:
    finished = {
        State.SUCCEEDED: "is done",
        State.FAILED: "failed",
        State.CANCELLED: "was cancelled",
    }
    return {
        "job": job,
        "steps": list(_steps(job)),
        "waits_for": _waits_for(request, job),
        "link": services.link_of(job),
        "may_cancel": services.may_cancel(job, request.user) and not job.is_finished,
        "may_retry": job.can_be_retried and services.may_drive(job, request.user),
        "may_answer": job.state == State.NEEDS_INPUT and services.may_drive(job, request.user),
        "retried_as": job.retries.order_by("pk").last(),
        "result": [_shown(key, value) for key, value in (job.result or {}).items()],
        "live_text": f"{job} {finished[State(job.state)]}." if job.is_finished else "",
    }


def _waits_for(request: HttpRequest, job: Job) -> list[Job | None]:
    """The jobs before this one; None for one that the reader may not see."""
    others = job.waits_for()
    seen = set(
        Job.objects.visible_to(request.user)
        .filter(pk__in=[o.pk for o in others])
        .values_list("pk", flat=True)
    )
    return [other if other.pk in seen else None for other in others]


def _shown(key: str, value: Any) -> tuple[str, str, bool]:
    """(name, text, whether the text is long) of a value in a job's result."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
    return key.replace("_", " "), text, "\n" in text


@dataclass(frozen=True)
class Step:
    """A line of the step list: what `ctx.step` said, how long it took, how it went."""

    title: str
    state: str  # done, running, failed, skipped
    note: str
    seconds: float | None
    detail: str


def _steps(job: Job) -> Iterator[Step]:
    lines = list(job.logs.filter(is_step=True).order_by("seq"))
    for line, after in zip(
        lines, [*lines[1:], None][: len(lines)], strict=True
    ):  # none at all before the first step
        end = after.at if after else job.finished_at
        state = "done"
        if after is None and not job.is_finished:
            state = "running" if job.state == State.RUNNING else "waiting"
        elif after is None and job.state != State.SUCCEEDED:
            state = "failed" if job.state == State.FAILED else "skipped"
        note = ""
        if after is None and not job.is_finished and job.progress_total:
            note = f"{job.progress_done} of {job.progress_total}"
        seconds = ((end or timezone.now()) - line.at).total_seconds()
        yield Step(line.text, state, note, max(0.0, seconds), "")


def _log(request: HttpRequest, job: Job) -> dict[str, Any]:
    """The lines to show: the last LOG_LINES, those after a seq, or those before one; by level and words."""
    level, words = request.GET.get("level", ""), request.GET.get("find", "").strip()
    rows: QuerySet[JobLog] = job.logs.all()
    if level in _AT_LEAST:
        rows = rows.filter(level__in=_AT_LEAST[level])
    if words:
        rows = rows.filter(text__icontains=words)
    after, before = _number(request, "after"), _number(request, "before")
    if after is not None:
        lines = list(rows.filter(seq__gt=after).order_by("seq")[:LOG_LINES])
    else:
        if before is not None:
            rows = rows.filter(seq__lt=before)
        lines = list(rows.order_by("-seq")[:LOG_LINES])[::-1]
    first = lines[0].seq if lines else 0
    older = rows.filter(seq__lt=first).count() if after is None and lines else 0
    return {
        "lines": lines,
        "older": older,
        "first_seq": first,
        "last_seq": lines[-1].seq if lines else (after or 0),
        "polls": before is None and not job.is_finished,
        "level": level if level in _AT_LEAST else "",
        "levels": LEVELS.items(),
        "find": words,
    }


def _number(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 10 else None


def _text(job: Job) -> Iterator[str]:
    yield f"{job}  ({job.kind}, {job.uuid}), asked for {job.created_at:%Y-%m-%d %H:%M:%S}Z\n"
    for line in job.logs.order_by("seq").iterator(chunk_size=500):
        more = "".join(
            f" {key}={json.dumps(value, ensure_ascii=False)}" for key, value in line.fields.items()
        )
        yield f"{line.at:%Y-%m-%d %H:%M:%S.%f}Z {line.level:<7} {line.text}{more}\n"
