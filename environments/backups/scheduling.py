"""What schedules may do with backups: take one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from environments.models import Environment
from environments.scheduling import EnvironmentParams, find, subjects
from sstools.jobs.models import Job
from sstools.jobs.registry import Schedulable, Subject
from sstools.schedules.params import ParamsForm
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


class VerificationParams(ParamsForm):
    environment = forms.ModelChoiceField(
        Environment.objects.none(),
        to_field_name="uuid",
        required=False,
        help_text="Whose backups are verified; none: all.",
    )
    percent = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=100,
        help_text="Of the documents of each backup, by chance; nothing: all of them.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["environment"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = Environment.objects.visible_to(self.user).in_order()

    def params(self) -> dict[str, Any]:
        environment, percent = self.cleaned_data["environment"], self.cleaned_data["percent"]
        chosen = {"environment": str(environment.uuid)} if environment else {}
        return {**chosen, **({"percent": percent} if percent else {})}


def _verified(many: Sequence[dict[str, Any]]) -> list[Subject | None]:
    found = subjects(many)
    return [
        row if params.get("environment") else Subject("all backups")
        for params, row in zip(many, found, strict=True)
    ]


def _verify(params: dict[str, Any], **asked: Any) -> Job:
    environment = find(params) if params.get("environment") else None
    return services.request_verification_of_all(environment, percent=params.get("percent"), **asked)


def _verdict(job: Job) -> str:
    result = job.result or {}
    checked, corrupt = int(result.get("checked", 0)), len(result.get("corrupt", ()))
    return f"{counted(checked, 'backup')}, {f'{corrupt} corrupt' if corrupt else 'all whole'}"


TAKE = Schedulable(
    "Backs an environment up: what changed since the last reading is read, all of it is kept.",
    BackupParams,
    subjects,
    _take,
    summary,
)
VERIFY_ALL = Schedulable(
    "Reads every document of all backups, and says which are missing or damaged.",
    VerificationParams,
    _verified,
    _verify,
    _verdict,
    builtin=("Verify backups", "0 5 * * 0", {}),
)
