from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from sstools.jobs import retention


class Command(BaseCommand):
    help = "Forget jobs and logs that are older than the settings say, and what the queue left behind."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only count what would be forgotten")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        counts = [f"{forget(dry_run=dry_run):,} {name}" for name, forget in retention.FORGOTTEN.items()]
        self.stdout.write(f"{'would forget' if dry_run else 'forgot'} {', '.join(counts)}")
