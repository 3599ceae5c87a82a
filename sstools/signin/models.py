"""Which account of the directory is which user; who is signed in, and where."""

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.sessions.base_session import AbstractBaseSession, BaseSessionManager
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


class UserSession(AbstractBaseSession):
    """A session of a browser. `user` is empty before a sign-in; `seen_at` is exact to a minute."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="sessions"
    )
    started_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(default=timezone.now)
    address = models.CharField(max_length=45, blank=True)
    browser = models.CharField(max_length=200, blank=True)  # as it calls itself

    objects: ClassVar[Any] = BaseSessionManager()

    class Meta(AbstractBaseSession.Meta):
        abstract = False
        verbose_name = "session"
        verbose_name_plural = "sessions"
        indexes = [models.Index(fields=["user", "-seen_at"], name="sessions_of_a_user")]

    def __str__(self) -> str:
        return f"session of {self.user or 'nobody'}"

    @classmethod
    def get_session_store_class(cls) -> Any:
        from .engine import SessionStore

        return SessionStore
