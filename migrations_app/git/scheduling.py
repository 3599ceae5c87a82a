"""What schedules may do with git: look at a branch that is followed, commit a whole environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from environments.models import Environment
from sstools.errors import NotFoundError
from sstools.jobs.models import Job
from sstools.jobs.registry import Schedulable, Subject
from sstools.resources import resource_name
from sstools.schedules.params import ParamsForm

from . import following, nightly
from .models import Follow, Repository


def _offer(form: forms.Form, name: str, rows: Any) -> None:
    field = form.fields[name]
    assert isinstance(field, forms.ModelChoiceField)
    field.queryset = rows


class FollowParams(ParamsForm):
    follow = forms.ModelChoiceField(
        Follow.objects.none(),
        to_field_name="uuid",
        label="Branch that is followed",
        help_text="It is looked at each time; what is new is planned, or applied, as its policy says.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = Follow.objects.visible_to(self.user).select_related("repository", "target")
        _offer(self, "follow", rows)

    def params(self) -> dict[str, Any]:
        return {"follow": str(self.cleaned_data["follow"].uuid)}


class CommitParams(ParamsForm):
    repository = forms.ModelChoiceField(
        Repository.objects.none(), to_field_name="uuid", help_text="Where it is committed."
    )
    environment = forms.ModelChoiceField(
        Environment.objects.none(),
        to_field_name="uuid",
        help_text="It is read first; all of it that differs is committed.",
    )
    branch = forms.CharField(
        max_length=200,
        required=False,
        help_text="Empty: the repository's. One that is not there yet begins at that.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _offer(self, "repository", Repository.objects.visible_to(self.user))
        _offer(self, "environment", Environment.objects.visible_to(self.user).in_order())

    def params(self) -> dict[str, Any]:
        found = {name: str(self.cleaned_data[name].uuid) for name in ("repository", "environment")}
        return {**found, "branch": self.cleaned_data["branch"].strip()}


def _follow(params: dict[str, Any]) -> Follow:
    rows = Follow.objects.select_related("repository", "target", "owner")
    if (row := rows.filter(uuid=str(params.get("follow"))).first()) is None:
        raise NotFoundError("This branch is not followed any more.")
    return row


def _pair(params: dict[str, Any]) -> tuple[Repository, Environment]:
    repository = Repository.objects.filter(uuid=str(params.get("repository"))).first()
    environment = Environment.objects.filter(uuid=str(params.get("environment"))).first()
    if repository is None or environment is None:
        raise NotFoundError("The repository or the environment was removed.")
    return repository, environment


def _follows(many: Sequence[dict[str, Any]]) -> list[Subject | None]:
    rows = Follow.objects.select_related("repository", "target").filter(
        uuid__in={str(uuid) for params in many if (uuid := params.get("follow"))}
    )
    found = {str(row.uuid): row for row in rows}

    def subject(row: Follow | None) -> Subject | None:
        return (
            Subject(str(row), resource_name(row.target), row.get_absolute_url(), row.target) if row else None
        )

    return [subject(found.get(str(params.get("follow")))) for params in many]


def _commits(many: Sequence[dict[str, Any]]) -> list[Subject | None]:
    def rows(model: Any, name: str) -> dict[str, Any]:
        uuids = {str(uuid) for params in many if (uuid := params.get(name))}
        return {str(row.uuid): row for row in model.objects.filter(uuid__in=uuids)}

    repositories, found = rows(Repository, "repository"), rows(Environment, "environment")

    def subject(params: dict[str, Any]) -> Subject | None:
        repository, environment = (
            repositories.get(str(params.get("repository"))),
            found.get(str(params.get("environment"))),
        )
        if repository is None or environment is None:
            return None
        label = f"{environment.name} to {repository.name}"
        return Subject(label, resource_name(environment), repository.get_absolute_url(), environment)

    return [subject(params) for params in many]


def _look(params: dict[str, Any], **asked: Any) -> Job:
    return following.request_look(_follow(params), **asked)


def _commit(params: dict[str, Any], **asked: Any) -> Job:
    branch = str(params.get("branch") or "")
    return nightly.request_commit_environment(*_pair(params), branch=branch, **asked)


def _seen(job: Job) -> str:
    result = job.result or {}
    words = {
        "nothing_new": "nothing new",
        "held": "on hold",
        "busy": "the commit before is being applied",
        "off": "not followed any more",
    }
    outcome = str(result.get("outcome", ""))
    return words.get(outcome) or f"{str(result.get('commit', ''))[:10]}: {outcome}"


def _committed(job: Job) -> str:
    result = job.result or {}
    if result.get("unchanged"):
        return "nothing differs"
    return f"{str(result.get('commit', ''))[:10]}: {result.get('assets', 0)} assets, {result.get('files', 0)} files"


FOLLOW = Schedulable(
    "Looks whether a branch that is followed has a new commit, and plans it, or applies it when green.",
    FollowParams,
    _follows,
    _look,
    _seen,
)
COMMIT_ENVIRONMENT = Schedulable(
    "Reads an environment and commits all that changed to git, in the name of who changed it in Superset.",
    CommitParams,
    _commits,
    _commit,
    _committed,
)
