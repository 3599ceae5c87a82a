"""The whole OpenAPI schema with requests that schemathesis makes up, signed in as everybody: answers are as the schema
says, nothing fails, and nobody gets what tests/permissions.txt forbids.

Requests are made from the schema, so a new address is covered by being there; objects that its path names come from
tests/permission_world.py. They are the same at every run. SSTOOLS_TEST_FUZZ=200 tries 200 of each sort instead of 2.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import pytest
import schemathesis
from django.core.signals import got_request_exception, request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from django.urls import reverse
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.core import NOT_SET
from schemathesis.core.failures import Failure, FailureGroup

from sstools.roles.permissions import Permission
from sstools.roles.tokens import create_token
from tests.permission_world import QUERIES, World, build_world, routes
from tests.test_permissions import row_for

pytestmark = pytest.mark.django_db
EACH = int(os.environ.get("SSTOOLS_TEST_FUZZ", "2"))  # requests of each sort, by operation
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
#: Who asks -> the column of the table that says what they may. "narrowed": a token of the administrator, for looking
#: at dev alone.
ROLES = {
    "none": "none",
    "viewer": "viewer",
    "author": "author",
    "lead": "lead",
    "admin": "admin",
    "elsewhere": "elsewhere",
    "narrowed": "viewer",
}
BLIND = ("none", "elsewhere", "narrowed")  # must not read a word of zebra
LOOKING = [
    str(one)
    for one in Permission
    if str(one).endswith(":view") and not str(one).startswith(("audit", "access"))
]
FORBIDDEN = {"401", "403", "404"}

SCHEMA = SchemaGenerator().get_schema(request=None, public=True)
API = [
    route
    for route in routes()
    if route.name.startswith("api:") and route.name not in ("api:docs", "api:schema")
]


def operations() -> list[Any]:
    made = schemathesis.openapi.from_dict(SCHEMA)
    made.app = get_wsgi_application()
    return [result.ok() for result in made.get_all_operations()]


def part(operation: Any) -> str:
    """/api/v1/migrations/{uuid}/plan/ -> migrations"""
    return str(operation.path.split("/")[3])


PARTS = sorted({path.split("/")[3] for path in SCHEMA["paths"]})


@pytest.fixture
def world(db: None) -> World:
    return build_world()


def test_every_address_of_the_api_is_in_the_schema() -> None:
    known = {(path, method.upper()) for path, item in SCHEMA["paths"].items() for method in item}
    assert len(known) > 100
    count = sum(len(route.methods) for route in API)
    assert count == len(known), "an address is missing in the schema, or is there twice"


class Caller:
    """Sends cases as one person after the other; what a request did is undone."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tokens = {
            name: create_token(world.users[name], name="fuzz")[1] for name in ROLES if name != "narrowed"
        }
        dev = f"environment:{world.things['dev'].uuid}"
        narrowed = create_token(world.users["admin"], name="narrow", permissions=LOOKING, scopes=[dev])
        self.tokens["narrowed"] = narrowed[1]
        self.crashes: list[str] = []

    def crashed(self, **kwargs: Any) -> None:
        self.crashes.append(traceback.format_exc(limit=-6))

    def __enter__(self) -> Caller:
        got_request_exception.connect(self.crashed)
        request_started.disconnect(
            close_old_connections
        )  # as Django's own client: the test's transaction stays open
        request_finished.disconnect(close_old_connections)
        return self

    def __exit__(self, *error: object) -> None:
        request_started.connect(close_old_connections)
        request_finished.connect(close_old_connections)
        got_request_exception.disconnect(self.crashed)

    def send(self, case: Case, who: str) -> Any:
        self.crashes.clear()
        with transaction.atomic():
            response = case.call(headers={"Authorization": f"Bearer {self.tokens[who]}"})
            transaction.set_rollback(True)
        return response


def objections(caller: Caller, case: Case, who: str, route: Any) -> Iterator[str]:
    """What is wrong with the answer to this request."""
    response = caller.send(case, who)
    try:
        case.validate_response(response, checks=CHECKS)
    except (FailureGroup, Failure) as group:
        for failure in getattr(group, "exceptions", [group]):
            yield f"{failure.title}: {failure.message}" + "".join(caller.crashes)
    if response.status_code < 400 and is_shut(case.method, route, who):
        yield f"{response.status_code}, which tests/permissions.txt forbids"
    if who == "narrowed" and response.status_code < 400 and case.method != "GET":
        yield f"{response.status_code}, with a token for looking"
    asked = json.dumps([case.path_parameters, case.query, str(case.body)], default=str) + str(case.headers)
    text = response.content.decode(errors="replace").lower()
    if who in BLIND and "zebra" in text and "zebra" not in asked.lower():
        yield f"tells of another environment: {text[max(0, text.index('zebra') - 100) :][:200]}"


def made_up(operation: Any) -> list[Case]:
    """The same ones at every run: EACH that follow the schema, EACH that do not (where that can be)."""
    found: list[Case] = []
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

        @seed(20261123)
        @settings(
            max_examples=EACH,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def collect(case: Case) -> None:
            found.append(case)

        try:
            collect()
        except Exception as exc:  # nothing can be wrong with a request that takes nothing
            if mode is GenerationMode.POSITIVE or "Unsatisfiable" not in type(exc).__name__:
                raise
    return found


def cases(operation: Any, route: Any, world: World) -> Iterator[Case]:
    """What is right first; then what was made up, about objects that are there, and some about others."""
    arguments = by_their_names(world.arguments(route.name, list(route.arguments)))
    call = f"{operation.method.upper()} {route.name}"
    body: Any = world.body(call, {}) if operation.body else NOT_SET
    right = operation.Case(
        path_parameters=arguments,
        query=dict(parse_qsl(QUERIES.get(call, ""))),
        body=body,
        media_type="application/json",
    )
    yield right
    for number, case in enumerate(made_up(operation)):
        if arguments and number % 4 != 3:
            case.path_parameters = dict(arguments)
        yield case


@pytest.mark.parametrize("name", PARTS)
def test_answers_are_as_the_schema_and_the_table_say(name: str, world: World) -> None:
    caller = Caller(world)
    by_address = {}
    for route in API:
        arguments = world.arguments(route.name, list(route.arguments))
        by_address[reverse(route.name, kwargs=arguments), route.name] = (route, by_their_names(arguments))
    wrong: dict[str, str] = {}
    for operation in operations():
        if part(operation) != name:
            continue
        route = next(
            route
            for (address, _), (route, arguments) in by_address.items()
            if operation.method.upper() in route.methods and filled(operation.path, arguments) == address
        )
        with caller:
            for number, case in enumerate(cases(operation, route, world)):
                for turn, who in enumerate(ROLES):
                    if number and is_shut(operation.method, route, who) and (number + turn) % 4:
                        continue  # who is refused what is right is refused the rest: some of it will do
                    for text in objections(caller, case, who, route):
                        key = f"{operation.label} {text[:60]}"
                        wrong.setdefault(
                            key, f"{who}: {operation.label}: {text}\n    {case.as_curl_command()}"
                        )
    assert not wrong, f"{len(wrong)}:\n" + "\n\n".join(wrong.values())


def is_shut(method: str, route: Any, who: str) -> bool:
    """Whether the table lets this person not in at all."""
    row = row_for(method.upper(), route.name)
    return row is not None and set(row.expected[ROLES[who]].split("/")) <= FORBIDDEN


def by_their_names(arguments: dict[str, Any]) -> dict[str, str]:
    """As the schema calls them: a primary key is an id there."""
    return {"id" if name == "pk" else name: str(value) for name, value in arguments.items()}


def filled(path: str, arguments: dict[str, Any]) -> str:
    """The address; "" where the arguments are those of another one."""
    try:
        return path.format(**arguments)
    except KeyError:
        return ""
