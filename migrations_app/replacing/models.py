"""What somebody asked to be replaced. What becomes of it is a migration like any."""

from __future__ import annotations

import uuid as uuid_module
from functools import cached_property

from django.db import models

from migrations_app.models import Migration

from .terms import Terms


class Replacement(models.Model):
    """The terms of a migration that replaces texts of an environment; they never change.

    `terms`: `Terms`, in JSON. `found`: field -> number of places in the last plan.
    """

    uuid = models.UUIDField(unique=True, default=uuid_module.uuid4, editable=False)
    migration = models.OneToOneField(Migration, on_delete=models.CASCADE, related_name="replacement")
    terms = models.JSONField()
    found = models.JSONField(default=dict)

    def __str__(self) -> str:
        return self.asked.words

    @cached_property
    def asked(self) -> Terms:
        return Terms.from_json(self.terms)

    @property
    def place_count(self) -> int:
        return sum(self.found.values())
