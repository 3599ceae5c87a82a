"""`python -m tests.bench.estate [--assets 10000]`: the overview over four environments, page by page.

In this process, with default settings and SQLite (SSTOOLS_TEST_DATABASE=postgres for PostgreSQL 16), in a folder of its
own. Times are those of the server: from the request to the last byte of the answer, without network and browser.
"""

from __future__ import annotations

import argparse
import gzip
import os
import statistics
import sys
import time

PAGES = {
    "the matrix": "/",
    "page 10": "/?page=10",
    "250 rows": "/?per_page=250",
    "all kinds": "/?type=all",
    "by title": "/?type=all&sort=title&page=3",
    "needs attention": "/?type=all&state=attention",
    "two words": "/?type=all&q=sales+042",
    "an owner": "/?type=chart&owner=petrova",
    "seen from prod": "/?type=all&ref=prod",
    "one environment": "/?type=all&env=prod&state=behind",
    "REST, 50": "/api/v1/sync-states/?ref=dev&env=prod&state=drifted",
}


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.estate", description=__doc__)
    parser.add_argument("--assets", type=int, default=10_000, help="in each environment")
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django

    django.setup()
    from django.db import connection, reset_queries
    from django.test import Client
    from django.test.utils import setup_test_environment

    connection.creation.create_test_db(verbosity=0)
    setup_test_environment()
    from django.conf import settings
    from django.contrib.auth import get_user_model

    from sstools.roles.models import Grant
    from tests.estate.worlds import fill, make_way

    began = time.monotonic()
    environments = make_way("dev", "test", "stage", "prod")
    tenth = given.assets // 10
    fill(environments, dashboards=tenth, charts=tenth * 7, datasets=tenth * 2)
    user = get_user_model().objects.create_user("lead")
    Grant.objects.create(user=user, role="release_lead", scope="*")
    say(
        f"{connection.vendor}: 4 environments of {given.assets} assets, made in {time.monotonic() - began:.0f} s"
    )
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    client = Client()
    client.force_login(user)
    say(f"{'page':18} {'median ms':>10} {'p95 ms':>8} {'queries':>8} {'KB gzip':>8}")
    for name, address in PAGES.items():
        client.get(address)
        times = []
        for _ in range(given.rounds):
            start = time.perf_counter()
            response = client.get(address)
            times.append((time.perf_counter() - start) * 1000)
        assert response.status_code == 200, (address, response.status_code)
        settings.DEBUG = True
        reset_queries()
        client.get(address)
        queries = len(connection.queries)
        settings.DEBUG = False
        times.sort()
        size = len(gzip.compress(response.content)) / 1024
        p95 = times[max(0, round(len(times) * 0.95) - 1)]
        say(f"{name:18} {statistics.median(times):10.0f} {p95:8.0f} {queries:8} {size:8.1f}")


if __name__ == "__main__":
    main()
