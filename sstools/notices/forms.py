from typing import Any

from django import forms

from sstools.resources import EVERYTHING
from sstools.roles import places, policy
from sstools.roles.permissions import Permission

from . import events
from .models import Webhook


class WebhookForm(forms.Form):
    name = forms.CharField(max_length=100)
    events = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None ticked: all of them, also those to come.",
    )
    scope = forms.ChoiceField(label="About", help_text="What it is told of.")
    is_enabled = forms.BooleanField(label="Switched on", required=False, initial=True)
    url = forms.CharField(required=False, max_length=2000)
    secret = forms.CharField(required=False, max_length=500)

    def __init__(self, *args: Any, user: Any, webhook: Webhook | None = None, **kwargs: Any) -> None:
        if webhook is not None:
            kwargs["initial"] = {
                "name": webhook.name,
                "events": webhook.events,
                "scope": webhook.scope,
                "is_enabled": webhook.is_enabled,
            }
        super().__init__(*args, **kwargs)
        where = policy.scopes(user, Permission.WEBHOOK_EDIT)
        choices = [
            (place.resource_name, place.label)
            for place in places.seen_by(user)
            if where.everything or place.resource_name in where.resources
        ]
        if where.everything:
            choices.insert(0, (EVERYTHING, "everything"))
        scope, told = self.fields["scope"], self.fields["events"]
        assert isinstance(scope, forms.ChoiceField)
        assert isinstance(told, forms.MultipleChoiceField)
        scope.choices = choices
        told.choices = [(event.key, event.title) for event in events.all_events() if event is not events.TEST]
