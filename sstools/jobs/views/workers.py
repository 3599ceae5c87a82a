"""The workers: which machines are alive, what each does now, and how long the line is."""

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from sstools.jobs import crew
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.htmx import render_page


@require_safe
@login_required
def worker_list(request: HttpRequest) -> HttpResponse:
    """For whoever may see jobs of anything; what another's job is called stays hidden where it should."""
    if not policy.can_anywhere(request.user, Permission.JOB_VIEW):
        raise PermissionDenied("Seeing the workers needs the right job:view.")
    return render_page(request, "jobs/workers.html", "jobs/_workers.html", crew.overview(request.user))
