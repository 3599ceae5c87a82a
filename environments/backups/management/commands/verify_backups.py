"""Are the backups whole?"""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from environments.backups import services, verifying
from environments.backups.models import Backup
from environments.backups.storages import named, sweeping
from environments.models import Environment
from sstools.errors import SSToolsError
from sstools.texts import counted

WHOLE, CORRUPT, COULD_NOT = 0, 1, 2


class Command(BaseCommand):
    help = (
        "Read every document of the backups from where it is kept and check it against its hash. Exit codes: 0 all are "
        "whole; 1 some are corrupt, each asset is named; 2 some could not be looked at: a storage does not answer."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("numbers", nargs="*", type=int, metavar="NUMBER", help="of backups; none: all")
        parser.add_argument(
            "--environment", metavar="SLUG", default="", help="only backups of this environment"
        )
        parser.add_argument(
            "--sample",
            type=int,
            metavar="PERCENT",
            help="so many of the documents of each backup, by chance, instead of all",
        )
        parser.add_argument(
            "--orphans",
            action="store_true",
            help="also look for objects in the storages that no backup knows; they are counted, not removed",
        )
        parser.add_argument(
            "--remove-orphans",
            action="store_true",
            help="remove them; refused where a storage holds backups that this ss-tools does not know",
        )
        parser.add_argument("--json", action="store_true", help="one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        percent = options["sample"]
        if percent is not None and not 1 <= percent <= 100:
            raise CommandError("--sample is a percentage, from 1 to 100.", returncode=COULD_NOT)
        report = verifying.verify_many(_chosen(options), self._progress, percent=percent)
        result: dict[str, Any] = {
            "backups": [_as_json(backup) for backup in report.checked],
            "others": report.others,
            "unchecked": {str(number): error.as_dict() for number, error in report.unchecked.items()},
            "documents": report.objects,
        }
        code = COULD_NOT if report.unchecked else CORRUPT if report.corrupt or report.others else WHOLE
        lines = [*_lines(report), f"{counted(report.objects, 'document')} read."]
        if options["orphans"] or options["remove_orphans"]:
            result["orphans"], more, could = _orphans(remove=options["remove_orphans"])
            lines += more
            code = code if could else COULD_NOT
        self.stdout.write(json.dumps({**result, "code": code}) if options["json"] else "\n".join(lines))
        if code:
            raise SystemExit(code)

    def _progress(self, what: str, done: int, total: int) -> None:
        if self.stderr.isatty():
            self.stderr.write(f"{what}: {done} of {total}")


def _chosen(options: dict[str, Any]) -> list[Backup]:
    """Raises CommandError."""
    environment = None
    if slug := options["environment"]:
        environment = Environment.objects.filter(slug=slug).first()
        if environment is None:
            raise CommandError(f"There is no environment {slug}.", returncode=COULD_NOT)
    rows = services.verifiable(environment.uuid if environment else None)
    if not options["numbers"]:
        return list(rows)
    found = {backup.pk: backup for backup in rows.filter(pk__in=options["numbers"])}
    if missing := [str(number) for number in options["numbers"] if number not in found]:
        raise CommandError(f"No backup that holds anything: {', '.join(missing)}.", returncode=COULD_NOT)
    return list(found.values())


def _as_json(backup: Backup) -> dict[str, Any]:
    return {
        "number": backup.pk,
        "environment": backup.environment.slug,
        "storage": backup.storage,
        "state": backup.state,
        **(backup.verification or {}),
    }


def _lines(report: verifying.Report) -> list[str]:
    lines = []
    for backup in report.checked:
        found = verifying.problems_of(backup)
        lines.append(f"{backup} ({backup.storage}): {backup.state}")
        lines += [f"  ✗ {one['text']}" for one in found]
    lines += [f"Backup {number}: corrupt too" for number in report.others]
    for number, error in report.unchecked.items():
        lines.append(f"Backup {number} could not be verified: {error}")
    return lines or ["There is no backup that holds anything."]


def _orphans(*, remove: bool) -> tuple[dict[str, Any], list[str], bool]:
    """(for JSON, for people, whether all storages could be asked)."""
    result: dict[str, Any] = {}
    lines: list[str] = []
    could = True
    for storage in named.available():
        if storage == named.DATABASE:
            continue
        try:
            found = sweeping.orphans(storage)
            words = f"{counted(len(found.objects), 'object')} ({found.bytes:,} bytes) that nothing knows"
            result[storage] = {
                "objects": len(found.objects),
                "bytes": found.bytes,
                "unknown": [one.title for one in found.unknown],
                "removed": sweeping.remove_orphans(found) if remove else 0,
            }
        except SSToolsError as exc:
            could = False
            result[storage] = {"error": exc.as_dict()}
            lines.append(f"{storage}: {exc}")
            continue
        lines.append(f"{storage}: {words}{', removed' if remove and found.objects else ''}")
        lines += [f"  not known here: {one.title}" for one in found.unknown]
    return result, lines, could
