"""What the search finds of jobs: by their title and number."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.urls import reverse

from sstools.web.search import FEW, Ask, Group, Item, fits

from .models import Job

LOOKED_AT = 300  # the newest that the reader sees: older ones are what the list of jobs is for


def find(ask: Ask) -> Iterable[Group]:
    newest = (
        Job.objects.visible_to(ask.user).order_by("-pk").only("uuid", "title", "kind", "state")[:LOOKED_AT]
    )
    fitting = (job for job in newest if fits(ask.text, job.title, job.kind, str(job.uuid)))
    yield Group("Jobs", tuple(_item(job) for job, _ in zip(fitting, range(FEW), strict=False)), order=35)


def recall(user: Any, paths: Collection[str]) -> Mapping[str, Item]:
    uuids = [path.split("/")[2] for path in paths if path.startswith("/jobs/") and len(path) == 43]
    rows = Job.objects.visible_to(user).filter(uuid__in=uuids) if uuids else ()
    return {(item := _item(job)).url: item for job in rows}


def _item(job: Job) -> Item:
    return Item(job.title, reverse("jobs:detail", args=[job.uuid]), "jobs", job.get_state_display())
