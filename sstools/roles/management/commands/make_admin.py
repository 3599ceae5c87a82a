import os
import secrets
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from sstools.errors import SSToolsError
from sstools.roles import accounts


class Command(BaseCommand):
    help = (
        "Break glass: make a local superuser, or repair one (switch on, new password). It is in the history."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", nargs="?", default="admin", help="default: admin")
        parser.add_argument(
            "--password-file",
            metavar="PATH",
            default="",
            help="take the password from there; default: a random one",
        )

    def handle(self, *args: Any, username: str, password_file: str, **options: Any) -> None:
        given = self._given(username, password_file)
        password = given or secrets.token_urlsafe(15)
        try:
            _, is_new = accounts.make_admin(username, password)
        except SSToolsError as exc:
            fields = [text for texts in getattr(exc, "errors", {}).values() for text in texts]
            raise CommandError(" ".join([str(exc), *fields])) from None
        self.stdout.write(f"{username} is {'a new' if is_new else 'again a'} superuser who can sign in.")
        if given:
            return
        if sys.stdout.isatty():
            self.stdout.write(f"The password is {password} (shown this once).")
            return
        # Nobody reads along: a log is no place for a password.
        path = Path(settings.DATA_DIR) / f"password_of_{username}"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(password + "\n")
        self.stdout.write(f"The password is in {path}; delete that file then.")

    def _given(self, username: str, password_file: str) -> str:
        if not password_file:
            return ""
        try:
            password = Path(password_file).read_text().rstrip("\r\n")
        except OSError as exc:
            raise CommandError(f"{password_file} cannot be read: {exc.strerror}.") from None
        try:
            validate_password(password, get_user_model()(username=username))
        except ValidationError as exc:
            raise CommandError(" ".join(exc.messages)) from None
        return password
