from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sstools import secrets
from sstools.audit import services as audit


class Command(BaseCommand):
    help = "Encrypt all stored secrets with the first of SSTOOLS_FIELD_KEYS; the other keys may be dropped afterwards."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            counts = {f"{m._meta.label}.{f.name}": secrets.rotate(m, f) for m, f in secrets.secret_fields()}
            secrets.renew_key_check()
        except secrets.SecretUnreadable as exc:
            raise CommandError(str(exc)) from exc
        total = sum(counts.values())
        audit.record("keys:rotate", "keys:fields", actor=None, data=counts, source="command")
        self.stdout.write(f"{total} stored secrets are encrypted with the first key now.")
