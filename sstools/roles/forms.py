"""Forms of the pages of access. They shape input; what is right is decided by the services."""

from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.db.models import Q

from sstools.errors import Invalid

from . import places, services
from .models import Group, Source
from .permissions import MEANING, Permission

User = get_user_model()
PLAIN = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}


def permission_choices() -> list[tuple[str, str]]:
    return [(str(one), " – ".join([str(one), MEANING.get(one, "")])) for one in Permission]


class ServiceForm(forms.Form):
    def add_invalid(self, error: Invalid) -> None:
        """Show what a service found wrong at the fields it names."""
        for name, texts in (error.errors or {"": [error.message]}).items():
            for text in texts:
                self.add_error(name if name in self.fields else None, text)


class UserFilterForm(forms.Form):
    q = forms.CharField(
        label="Search",
        required=False,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Name or mail"}),
    )
    state = forms.ChoiceField(
        required=False, choices=[("", "all"), ("on", "on"), ("off", "switched off")], label="State"
    )
    source = forms.ChoiceField(required=False, choices=[("", "all"), *Source.choices], label="Source")
    role = forms.ChoiceField(required=False, label="Role")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _choices(self, "role", [("", "all"), *role_choices(), ("none", "none at all")])


class GrantFilterForm(forms.Form):
    q = forms.CharField(
        label="Search",
        required=False,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Person, group or reason"}),
    )
    role = forms.ChoiceField(required=False, label="Role")
    on = forms.ChoiceField(required=False, label="On")
    state = forms.ChoiceField(
        required=False, choices=[("", "all"), ("in_force", "in force"), ("expired", "expired")], label="State"
    )

    def __init__(self, *args: Any, seen: list[places.Place], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _choices(self, "role", [("", "all"), *role_choices()])
        _choices(self, "on", [("", "all"), *place_choices(seen)])


class NamesForm(ServiceForm):
    first_name = forms.CharField(max_length=150, required=False, label="First name")
    last_name = forms.CharField(max_length=150, required=False, label="Last name")
    email = forms.EmailField(
        required=False, label="Mail", help_text="For “Ask” on pages that refuse something."
    )


class NewUserForm(NamesForm):
    username = forms.CharField(
        max_length=150,
        label="User name",
        widget=forms.TextInput(attrs=PLAIN),
        help_text="What they sign in with. It stays.",
    )
    field_order = ["username", "first_name", "last_name", "email"]


class RoleForm(ServiceForm):
    name = forms.CharField(max_length=100, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    description = forms.CharField(max_length=500, required=False, help_text="Whom it is for.")
    permissions = forms.MultipleChoiceField(
        label="Rights",
        choices=permission_choices(),
        widget=forms.CheckboxSelectMultiple,
    )


class NewGroupForm(ServiceForm):
    name = forms.CharField(
        max_length=255,
        widget=forms.TextInput(attrs=PLAIN),
        help_text="Of the directory: exactly as it is called there.",
    )
    origin = forms.ChoiceField(
        label="Who decides who is in it",
        choices=[
            (Source.LOCAL, "ss-tools: members are chosen here"),
            (Source.ADFS, "the directory, at each sign-in"),
        ],
        widget=forms.RadioSelect,
        initial=Source.LOCAL,
    )
    description = forms.CharField(max_length=500, required=False)


class PersonField(forms.CharField):
    """A user name as typed; becomes the user."""

    widget = forms.TextInput(attrs={**PLAIN, "list": "people"})

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        user = User._default_manager.filter(username__iexact=text).first()
        if user is None:
            raise forms.ValidationError("There is no such user.")
        return user


class GroupField(forms.ModelChoiceField):  # type: ignore[type-arg]  # Django's is no generic at run time
    def label_from_instance(self, obj: Any) -> str:
        return f"{obj.name} ({obj.get_source_display()})"


class EndForm(ServiceForm):
    expires_at = forms.DateTimeField(
        required=False,
        label="Until",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="In your time zone. Empty: without an end.",
    )
    reason = forms.CharField(max_length=500, required=False, help_text="For those who ask in a year.")


class GrantForm(EndForm):
    user = PersonField(required=False, label="Person")
    group = GroupField(Group.objects.none(), required=False, label="or group", empty_label="none")
    role = forms.ChoiceField()
    on = forms.ChoiceField(label="On")
    field_order = ["user", "group", "role", "on", "expires_at", "reason"]

    def __init__(self, *args: Any, seen: list[places.Place], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        group = self.fields["group"]
        assert isinstance(group, forms.ModelChoiceField)
        group.queryset = Group.objects.all()
        _choices(self, "role", role_choices())
        _choices(self, "on", place_choices(seen))

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if not self.errors and (data.get("user") is None) == (data.get("group") is None):
            self.add_error("user", "A person or a group.")
        return data


class TryForm(forms.Form):
    user = PersonField(label="Person")
    permission = forms.ChoiceField(label="Right", choices=permission_choices())
    on = forms.ChoiceField(label="On")

    def __init__(self, *args: Any, seen: list[places.Place], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _choices(self, "on", place_choices(seen))


class MemberForm(forms.Form):
    user = PersonField(label="Person")


def role_choices() -> list[tuple[str, str]]:
    return [(role.key, role.title) for role in services.all_roles()]


def place_choices(seen: list[places.Place]) -> list[tuple[str, str]]:
    return [(place.slug, str(place)) for place in seen]


def people_like(text: str) -> Q:
    """Users whose names or mail hold all words of `text`."""
    found = Q()
    for word in text.split():
        found &= (
            Q(username__icontains=word)
            | Q(first_name__icontains=word)
            | Q(last_name__icontains=word)
            | Q(email__icontains=word)
        )
    return found


def _choices(form: forms.Form, name: str, choices: list[tuple[str, str]]) -> None:
    field = form.fields[name]
    assert isinstance(field, forms.ChoiceField)
    field.choices = choices
