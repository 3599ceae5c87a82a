"""What schedules may do with backups: take one."""

from __future__ import annotations

from typing import Any

from django import forms

from environments.scheduling import EnvironmentParams, find, subjects
from sstools.jobs.models import Job
from sstools.jobs.registry import Schedulable
from sstools.texts import counted

from . import services


class BackupParams(EnvironmentParams):
    title = forms.CharField(
        max_length=services.TITLE_LENGTH, required=False, help_text="Shown beside each of its backups."
    )

    def params(self) -> dict[str, Any]:
        title = self.cleaned_data["title"]
        return {**super().params(), **({"title": title} if title else {})}


def _take(params: dict[str, Any], **asked: Any) -> Job:
    return services.request_backup(find(params), title=str(params.get("title") or ""), **asked)


def summary(job: Job) -> str:
    result = job.result or {}
    added = counted(int(result.get("added_documents", 0)), "new document")
    return f"backup {result.get('backup')}: {counted(int(result.get('total', 0)), 'item')}, {added}"


TAKE = Schedulable(
    "Backs an environment up: what changed since the last reading is read, all of it is kept.",
    BackupParams,
    subjects,
    _take,
    summary,
)
