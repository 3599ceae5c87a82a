"""What is done to a job from its page: cancel, answer, try again. Each works without JavaScript."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods, require_POST

from sstools.errors import Conflict, Invalid
from sstools.jobs import pages, presenting, services
from sstools.jobs.models import Job, Source, State
from sstools.web.htmx import go_to, render_page, wants_fragment

from .common import find_job


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def job_cancel(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """GET asks whether it is meant (the dialog's page); POST does it, with `choice` where a kind leaves one."""
    job = find_job(request, uuid)
    if request.method != "POST":
        if job.is_finished:
            return go_to(request, "jobs:detail", uuid=uuid)
        page = pages.page_of(job, request.user)
        may = services.may_cancel(job, request.user)
        return render_page(request, "jobs/cancel.html", None, {"job": job, "shown": page, "may_cancel": may})
    choice = request.POST.get("choice", "")
    job = services.request_cancel(job, actor=request.user, choice=choice, source=Source.PAGE)
    messages.info(request, _said(job))
    if wants_fragment(request):
        context = presenting.state_of(find_job(request, uuid), request.user)
        return render_page(request, "jobs/detail.html", "jobs/_live.html", context)
    return go_to(request, "jobs:detail", uuid=uuid)


def _said(job: Job) -> str:
    if job.is_finished:
        return "The job was cancelled."
    if job.state == State.NEEDS_INPUT:
        return "It has written already. Say what is to become of that."
    return "The job ends at its next safe point."


@require_POST
@login_required
def job_retry(request: HttpRequest, uuid: UUID) -> HttpResponse:
    job = services.retry(find_job(request, uuid), actor=request.user, source=Source.PAGE)
    return go_to(request, "jobs:detail", uuid=job.uuid)


@require_POST
@login_required
def job_answer(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """`answer`: one of the choices, or a text. A question that is answered elsewhere takes `again`: look once more."""
    job = find_job(request, uuid)
    question = job.question
    if question is None:
        raise Conflict("This job does not wait for input.", code="not_waiting")
    choices = question.get("choices")
    value = request.POST.get("answer", "").strip()
    looks_again = bool(question.get("url")) and not choices and "again" in request.POST
    if not looks_again and (not value or (choices and value not in [str(c["value"]) for c in choices])):
        raise Invalid("Choose one of the answers.", errors={"answer": ["Choose one of the answers."]})
    services.answer(job, {} if looks_again else value, actor=request.user, source=Source.PAGE)
    return go_to(request, "jobs:detail", uuid=uuid)
