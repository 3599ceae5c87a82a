"""Is the history whole?"""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sstools.audit import services
from sstools.audit.models import AuditEvent


class Command(BaseCommand):
    help = (
        "Looks for events of the history that were changed, taken out or put elsewhere. Exit code 0: whole; 1: broken, "
        "each place is named. The head that it prints, kept elsewhere and given with --head the next time, also proves "
        "that nobody rewrote all of it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--head", default="", help="NUMBER:HASH as printed before")
        parser.add_argument("--json", action="store_true", help="one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        known = _head(options["head"])
        found = [{"event": number, "what": what} for number, what in services.broken_links(known)]
        head = services.head()
        count = AuditEvent.objects.count()
        if options["json"]:
            self.stdout.write(json.dumps({"events": count, "head": str(head), "broken": found}))
        else:
            for place in found:
                self.stdout.write(f"event {place['event']}: {place['what']}")
            self.stdout.write(f"{count} events, head {head}")
            self.stdout.write("The history is broken." if found else "The history is whole.")
        if found:
            raise SystemExit(1)


def _head(text: str) -> services.Head | None:
    number, _, value = text.partition(":")
    if not text:
        return None
    if not number.isdecimal() or len(value) != 64:
        raise CommandError("--head is NUMBER:HASH, as verify_audit prints it.")
    return services.Head(int(number), value)
