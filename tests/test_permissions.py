"""Who may open what: tests/permissions.txt against the map of URLs, address by address, for every kind of person.

A new address without a row fails, and the failure says which row to add. Below the table: what is on one environment
cannot be learned by those who have roles on another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from sstools.audit.models import AuditEvent
from tests.factories import make_environment, make_migration, make_plan, make_run
from tests.permission_world import METHODS, QUERIES, WHO, Route, World, build_world, routes

TABLE_FILE = Path(__file__).with_name("permissions.txt")
pytestmark = pytest.mark.django_db


class Row:
    """One line of the table: what each kind of person is answered."""

    def __init__(self, line: str, columns: list[str]) -> None:
        self.method, self.pattern, *cells = line.split()
        assert len(cells) == len(columns), f"{len(columns)} answers expected: {line}"
        self.expected = dict(zip(columns, cells, strict=True))
        self.line = line

    def fits(self, method: str, route: str) -> bool:
        return self.method == method and fnmatchcase(route, self.pattern)


def read_table() -> list[Row]:
    rows, columns = [], list(WHO)
    for line in TABLE_FILE.read_text().splitlines():
        if line.startswith("METHOD"):
            columns = line.split()[2:]
        elif line.strip() and not line.startswith("#"):
            rows.append(Row(line, columns))
    return rows


ROWS = read_table()
ROUTES = routes()
CALLS = [(method, route) for route in ROUTES for method in route.methods]


@cache
def row_for(method: str, route: str) -> Row | None:
    return next((row for row in ROWS if row.fits(method, route)), None)


@pytest.fixture
def world(db: None) -> World:
    return build_world()


def ask(world: World, who: str, method: str, route: Route) -> int:
    """The status that this person gets; whatever the request did is undone."""
    url = route.url(world)
    call = f"{method} {route.name}"
    if query := QUERIES.get(call):
        url += f"?{query}"
    options: dict[str, Any] = {}
    if route.name.startswith("api:") and method not in ("GET", "DELETE"):
        options = {"data": json.dumps(world.body(call, {})), "content_type": "application/json"}
    elif method == "POST":
        options = {"data": world.body(call, {"x": "1"})}
    client = world.clients[who]
    cookies = deepcopy(client.cookies)  # signing out takes them away
    with transaction.atomic():
        response = getattr(client, method.lower())(url, **options)
        if response.streaming:
            b"".join(response.streaming_content)  # inside of the transaction, where its rows are
        transaction.set_rollback(True)
    client.cookies = cookies
    return int(response.status_code)


def suggestion(world: World, method: str, route: Route) -> str:
    """The line as things are: to be looked at, not only to be copied."""
    columns = ["anon", "admin", "staff", "root"] if route.is_admin else [one for one in WHO if one != "staff"]
    answers = [f"{ask(world, who, method, route):<10}" for who in columns]
    return f"{method:<7}{route.name:<44}{''.join(answers)}".rstrip()


# --- The table --------------------------------------------------------------------------------------------------------


def test_every_address_has_a_row(world):
    missing = [(method, route) for method, route in CALLS if row_for(method, route.name) is None]
    lines = [suggestion(world, method, route) for method, route in missing]
    assert not lines, (
        "These addresses are in no row of tests/permissions.txt. Add the lines below to it, where they belong, "
        "after making sure that each answer is what it should be (404: may not know of it; 403: may see it, not do "
        "it; 401, 302: is not signed in):\n\n" + "\n".join(lines)
    )


def test_every_row_is_of_an_address_that_exists():
    stale = [
        row.line for row in ROWS if not any(row_for(method, route.name) is row for method, route in CALLS)
    ]
    assert not stale, (
        "No address fits these rows of tests/permissions.txt any more; take them out:\n" + "\n".join(stale)
    )


PARTS = sorted({route.name.split("_")[0] if route.is_admin else route.name.split(":")[0] for route in ROUTES})


def part_of(route: Route) -> str:
    return route.name.split("_")[0] if route.is_admin else route.name.split(":")[0]


@pytest.mark.parametrize("part", PARTS)
def test_everybody_is_answered_as_the_table_says(world, part):
    wrong = []
    for method, route in CALLS:
        row = row_for(method, route.name)
        if part_of(route) != part or row is None:
            continue
        for who, expected in row.expected.items():
            status = ask(world, who, method, route)
            if expected != "-" and str(status) not in expected.split("/"):
                wrong.append(f"{who} ({WHO[who] or 'nobody signed in'}): {status} instead of {expected} for")
                wrong.append(f"    {method} {route.name} {route.url(world)}")
                wrong.append(f"    as things are: {suggestion(world, method, route)}")
    assert not wrong, "Either the code or tests/permissions.txt is wrong:\n\n" + "\n".join(wrong)


@pytest.mark.parametrize("part", [part for part in PARTS if not part.startswith("admin")])
def test_no_address_takes_a_method_that_the_table_does_not_know(world, part):
    """The methods of the table are read from the code; this asks."""
    taken = []
    redirects_first = ("roles:password", "web:login")  # before they look at the method
    for route in ROUTES:
        if part_of(route) == part and not route.is_admin:
            others = [method for method in METHODS if method not in route.methods]
            refused = (405, 302) if route.name in redirects_first else (405,)
            taken += [
                f"{method} {route.name}"
                for method in others
                if ask(world, "root", method, route) not in refused
            ]
    assert taken == []


def test_the_table_tells_the_roles_apart():
    """A table in which everybody may everything would pass as well."""
    pages = [row for row in ROWS if "viewer" in row.expected]
    for less, more in (("none", "viewer"), ("viewer", "author"), ("author", "lead"), ("lead", "admin")):
        assert any(row.expected[less] != row.expected[more] for row in pages), (less, more)
    assert sum(row.expected["elsewhere"] == "404" for row in pages) > 40
    open_to_all = ("login", "api:tokens", "healthz", "readyz", "roles:password", "django_auth_adfs:")
    let_in = [
        row.line
        for row in ROWS
        if row.expected["anon"] not in ("401", "302") and not any(word in row.pattern for word in open_to_all)
    ]
    closed = ["web:styleguide"] * 2 + ["git:hook"]  # 404; to who has no signature
    assert [line.split()[1] for line in let_in] == closed


# --- What is on another environment -----------------------------------------------------------------------------------

IN_BETWEEN = re.compile(
    r'csrfmiddlewaretoken" value="[^"]*"|nonce="[^"]*"|<code>[0-9a-f]{16}</code>|"request_id": ?"[^"]*"|<time.*?</time>'
)
NEVER = "00000000-0000-4000-8000-000000000000"


def plain(response: Any, *words: str) -> str:
    body = b"".join(response.streaming_content) if response.streaming else response.content
    text = IN_BETWEEN.sub("", body.decode())
    for word in words:
        text = re.sub(re.escape(word), "…", text, flags=re.IGNORECASE)
    return text


def own_world(world: World) -> None:
    """Something of dev's own, so that its pages have something to show."""
    lab = make_environment("lab")
    migration = make_migration(lab, world.things["dev"], title="Own plan")
    make_plan(migration)
    make_run(migration)
    world.things["own"] = migration


@pytest.fixture(params=["author", "admin"])
def outsider(request, world, make_user, signed_in) -> Any:
    """Somebody with a role on dev, and none on zebra."""
    own_world(world)
    dev = world.things["dev"]
    return signed_in(make_user(f"dev_{request.param}", request.param, on=f"environment:{dev.uuid}"))


UNCHANGING = ("api:schema", "api:docs", "healthz", "readyz", "web:login")


def lists() -> Iterator[Route]:
    for route in ROUTES:
        if (
            "GET" in route.methods
            and not route.arguments
            and not route.is_admin
            and route.name not in UNCHANGING
        ):
            yield route


def test_no_list_no_count_and_no_search_tells_of_another_environment(world, outsider):
    """Everything on zebra has that word in it; whoever has roles on dev alone never reads it."""
    told = []
    for route in lists():
        url = route.url(world)
        for query in (
            "",
            "?q=zeb",
            "?q=Plan",
            "?page=2",
            "?state=failed",
            "?env=dev",
            "?sort=name",
            "?mine=true",
        ):
            response = outsider.get(url + query)
            assert response.status_code < 500, url + query
            if "zebra" in plain(response).lower():
                told.append(url + query)
    assert told == []


QUERIES_ABOUT = (
    "env={}&target={}&source={}&on={}&environment={}",
    "left=env:{}&right=env:{}&asset={}:dashboard:x",
    "user=person&permission=asset:view&on={}&kind=environments.check",
)


@pytest.mark.parametrize("query", QUERIES_ABOUT)
def test_asking_for_what_is_hidden_is_answered_as_for_what_is_not_there(world, outsider, query):
    for route in lists():
        url = route.url(world)
        hidden, absent = (outsider.get(f"{url}?{query.replace('{}', word)}") for word in ("zebra", "zebrb"))
        assert (hidden.status_code, plain(hidden, "zebra")) == (absent.status_code, plain(absent, "zebrb")), (
            url
        )


def test_an_object_of_another_environment_and_one_that_is_not_there_look_the_same(world, outsider):
    """404 with the same words, whatever is asked for and with which method."""
    count = 0
    for route in ROUTES:
        row = row_for(route.methods[0], route.name)
        if route.is_admin or not route.arguments or row is None or row.expected.get("elsewhere") != "404":
            continue
        hidden = route.url(world)
        absent = hidden
        for name, value in world.arguments(route.name, list(route.arguments)).items():
            nothing = {"number": 987654, "run": 987654, "slug": "zebrb", "target": "zebrb", "pk": 987654}.get(
                name
            )
            nothing = nothing or (NEVER if name in ("uuid", "plan") else value)
            absent = absent.replace(f"/{value}/", f"/{nothing}/")
        assert absent != hidden, route.name
        for method in route.methods:
            count += 1
            options = {
                "data": json.dumps(world.body(f"{method} {route.name}", {})),
                "content_type": "application/json",
            }
            if not route.name.startswith("api:"):
                options = {}
            with transaction.atomic():
                one, other = (
                    getattr(outsider, method.lower())(url, **(options if method != "GET" else {}))
                    for url in (hidden, absent)
                )
                transaction.set_rollback(True)
            words = (hidden, absent)
            assert one.status_code in (404, 403), f"{method} {hidden}"
            assert (one.status_code, plain(one, *words)) == (other.status_code, plain(other, *words)), (
                f"{method} {hidden}"
            )
    assert count > 40


def test_refusals_of_hidden_things_are_not_in_the_history_and_jobs_and_audit_hide_them(world, outsider):
    job, event = world.things["job"], world.things["event"]
    for url in (f"/jobs/{job.uuid}/", f"/api/v1/jobs/{job.uuid}/log/", f"/jobs/{job.uuid}/log.txt"):
        assert outsider.get(url).status_code == 404
    answer = outsider.get(f"/api/v1/audit/{event.number}/")
    assert answer.status_code in (403, 404)
    assert not AuditEvent.objects.filter(
        action="access:denied", object_name__contains=str(world.things["zebra"].uuid)
    )
