"""Backups out of a storage, where the database that knew them is lost."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from environments.backups.storages import adopting, named
from environments.models import Environment
from sstools.errors import SSToolsError
from sstools.texts import counted

LEFT = 1


class Command(BaseCommand):
    help = (
        "List the backups in a folder or bucket that this ss-tools does not know, and with --adopt bring them in: "
        "every document is read and checked against its hash first. Their environments must be registered: found by "
        "uuid, else by address. May be run again. Exit codes: 0 all are known now (or listed), 1 some are not, and why."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("storage", choices=named.NAMES[1:], help="where they are")
        parser.add_argument("--adopt", action="store_true", help="bring them in; otherwise they are listed")
        parser.add_argument(
            "--environment",
            metavar="SLUG",
            default="",
            help="only those of the environment that had this slug",
        )
        parser.add_argument(
            "--into", metavar="SLUG", default="", help="they are of this environment, whatever its address"
        )
        parser.add_argument("--json", action="store_true", help="one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        into = None
        if slug := options["into"]:
            into = Environment.objects.filter(slug=slug).first()
            if into is None:
                raise CommandError(f"There is no environment {slug}.")
        storage = options["storage"]
        try:
            found = adopting.look(storage, of=options["environment"], into=into)
            done = adopting.adopt(storage, found.backups, self._progress) if options["adopt"] else None
        except SSToolsError as exc:
            raise CommandError(f"{exc} What was adopted stays; run it again for the others.") from None
        homeless = [one for one in found.backups if one.environment is None]
        result = {
            "backups": [self._said(one) for one in found.backups],
            "known": found.known,
            "unreadable": {key: error.as_dict() for key, error in found.unreadable.items()},
            "adopted": {} if done is None else {str(old): new for old, new in done.numbers.items()},
            "failed": {}
            if done is None
            else {str(old): error.as_dict() for old, error in done.failed.items()},
        }
        if options["json"]:
            self.stdout.write(json.dumps(result))
        else:
            self._tell(result, homeless)
        if found.unreadable or (done is not None and (done.failed or homeless)):
            raise SystemExit(LEFT)

    def _said(self, one: adopting.Found) -> dict[str, Any]:
        backup, environment = one.content["backup"], one.content["environment"]
        return {
            "number": one.number,
            "environment": environment["slug"],
            "url": environment["url"],
            "title": backup["title"],
            "started_at": backup["started_at"],
            "into": one.environment.slug if one.environment else None,
        }

    def _tell(self, result: dict[str, Any], homeless: list[adopting.Found]) -> None:
        for one in result["backups"]:
            new = result["adopted"].get(str(one["number"]))
            state = f"is backup {new} here" if new else f"of {one['into']}" if one["into"] else "not adopted"
            self.stdout.write(
                f"{one['number']}  {one['started_at'][:16]}  {one['environment']} ({one['url']})  {state}"
            )
        for number, error in result["failed"].items():
            self.stdout.write(f"Backup {number} is left where it is: {error['message']}")
        for key, error in result["unreadable"].items():
            self.stdout.write(f"{key}: {error['message']}")
        if homeless:
            self.stdout.write(
                f"{counted(len(homeless), 'backup')} of environments that are not here: register these with their "
                "address, or name one with --into."
            )
        self.stdout.write(
            f"{counted(len(result['backups']), 'backup')} not known before, {result['known']:,} known."
        )

    def _progress(self, what: str, done: int, total: int) -> None:
        self.stderr.write(f"{what} ({done + 1} of {total})")
