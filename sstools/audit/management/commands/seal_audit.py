"""Take the oldest of the history out, and leave a seal."""

import os
from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from sstools.audit import exporting, services
from sstools.audit.models import AuditEvent
from sstools.errors import SSToolsError


class Command(BaseCommand):
    help = (
        "Writes the events that are older than --days (or SSTOOLS_AUDIT_KEEP_DAYS) to a file of JSON lines and takes "
        "them out. What stays begins with their last hash, so that verify_audit still proves it. "
        "Exit code 0, 1 on errors."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, default=settings.AUDIT_KEEP_DAYS)
        parser.add_argument("--to", required=True, help="the file, which must not be there yet")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["days"] < 1:
            raise CommandError("Say how many days of history to keep: --days, or SSTOOLS_AUDIT_KEEP_DAYS.")
        before = timezone.now() - timedelta(days=options["days"])
        path = Path(options["to"])
        rows = AuditEvent.objects.filter(at__lt=before).order_by("number")
        try:
            with path.open("x", encoding="utf-8") as file:
                os.chmod(path, 0o600)
                file.writelines(exporting.json_lines(rows))
                file.flush()
                os.fsync(file.fileno())
        except OSError as exc:
            raise CommandError(f"{path} cannot be written: {exc.strerror}. Nothing was taken out.") from None
        try:
            taken = services.seal(before, actor=None)
        except SSToolsError as exc:
            raise CommandError(str(exc)) from None
        self.stdout.write(f"{taken} events are in {path} and no longer here.")
