"""One set of filters for the page and the API."""

from typing import Any

import django_filters
from django import forms
from django.db.models import Exists, Q, QuerySet

from sstools.roles import places

from . import registry, services, waiting
from .models import UNFINISHED, Job, JobResource, Source, State, locks_in_the_way

STATES = [("unfinished", "unfinished"), ("late", "late"), *State.choices]
WAITING = [("worker", "a worker"), ("job", "another job"), ("answer", "an answer")]
ME, OURSELVES = "me", "ss-tools"  # who asked: the reader, or nobody


class JobFilter(django_filters.FilterSet):  # type: ignore[misc]
    """?state=running (or unfinished, late) &kind=…&who=me (a name, ss-tools) &env=prod&source=…&waiting=job&q=words

    `behind`: the uuid of a job; those that wait for what it holds. `mine=true` is `who=me`.
    """

    q = django_filters.CharFilter(
        method="by_words",
        label="Search",
        widget=forms.SearchInput(attrs={"placeholder": "Title, step, uuid"}),
    )
    state = django_filters.ChoiceFilter(
        choices=STATES, method="by_state", label="State", widget=forms.HiddenInput
    )
    kind = django_filters.CharFilter(label="Kind")
    who = django_filters.CharFilter(
        method="by_who",
        label="Asked by",
        widget=forms.TextInput(attrs={"placeholder": "me, or a name", "size": 12}),
    )
    env = django_filters.CharFilter(method="by_env", label="Environment")
    source = django_filters.ChoiceFilter(choices=Source.choices, label="From", empty_label="anywhere")
    waiting = django_filters.ChoiceFilter(
        choices=WAITING, method="by_waiting", label="Waits for", empty_label="any"
    )
    behind = django_filters.UUIDFilter(method="by_behind", label="Waits for job", widget=forms.HiddenInput)
    mine = django_filters.BooleanFilter(method="by_mine", label="Mine", widget=forms.HiddenInput)

    class Meta:
        model = Job
        fields: list[str] = []

    def by_state(self, rows: QuerySet[Job], name: str, value: str) -> QuerySet[Job]:
        if value == "late":
            return waiting.late(rows, services.db_now())
        return rows.filter(state__in=UNFINISHED) if value == "unfinished" else rows.filter(state=value)

    def by_who(self, rows: QuerySet[Job], name: str, value: str) -> QuerySet[Job]:
        value = value.strip()
        if value == ME:
            return rows.filter(actor=self.request.user)
        return (
            rows.filter(actor=None) if value == OURSELVES else rows.filter(actor__username__icontains=value)
        )

    def by_mine(self, rows: QuerySet[Job], name: str, value: bool) -> QuerySet[Job]:
        return rows.filter(actor=self.request.user) if value else rows

    def by_env(self, rows: QuerySet[Job], name: str, value: str) -> QuerySet[Job]:
        place = places.find(value, self.request.user)
        if place is None:
            return rows.none()
        return rows.filter(pk__in=JobResource.objects.filter(resource=place.resource_name).values("job_id"))

    def by_waiting(self, rows: QuerySet[Job], name: str, value: str) -> QuerySet[Job]:
        if value == "answer":
            return rows.filter(state=State.NEEDS_INPUT)
        held_up = Exists(locks_in_the_way())
        return rows.filter(held_up if value == "job" else ~held_up, state=State.QUEUED)

    def by_behind(self, rows: QuerySet[Job], name: str, value: Any) -> QuerySet[Job]:
        job = rows.model.objects.visible_to(self.request.user).filter(uuid=value).first()
        return rows.filter(pk__in=waiting.waiting_behind(job).values("pk")) if job else rows.none()

    def by_words(self, rows: QuerySet[Job], name: str, value: str) -> QuerySet[Job]:
        for word in value.split():
            found = Q(title__icontains=word) | Q(current_step__icontains=word) | Q(kind__icontains=word)
            if uuid := _as_uuid(word):
                found |= Q(uuid=uuid)
            rows = rows.filter(found)
        return rows

    def offer(self, environments: list[places.Place]) -> None:
        """Give the form its choices, for a page: the kinds there are, and the reader's environments."""
        kinds = [(name, registry.kind(name).title) for name in registry.names()]
        self.form.fields["kind"].widget = forms.Select(
            choices=[("", "any"), *sorted(kinds, key=lambda k: k[1])]
        )
        slugs = [(place.slug, place.label) for place in environments]
        self.form.fields["env"].widget = forms.Select(choices=[("", "any"), *slugs])


def _as_uuid(text: str) -> str:
    plain = text.replace("-", "")
    return text if len(plain) == 32 and all(letter in "0123456789abcdefABCDEF" for letter in plain) else ""
