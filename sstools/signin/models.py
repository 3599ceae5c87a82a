"""Which account of the directory is which user."""

from django.conf import settings
from django.db import models
from django.utils import timezone


class Identity(models.Model):
    """An account of the directory, bound to one user for good.

    By issuer and subject and never by name: directories give the name of somebody who left to somebody new, and a
    local account of the same name is not the same person.
    """

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="identity")
    issuer = models.CharField(max_length=300)
    subject = models.CharField(max_length=300)
    name = models.CharField(max_length=300)  # as the directory called it at the last sign-in
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    seen_at = models.DateTimeField(null=True, blank=True)  # last sign-in, by page or by token
    token_issued_at = models.DateTimeField(
        null=True, blank=True
    )  # of the newest token that groups were taken from

    class Meta:
        verbose_name_plural = "identities"
        constraints = [
            models.UniqueConstraint(fields=["issuer", "subject"], name="one_user_per_directory_account")
        ]

    def __str__(self) -> str:
        return f"{self.name} at {self.issuer}"
