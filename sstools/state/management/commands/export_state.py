from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sstools.errors import SSToolsError
from sstools.roles.accounts import OPERATOR
from sstools.state.exporting import export_state
from sstools.state.passphrases import passphrase_for
from sstools.state.tables import left_out


class Command(BaseCommand):
    help = (
        "Write what ss-tools itself knows to a file, so that it can be lost and brought back: environments, access, "
        "routes, mappings, schedules, and the store with its backups. Exit code 0, 1 on errors."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", help="which must not be there yet")
        parser.add_argument(
            "--with-secrets",
            action="store_true",
            help="also credentials of environments, addresses of webhooks, hashes of passwords and tokens, encrypted "
            "with a passphrase",
        )
        parser.add_argument("--passphrase-file", metavar="PATH", default="", help="default: it is asked for")
        parser.add_argument("--replace", action="store_true", help="take the place of a file that is there")

    def handle(self, *args: Any, file: str, with_secrets: bool, **options: Any) -> None:
        path = Path(file)
        try:
            passphrase = passphrase_for(options["passphrase_file"], new=True) if with_secrets else ""
            done = export_state(
                path, actor=OPERATOR, passphrase=passphrase, replace=options["replace"], say=self.stderr.write
            )
        except SSToolsError as exc:
            raise CommandError(str(exc)) from None
        for model, why in left_out().items():
            self.stderr.write(f"Not in it: {model}: {why}", self.style.NOTICE)
        if not with_secrets:
            self.stderr.write(
                "Not in it: credentials, addresses of webhooks, passwords, tokens (--with-secrets takes them along)."
            )
        self.stdout.write(
            f"{sum(done.rows.values())} rows are in {path}. Its fingerprint: {done.fingerprint}"
        )
