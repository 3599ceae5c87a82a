from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q

from environments import services
from environments.models import Environment, Position
from sstools.env import env_secret
from sstools.errors import Invalid, SSToolsError
from sstools.jobs.models import Source

PASSWORD_VARIABLE = "SSTOOLS_DEMO_SUPERSET_PASSWORD"  # noqa: S105  the name of a variable


class Command(BaseCommand):
    help = (
        "Register the two Supersets of `make demo`, test and read them. Running it again corrects address and "
        f"credential and leaves the rest. Their password comes from {PASSWORD_VARIABLE}."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dev-url", required=True, help="address of the one with the example dashboards")
        parser.add_argument("--prod-url", required=True, help="address of the empty one")
        parser.add_argument("--username", default="admin", help="account on both, default admin")

    def handle(self, *args: Any, dev_url: str, prod_url: str, username: str, **options: Any) -> None:
        actor = self._actor()
        credential = {"username": username, "secret": env_secret(PASSWORD_VARIABLE)}
        wanted = (("dev", dev_url, Position.DEV), ("prod", prod_url, Position.PROD))
        for name, url, position in wanted:
            try:
                environment = self._register(
                    {"name": name, "url": url, "position": position, **credential}, actor
                )
                services.request_check(environment, actor=actor, source=Source.COMMAND)
                services.request_reading(environment, actor=actor, source=Source.COMMAND)
            except SSToolsError as error:
                fields = "".join(f"\n{field}: {' '.join(texts)}" for field, texts in _by_field(error).items())
                raise CommandError(f"{name}: {error.message} {error.remedy}{fields}") from None
            self.stdout.write(f"{environment.name}: {environment.url}")

    def _register(self, data: dict[str, Any], actor: Any) -> Environment:
        """Found by slug or name, since either may have been changed by whoever plays with the demo."""
        name = data["name"]
        environment = Environment.objects.filter(Q(slug=name) | Q(name=name)).order_by("pk").first()
        if environment is None:
            return services.register_environment(data, actor=actor, source=Source.COMMAND)
        connection = {field: data[field] for field in ("url", "username", "secret")}
        return services.update_environment(environment, connection, actor=actor, source=Source.COMMAND)

    def _actor(self) -> Any:
        """The first administrator, as `manage.py up` makes it; made here if `up` has not run yet."""
        users = get_user_model().objects
        actor = users.filter(is_superuser=True, is_active=True).order_by("pk").first()
        return actor or users.create_superuser("admin", password=settings.ADMIN_PASSWORD or None)


def _by_field(error: SSToolsError) -> dict[str, list[str]]:
    return error.errors if isinstance(error, Invalid) else {}
