"""What the pages remember of a person."""

from django.conf import settings
from django.db import models


class Theme(models.TextChoices):
    SYSTEM = "system", "Like the system"
    LIGHT = "light", "Light"
    DARK = "dark", "Dark"


class Density(models.TextChoices):
    COSY = "cosy", "Cosy"
    COMPACT = "compact", "Compact"


class Preference(models.Model):
    """One row for each person who changed something at /me/."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, primary_key=True, on_delete=models.CASCADE, related_name="preference"
    )
    theme = models.CharField(max_length=10, choices=Theme.choices, default=Theme.SYSTEM)
    density = models.CharField(max_length=10, choices=Density.choices, default=Density.COSY)
    time_zone = models.CharField(max_length=64, blank=True)  # an IANA name; empty: the server's
    shortcuts = models.BooleanField(default=True)

    def __str__(self) -> str:
        return f"preferences of {self.user}"
