"""Forms of the page that restores."""

from __future__ import annotations

from typing import Any

from django import forms

from environments.backups.models import Backup
from environments.models import Environment
from migrations_app.forms import OptionsForm
from sstools.texts import counted

from .services import TITLE, is_own

OVER, BESIDE = "over", "beside"


class RestoreForm(OptionsForm):
    """Where a backup is restored, and how."""

    target = forms.ModelChoiceField(
        Environment.objects.none(), to_field_name="slug", label="To", empty_label=None
    )
    how = forms.ChoiceField(
        label="How",
        choices=[
            (OVER, "Over what is there: everything is as it was then"),
            (BESIDE, "As a copy beside: new uuids and names, what is there is not touched"),
        ],
        widget=forms.RadioSelect,
        help_text="A copy reads the datasets as they are now. Restored beside once more, the same copy is changed.",
    )
    copy_title = forms.CharField(
        label="Names of copied dashboards",
        required=False,
        max_length=200,
        help_text="{title} is the original’s.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    remove_later = forms.BooleanField(label="Remove what came later too", required=False)
    field_order = ["target", "how", "copy_title", "remove_later"]

    def __init__(
        self, *args: Any, backup: Backup, targets: Any, later: int, why_not_remove: str, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.backup = backup
        self.fields["target"].queryset = targets  # type: ignore[attr-defined]
        self.fields["copy_title"].initial = TITLE.format(number=backup.number)
        self.fields["verify"].help_text = "Asks the data of every chart on the target: a backup gives none."
        self.fields["roll_back_when_red"].help_text = "Red is a chart that fails on the target."
        remove = self.fields["remove_later"]
        remove.help_text = (
            f"{counted(later, 'asset is', 'assets are')} there now and not in this backup: it stays unless this is "
            "ticked. The plan names each with the reason; the restore point keeps it."
            if later
            else "As of the last reading there is nothing that is not in this backup."
        )
        if why_not_remove:
            remove.disabled, remove.help_text = True, f"{remove.help_text} {why_not_remove}"

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        target = data.get("target")
        is_over_own = target is not None and is_own(self.backup, target) and data.get("how") == OVER
        if data.get("remove_later") and not is_over_own:
            self.add_error(
                "remove_later",
                "Only where a backup of a whole environment is put back over that environment.",
            )
        if data.get("roll_back_when_red") and not data.get("verify"):
            self.add_error(
                "roll_back_when_red", "This needs the verification of the charts: switch that on too."
            )
        return data
