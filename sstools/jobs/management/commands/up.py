import os
import secrets
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from sstools.databases import alone_at_start
from sstools.jobs.supervisor import Child, Supervisor, jobs_command, web_command
from sstools.secrets import SecretUnreadable, keys_are_right
from sstools.web_server import bind_problem, collect_static, url_of


class Command(BaseCommand):
    help = "Start ss-tools: bring the database up to date, then web server and workers, until Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bind", default=settings.BIND, help="host:port, default SSTOOLS_BIND")
        parser.add_argument(
            "--only", choices=["web", "jobs"], help="start one of the two, e.g. in containers"
        )
        parser.add_argument(
            "--no-migrate", action="store_true", help="the database is brought up to date elsewhere"
        )

    def handle(self, *args: Any, bind: str, only: str | None, no_migrate: bool, **options: Any) -> None:
        web, jobs = only != "jobs", only != "web"
        if web and (problem := bind_problem(bind)):
            raise CommandError(problem)
        try:
            with alone_at_start():
                first_sign_in = self._prepare(web=web, migrate=not no_migrate)
        except OSError as exc:
            where = exc.filename or settings.DATA_DIR
            raise CommandError(
                f"{where} cannot be written: {exc.strerror}. It must belong to the account that ss-tools runs as, "
                "on a disk with room. Choose another folder with SSTOOLS_DATA_DIR."
            ) from exc
        children = []
        if web:
            children.append(Child("web", web_command(bind)))
        if jobs:
            children.append(Child("jobs", jobs_command()))

        def ready() -> None:
            if web:
                self.stdout.write(f"ss-tools is at {url_of(bind)}")
            if first_sign_in:
                self.stdout.write(first_sign_in)
            self.stdout.write("Ctrl-C ends it.")
            self.stdout.flush()

        Supervisor(children, say=self.stderr.write).run(ready)
        self.stdout.write("Stopped.")

    def _prepare(self, *, web: bool, migrate: bool) -> str:
        """Everything that must be there before the first process. Returns the sentence about the first sign-in."""
        if migrate:
            call_command("migrate", verbosity=0, interactive=False)
        if not keys_are_right():
            raise CommandError(f"{SecretUnreadable.message} {SecretUnreadable.remedy} (SSTOOLS_FIELD_KEYS)")
        if web and not settings.STATIC_DIR:
            collect_static(lambda: call_command("collectstatic", verbosity=0, interactive=False, clear=True))
        return self._first_user() if web else ""

    def _first_user(self) -> str:
        """Make the first administrator of an empty installation. Returns the sentence that says how to sign in."""
        User = get_user_model()
        if User.objects.exists():
            return ""
        password = settings.ADMIN_PASSWORD or secrets.token_urlsafe(12)
        User.objects.create_superuser("admin", password=password)
        if settings.ADMIN_PASSWORD:
            return "Sign in as admin with the password from SSTOOLS_ADMIN_PASSWORD."
        if sys.stdout.isatty():
            return f"Sign in as admin with the password {password} (shown this once)."
        # Nobody reads along: a log is no place for a password.
        path = Path(settings.DATA_DIR) / "first_password"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(password + "\n")
        return f"Sign in as admin with the password in {path}; delete that file then."
