"""Everything that changes an environment, or asks it something. Page, API, admin and commands call these."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, Max, ProtectedError, Q
from django.utils import timezone

from sstools.audit import services as audit
from sstools.errors import Conflict, Invalid, SSToolsError, as_expected
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, Source
from sstools.resources import resource_name
from sstools.roles import policy
from sstools.roles.models import Grant
from sstools.roles.permissions import Permission
from sstools.secrets import SecretUnreadable
from sstools.texts import counted

from . import readings, validation
from .connections import connect
from .models import CheckState, Environment, SnapshotEntry
from .superset.connection import ConnectionReport, Stage
from .superset.errors import SupersetError

__all__ = [
    "backups_of",
    "connect",
    "keep_capabilities",
    "register_environment",
    "remove_environment",
    "request_check",
    "request_reading",
    "run_check",
    "run_reading",
    "update_environment",
]

CHECK, READING = "environments.check", "environments.read_inventory"
# What decides how and where to connect: after a change the last test says nothing any more.
CONNECTION_FIELDS = frozenset(
    {"url", "auth_kind", "username", "ca_certificate", "proxy_url", "secret", "secret_reference"}
)


# --- Writing --------------------------------------------------------------------------------------------------


def register_environment(data: Mapping[str, Any], *, actor: Any, source: str = Source.PAGE) -> Environment:
    """A new environment from the fields in validation.py: at least name, url, username and secret (or a reference).

    Raises NotAllowed; Invalid with the errors by field. Neither tests nor reads it: see request_check, request_reading.
    """
    policy.require(actor, Permission.ENVIRONMENT_EDIT)
    environment = Environment(created_by=actor if getattr(actor, "pk", None) else None)
    _apply(environment, data)
    try:
        with transaction.atomic():
            environment.save()
            shown = {
                name: getattr(environment, name)
                for name in validation.PLAIN_FIELDS
                if name != "ca_certificate"
            }
            audit.record("environment:create", environment, actor=actor, data=shown, source=source)
    except IntegrityError:
        raise _taken() from None
    return environment


@transaction.atomic
def update_environment(
    environment: Environment, data: Mapping[str, Any], *, actor: Any, source: str = Source.PAGE
) -> Environment:
    """Change the given fields; an empty secret keeps the stored one. Raises NotAllowed; Invalid.

    After a change of what the connection stands on, the environment counts as not tested.
    """
    policy.require(actor, Permission.ENVIRONMENT_EDIT, environment)
    environment = Environment.objects.select_for_update().get(pk=environment.pk)
    try:
        environment.secret  # noqa: B018  fetched here, see EnvironmentManager
    except SecretUnreadable:
        environment.secret = ""  # so that it can be entered again
    before = _values(environment)
    _apply(environment, data)
    after = _values(environment)
    changed = {name for name in after if before[name] != after[name]}
    if not changed:
        return environment
    if changed & CONNECTION_FIELDS:
        environment.check_state, environment.check_report = CheckState.UNKNOWN, {}
        environment.last_checked_at = None
    if "url" in changed:
        # Perhaps another Superset: its version is to be found out, and no content is taken from the old one.
        environment.version, environment.capabilities, environment.latency_ms = "", {}, None
        SnapshotEntry.objects.filter(snapshot__environment=environment).update(exported_at=None)
    try:
        with transaction.atomic():
            environment.save()
    except IntegrityError:
        raise _taken() from None
    shown = {
        name: {"before": before[name], "after": after[name]}
        for name in sorted(changed & set(validation.PLAIN_FIELDS) - {"ca_certificate"})
    }
    hidden = {
        f"{name}_changed": True for name in sorted(changed & {"ca_certificate", "secret", "secret_reference"})
    }
    audit.record("environment:update", environment, actor=actor, data=shown | hidden, source=source)
    return environment


@dataclass(frozen=True)
class Held:
    """Backups of an environment that hold something."""

    number: int
    pinned: int
    newest: datetime | None  # when the newest one was taken

    @property
    def words(self) -> str:
        """12 backups (2 pinned, the newest of 2026-11-23)."""
        more = [f"{self.pinned} pinned"] if self.pinned else []
        more += [f"the newest of {timezone.localdate(self.newest)}"] if self.newest else []
        return counted(self.number, "backup") + (f" ({', '.join(more)})" if more else "")


def backups_of(environment: Environment) -> Held:
    """What would be lost with it, beside what Superset could be asked for again."""
    found = environment.backups.readable().aggregate(
        number=Count("pk"), pinned=Count("pk", filter=Q(pinned=True)), newest=Max("started_at")
    )
    return Held(**found)


@transaction.atomic
def remove_environment(
    environment: Environment,
    *,
    actor: Any,
    confirm: str,
    backups: int | str | None = None,
    source: str = Source.PAGE,
) -> None:
    """Forget an environment with its inventory, snapshots, backups and grants; the Superset itself is not touched.

    `confirm` is its slug or name, typed. `backups`: how many backups go with it, as whoever confirms was told.
    Raises NotAllowed; Invalid; Conflict while a job concerns it, where migrations still tell of it, or for another
    number of backups ("has_backups").
    """
    policy.require(actor, Permission.ENVIRONMENT_EDIT, environment)
    if confirm.strip().casefold() not in (environment.slug.casefold(), environment.name.casefold()):
        raise Invalid(
            f"Type {environment.slug} to remove it.", errors={"confirm": [f"Type {environment.slug}."]}
        )
    name = resource_name(environment)
    at_work = Job.objects.unfinished().filter(resources__resource=name).first()
    if at_work is not None:
        raise Conflict(
            f"A job is at work here: {at_work}.",
            code="in_use",
            remedy="Wait for its end, or cancel it first.",
        )
    held = backups_of(environment)
    if held.number:
        policy.require(actor, Permission.BACKUP_EDIT, environment)
    if held.number and str(backups or "") != str(held.number):
        raise Conflict(
            f"{environment.name} has {held.words}. They would go with it.",
            code="has_backups",
            remedy=f"Confirm that these {held.number} may go (backups={held.number}), or keep the environment and "
            "take away its credential. Nothing was removed.",
            detail={"backups": held.number, "pinned": held.pinned},
        )
    label: dict[str, Any] = {"slug": environment.slug, "name": environment.name, "url": environment.url}
    label |= {"backups": held.number, "pinned": held.pinned} if held.number else {}
    try:
        audit.record("environment:remove", environment, actor=actor, data=label, source=source)
        Grant.objects.filter(scope=name).delete()
        environment.delete()
    except ProtectedError as exc:
        first = next(iter(exc.protected_objects), None)
        raise Conflict(
            f"{environment.name} is still part of {first}.",
            code="in_use",
            remedy="Environments that migrations tell of stay, for their history. Take away its credential instead.",
        ) from None


def _apply(environment: Environment, data: Mapping[str, Any]) -> None:
    if errors := validation.apply(environment, data):
        raise Invalid("Some values are not right.", errors=errors)


def _values(environment: Environment) -> dict[str, Any]:
    return {
        name: getattr(environment, name) for name in (*validation.PLAIN_FIELDS, *validation.CREDENTIAL_FIELDS)
    }


def _taken() -> Invalid:
    return Invalid(
        "Another environment has this name or slug.", errors={"name": ["This name or slug is taken."]}
    )


# --- Asking ---------------------------------------------------------------------------------------------------


@transaction.atomic
def request_check(
    environment: Environment, *, actor: Any, source: str = Source.PAGE, idempotency_key: str | None = None
) -> Job:
    """Test the connection in the background. Asking while it runs gives the same job. Raises NotAllowed."""
    return _request(CHECK, "Test", environment, actor, source, idempotency_key)


@transaction.atomic
def request_reading(
    environment: Environment, *, actor: Any, source: str = Source.PAGE, idempotency_key: str | None = None
) -> Job:
    """Read the inventory in the background. Asking while it runs gives the same job. Raises NotAllowed."""
    return _request(READING, "Read", environment, actor, source, idempotency_key)


@transaction.atomic
def read_after_change(environment: Environment, *, actor: Any) -> Job:
    """Let the inventory follow what ss-tools itself just wrote. No right of its own: who may write may know."""
    return _enqueue(READING, "Read", environment, actor, Source.PAGE, None)


def _request(
    kind: str, verb: str, environment: Environment, actor: Any, source: str, idempotency_key: str | None
) -> Job:
    policy.require(actor, Permission.ENVIRONMENT_TEST, environment)
    return _enqueue(kind, verb, environment, actor, source, idempotency_key)


def _enqueue(
    kind: str, verb: str, environment: Environment, actor: Any, source: str, idempotency_key: str | None
) -> Job:
    return jobs.enqueue(
        kind,
        {"environment": str(environment.uuid)},
        actor=actor,
        about=[environment],
        join_key=f"{kind}:{environment.uuid}",
        idempotency_key=idempotency_key,
        title=f"{verb} {environment.name}",
        source=source,
    )


def latest_job(environment: Environment, *kinds: str) -> Job | None:
    """The newest job of these kinds that concerns the environment."""
    return (
        Job.objects.filter(kind__in=kinds, resources__resource=resource_name(environment))
        .order_by("-pk")
        .first()
    )


# --- Doing (called by the jobs) -------------------------------------------------------------------------------


def run_check(environment: Environment) -> ConnectionReport:
    """Test the connection now and keep what was found. Raises nothing that a Superset or a credential may cause."""
    try:
        with connect(environment, sign_in_anew=True) as client:
            report = client.check()
    except (SSToolsError, SupersetError) as exc:  # before anything was sent: the credential, the certificate
        error = as_expected(exc) or SSToolsError(str(exc))
        report = ConnectionReport(
            stages=(Stage("credentials", False, error.message, error.remedy, error.code),)
        )
    now = timezone.now()
    environment.check_state = state_of(report)
    environment.check_report = report.to_dict()
    environment.last_checked_at = now
    values = ["check_state", "check_report", "last_checked_at"]
    if any(stage.name == "superset" and stage.ok for stage in report.stages):
        environment.last_reached_at = now
        values.append("last_reached_at")
    if report.capabilities is not None:
        environment.version = report.version[:50]
        environment.capabilities = report.capabilities.to_dict()
        values += ["version", "capabilities"]
    if report.latency_ms is not None:
        environment.latency_ms = report.latency_ms
        values.append("latency_ms")
    # Only if it still is the connection that was tested.
    same = Environment.objects.filter(
        pk=environment.pk, url=environment.url, username=environment.username, auth_kind=environment.auth_kind
    )
    same.update(**{name: getattr(environment, name) for name in values})
    return report


def state_of(report: ConnectionReport) -> CheckState:
    """Failed: a stage failed. Warning: it works, and something should be looked at; plain http alone is no warning."""
    if not report.ok:
        return CheckState.FAILED
    warned = any(stage.ok is None and stage.name != "tls" for stage in report.stages)
    return CheckState.WARNING if warned else CheckState.OK


run_reading = readings.run
keep_capabilities = readings.keep_capabilities
