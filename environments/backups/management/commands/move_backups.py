"""Backups from one storage to another."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from environments.backups import services
from environments.backups.storages import copies, moving, named, sweeping
from environments.models import Environment
from sstools.errors import SSToolsError
from sstools.texts import counted

MOVED, FAILED = 0, 1


class Command(BaseCommand):
    help = (
        "Move backups to another storage: each document is written there, read back and checked before the backup is "
        "found there; what nothing needs any more goes with the next tidying. May be broken off and run again. "
        "Exit codes: 0 all are there, 1 some are not, and why."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--to", required=True, choices=named.NAMES, help="the storage to move to")
        parser.add_argument(
            "--from", dest="origin", choices=named.NAMES, help="only backups that are there now"
        )
        parser.add_argument(
            "--environment", metavar="SLUG", default="", help="only backups of this environment"
        )
        parser.add_argument("--json", action="store_true", help="one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        environment = None
        if slug := options["environment"]:
            environment = Environment.objects.filter(slug=slug).first()
            if environment is None:
                raise CommandError(f"There is no environment {slug}.")
        rows = services.verifiable(environment.uuid if environment else None).exclude(storage=options["to"])
        if options["origin"]:
            rows = rows.filter(storage=options["origin"])
        try:
            moved = moving.move(list(rows.order_by("pk")), options["to"], self._progress)
        except SSToolsError as exc:
            left = rows.count()
            raise CommandError(
                f"{exc} {counted(left, 'backup')} stay where they were; run it again for them."
            ) from None
        result = {
            "moved": moved.backups,
            "objects": moved.objects,
            "bytes": moved.bytes,
            "failed": {str(number): error.as_dict() for number, error in moved.failed.items()},
        }
        # What has been unneeded for a day; what was given up just now follows in the night.
        result["removed"] = sweeping.forget_objects()
        result["out_of_the_database"] = copies.drop_bodies()
        if options["json"]:
            self.stdout.write(json.dumps(result))
        else:
            self.stdout.write(
                f"{counted(len(moved.backups), 'backup')} moved to {options['to']}: "
                f"{counted(moved.objects, 'object')} ({moved.bytes:,} bytes) written."
            )
            for number, error in moved.failed.items():
                self.stdout.write(f"Backup {number} stays where it is: {error}")
        if moved.failed:
            raise SystemExit(FAILED)

    def _progress(self, what: str, done: int, total: int) -> None:
        self.stderr.write(f"{what} ({done + 1} of {total})")
