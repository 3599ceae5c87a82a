"""The world in which tests/test_permissions.py tries every address: people of each kind, and one object of each kind.

What is on the environment `zebra` has "zebra" in its name, so that whoever must not know of it can be searched for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.tokens import default_token_generator
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from environments.backups.models import Backup
from environments.models import Environment, Reason, Snapshot, SnapshotEntry
from environments.store import put_documents
from migrations_app.comparing.models import UploadedBundle
from migrations_app.drift.models import Finding
from migrations_app.fanout.models import FanOut, FanOutCopy, FanOutEntry, FanOutRun
from migrations_app.files.models import FileAudit
from migrations_app.git.models import CommitReading, Follow, Hold, Repository
from migrations_app.models import Pairing
from migrations_app.rehearsals.models import Rehearsal
from migrations_app.release import services as release
from migrations_app.release.models import FreezePeriod
from sstools.audit import services as audit
from sstools.jobs.models import Job, JobResource
from sstools.jobs.models import State as JobState
from sstools.notices.models import Delivery, DeliveryState, Notice, Webhook
from sstools.plugins.models import Enablement, Plugin, PluginResult
from sstools.roles import services as roles
from sstools.roles.accounts import OPERATOR, create_service_account
from sstools.roles.models import Membership
from sstools.roles.tokens import create_token
from sstools.schedules import services as schedules
from tests.factories import (
    chart_document,
    make_asset,
    make_environment,
    make_migration,
    make_plan,
    make_run,
    uuid_for,
)

#: Column of the table -> who it is. "elsewhere" administers another environment; "staff" is let into the Django admin.
WHO = {
    "anon": "",
    "none": "signed in, without any role",
    "viewer": "Viewer on everything",
    "author": "Author on everything",
    "lead": "Release lead on everything",
    "admin": "Admin on everything",
    "root": "superuser",
    "staff": "Admin on everything, let into the Django admin",
    "elsewhere": "Admin on dev only",
}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass
class World:
    """`arguments(route)` gives what an address needs, for objects on zebra."""

    clients: dict[str, Client]
    users: dict[str, Any]
    things: dict[str, Any]

    def body(self, call: str, default: dict[str, Any]) -> dict[str, Any]:
        """What is sent with a call ("POST api:jobs")."""
        known = BODIES.get(call, default)
        return known(self.things) if callable(known) else known

    def arguments(self, route: str, names: list[str]) -> dict[str, Any]:
        """Raises KeyError with the route where nothing is known: see ARGUMENTS."""
        if not names:
            return {}
        known = next((values for pattern, values in ARGUMENTS if re.fullmatch(pattern, route)), None)
        if known is None or not set(names) <= set(known):
            raise KeyError(f"{route} needs {names}: add it to ARGUMENTS in tests/permission_world.py")
        return {name: known[name](self.things) for name in names}


#: (pattern of the route, argument -> from the things of the world). The first that fits counts.
ARGUMENTS: list[tuple[str, dict[str, Any]]] = [
    (r"backups:retention|api:environment-backup-rules.*", {"slug": lambda t: "zebra"}),
    (
        r"backups:.*|restoring:.*|api:backup.*",
        {
            "number": lambda t: t["backup"].pk,
            "kind": lambda t: "chart",
            "uuid": lambda t: uuid_for("Zebra chart"),
        },
    ),
    (r"rehearsals:detail", {"number": lambda t: t["rehearsal"].number}),
    (r"api:rehearsal", {"uuid": lambda t: t["rehearsal"].uuid}),
    (r"release:(rules|freeze_add)|api:environment-(rules|freezes)", {"slug": lambda t: "zebra"}),
    (r"release:freeze_end|api:freeze", {"uuid": lambda t: t["freeze"].uuid}),
    (r"drift:(check|watch)|release:route.*|api:route.*", {"slug": lambda t: t["route"].slug}),
    (r"drift:.*|api:drift-finding.*", {"uuid": lambda t: t["finding"].uuid}),
    (r"fanout:run.*", {"number": lambda t: t["fan_out_run"].number, "what": lambda t: "plan"}),
    (r"api:fan-out-run.*", {"uuid": lambda t: t["fan_out_run"].uuid}),
    (r"fanout:.*|api:fan-out.*", {"uuid": lambda t: t["fan_out"].uuid}),
    (r"release:.*", {"number": lambda t: t["migration"].number}),
    (r"roles:token_end", {"pk": lambda t: t["token"].pk}),
    (r"roles:user_tokens", {"pk": lambda t: t["program"].pk}),
    (
        r"environments:go",
        {"slug": lambda t: "zebra", "kind": lambda t: "dashboard", "uuid": lambda t: t["asset"].uuid},
    ),
    (
        r"assets:panel",
        {
            "kind": lambda t: "dashboard",
            "uuid": lambda t: t["asset"].uuid,
            "plugin": lambda t: "naming",
            "name": lambda t: "name",
        },
    ),
    (r"assets:pairing", {"kind": lambda t: "dashboard", "uuid": lambda t: t["sales"].uuid}),
    (r"assets:.*", {"kind": lambda t: "dashboard", "uuid": lambda t: t["asset"].uuid}),
    (r"environments:.*", {"slug": lambda t: "zebra"}),
    (r"estate:remove_view", {"pk": lambda t: 0}),  # one's own alone; there is none
    (r"estate:.*", {"slug": lambda t: "zebra"}),
    (r"comparing:file.*|api:comparison-file", {"uuid": lambda t: t["upload"].uuid}),
    (r"git:hook", {"uuid": lambda t: t["repository"].uuid}),
    (r"git:look|git:change|git:follow_remove|api:follow(-look)?", {"uuid": lambda t: t["follow"].uuid}),
    (r"git:lift|api:hold(-lift)?", {"uuid": lambda t: t["hold"].uuid}),
    (r"git:.*", {"slug": lambda t: t["repository"].slug, "job": lambda t: t["refused"].uuid}),
    (r"api:repository.*", {"uuid": lambda t: t["repository"].uuid, "job": lambda t: t["refused"].uuid}),
    (r"files:migrate", {"uuid": lambda t: t["upload"].uuid}),
    (r"files:.*|api:file-audit", {"uuid": lambda t: t["file_audit"].uuid}),
    (
        r"comparing:.*|api:comparison-asset",
        {"kind": lambda t: "dashboard", "uuid": lambda t: t["asset"].uuid},
    ),
    (r"migrations_app:item", {"number": lambda t: t["migration"].number, "uuid": lambda t: t["item"].uuid}),
    (r"migrations_app:damage", {"slug": lambda t: "zebra"}),
    (r"migrations_app:cancel", {"number": lambda t: t["busy"].number}),
    (r"migrations_app:.*", {"number": lambda t: t["migration"].number, "run": lambda t: t["run"].number}),
    (r"jobs:(cancel|answer)|api:job-(cancel|answer)", {"uuid": lambda t: t["asking"].uuid}),
    (r"jobs:.*|api:job.*", {"uuid": lambda t: t["job"].uuid}),
    (r"schedules:.*|api:schedule.*", {"uuid": lambda t: t["schedule"].uuid}),
    (r"notices:delivery_again", {"uuid": lambda t: t["delivery"].uuid}),
    (r"notices:.*|api:webhook.*", {"uuid": lambda t: t["webhook"].uuid}),
    (
        r"plugins:result|api:plugin-result",
        {"name": lambda t: "naming", "pk": lambda t: t["plugin_result"].pk},
    ),
    (r"plugins:.*|api:plugin.*", {"name": lambda t: "naming", "job": lambda t: "report"}),
    (r"audit:export", {"kind": lambda t: "csv"}),
    (r"api:audit-event", {"number": lambda t: t["event"].number}),
    (r"api:token", {"pk": lambda t: t["token"].pk}),
    (r"roles:password", {"uidb64": lambda t: t["uid"], "token": lambda t: t["link"]}),
    (r"roles:user.*|api:access-user.*", {"pk": lambda t: t["person"].pk}),
    (r"roles:role.*|api:access-role.*", {"key": lambda t: t["role"].key}),
    (r"roles:group.*|api:access-group.*", {"pk": lambda t: t["group"].pk}),
    (r"roles:grant.*|api:access-grant.*", {"pk": lambda t: t["grant"].pk}),
    (r"api:asset.*", {"kind": lambda t: "dashboards", "uuid": lambda t: t["asset"].uuid}),
    (r"api:pairing", {"pk": lambda t: t["pairing"].pk}),
    (r"api:environment.*", {"uuid": lambda t: t["zebra"].uuid}),
    (r"api:migration.*", {"uuid": lambda t: t["migration"].uuid}),
    (r"api:plan", {"uuid": lambda t: t["migration"].plan.uuid}),
    (r"api:plan-items?", {"plan": lambda t: t["migration"].plan.uuid, "uuid": lambda t: t["item"].uuid}),
    (r"api:mapping", {"source": lambda t: "dev", "target": lambda t: "zebra"}),
    (r"api:run.*", {"uuid": lambda t: t["run"].uuid}),
    (
        r"admin:.*",
        {
            "object_id": lambda t: "1",
            "app_label": lambda t: "roles",
            "content_type_id": lambda t: "1",
            "url": lambda t: "no/such/page",
        },
    ),
]

Body = dict[str, Any] | Callable[[dict[str, Any]], dict[str, Any]]


def _schedule(things: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "New",
        "kind": "environments.check",
        "params": {"environment": str(things["zebra"].uuid)},
        "cron": "0 3 * * *",
        "time_zone": "UTC",
    }


#: What is sent, where an empty body would be answered before anybody asks for the right; a function of the things.
BODIES: dict[str, Body] = {
    "POST estate:save_view": {"page": "web:home", "name": "Mine", "query": ""},
    "POST api:migrations": {"source": "dev", "target": "zebra", "all": True},
    "POST api:repairs": {"environment": "zebra"},
    "POST api:replacements": {"environment": "zebra", "find": "net sales"},
    "POST replacing:replace": {
        "environment": "zebra",
        "find": "net sales",
        "how": "text",
        "fields_": ["sql"],
        "kinds": ["chart"],
    },
    "POST api:migration-answers": lambda t: {"answers": {str(t["item"].uuid): "keep"}},
    "POST api:migration-apply": {"plan_hash": "0" * 64},
    "PUT api:mapping": {"databases": {}},
    "PATCH api:mapping": {"databases": {}},
    "POST api:environments": {
        "name": "New",
        "url": "https://new.example.org",
        "username": "u",
        "secret": "s",
    },
    "PATCH api:environment": {"username": "renamed"},
    "POST api:access-users": {"username": "new"},
    "PATCH api:access-user": {"email": "new@corp.example"},
    "POST api:access-roles": {"name": "New", "permissions": ["asset:view"]},
    "PATCH api:access-role": {"description": "new"},
    "POST api:access-groups": {"name": "New"},
    "PUT api:access-group-members": {"members": []},
    "POST api:access-grants": {"user": "person", "role": "viewer", "on": "zebra"},
    "PATCH api:access-grant": {"reason": "new"},
    "POST api:job-answer": {"answer": "yes"},
    "POST api:schedules": _schedule,
    "POST rehearsals:list": {"environment": "zebra", "scratch": "dev"},
    "POST api:rehearsals": {"environment": "zebra", "scratch": "dev"},
    "POST api:webhook-list": lambda t: {
        "name": "New",
        "url": "https://127.0.0.1/x",
        "scope": f"environment:{t['zebra'].uuid}",
    },
    "PATCH api:webhook": {"name": "Renamed"},
    "PATCH api:plugin-settings": {"token": "new"},
    "POST api:plugin-enable": {"environment": "zebra"},
    "POST api:plugin-disable": {"environment": "zebra"},
    "POST api:plugin-run": {"environment": "zebra"},
    "POST plugins:enable": lambda t: {"scope": f"environment:{t['zebra'].uuid}"},
    "POST plugins:disable": lambda t: {"scope": f"environment:{t['zebra'].uuid}"},
    "POST plugins:job": lambda t: {"v-_environment": f"environment:{t['zebra'].uuid}"},
    "POST api:repositories": {"name": "New", "url": "https://git.example.org/new.git"},
    "PATCH api:repository": {"branch": "next"},
    "POST api:repository-commits": lambda t: {
        "environment": "zebra",
        "assets": [t["asset"].uuid],
        "message": "m",
    },
    "POST api:repository-migrations": {"target": "zebra"},
    "POST api:repository-conflict": {"remote": "b" * 40},
    "POST api:repository-pull-requests": {"branch": "main"},
    "POST api:repository-environment-commits": {"environment": "zebra"},
    "POST api:repository-statuses": {"migration": 999_999},
    "POST api:follows": lambda t: {
        "repository": str(t["repository"].uuid),
        "target": "zebra",
        "branch": "next",
    },
    "PATCH api:follow": {"is_enabled": False},
    "POST api:holds": lambda t: {
        "repository": str(t["repository"].uuid),
        "target": "zebra",
        "reason": "Month end",
    },
    "PATCH api:schedule": {"name": "Renamed"},
    "POST jobs:answer": {"answer": "yes"},
    "POST comparing:list": {"what": "all", "count": "1"},
    "POST comparing:read": {"left": "env:dev", "right": "env:zebra"},
    "POST comparing:viewed": lambda t: {
        "left": "env:dev",
        "right": "env:zebra",
        "uuid": t["asset"].uuid,
        "viewed": "on",
    },
    "POST api:comparisons": {"left": "env:dev", "right": "env:zebra"},
    "POST api:file-migrations": lambda t: {"file": str(t["upload"].uuid), "target": "zebra"},
    "POST migrations_app:answer": lambda t: {
        "plan": t["migration"].plan.hash,
        f"answer:{t['item'].uuid}": "keep",
    },
    "POST migrations_app:override": {"reason": "a reason that is long enough"},
    "POST migrations_app:edit": {"title": "Renamed"},
    "POST api:pairings": lambda t: {
        "source": "dev",
        "target": "zebra",
        "kind": "dashboard",
        "source_uuid": t["sales"].uuid,
        "target_uuid": t["asset"].uuid,
    },
    "POST assets:pairing": lambda t: {"env": "zebra", "do": "pair", "target_uuid": t["asset"].uuid},
    "POST migrations_app:add": lambda t: {"do": "save", "basket": t["sales"].uuid},
    "POST migrations_app:new": lambda t: {
        "do": "create",
        "source": "dev",
        "target": "zebra",
        "basket": t["sales"].uuid,
    },
    "POST release:approve": lambda t: {"plan": t["migration"].plan.hash, "verdict": "approved"},
    "POST api:migration-approval": lambda t: {"plan_hash": t["migration"].plan.hash, "verdict": "approved"},
    "POST api:drift-finding-accept": {"reason": "It may stay."},
    "POST drift:accept": {"reason": "It may stay."},
    "POST drift:answer_many": lambda t: {
        "finding": str(t["finding"].uuid),
        "do": "accept",
        "reason": "Fine.",
    },
    "POST fanout:new": lambda t: {
        "name": "New",
        "source": "zebra",
        "assets": str(t["asset"].uuid),
        "title": "{title} {key}",
        "chart_title": "{title}",
        "dataset_name": "{name}",
    },
    "POST fanout:edit": lambda t: {
        "name": "Other",
        "assets": str(t["asset"].uuid),
        "title": "{title} {key}",
        "slug": "{slug}-{key}",
        "chart_title": "{title}",
        "dataset_name": "{name}",
    },
    "POST fanout:copies": {"table": "key,target\nacme,zebra\nglobex,zebra\n"},
    "POST api:fan-outs": lambda t: {"name": "New", "source": "zebra", "selection": [str(t["asset"].uuid)]},
    "PATCH api:fan-out": {"description": "Other"},
    "PUT api:fan-out-copies": {"copies": [{"key": "globex", "target": "zebra"}]},
    "POST api:fan-out-run-apply": {"seen": "0" * 64, "confirmed": ["zebra"]},
    "PUT api:route-watch": {"is_watched": True},
    "POST api:routes": {"name": "New way", "source": "dev", "target": "zebra"},
    "PATCH api:route": {"approvals": 1},
    "POST api:route-migrations": lambda t: {"selection": [str(t["sales"].uuid)]},
    "PATCH api:environment-rules": {"approvals": 1},
    "POST api:environment-freezes": {
        "since": "2026-12-24T00:00:00Z",
        "until": "2099-01-02T00:00:00Z",
        "reason": "zebra rests",
    },
    "POST release:rules": {"approvals": "1", "approval_hours": "72", "zone_name": "UTC"},
    "POST release:freeze_add": {"since": "2026-12-24T00:00", "until": "2099-01-02T00:00", "reason": "rests"},
    "POST release:route_new": lambda t: {
        "name": "New way",
        "source": t["dev"].pk,
        "target": t["zebra"].pk,
        "approvals": "0",
    },
    "POST release:route_edit": lambda t: {
        "name": "Other way",
        "source": t["dev"].pk,
        "target": t["zebra"].pk,
        "approvals": "0",
    },
    "POST backups:new": {"do": "take", "environment": "zebra"},
    "POST restoring:restore": {"do": "create", "what": "all", "target": "zebra", "how": "over"},
    "POST backups:retention": {
        "do": "save",
        "keep_last": "3",
        "daily": "7",
        "weekly": "4",
        "monthly": "12",
        "restore_point_days": "30",
        "quota_action": "warn",
    },
    "POST backups:delete": {"confirm": "zebra"},
    "POST backups:edit": {"title": "Before the move", "keep_until": "2099-01-01"},
    "PATCH api:backup": {"notes": "looked at"},
    "POST api:backups": {"environment": "zebra"},
    "PATCH api:environment-backup-rules": {"keep_last": 3},
    "POST roles:own_tokens": {"name": "mine", "days": "7"},
    "POST roles:user_tokens": {"name": "ci", "days": "7"},
    "POST roles:program_new": {"username": "robot"},
    "POST roles:user_new": {"username": "new"},
    "POST roles:role_new": {"name": "New", "permissions": ["asset:view"]},
    "POST roles:group_new": {"name": "New", "origin": "local"},
    "POST roles:grant_new": {"user": "person", "role": "author", "on": "zebra"},
}
#: What stands after the "?".
QUERIES = {
    "GET assets:pairing": "env=zebra",
    "GET api:pairing-suggestions": f"source=dev&target=zebra&kind=dashboard&uuid={uuid_for('Dev sales')}",
    "DELETE api:environment": "confirm=zebra",
    "DELETE api:backup": "confirm=zebra",
    "GET api:backup-download": "as=tree",
    "GET backups:download": "as=tree",
    "GET api:comparisons": "left=env:dev&right=env:zebra",
    "GET api:comparison-asset": "left=env:dev&right=env:zebra",
    "GET api:comparison-companions": "left=env:dev&right=env:zebra",
    "GET comparing:beside": "left=env:dev&right=env:zebra",
    "GET comparing:asset": "left=env:dev&right=env:zebra",
    "GET comparing:diff": "left=env:dev&right=env:zebra",
    "POST comparing:list": "left=env:dev&right=env:zebra",
    "GET api:access-explain": "user=person&permission=asset:view&on=zebra",
    "GET api:search": "q=sales",
    "GET web:search": "q=sales",
    "GET web:palette": "q=sales",
    "GET roles:try": "user=person&permission=asset:view&on=zebra",
    "GET schedules:create": "kind=environments.check",
    "POST schedules:create": "kind=environments.check",
}


def build_world() -> World:
    dev, zebra = make_environment("dev"), make_environment("zebra", name="Zebra Prod", protected=True)
    on = {"elsewhere": dev}
    roles_of = {
        "viewer": "viewer",
        "author": "author",
        "lead": "release_lead",
        "admin": "admin",
        "staff": "admin",
        "elsewhere": "admin",
    }
    users: dict[str, Any] = {}
    make = get_user_model()._default_manager.create_user  # type: ignore[attr-defined]
    for name in WHO:
        if name != "anon":
            extra = {"is_superuser": True, "is_staff": True} if name == "root" else {}
            users[name] = make(
                name, is_staff=name in ("root", "staff"), **({"is_superuser": True} if extra else {})
            )
        if name in roles_of:
            roles.grant(roles_of[name], actor=OPERATOR, user=users[name], on=on.get(name, "*"))
    things = _things(dev, zebra, make)
    clients = {}
    for name in WHO:
        clients[name] = Client(raise_request_exception=False)
        if name != "anon":
            clients[name].force_login(users[name])
    return World(clients, users, things)


def _things(dev: Environment, zebra: Environment, make: Any) -> dict[str, Any]:
    person = make("person", email="person@corp.example")
    group = roles.create_group(name="keepers", actor=OPERATOR)
    Membership.objects.create(group=group, user=person)
    role = roles.create_role(name="Keeper", permissions=["asset:view"], actor=OPERATOR)
    grant = roles.grant("viewer", actor=OPERATOR, user=person, on=zebra, reason="zebra crossing")
    asset = make_asset(zebra, "dashboard", "Zebra sales")
    make_asset(zebra, "database", "Zebra DWH")
    sales = make_asset(dev, "dashboard", "Dev sales")
    migration = make_migration(dev, zebra, title="Zebra plan")
    plan = make_plan(migration)
    run = make_run(migration)
    make_plan(migration)  # planned again: there is something to apply
    item = migration.plan.items.first() if migration.plan else plan.items.first()
    job = Job.objects.create(
        kind="migrations_app.make_plan",
        title="Plan zebra",
        state=JobState.FAILED,
        params={"migration": str(migration.uuid)},
        error={"code": "unexpected", "message": "zebra"},
        actor=person,
    )
    JobResource.objects.create(job=job, resource=f"environment:{zebra.uuid}")
    busy = make_migration(dev, zebra, title="Zebra in the making")
    asking = Job.objects.create(
        kind="migrations_app.make_plan",
        title="Plan zebra anew",
        state=JobState.NEEDS_INPUT,
        params={"migration": str(busy.uuid)},
        question={
            "code": "zebra",
            "text": "Zebra?",
            "choices": [{"value": "yes", "label": "Yes", "effect": ""}],
        },
        actor=person,
    )
    JobResource.objects.create(job=asking, resource=f"environment:{zebra.uuid}")
    busy.job = asking
    busy.save()
    owner = make("owner")
    roles.grant("admin", actor=OPERATOR, user=owner)
    schedule = schedules.create_schedule(
        {
            "name": "Zebra nightly",
            "kind": "environments.check",
            "params": {"environment": str(zebra.uuid)},
            "cron": "0 2 * * *",
            "time_zone": "UTC",
        },
        actor=owner,
    )
    pairing = Pairing.objects.create(
        source=dev, target=zebra, kind="chart", source_uuid=uuid_for("a"), target_uuid=uuid_for("b")
    )
    webhook = Webhook.objects.create(
        name="Zebra chat",
        url="https://hooks.zebra.example/x",
        host="hooks.zebra.example",
        scope=f"environment:{zebra.uuid}",
    )
    plugin = _plugin(f"environment:{zebra.uuid}")
    plugin_result = PluginResult.objects.create(
        plugin=plugin, name="report", scope=f"environment:{zebra.uuid}", summary="Zebra names"
    )
    notice = Notice.objects.create(event="job.failed", title="Zebra failed", path="/jobs/")
    delivery = Delivery.objects.create(notice=notice, webhook=webhook, state=DeliveryState.FAILED)
    event = audit.record("environment:update", zebra, actor=owner, data={"name": "Zebra"})
    token, _ = create_token(person, name="zebra token")
    finding = Finding.objects.create(
        target=zebra, source=dev, kind="dashboard", asset_uuid=asset.uuid, title=asset.title, how="created"
    )
    route = release.save_route(
        None, {"name": "Zebra way", "source": dev, "target": zebra, "approvals": 1}, actor=owner
    )
    fan_out = FanOut.objects.create(name="Zebra tenants", source=zebra, selection=[asset.uuid])
    copy = FanOutCopy.objects.create(fan_out=fan_out, key="acme", target=zebra)
    fan_out_run = FanOutRun.objects.create(fan_out=fan_out, state="planned")
    FanOutEntry.objects.create(run=fan_out_run, copy=copy, migration=migration)
    freeze = FreezePeriod.objects.create(
        environment=zebra,
        since=timezone.now() + timedelta(days=300),
        until=timezone.now() + timedelta(days=301),
        reason="zebra rests",
    )
    program = create_service_account("program", actor=OPERATOR)
    upload = UploadedBundle.objects.create(
        name="Zebra export.zip",
        sha256="0" * 64,
        size=1,
        origin=zebra,
        uploaded_by=person,
        expires_at=timezone.now() + timedelta(days=1),
    )
    file_audit = FileAudit.objects.create(
        name="Zebra tree.zip", sha256="0" * 64, size=1, target=zebra, finished_at=timezone.now()
    )
    repository = Repository.objects.create(
        name="Zebra assets",
        slug="zebra-assets",
        url="https://git.example.org/zebra.git",
        refs={"refs/heads/main": "a" * 40},
        fetched_at=timezone.now(),
    )
    CommitReading.objects.create(
        repository=repository, sha="a" * 40, subject="zebra", author="person", committed_at=timezone.now()
    )
    refused = Job.objects.create(
        kind="git.commit",
        state="failed",
        params={
            "repository": str(repository.uuid),
            "environment": str(zebra.uuid),
            "branch": "main",
            "base": "",
            "message": "m",
            "assets": {},
        },
        error={"code": "push_refused", "message": "", "remedy": "", "detail": {"remote_commit": "a" * 40}},
    )
    follow = Follow.objects.create(repository=repository, branch="main", target=zebra, owner=person)
    hold = Hold.objects.create(repository=repository, target=zebra, reason="zebra was rolled back")
    rehearsal = Rehearsal.objects.create(environment=zebra, scratch=dev, state="failed")
    return {
        "repository": repository,
        "refused": refused,
        "follow": follow,
        "hold": hold,
        "rehearsal": rehearsal,
        "dev": dev,
        "zebra": zebra,
        "backup": _backup(zebra),
        "file_audit": file_audit,
        "asset": asset,
        "sales": sales,
        "pairing": pairing,
        "busy": busy,
        "asking": asking,
        "migration": migration,
        "item": item,
        "run": run,
        "job": job,
        "schedule": schedule,
        "plugin_result": plugin_result,
        "webhook": webhook,
        "delivery": delivery,
        "event": event,
        "token": token,
        "route": route,
        "finding": finding,
        "fan_out": fan_out,
        "fan_out_run": fan_out_run,
        "freeze": freeze,
        "program": program,
        "upload": upload,
        "person": person,
        "group": group,
        "role": role,
        "grant": grant,
        "uid": urlsafe_base64_encode(force_bytes(person.pk)),
        "link": default_token_generator.make_token(person),
    }


def _plugin(scope: str) -> Plugin:
    """One that is on there, with a setting that is needed, a secret and a job, as its process would tell it."""
    field = {
        "name": "prefix",
        "label": "Prefix",
        "kind": "text",
        "required": True,
        "default": "ACME",
        "help_text": "",
        "choices": [],
        "minimum": None,
        "maximum": None,
        "pattern": "",
    }
    secret = {
        **field,
        "name": "token",
        "label": "Token",
        "kind": "secret",
        "required": False,
        "default": None,
    }
    job = {
        "name": "report",
        "title": "Report",
        "text": "",
        "fields": [],
        "reads": ["chart"],
        "on": [],
        "seconds": 9,
    }
    plugin = Plugin.objects.create(
        name="naming",
        title="Naming",
        version="1",
        looked_at=timezone.now(),
        manifest={"settings": [field, secret], "jobs": [job], "plan_checks": [], "panels": []},
    )
    Enablement.objects.create(plugin=plugin, scope=scope)
    return plugin


def _backup(zebra: Environment) -> Backup:
    chart = chart_document("Zebra chart")
    put_documents([chart])
    snapshot = Snapshot.objects.create(environment=zebra, reason=Reason.BACKUP, complete=True)
    SnapshotEntry.objects.create(
        snapshot=snapshot, kind="chart", uuid=chart.uuid, superset_id=7, document_id=chart.fingerprint
    )
    made: Backup = Backup.objects.create(
        snapshot=snapshot,
        environment=zebra,
        title="Zebra nightly",
        reason="manual",
        state="good",
        counts={"chart": 1},
    )
    return made


# --- The map of URLs --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Route:
    """One address of the map: `name` with its namespace, what it needs, which methods it takes."""

    name: str
    arguments: tuple[str, ...]
    methods: tuple[str, ...]
    callback: Any = field(repr=False, compare=False)

    @property
    def is_admin(self) -> bool:
        return self.name.startswith("admin:")

    def url(self, world: World) -> str:
        return reverse(self.name, kwargs=world.arguments(self.name, list(self.arguments)))


def routes() -> list[Route]:
    """Every address there is. One without a name is a fault: nothing could say who may open it."""
    return list(_walk(get_resolver(), ""))


def _walk(resolver: Any, namespace: str) -> Iterator[Route]:
    for entry in resolver.url_patterns:
        if not isinstance(entry, URLPattern):
            inner = f"{namespace}{entry.namespace}:" if entry.namespace else namespace
            yield from _walk(entry, inner)
            continue
        if not entry.name and namespace == "admin:":
            continue  # the old addresses of changed rows, which redirect
        assert entry.name, f"{entry.pattern} in {namespace or 'the map'} has no name"
        regex = getattr(entry.pattern, "regex", None)
        names = list(entry.pattern.converters) or list(regex.groupindex if regex else ())
        yield Route(f"{namespace}{entry.name}", tuple(names), methods_of(entry.callback), entry.callback)


def methods_of(callback: Any) -> tuple[str, ...]:
    """What a view takes, read from how it was made; GET and POST for one that does not say."""
    if actions := getattr(callback, "actions", None):  # a viewset of the REST framework
        found = {method.upper() for method in actions}
    elif cls := getattr(callback, "cls", None) or getattr(callback, "view_class", None):
        found = {name.upper() for name in cls.http_method_names if hasattr(cls, name)}
    else:
        found = _required_methods(callback) or {"GET", "POST"}
    return tuple(method for method in METHODS if method in found)


def _required_methods(function: Any) -> set[str]:
    """The list that django.views.decorators.http wrapped around a view."""
    seen: set[int] = set()
    pending = [function]
    while pending:
        one = pending.pop()
        if id(one) in seen or not callable(one):
            continue
        seen.add(id(one))
        pending.append(getattr(one, "__wrapped__", None))
        for cell in getattr(one, "__closure__", None) or ():
            value = cell.cell_contents
            if (
                isinstance(value, list | tuple)
                and value
                and set(value) <= {*METHODS, "HEAD", "OPTIONS", "TRACE"}
            ):
                return set(value)
            pending.append(value if callable(value) else None)
    return set()
