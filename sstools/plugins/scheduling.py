"""Jobs of plugins by schedule."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django import forms

from sstools.jobs.models import Job
from sstools.jobs.registry import Schedulable, Subject
from sstools.resources import EVERYTHING
from sstools.roles import places
from sstools.schedules.params import ParamsForm

from . import running, services
from .models import Plugin
from .values import checked


class RunParams(ParamsForm):
    """Takes a posted form (`job`: "plugin/name") or JSON (`plugin`, `name`, `scope`, `values`)."""

    job = forms.ChoiceField(label="Job", help_text="Of a plugin that is enabled somewhere.")
    scope = forms.ChoiceField(label="Environment", help_text="Needed by jobs that read assets.")
    values = forms.JSONField(
        required=False,
        label="Values",
        help_text="Of the job's own form, as JSON. Empty: the defaults.",
        widget=forms.Textarea(attrs={"rows": 3, "class": "mono", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        data = args[0] if args else kwargs.get("data")
        if isinstance(data, dict) and "plugin" in data:
            args, kwargs["data"] = (), _as_posted(data, str(kwargs.get("prefix") or ""))
        super().__init__(*args, user=user, **kwargs)
        plugins = [
            plugin for plugin in services.all_plugins() if plugin.can_be_used and plugin.enablements.all()
        ]
        job, scope = self.fields["job"], self.fields["scope"]
        assert isinstance(job, forms.ChoiceField)
        assert isinstance(scope, forms.ChoiceField)
        job.choices = [
            (f"{plugin.name}/{one['name']}", f"{plugin}: {one['title']}")
            for plugin in plugins
            for one in plugin.manifest["jobs"]
        ]
        seen = [(place.resource_name, place.label) for place in places.seen_by(user)]
        scope.choices = [*seen, (EVERYTHING, "none")]

    def clean(self) -> dict[str, Any]:
        found = super().clean() or self.cleaned_data
        if "job" in found and "scope" in found:
            plugin, _, name = found["job"].partition("/")
            kind = running.find_job(running.find(plugin), name)
            values = found.get("values") or {}
            if not isinstance(values, dict):
                self.add_error("values", "An object: names and their values.")
            elif errors := checked(kind["fields"], values)[1]:
                for field, texts in errors.items():
                    self.add_error("values", f"{field}: {texts[0]}")
            if kind["reads"] and found["scope"] == EVERYTHING:
                self.add_error("scope", "Choose the environment that it works on.")
        return found

    def params(self) -> dict[str, Any]:
        plugin, _, name = self.cleaned_data["job"].partition("/")
        values = self.cleaned_data.get("values") or {}
        return {"plugin": plugin, "name": name, "scope": self.cleaned_data["scope"], "values": values}

    @classmethod
    def initial_of(cls, params: dict[str, Any]) -> dict[str, Any]:
        job = f"{params.get('plugin')}/{params.get('name')}"
        return {"job": job, "scope": params.get("scope"), "values": params.get("values") or None}


def _as_posted(data: dict[str, Any], prefix: str) -> dict[str, Any]:
    start = f"{prefix}-" if prefix else ""
    values = data.get("values")
    posted = {
        "job": f"{data['plugin']}/{data.get('name')}",
        "scope": data.get("scope", EVERYTHING),
        "values": json.dumps(values) if values else "",
    }
    return {f"{start}{name}": value for name, value in posted.items()}


def _subjects(many: Sequence[dict[str, Any]]) -> list[Subject | None]:
    known = {
        row.name: row for row in Plugin.objects.filter(name__in={str(one.get("plugin")) for one in many})
    }

    def subject(params: dict[str, Any]) -> Subject | None:
        plugin = known.get(str(params.get("plugin")))
        kind = plugin.item("jobs", str(params.get("name"))) if plugin is not None else None
        if plugin is None or kind is None:
            return None
        scope = str(params.get("scope") or EVERYTHING)
        resource = "" if scope == EVERYTHING else scope
        return Subject(f"{plugin}: {kind['title']}", resource, plugin.get_absolute_url())

    return [subject(params) for params in many]


def _request(params: dict[str, Any], **asked: Any) -> Job:
    plugin = running.find(str(params.get("plugin")))
    scope = str(params.get("scope") or EVERYTHING)
    return running.request_run(
        plugin, str(params.get("name")), scope=scope, values=params.get("values"), **asked
    )


RUNNING = Schedulable(
    "Runs a job of a plugin, with the values that are given.",
    RunParams,
    _subjects,
    _request,
    lambda job: str((job.result or {}).get("summary", "")),
)
