"""Forms of the pages. They shape input; what is right is decided in validation.py, through the service."""

from typing import Any

from django import forms

from sstools.errors import Invalid

from .models import AuthKind, Colour, Environment, Position
from .validation import PLAIN_FIELDS

PLACES = [
    (place.value, place.label) for place in (Position.DEV, Position.STAGE, Position.PROD, Position.OTHER)
]


class EnvironmentForm(forms.Form):
    """Registering and editing. Never shows a stored secret: it has an input of its own in the template."""

    name = forms.CharField(max_length=100, help_text="As people call it: Production, BI Dev.")
    url = forms.CharField(
        label="Address",
        max_length=500,
        help_text="Where Superset's own pages open, with the path if it lives under one.",
        widget=forms.URLInput(attrs={"placeholder": "https://bi.example.org", "spellcheck": "false"}),
    )
    position = forms.TypedChoiceField(
        label="Place on the way to production",
        choices=PLACES,
        coerce=int,
        required=False,
        help_text="Migrations go from a lower place to a higher one unless you say otherwise.",
    )
    protected = forms.BooleanField(
        required=False,
        label="Protected",
        help_text="Writing to it asks for its name, and pages that write to it carry a band in its colour.",
    )
    scratch = forms.BooleanField(
        required=False,
        label="Scratch",
        help_text="Everything in it may be replaced at any time: backups are rehearsed there. Never protected.",
    )
    colour = forms.ChoiceField(choices=Colour.choices, required=False, help_text="Of its tag and its band.")
    tag = forms.CharField(
        label="Short name",
        max_length=12,
        required=False,
        help_text="On tags, in capitals. Empty: from the name.",
    )
    slug = forms.SlugField(
        max_length=50, required=False, help_text="In addresses and commands (env:prod). Empty: from the name."
    )
    auth_kind = forms.ChoiceField(
        label="Kind of sign-in",
        choices=AuthKind.choices,
        help_text="The sign-in page is slower, and the only way where the Public role may read lists.",
    )
    username = forms.CharField(
        label="User",
        max_length=150,
        required=False,
        help_text="An account with the Admin role. Not needed for a token.",
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )
    secret = forms.CharField(
        label="Password or token", required=False, strip=False, max_length=65_536, widget=forms.PasswordInput
    )
    secret_reference = forms.CharField(
        label="Or where it is kept",
        max_length=500,
        required=False,
        help_text="env:SUPERSET_PROD_PASSWORD or file:/run/secrets/superset_prod, read at each sign-in.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "class": "mono"}),
    )
    ca_certificate = forms.CharField(
        label="Certificate authority",
        required=False,
        strip=False,
        help_text="PEM text of your own authority, trusted for this environment beside the system's.",
        widget=forms.Textarea(
            attrs={
                "rows": 4,
                "class": "mono",
                "spellcheck": "false",
                "placeholder": "-----BEGIN CERTIFICATE-----",
            }
        ),
    )
    proxy_url = forms.CharField(
        label="Proxy",
        max_length=500,
        required=False,
        widget=forms.URLInput(attrs={"placeholder": "http://proxy.example.org:3128", "spellcheck": "false"}),
    )
    read_timeout_seconds = forms.IntegerField(
        label="Seconds to wait for an answer", min_value=5, max_value=3600, required=False
    )
    import_timeout_seconds = forms.IntegerField(
        label="Seconds to wait for an import or export", min_value=30, max_value=7200, required=False
    )
    max_parallel = forms.IntegerField(
        label="Requests at the same time",
        min_value=1,
        max_value=8,
        required=False,
        help_text="More than two per worker of Superset gain nothing.",
    )

    def __init__(self, *args: Any, environment: Environment | None = None, **kwargs: Any) -> None:
        model = environment or Environment()
        kwargs.setdefault("initial", {name: getattr(model, name) for name in PLAIN_FIELDS})
        if environment is not None:
            kwargs["initial"]["secret_reference"] = environment.secret_reference
        super().__init__(*args, **kwargs)
        self.environment = environment
        if environment is None:
            # Chosen from the place on the way unless somebody says otherwise.
            colour = self.fields["colour"]
            assert isinstance(colour, forms.ChoiceField)
            colour.choices = [("", "as usual for its place"), *Colour.choices]
            self.initial["colour"] = ""
            self.initial["position"] = _next_place()

    def clean(self) -> dict[str, Any]:
        """All that is missing in one answer: what the service would say is not reached while something is wrong."""
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if self.environment is None and self.errors:
            is_token = values.get("auth_kind") == AuthKind.TOKEN
            if not is_token and not values.get("username"):
                self.add_error("username", "This is needed to sign in.")
            if not values.get("secret") and not values.get("secret_reference"):
                what = "The token" if is_token else "The password"
                self.add_error("secret", f"{what} is needed, or a reference to where it is.")
        return values

    def values(self) -> dict[str, Any]:
        """What the service takes: empty numbers and, for a new one, an empty colour mean its defaults."""
        values = dict(self.cleaned_data)
        for name in ("read_timeout_seconds", "import_timeout_seconds", "max_parallel", "colour", "position"):
            if values.get(name) in (None, ""):
                values.pop(name, None)
        if self.environment is None and not values["protected"]:
            values.pop("protected")  # production is protected by default; it can be unticked afterwards
        return values

    def add_invalid(self, error: Invalid) -> None:
        """Show what the service refused beside the fields it is about."""
        for name, messages in error.errors.items():
            for message in messages:
                self.add_error(name if name in self.fields else None, message)
        if not error.errors:
            self.add_error(None, str(error))

    @property
    def more_is_open(self) -> bool:
        """Whether the folded part holds something to look at."""
        names = (
            "ca_certificate",
            "proxy_url",
            "read_timeout_seconds",
            "import_timeout_seconds",
            "max_parallel",
        )
        filled = any(self[name].value() for name in names[:2])
        return filled or any(name in self.errors for name in names)


def _next_place() -> Position:
    """What people register next: development first, then production."""
    taken = set(Environment.objects.values_list("position", flat=True))
    return next((place for place in (Position.DEV, Position.PROD) if place not in taken), Position.OTHER)
