import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from environments.models import Environment
from environments.search import indexing
from environments.search.vocabulary import Vocabulary


class Command(BaseCommand):
    help = (
        "Bring what can be found in step with the inventory. Each reading does so by itself; this is for after a "
        "restore or an update of ss-tools. May be broken off and run beside everything."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--environment", default="", help="slug; all if it is left out")
        parser.add_argument("--all", action="store_true", help="also what seems to be up to date")

    def handle(self, *args: Any, environment: str, **options: Any) -> None:
        rows = Environment.objects.order_by("slug")
        if environment:
            rows = rows.filter(slug=environment)
            if not rows.exists():
                raise CommandError(f"There is no environment {environment}.")
        vocabulary = Vocabulary()
        before = vocabulary.all_words()
        for row in rows:
            started = time.monotonic()
            assets = row.assets.all()
            count = indexing.index(assets if options["all"] else indexing.stale(assets), vocabulary)
            self.stdout.write(
                f"{row.slug}: {count} of {assets.count()} assets, {time.monotonic() - started:.1f} s"
            )
        if options["all"] and not environment:
            vocabulary.forget(before)
