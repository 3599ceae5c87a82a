from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from sstools.errors import SSToolsError
from sstools.roles import places, services
from sstools.roles.accounts import OPERATOR
from sstools.roles.models import Grant, Group


class Command(BaseCommand):
    help = "Give a role to a person or a group, or take it back. Whoever has this machine may do that."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "role", help="key of a role: viewer, author, release_lead, admin, or one of your own"
        )
        who = parser.add_mutually_exclusive_group(required=True)
        who.add_argument("--user", help="user name")
        who.add_argument("--group", help="name of a group")
        parser.add_argument("--on", default="*", help="slug of an environment; default: everything")
        parser.add_argument(
            "--until", default="", help="2026-12-31 or 2026-12-31T18:00; default: without an end"
        )
        parser.add_argument("--reason", default="")
        parser.add_argument("--take", action="store_true", help="take it back instead")

    def handle(self, *args: Any, role: str, until: str, reason: str, take: bool, **options: Any) -> None:
        place = places.find(options["on"], OPERATOR)
        if place is None:
            known = ", ".join(one.slug for one in places.seen_by(OPERATOR))
            raise CommandError(f"There is no environment {options['on']}. There are: {known or 'none yet'}.")
        user, group = self._holder(options["user"], options["group"])
        try:
            if take:
                rows = Grant.objects.filter(role=role, user=user, group=group, scope=place.resource_name)
                if (row := rows.first()) is None:
                    raise CommandError(f"{user or group} does not have {role} on {place}.")
                services.revoke(row, actor=OPERATOR, source="command")
                self.stdout.write(f"{user or group} has {role} on {place} no more.")
                return
            row = services.grant(
                role,
                user=user,
                group=group,
                on=place,
                expires_at=_moment(until),
                reason=reason,
                actor=OPERATOR,
                source="command",
            )
        except SSToolsError as exc:
            fields = [text for texts in getattr(exc, "errors", {}).values() for text in texts]
            raise CommandError(" ".join([str(exc), *fields])) from None
        end = f", until {row.expires_at.isoformat()}" if row.expires_at else ""
        self.stdout.write(f"{user or group} has {role} on {place}{end}.")

    def _holder(self, name: str | None, group: str | None) -> tuple[Any, Group | None]:
        if name is not None:
            user = get_user_model()._default_manager.filter(username=name).first()
            if user is None:
                raise CommandError(f"There is no user {name}.")
            return user, None
        rows = list(Group.objects.filter(name__iexact=group))
        if len(rows) != 1:
            raise CommandError(
                f"There is no group {group}." if not rows else f"Two groups are called {group}."
            )
        return None, rows[0]


def _moment(text: str) -> datetime | None:
    """The end of a day, or a moment in the server's zone; None for "". Raises CommandError."""
    if not text:
        return None
    try:
        day = parse_date(text) if len(text) <= 10 else None
        moment = datetime.combine(day, datetime.max.time()) if day else parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise CommandError(f"{text} is no day (2026-12-31) and no moment (2026-12-31T18:00).")
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
