from typing import Any

from django.core.management.base import BaseCommand

from sstools.jobs import services


class Command(BaseCommand):
    help = "Send lost messages again, resume jobs of dead workers, once. `manage.py up` does it every few seconds."

    def handle(self, *args: Any, **options: Any) -> None:
        swept = services.sweep()
        self.stdout.write(f"sent again {swept.resent}, given up {swept.lost}, locks freed {swept.freed}")
