"""What storages have, encrypted with the key of today."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from environments.backups.storages import named, resealing
from sstools.errors import SSToolsError
from sstools.texts import counted

FAILED = 1


class Command(BaseCommand):
    help = (
        "Encrypt every stored object of backups anew with the first key of SSTOOLS_BACKUP_ENCRYPTION_KEYS (without "
        "keys: store it plain), each read back and checked before the old one goes; afterwards other keys may be "
        "given up. May be broken off and run again. Exit codes: 0 all are, 1 some could not be read, and why."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--storage", choices=named.NAMES[1:], help="only this one; all that are set up if none is named"
        )
        parser.add_argument("--json", action="store_true", help="one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = [options["storage"]] if options["storage"] else named.available()[1:]
        result: dict[str, Any] = {"objects": 0, "manifests": 0, "same": 0, "failed": []}
        for name in wanted:
            try:
                done = resealing.reseal(name, self._progress)
            except SSToolsError as exc:
                raise CommandError(f"{exc} Run it again for what is left.") from None
            result["objects"] += done.objects
            result["manifests"] += done.manifests
            result["same"] += done.same
            result["failed"] += [error.as_dict() for error in done.failed]
        if options["json"]:
            self.stdout.write(json.dumps(result))
        else:
            self.stdout.write(
                f"{counted(result['objects'], 'object')} and {counted(result['manifests'], 'manifest')} sealed anew, "
                f"{result['same']:,} were already."
            )
            for error in result["failed"]:
                self.stdout.write(f"Not sealed anew: {error['message']}")
        if result["failed"]:
            raise SystemExit(FAILED)

    def _progress(self, what: str, done: int, total: int) -> None:
        self.stderr.write(f"{what} ({done:,} of {total:,})")
