"""Rows that trial jobs write, and a secret."""

from django.db import models

from sstools.secrets import SecretField


class Effect(models.Model):
    """What a trial job did. Written twice, it was done twice."""

    name = models.CharField(max_length=100)
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Safe(models.Model):
    secret = SecretField(blank=True)

    def __str__(self) -> str:
        return f"safe {self.pk}"
