"""`shell` in every template: what base.html shows around a page."""

from functools import cached_property
from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from . import navigation
from .preferences import Preferences


class Shell:
    """Computed only when a template asks: a fragment costs nothing."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    @cached_property
    def preferences(self) -> Preferences:
        return getattr(self.request, "preferences", None) or Preferences()

    @cached_property
    def is_signed_in(self) -> bool:
        user = getattr(self.request, "user", None)
        return bool(user and user.is_authenticated)

    @cached_property
    def rail(self) -> list[tuple[str, list[navigation.Link]]]:
        return navigation.rail(self.request)

    @cached_property
    def search_url(self) -> str:
        return navigation.first_url(*navigation.SEARCH)

    @cached_property
    def jobs_url(self) -> str:
        return navigation.first_url("jobs:list")

    @cached_property
    def unfinished_jobs(self) -> int:
        from sstools.jobs.models import Job

        return Job.objects.visible_to(self.request.user).unfinished().count() if self.is_signed_in else 0

    @cached_property
    def admin_url(self) -> str:
        """For superusers: pages of their own are not needed for daily work."""
        try:
            return reverse("admin:index") if self.request.user.is_superuser else ""
        except NoReverseMatch:
            return ""


def shell(request: HttpRequest) -> dict[str, Any]:
    return {"shell": Shell(request)}
