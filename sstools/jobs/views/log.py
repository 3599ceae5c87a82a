"""The log of a job: page by page from its end, by level and words, as it grows, and whole as text or JSON lines."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import resolve_url
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from sstools.jobs.models import Job, JobLog, Level
from sstools.web.htmx import go_to, render_page, wants_fragment

from .common import find_job, number_of

LOG_LINES = 200  # at once; older ones are fetched on demand
AT_LEAST = {Level.WARNING.value: (Level.WARNING, Level.ERROR), Level.ERROR.value: (Level.ERROR,)}


@require_safe
@login_required
def job_log(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Lines after `?after=`, or the last ones before `?before=`. 204 while there is nothing new."""
    job = find_job(request, uuid)
    if not wants_fragment(request):
        return go_to(request, "jobs:detail", uuid=uuid)
    context = log_context(request, job)
    if not context["lines"] and not job.is_finished and "after" in request.GET:
        return HttpResponse(status=204)
    is_part = bool({"after", "before"} & request.GET.keys())
    if not is_part:
        context["live_text"] = f"{context['matching']:,} lines"
    partial = "jobs/_log_lines.html" if is_part else "jobs/_log.html"
    response = render_page(request, "jobs/detail.html", partial, {"job": job, **context})
    if not is_part:  # so that a reload shows the same
        chosen = {name: value for name in ("level", "find", "utc") if (value := request.GET.get(name))}
        address = resolve_url("jobs:detail", uuid=uuid)
        response["HX-Replace-Url"] = f"{address}?{urlencode(chosen)}" if chosen else address
    return response


@require_safe
@login_required
def job_log_text(request: HttpRequest, uuid: UUID) -> StreamingHttpResponse:
    """The whole log as text; `?download` as a file. Times are UTC."""
    job = find_job(request, uuid)
    return _stream(request, _text(job), "text/plain; charset=utf-8", f"job-{job.uuid}.log")


@require_safe
@login_required
def job_log_lines(request: HttpRequest, uuid: UUID) -> StreamingHttpResponse:
    """The whole log as JSON lines: {"seq", "at", "level", "is_step", "text", "fields"}; `?download` as a file."""
    job = find_job(request, uuid)
    return _stream(request, _json_lines(job), "application/x-ndjson", f"job-{job.uuid}.jsonl")


def _stream(request: HttpRequest, pieces: Iterator[str], kind: str, name: str) -> StreamingHttpResponse:
    response = StreamingHttpResponse(pieces, content_type=kind)
    if "download" in request.GET:
        response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def log_context(request: HttpRequest, job: Job) -> dict[str, Any]:
    """The lines to show: the last LOG_LINES, those after a seq, or those before one; by level and words."""
    level, words = request.GET.get("level", ""), request.GET.get("find", "").strip()[:200]
    rows: QuerySet[JobLog] = job.logs.all()
    if words:
        rows = rows.filter(text__icontains=words)
    numbers = rows.aggregate(
        all=Count("pk"),
        warning=Count("pk", filter=Q(level__in=AT_LEAST["warning"])),
        error=Count("pk", filter=Q(level__in=AT_LEAST["error"])),
    )
    level = level if level in AT_LEAST else ""
    if level:
        rows = rows.filter(level__in=AT_LEAST[level])
    after, before = number_of(request, "after"), number_of(request, "before")
    if after is not None:
        lines = list(rows.filter(seq__gt=after).order_by("seq")[:LOG_LINES])
    else:
        if before is not None:
            rows = rows.filter(seq__lt=before)
        lines = list(rows.order_by("-seq")[:LOG_LINES])[::-1]
    first = lines[0].seq if lines else 0
    older = rows.filter(seq__lt=first).count() if after is None and len(lines) == LOG_LINES else 0
    last = lines[-1].seq if lines else (after or 0)
    return {
        "lines": lines,
        "older": older,
        "first_seq": first,
        "last_seq": last,
        "is_older": before is not None,
        "polls": before is None and not job.is_finished,
        "level": level,
        "levels": [
            ("", "all", numbers["all"]),
            ("warning", "warnings", numbers["warning"]),
            ("error", "errors", numbers["error"]),
        ],
        "matching": numbers[level or "all"],
        "find": words,
        "utc": request.GET.get("utc") == "1",
    }


def _text(job: Job) -> Iterator[str]:
    yield f"{job}  ({job.kind}, {job.uuid}), asked for {job.created_at:%Y-%m-%d %H:%M:%S}Z\n"
    for line in job.logs.order_by("seq").iterator(chunk_size=500):
        more = "".join(
            f" {key}={json.dumps(value, ensure_ascii=False)}" for key, value in line.fields.items()
        )
        yield f"{line.at:%Y-%m-%d %H:%M:%S.%f}Z {line.level:<7} {line.text}{more}\n"


def _json_lines(job: Job) -> Iterator[str]:
    for line in job.logs.order_by("seq").iterator(chunk_size=500):
        data = {
            "seq": line.seq,
            "at": line.at.isoformat(),
            "level": line.level,
            "is_step": line.is_step,
            "text": line.text,
            "fields": line.fields,
        }
        yield json.dumps(data, ensure_ascii=False) + "\n"
