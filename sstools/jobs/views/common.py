"""What the pages of jobs share."""

from uuid import UUID

from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from sstools.jobs.models import Job


def find_job(request: HttpRequest, uuid: UUID) -> Job:
    """Raises Http404 for what is absent or not visible."""
    rows = Job.objects.visible_to(request.user).select_related("actor", "retry_of", "cancel_requested_by")
    return get_object_or_404(rows.prefetch_related("resources"), uuid=uuid)


def number_of(request: HttpRequest, name: str) -> int | None:
    """A whole number from the address; None for anything else."""
    text = request.GET.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 10 else None
