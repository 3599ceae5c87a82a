import socket
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sstools.jobs import services
from sstools.jobs.models import Worker


class Command(BaseCommand):
    help = "Exit code 0 if the workers of this machine have reported lately, else 1: the health check of a container."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        if not Worker.objects.alive(services.db_now()).filter(host=socket.gethostname()).exists():
            raise CommandError(f"No worker of {socket.gethostname()} has reported lately.")
