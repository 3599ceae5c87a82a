from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sstools.errors import SSToolsError
from sstools.roles.accounts import OPERATOR
from sstools.state.importing import import_state, names_of
from sstools.state.passphrases import passphrase_for


class Command(BaseCommand):
    help = "Bring back what export_state wrote, into an empty ss-tools; all of it or nothing. Exit code 0, 1 on errors."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE")
        parser.add_argument(
            "--merge",
            action="store_true",
            help="into one that is in use: adds what is not there, leaves what is there as it is, gives nobody rights",
        )
        parser.add_argument(
            "--fingerprint", default="", help="what the export said, to be sure that it is this file"
        )
        parser.add_argument(
            "--passphrase-file", metavar="PATH", default="", help="of a file with secrets; default: asked for"
        )

    def handle(self, *args: Any, file: str, merge: bool, fingerprint: str, **options: Any) -> None:
        try:
            done = import_state(
                Path(file),
                actor=OPERATOR,
                passphrase=lambda: passphrase_for(options["passphrase_file"], new=False),
                merge=merge,
                fingerprint=fingerprint,
                say=self.stderr.write,
            )
        except SSToolsError as exc:
            raise CommandError(str(exc)) from None
        for sentence in done.said:
            self.stderr.write(sentence)
        self.stdout.write(f"Brought in: {', '.join(names_of(done.added)) or 'nothing'}.")
        if left := ", ".join(names_of(done.left)):
            self.stdout.write(f"Left as they are: {left}.")
