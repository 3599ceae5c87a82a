"""`python -m tests.bench.search [--assets 10000] [--rounds 3]`: searching four environments of 10,000 assets.

On SQLite; SSTOOLS_TEST_DATABASE=postgres for PostgreSQL 16, in a database of its own. Times are of the service, and of
what palette and page answer, with session, rights and template; of each text the best of the rounds. Beside them
stands what both processes computed for it (Linux): the machine may have other things to do.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .measuring import processor_ms, say, table

ENVIRONMENTS = ("dev", "test", "stage", "prod")
GOAL_MS, PAGE_GOAL_MS = 100, 200
WORDS = """
revenue orders customers refunds margin sessions visits churn retention invoices payments stock suppliers returns
budget forecast plan actual region country city store channel campaign segment cohort
выручка заказы клиенты возвраты маржа склад поставщики бюджет прогноз регион магазин
""".split()  # noqa: SIM905
# What people type: a letter at a time, rare and common words, several, what fits nothing, names of all kinds.
ASKED = """
r|re|rev|reve|revenue|o|or|ord|orders|revenue by region|выручка|выр|заказы магазин|chart|select|sum|dwh.fact_17
fact_17 net|column_42|col|number 4711|4711|ivan petrov|petrov@corp.example|no-such-thing|revenue nowhere|net_amount_3
"group by region"|echarts|customers churn cohort|dataset|dashboard 12|venue|ustom|ручк|olumn_4|ock return|egion bud|
qxz|zqxzq
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.search", description=__doc__)
    parser.add_argument("--assets", type=int, default=10_000, help="of each environment")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--section", type=Path, help="write the section of the page of benchmarks here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ss-tools-search-") as folder:
        _set_up(Path(folder))
        started = time.perf_counter()
        _fill(options.assets)
        filled = time.perf_counter()
        _index()
        made, indexed = filled - started, time.perf_counter() - filled
        say(
            f"{len(ENVIRONMENTS)} x {options.assets:,} assets: made in {made:.0f} s, indexed in {indexed:.0f} s"
        )
        found = _measure(options.rounds)
        if options.section:
            options.section.write_text(_section(options.assets, indexed, found))


def _set_up(folder: Path) -> None:
    os.environ["SSTOOLS_TEST_DATA"] = str(folder)
    if os.environ.get("SSTOOLS_TEST_DATABASE") == "postgres":
        from tests.postgres import new_database

        os.environ["SSTOOLS_DATABASE_URL"] = new_database(str(folder))
        os.environ["SSTOOLS_TEST_KEEP"] = "1"
        os.environ["SSTOOLS_DATA_DIR"] = str(folder)
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def _fill(count: int) -> None:
    """Two environments each hold the same contents, as dev and test or stage and prod would."""
    from environments.models import Asset
    from environments.store import put_documents
    from tests.factories import make_environment

    for number, slug in enumerate(ENVIRONMENTS):
        environment = make_environment(slug)
        made = list(_assets(environment, count, random.Random(number // 2)))
        put_documents(document for _, document in made)
        Asset.objects.bulk_create([asset for asset, _ in made], batch_size=1000)


def _assets(environment: Any, count: int, dice: random.Random) -> Iterator[tuple[Any, Any]]:
    """One dashboard to ten charts and five datasets, with SQL, columns, metrics and settings as long as real ones."""
    from django.utils import timezone

    from environments.canonical.documents import Document, Kind
    from environments.models import Asset
    from tests.factories import uuid_for

    def words(number: int) -> str:
        return " ".join(dice.choice(WORDS) for _ in range(number))

    def rare() -> str:
        """Names that stand in one asset only: all estates together then have tens of thousands of words."""
        return " ".join("".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=9)) for _ in range(4))

    kinds = [Kind.DASHBOARD] + [Kind.CHART] * 10 + [Kind.DATASET] * 5
    bodies: dict[Kind, Callable[[str], dict[str, Any]]] = {
        Kind.DASHBOARD: lambda title: {
            "dashboard_title": title,
            "position": {f"M-{n}": {"meta": {"code": words(40), "text": words(2)}} for n in range(8)},
            "metadata": {"native_filter_configuration": [{"name": words(2)} for _ in range(5)]},
        },
        Kind.CHART: lambda title: {
            "slice_name": title,
            "description": f"{words(8)} {rare()}",
            "params": {
                "metrics": [
                    f"net_amount_{dice.randrange(60)}",
                    {"label": words(2), "sqlExpression": f"sum({words(1)})"},
                ],
                "groupby": [f"column_{dice.randrange(90)}", words(1)],
                "adhoc_filters": [{"subject": f"column_{dice.randrange(90)}", "comparator": words(1)}],
                "y_axis_title": words(2),
                "x_axis_title": words(2),
            },
        },
        Kind.DATASET: lambda title: {
            "table_name": title,
            "sql": f"SELECT {', '.join(f'{words(1)}_{n}' for n in range(30))}\nFROM dwh.fact_{dice.randrange(500)}\n"
            f"WHERE {words(1)} = '{words(1)}'\nGROUP BY {words(1)}",
            "columns": [{"column_name": f"column_{n}", "verbose_name": words(2)} for n in range(30)],
            "metrics": [
                {"metric_name": f"net_amount_{n}", "expression": f"SUM({words(1)}_{n})"} for n in range(10)
            ],
            "description": f"{words(15)} {rare()}",
        },
    }
    for number in range(count):
        kind = kinds[number % len(kinds)]
        title = f"{words(1).capitalize()} by {words(1)}, {kind} number {number}"
        document = Document(kind, uuid_for(f"{kind} {number}"), bodies[kind](title))
        asset = Asset(
            environment=environment,
            kind=kind.value,
            uuid=document.uuid,
            superset_id=number,
            title=title,
            viz_type="echarts_timeseries_bar" if kind == Kind.CHART else "",
            owners=[
                {"name": f"Ivan Petrov {number % 50}", "email": f"ivan.petrov{number % 50}@corp.example"}
            ],
            last_seen_at=timezone.now(),
            document_id=document.fingerprint,
        )
        asset.fill_derived()
        yield asset, document


def _index() -> None:
    from django.db import connection

    from environments.models import Environment
    from environments.search import indexing

    for environment in Environment.objects.all():
        indexing.refresh(environment, None)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # as autovacuum does within a minute


def _measure(rounds: int) -> list[tuple[object, ...]]:
    from django.contrib.auth import get_user_model
    from django.test import Client

    from environments.search.finding import search
    from sstools.resources import resource_name
    from sstools.roles.models import Grant

    people = get_user_model().objects
    everywhere, one = people.create_user("everywhere"), people.create_user("one")
    Grant.objects.create(user=everywhere, role="viewer", scope="*")
    Grant.objects.create(user=one, role="viewer", scope=resource_name(_environment("prod")))
    found = []
    texts = [text for line in ASKED.split("\n") if line for text in line.split("|")]
    for user in (everywhere, one):
        client = Client(headers={"host": "localhost"})
        client.force_login(user)
        calls: dict[str, Callable[[str], Any]] = {
            "search, 25 hits in detail": lambda text, user=user: search(user, text, limit=25),  # type: ignore[misc]
            "palette": lambda text, client=client: client.get("/search/palette/", {"q": text}),  # type: ignore[misc]
            "page": lambda text, client=client: client.get("/search/", {"q": text}),  # type: ignore[misc]
            "page, charts on prod": lambda text, client=client: client.get(  # type: ignore[misc]
                "/search/", {"q": text, "kind": "chart", "env": "prod"}
            ),
        }
        for name, call in calls.items():
            times: list[tuple[float, str]] = []
            computed: list[tuple[float, str]] = []
            for text in texts:
                taken: list[float] = []
                worked: list[float] = []
                for _ in range(rounds):
                    started, before = time.perf_counter(), processor_ms()
                    answer = call(text)
                    taken.append((time.perf_counter() - started) * 1000)
                    worked.append(processor_ms() - before)
                    assert getattr(answer, "status_code", 200) == 200, text
                times.append((min(taken), text))
                computed.append((min(worked), text))
            sees = "all" if user is everywhere else "one environment"
            found.append(_report(f"{name}, who sees {sees}", sorted(times), sorted(computed)))
    return found


def _section(assets: int, indexed: float, found: list[tuple[object, ...]]) -> str:
    from django.db import connection

    name = "PostgreSQL 16" if connection.vendor == "postgresql" else "SQLite"
    heads = ("", "computed ms", "95 % below", "longest", "clock ms", "clock, 95 % below")
    return (
        f"## Searching {len(ENVIRONMENTS)} × {assets:,} assets, {name}\n\n"
        "Of each text the best round, over texts that people type: letter by letter, rare and common words, phrases, "
        f"what fits nothing. Goals: {GOAL_MS} ms at 95 %, {PAGE_GOAL_MS} ms for the page. "
        f"All was indexed in {indexed:.0f} s.\n\n"
        f"{table(heads, found)}\n"
    )


def _environment(slug: str) -> Any:
    from environments.models import Environment

    return Environment.objects.get(slug=slug)


def _report(
    name: str, times: list[tuple[float, str]], computed: list[tuple[float, str]]
) -> tuple[object, ...]:
    goal = PAGE_GOAL_MS if name.startswith("page") else GOAL_MS
    verdict = "" if _late(computed) < goal else f"  MORE THAN {goal} ms"
    say(f"{name}: {_spread(computed)} computed; {_spread(times)} by the clock{verdict}")
    numbers = (_median(computed), _late(computed), computed[-1][0], _median(times), _late(times))
    return name, *(f"{number:.0f}" for number in numbers)


def _median(times: list[tuple[float, str]]) -> float:
    return statistics.median(one for one, _ in times)


def _late(times: list[tuple[float, str]]) -> float:
    return times[min(len(times) - 1, int(0.95 * len(times)))][0]


def _spread(times: list[tuple[float, str]]) -> str:
    worst, text = times[-1]
    return (
        f"median {_median(times):.0f} ms, 95 % below {_late(times):.0f} ms, longest {worst:.0f} ms ({text})"
    )


if __name__ == "__main__":
    main()
