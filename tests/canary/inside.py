"""What happens inside of the installation, in a process of its own with the installation's settings:

    manage.py shell -c "from tests.canary import inside; inside.prepare()"

`prepare` makes one object of each kind; `crawl` opens every address of the URL map as the superuser.
What was answered goes to a file, one JSON object a line.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.http import HttpResponseBase
from django.test import Client

from environments.backups.storages import copies
from environments.backups.storages.errors import StorageError
from environments.models import Document, Environment
from migrations_app.git import services as repositories
from migrations_app.git import statuses
from migrations_app.git.models import Repository
from migrations_app.models import Migration, Run
from migrations_app.rehearsals.models import Rehearsal
from migrations_app.release.models import FreezePeriod
from migrations_app.release.models import Route as Way
from sstools.audit.models import AuditEvent
from sstools.errors import Invalid
from sstools.jobs.models import Job, State
from sstools.jobs.runner import run_job
from sstools.notices.models import Delivery, Webhook
from sstools.plugins import discovery, running
from sstools.plugins import services as plugins
from sstools.plugins.models import Plugin, PluginResult
from sstools.roles.models import ApiToken, CustomRole, Grant, Group
from sstools.schedules.models import Schedule
from tests.permission_world import QUERIES, Route, World, build_world, routes

User = get_user_model()


def prepare() -> None:
    """The first user, made by the start, keeps its password under another name; then everybody of the table."""
    User.objects.filter(username="admin").update(username="first", email="first@corp.example")
    build_world()
    User.objects.filter(username="root").update(email="root@corp.example")


def connect_repository() -> None:
    """A repository with a token, at a server that gives back all it is told; its test fails and says so."""
    row = repositories.register_repository(
        {
            "name": "Canary assets",
            "slug": "canary",
            "url": f"{os.environ['CANARY_GIT']}/x.git",
            "username": "bot",
            "forge": "github",
            "forge_url": f"{os.environ['CANARY_GIT']}/api",
            "statuses": True,
        },
        actor=User.objects.get(username="root"),
        secret=os.environ["CANARY_TOKEN"],
        forge_secret=os.environ["CANARY_FORGE"],
    )
    Repository.objects.filter(pk=row.pk).update(hook_secret=os.environ["CANARY_HOOK"])
    job = repositories.request_check(row, actor=User.objects.get(username="root"))
    run_job(str(job.uuid))
    job.refresh_from_db()
    assert job.state == "failed", job.result
    target, error = Environment.objects.all()[0], Invalid("It cannot be read.")
    statuses.request_broken(row, target, "a" * 40, error, actor=User.objects.get(username="root"))
    told = Job.objects.get(kind=statuses.STATUS)
    run_job(str(told.uuid))
    told.refresh_from_db()
    assert told.is_finished, told.state


def plug_in() -> None:
    """A plugin with a secret, which it tells in its result, its log, its health, and as it fails."""
    root = User.objects.get(username="root")
    row = plugins.look_at(discovery.find_all()["leaky"])
    assert row.can_be_used, row.problem
    plugins.configure(row, {"token": os.environ["CANARY_PLUGIN"]}, actor=root)
    plugins.enable(row, "*", actor=root)
    plugins.look_at(discovery.find_all()["leaky"])
    for raises in (False, True):
        job = running.request_run(row, "report", values={"raises": raises}, actor=root)
        run_job(str(job.uuid))
        job.refresh_from_db()
        assert job.state == ("failed" if raises else "succeeded"), job.error
    assert Plugin.objects.get(name="leaky").health.startswith("not well"), "it was not asked"


def store_away() -> None:
    """Documents go to a bucket that takes nothing and repeats what it was told."""
    documents = Document.objects.values_list("pk", flat=True)[:3]
    assert documents
    try:
        copies.keep_copies(documents, "s3")
    except StorageError as exc:
        print(exc.as_dict())  # noqa: T201
    else:
        raise AssertionError("the bucket took them")


def crawl(out: str) -> None:
    world = _world()
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(username="root"))
    world.clients["root"] = client
    with Path(out).open("w") as file:
        for route in routes():
            for url in _addresses(world, route):
                if "GET" in route.methods and route.name not in ("web:logout", "admin:logout"):
                    _note(file, f"GET {url}", client.get(url))


def _note(file: Any, name: str, response: HttpResponseBase) -> None:
    body = b"".join(response.streaming_content) if response.streaming else response.content  # type: ignore[attr-defined]
    head = "\n".join(f"{key}: {value}" for key, value in response.items())
    told = {"name": name, "status": response.status_code, "text": f"{head}\n{body.decode(errors='replace')}"}
    file.write(json.dumps(told) + "\n")


def _world() -> World:
    migration = Migration.objects.get(title="Zebra plan")
    things = {
        "zebra": Environment.objects.get(slug="zebra"),
        "dev": Environment.objects.get(slug="dev"),
        "migration": migration,
        "busy": Migration.objects.get(title="Zebra in the making"),
        "run": Run.objects.earliest("number"),
        "item": migration.plan.items.first() if migration.plan else None,
        "job": Job.objects.get(title="Plan zebra"),
        "asking": Job.objects.filter(state=State.NEEDS_INPUT).first(),
        "asset": Environment.objects.get(slug="zebra").assets.first(),
        "schedule": Schedule.objects.filter(builtin=None).first(),
        "plugin_result": PluginResult.objects.first(),
        "webhook": Webhook.objects.get(name="Canary hook"),
        "delivery": Delivery.objects.filter(webhook__name="Canary hook").first(),
        "event": AuditEvent.objects.latest("number"),
        "token": ApiToken.objects.first(),
        "route": Way.objects.first(),
        "rehearsal": Rehearsal.objects.first(),
        "freeze": FreezePeriod.objects.first(),
        "program": User.objects.get(username="program"),
        "person": User.objects.get(username="person"),
        "group": Group.objects.first(),
        "role": CustomRole.objects.first(),
        "grant": Grant.objects.first(),
        "uid": "MQ",
        "link": "gone",
    }
    return World({}, {}, things)


def _addresses(world: World, route: Route) -> list[str]:
    """One of each object; of jobs, environments and rows of the admin all of them."""
    query = QUERIES.get(f"GET {route.name}", "")
    if route.name.startswith("admin:"):
        return _admin_addresses(world, route)
    many: dict[str, list[Any]] = {}
    if "uuid" in route.arguments and route.name.startswith(("jobs:", "api:job")):
        jobs = list(Job.objects.order_by("pk"))[::6]
        many = {"job": jobs, "asking": jobs}
    elif route.name.startswith(("environments:", "api:environment")) and route.arguments:
        many = {"zebra": list(Environment.objects.all())}
    try:
        found = {route.url(world)}
    except KeyError:  # test_permissions.py says what is missing
        return []
    for key, rows in many.items():
        kept = world.things[key]
        for row in rows:
            world.things[key] = row
            found.add(route.url(world))
        world.things[key] = kept
    if route.name.startswith(("plugins:", "api:plugin")):
        found |= {url.replace("/naming/", "/leaky/") for url in found}
    if route.name.startswith("environments:") and "slug" in route.arguments:
        found |= {url.replace("/zebra/", f"/{row.slug}/") for url in found for row in many["zebra"]}
    return [f"{url}?{query}" if query else url for url in sorted(found)]


def _admin_addresses(world: World, route: Route) -> list[str]:
    from django.contrib import admin
    from django.urls import reverse

    if "object_id" not in route.arguments:
        return [route.url(world)]
    for model in admin.site._registry:
        if route.name.startswith(f"admin:{model._meta.app_label}_{model._meta.model_name}_"):
            keys = model._default_manager.order_by("-pk").values_list("pk", flat=True)[:2]
            return [reverse(route.name, args=[key]) for key in keys]
    return []
