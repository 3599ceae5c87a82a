"""One job: how far it is, who has it, what it waits for, what came of it, and what may be done next."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from sstools.jobs import presenting
from sstools.web.htmx import go_to, render_page, wants_fragment

from .common import find_job
from .log import log_context


@require_safe
@login_required
def job_detail(request: HttpRequest, uuid: UUID) -> HttpResponse:
    job = find_job(request, uuid)
    context = {**presenting.state_of(job, request.user), **log_context(request, job)}
    return render_page(request, "jobs/detail.html", None, context)


@require_safe
@login_required
def job_progress(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """What the page asks for until the job has ended."""
    job = find_job(request, uuid)
    if not wants_fragment(request):
        return go_to(request, "jobs:detail", uuid=uuid)
    return render_page(request, "jobs/detail.html", "jobs/_live.html", presenting.state_of(job, request.user))
