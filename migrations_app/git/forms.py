"""Forms of the pages of repositories. What is right is decided by the services."""

from __future__ import annotations

from typing import Any

from django import forms

from environments.models import Environment
from migrations_app.files.forms import MigrateForm
from sstools.errors import Invalid

from .models import Forge, Policy, Repository

_PLAIN = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}


class RepositoryForm(forms.Form):
    """Registering and editing. Never shows a stored secret: what is entered replaces it, nothing keeps it."""

    name = forms.CharField(max_length=100, help_text="As people call it: BI assets.")
    url = forms.CharField(
        label="Address",
        max_length=500,
        help_text="https://…, ssh://git@…, git@host:path, or file:// for a bare repository of this machine.",
        widget=forms.TextInput(attrs={**_PLAIN, "placeholder": "https://git.example.org/bi/assets.git"}),
    )
    username = forms.CharField(
        label="User",
        max_length=150,
        required=False,
        help_text="For https. With a token most servers take any name.",
        widget=forms.TextInput(attrs=_PLAIN),
    )
    secret = forms.CharField(
        label="Token, password or private key",
        required=False,
        max_length=20_000,
        strip=False,
        widget=forms.Textarea(attrs={**_PLAIN, "rows": 3}),
        help_text="A private key for ssh, without a passphrase. Stored encrypted and never shown again.",
    )
    host_key = forms.CharField(
        label="Key of the server",
        required=False,
        max_length=5_000,
        widget=forms.Textarea(attrs={**_PLAIN, "rows": 2}),
        help_text="For ssh: the line that ssh-keyscan prints. Nothing is sent to a server with another key.",
    )
    branch = forms.CharField(max_length=200, initial="main", widget=forms.TextInput(attrs=_PLAIN))
    folder = forms.CharField(
        max_length=200,
        required=False,
        help_text="Where in the repository the assets are. Empty: at its root.",
        widget=forms.TextInput(attrs=_PLAIN),
    )
    environment = forms.ModelChoiceField(
        Environment.objects.none(),
        required=False,
        to_field_name="slug",
        empty_label="none in particular",
        label="In the terms of",
        help_text="Whose connections its files name: mapping and pairing are then those between that environment and a "
        "target.",
    )
    author_name = forms.CharField(label="Commits as", max_length=100, initial="ss-tools")
    author_email = forms.CharField(
        label="with the e-mail address", max_length=200, initial="ss-tools@localhost"
    )
    sign_off = forms.BooleanField(
        required=False, label="Sign off", help_text="Adds Signed-off-by, with who asked for the commit."
    )
    forge = forms.ChoiceField(
        choices=[("", "as the address says"), *Forge.choices],
        required=False,
        help_text="Whose API opens pull or merge requests there.",
    )
    forge_url = forms.CharField(
        label="Address of its API",
        max_length=500,
        required=False,
        help_text="Empty: where the forge has it beside the repository.",
        widget=forms.TextInput(attrs={**_PLAIN, "placeholder": "https://git.example.org/api/v4"}),
    )
    forge_secret = forms.CharField(
        label="Token for its API",
        required=False,
        max_length=5_000,
        widget=forms.PasswordInput(attrs={**_PLAIN, "autocomplete": "new-password"}),
        help_text="Empty: the token above, if it is one. May write pull requests, and statuses if they are told.",
    )
    statuses = forms.BooleanField(
        required=False,
        label="Tell it what plans say",
        help_text="Each plan of a commit posts pending, success or failure to the commit, with a link.",
    )
    slug = forms.SlugField(
        max_length=50,
        required=False,
        label="Short name",
        help_text="In addresses and commands (git:bi@main). Empty: from the name.",
    )

    def __init__(
        self, *args: Any, environments: Any, repository: Repository | None = None, **kwargs: Any
    ) -> None:
        if repository is not None:
            names = [
                name for name in self.base_fields if name not in ("secret", "forge_secret", "environment")
            ]
            kwargs["initial"] = {name: getattr(repository, name) for name in names}
            kwargs["initial"]["environment"] = repository.environment and repository.environment.slug
        super().__init__(*args, **kwargs)
        self.fields["environment"].queryset = environments  # type: ignore[attr-defined]
        if repository is not None and repository.secret:
            self.fields["secret"].help_text = "One is stored. Leave it empty to keep it."
        if repository is not None and repository.forge_secret:
            self.fields["forge_secret"].help_text = "One is stored. Leave it empty to keep it."
        self.repository = repository

    def values(self) -> dict[str, Any]:
        """For the service, without the secret. An empty short name keeps what is there."""
        found = {
            name: value for name, value in self.cleaned_data.items() if name not in ("secret", "forge_secret")
        }
        if not found["slug"]:
            del found["slug"]
        return found

    def new_secret(self, name: str = "secret") -> str | None:
        """None keeps what is stored."""
        given = self.cleaned_data[name].strip()
        return given or (None if self.repository is not None else "")

    def add_invalid(self, error: Invalid) -> None:
        for name, messages in error.errors.items():
            self.add_error(name if name in self.fields else None, messages)
        if not error.errors:
            self.add_error(None, f"{error.message} {error.remedy}".strip())


class CommitForm(forms.Form):
    """A commit of what is ticked."""

    message = forms.CharField(
        max_length=5_000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="The first line says what changes; after an empty line, why.",
    )
    branch = forms.CharField(
        max_length=200,
        help_text="A branch that is not there yet begins where the difference was looked at.",
        widget=forms.TextInput(attrs=_PLAIN),
    )
    with_dependencies = forms.BooleanField(
        required=False,
        initial=True,
        label="With what it stands on",
        help_text="Where git does not have it yet. What git has is committed only where it is ticked.",
    )
    pull_request = forms.BooleanField(
        required=False,
        label="Open a pull request",
        help_text="Of the branch into the repository's, with what changes in sentences as its text.",
    )

    def __init__(self, *args: Any, has_forge: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not has_forge:
            del self.fields["pull_request"]


class DeployForm(MigrateForm):
    """How a commit is brought to an environment."""


class FollowForm(forms.Form):
    """A branch, and what is done with its commits."""

    branch = forms.CharField(max_length=200, widget=forms.TextInput(attrs=_PLAIN))
    target = forms.ModelChoiceField(Environment.objects.none(), to_field_name="slug", label="To")
    policy = forms.ChoiceField(
        choices=Policy.choices,
        initial=Policy.PLAN,
        label="A new commit is",
        help_text="Green: nothing is blocked or contradicts, all checks are fine, and the rules of the target are met. "
        "Else it waits for somebody.",
    )
    roll_back_when_red = forms.BooleanField(
        required=False, initial=True, label="Roll back by itself if a chart fails afterwards"
    )
    from_now = forms.BooleanField(
        required=False,
        label="Only commits from now on",
        help_text="What the branch holds now is there already.",
    )
    confirmation = forms.CharField(
        required=False,
        max_length=100,
        label="Short name of the target",
        help_text="Typed, where it is protected and is to be written to.",
        widget=forms.TextInput(attrs=_PLAIN),
    )

    def __init__(self, *args: Any, targets: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["target"].queryset = targets  # type: ignore[attr-defined]
