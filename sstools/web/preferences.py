"""How a person likes the pages: theme, density, time zone, shortcuts."""

import zoneinfo
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.utils import timezone

from .models import Density, Preference, Theme


@dataclass(frozen=True)
class Preferences:
    """The values in force. Without arguments: those of somebody not signed in."""

    theme: str = Theme.SYSTEM
    density: str = Density.COSY
    time_zone: str = ""
    shortcuts: bool = True

    @classmethod
    def of(cls, user: Any) -> "Preferences":
        row = (
            Preference.objects.filter(user_id=user.pk)
            .values("theme", "density", "time_zone", "shortcuts")
            .first()
        )
        return cls(**row) if row else cls()

    @cached_property
    def zone(self) -> Any:
        """A tzinfo: the chosen zone, or the server's. A name that the system no longer knows counts as not chosen."""
        try:
            return zoneinfo.ZoneInfo(self.time_zone) if self.time_zone else timezone.get_default_timezone()
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            return timezone.get_default_timezone()
