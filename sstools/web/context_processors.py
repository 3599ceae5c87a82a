"""`shell` in every template: what base.html shows around a page."""

from functools import cached_property
from typing import Any

from django.db.models import Count
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from . import home, navigation
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
    def _jobs(self) -> tuple[int, int]:
        """Unfinished jobs that the reader sees, and how many of them wait for an answer of anybody."""
        from sstools.jobs.models import Job, State

        if not self.is_signed_in:
            return 0, 0
        states = list(
            Job.objects.visible_to(self.request.user)
            .unfinished()
            .order_by()
            .values_list("state")
            .annotate(number=Count("pk"))
        )
        return sum(number for _, number in states), dict(states).get(State.NEEDS_INPUT, 0)

    @cached_property
    def unfinished_jobs(self) -> int:
        return self._jobs[0]

    @cached_property
    def asking_jobs(self) -> int:
        """Jobs that wait for an answer which the reader may give."""
        from sstools.jobs import waiting

        return len(waiting.asking(self.request.user)) if self._jobs[1] else 0

    @cached_property
    def no_worker(self) -> bool:
        """No worker was seen lately, and somebody should know: jobs wait, or this is one of their pages."""
        from sstools.jobs import services, waiting

        if not self.is_signed_in or not self.jobs_url:
            return False
        concerns = self.request.path.startswith(self.jobs_url) or bool(self.unfinished_jobs)
        return concerns and waiting.nobody_works(services.db_now())

    @cached_property
    def alerts(self) -> list[str]:
        """What is wrong and shows on every page, as the icon of the tab."""
        return home.alerts(self.request.user) if self.is_signed_in else []

    @cached_property
    def admin_url(self) -> str:
        """For superusers: pages of their own are not needed for daily work."""
        try:
            return reverse("admin:index") if self.request.user.is_superuser else ""
        except NoReverseMatch:
            return ""


def shell(request: HttpRequest) -> dict[str, Any]:
    return {"shell": Shell(request)}
