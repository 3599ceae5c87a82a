import getpass
import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand

from environments.superset.auth import Auth, PasswordAuth, SessionAuth, TokenAuth
from environments.superset.client import SupersetClient
from environments.superset.connection import REMEDIES
from environments.superset.errors import SupersetError
from environments.superset.versions import TESTED
from migrations_app.compat.round_trip import choose_connection, round_trip
from migrations_app.compat.suite import DIFFERS, FAILED, NOTE, OK, UNKNOWN, Line, Report, examine
from sstools.env import SettingError, env_secret

PASSWORD_VARIABLE = "SSTOOLS_COMPAT_PASSWORD"  # noqa: S105  names of variables
TOKEN_VARIABLE = "SSTOOLS_COMPAT_TOKEN"  # noqa: S105
CODES = {"compatible": 0, FAILED: 1, DIFFERS: 2}
SIGNS = {OK: "ok", NOTE: "note", DIFFERS: "DIFFERS", FAILED: "FAILED", UNKNOWN: "-"}


class Command(BaseCommand):
    help = (
        "Try a Superset, also one of a release that ss-tools was never tested with: what it can, held against what is "
        "known of releases. Reads only, unless --write. "
        f"The password comes from {PASSWORD_VARIABLE}, a token from {TOKEN_VARIABLE}, else it is asked for. "
        "Exit codes: 0 as expected, 1 something fails, 2 it works, and something is not as known of its release."
    )
    requires_system_checks: list[str] = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        leave = parser.exit

        def exit_with(status: int = 0, message: str | None = None) -> Any:
            leave(1 if status else 0, message)  # argparse would say 2, which means something here

        parser.exit = exit_with  # type: ignore[method-assign]
        return parser

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", required=True, help="address of the Superset, as its own pages open")
        parser.add_argument("--username", default="admin", help="account, default admin")
        parser.add_argument(
            "--sign-in",
            choices=("db", "ldap", "session"),
            default="db",
            help="how the account signs in: Superset's own users, LDAP, or by the sign-in page as a browser",
        )
        parser.add_argument(
            "--ca-file", default="", help="certificate of the authority that signed Superset's"
        )
        parser.add_argument("--proxy", default="", help="address of a proxy to go through")
        parser.add_argument(
            "--write",
            action="store_true",
            help="bring a dashboard of two charts there, marked “ss-tools compat”, read it back, and remove it",
        )
        parser.add_argument(
            "--database", default="", metavar="NAME", help="with --write: the connection to run SELECT 1 on"
        )
        parser.add_argument("--json", action="store_true", help="the result as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = self._examine(options)
        except (SettingError, ValueError, OSError) as error:
            self._end(
                options, Report(options["url"], lines=[Line("connection", "started", FAILED, str(error))])
            )
        except SupersetError as error:
            failed = Line(
                "connection", "reached", FAILED, error.message, meaning=REMEDIES.get(error.code, "")
            )
            self._end(options, Report(options["url"], lines=[failed]))
        else:
            self._end(options, report)

    def _examine(self, options: dict[str, Any]) -> Report:
        with SupersetClient(
            options["url"],
            _auth(options["username"], options["sign_in"]),
            ca_file=options["ca_file"] or None,
            proxy=options["proxy"] or None,
        ) as client:
            report = examine(client)
            if options["write"] and report.result != FAILED:
                chosen = choose_connection(client, options["database"])
                if isinstance(chosen, str):
                    report.lines.append(Line("round trip", "connection", FAILED, chosen))
                else:
                    report.lines += round_trip(client, chosen)
            return report

    def _end(self, options: dict[str, Any], report: Report) -> None:
        code = CODES[report.result]
        if options["json"]:
            self.stdout.write(
                json.dumps({**report.to_dict(), "exit_code": code}, indent=2, ensure_ascii=False)
            )
        else:
            self.stdout.write("\n".join(table(report)))
        if code:
            sys.exit(code)


def table(report: Report) -> Iterator[str]:
    """One line for each thing that was tried, under its group."""
    if report.version:
        tested = "tested" if report.tested else f"not among the tested ones ({', '.join(TESTED)})"
        yield f"Superset {report.version} at {report.url}: {tested}"
    width = max((len(line.name) for line in report.lines), default=0)
    group = ""
    for line in report.lines:
        if line.group != group:
            group = line.group
            yield f"\n{group}"
        yield f"  {SIGNS[line.state]:<8}{line.name:<{width}}  {_said(line)}"
    yield ""
    yield {
        "compatible": "Everything is as known of this release.",
        DIFFERS: "It works, but what DIFFERS above is not as known of this release: try a copy before you rely on it.",
        FAILED: "What FAILED above must be mended first.",
    }[report.result]


def _said(line: Line) -> str:
    if line.group == "companions":
        return line.found
    text = line.found
    if line.state in (DIFFERS, NOTE) and line.expected:
        text += f" (known of this release: {line.expected})"
    if line.meaning:
        text += f"{'' if text.endswith(('.', '!')) else ':'} {line.meaning}"
    return text


def _auth(username: str, sign_in: str) -> Auth:
    token = env_secret(TOKEN_VARIABLE, "")
    if token:
        return TokenAuth(token)
    password = env_secret(PASSWORD_VARIABLE, "")
    if not password:
        if not sys.stdin.isatty():
            raise SettingError(f"Set {PASSWORD_VARIABLE} or {TOKEN_VARIABLE}: there is nobody to ask.")
        password = getpass.getpass(f"Password of {username}: ")
    return (
        SessionAuth(username, password) if sign_in == "session" else PasswordAuth(username, password, sign_in)
    )
