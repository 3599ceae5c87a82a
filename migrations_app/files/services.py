"""Audits of files: asked for, done in a job, kept with their address, forgotten after a while."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from environments.canonical.documents import Kind
from environments.connections import connect
from environments.models import Environment
from environments.store import EnvironmentReading
from environments.superset.fields import of_kind, unknown_to
from environments.superset.trees import Tree
from environments.superset.versions import Capabilities, version_tuple
from environments.superset.viz_types import undrawable
from environments.words import clean, cleaned
from migrations_app.engine.auditing import AuditInput, Finding, audit, counts_of
from migrations_app.mappings import CATALOG_BACKENDS, backend_of, default_catalog
from migrations_app.places import keep_for_plan, reader_for_plan
from sstools.audit import services as history
from sstools.errors import Conflict, Invalid, NotFoundError
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, Source, State
from sstools.jobs.runner import JobContext
from sstools.roles import policy
from sstools.roles.permissions import Permission

from .models import NAME_LENGTH, FileAudit
from .reading import MAX_BYTES, tree_of
from .rendering import MAX_VALUES_BYTES

AUDIT = "files.audit"
KEEP = timedelta(days=180)  # reports are linked from elsewhere
#: A job that never came leaves its file behind: that goes long before the report does.
KEEP_FILE = timedelta(days=1)
MOST_FINDINGS = 5000  # kept of one audit; whoever has more mends some first
_KINDS = ("dashboard", "chart", "dataset", "database")


@transaction.atomic
def request_audit(
    data: bytes,
    name: str,
    target: Environment,
    *,
    actor: Any,
    values: bytes | None = None,
    source: str = Source.PAGE,
    idempotency_key: str | None = None,
) -> FileAudit:
    """Hold a tree (ZIP, tar or tar.gz) against an environment, in the background. Writes nothing there.

    The file is kept encrypted until the job has read it. Asking again with the same key gives the same audit. Raises
    NotAllowed; Invalid("bundle_invalid") for no file at all, ("too_large"); Conflict("idempotency_key_reused"); what is
    wrong inside of the file is the audit's own error.
    """
    policy.require(actor, Permission.MIGRATION_PLAN, target)
    policy.require(actor, Permission.ASSET_VIEW, target)
    digest = hashlib.sha256(data).hexdigest()
    if (known := jobs.of_request(actor, idempotency_key)) is not None:
        return _of_request(known, digest, target)
    if not data:
        raise Invalid(
            "The file is empty: there is nothing to audit.",
            code="bundle_invalid",
            remedy="Give a ZIP, tar or tar.gz with the files.",
            errors={"file": ["It is empty."]},
        )
    for what, content, most in (("file", data, MAX_BYTES), ("values", values or b"", MAX_VALUES_BYTES)):
        if len(content) > most:
            raise Invalid(
                f"The file is larger than {most // 2**20} MiB.",
                code="too_large",
                remedy="Audit parts of the tree, one after the other.",
                errors={what: [f"At most {most // 2**20} MiB."]},
            )
    try:
        with transaction.atomic():
            return _requested(data, name, target, digest, values, actor, source, idempotency_key)
    except Conflict:
        # Somebody asked with the same key in the same moment, and was faster.
        if (known := jobs.of_request(actor, idempotency_key)) is None:
            raise
        return _of_request(known, digest, target)


def _requested(
    data: bytes,
    name: str,
    target: Environment,
    digest: str,
    values: bytes | None,
    actor: Any,
    source: str,
    idempotency_key: str | None,
) -> FileAudit:
    row = FileAudit.objects.create(
        name=clean(name.strip() or "files", NAME_LENGTH),
        sha256=digest,
        size=len(data),
        target=target,
        file=base64.b64encode(data).decode(),
        values="" if values is None else base64.b64encode(values or b"{}").decode(),
        created_by=actor,
    )
    job = jobs.enqueue(
        AUDIT,
        {"audit": str(row.uuid)},
        actor=actor,
        about=[target],
        idempotency_key=idempotency_key,
        title=f"Audit {row.name} against {target.name}",
        source=source,
    )
    row.job = job
    row.save(update_fields=["job"])
    history.record(
        "files:audit", row, actor=actor, data={"sha256": row.sha256, "target": target.slug}, source=source
    )
    return row


def _of_request(job: Job, digest: str, target: Environment) -> FileAudit:
    """The audit that this very request got before. Raises Conflict if its key belongs to another one."""
    row = FileAudit.objects.filter(uuid=job.params.get("audit")).first() if job.kind == AUDIT else None
    if row is None or (row.sha256, row.target_id) != (digest, target.pk):
        gone = job.kind == AUDIT and row is None
        raise Conflict(
            "The report that this idempotency key asked for was removed."
            if gone
            else "This idempotency key was used for another request.",
            code="idempotency_key_reused",
            remedy="Use a new key for a new request.",
        )
    return row


def run_audit(ctx: JobContext, uuid: str) -> dict[str, Any]:
    """The work of the job; safe to run again. Raises what the file is refused for, SupersetError; Invalid("file_gone").

    Ends quietly where somebody removed the report in the meantime.
    """
    row = FileAudit.objects.select_related("target").filter(uuid=uuid).first()
    if row is None:
        return {}
    if row.finished_at is not None and row.error is None:
        return {"audit": str(row.uuid), **row.finding_counts}
    if not row.file:
        raise Invalid(
            "The file was forgotten before it was read.", code="file_gone", remedy="Ask for another audit."
        )
    ctx.step("Reading the files")
    tree = tree_of(base64.b64decode(row.file), base64.b64decode(row.values) if row.values else None)

    def still_mine(method: str, path: str) -> None:
        ctx.still_mine()  # a worker that lost the job asks nothing more

    with connect(row.target, before_request=still_mine) as client:
        ctx.step(f"Reading {row.target.name}")
        reading = reader_for_plan(client, row.target)()
        capabilities = client.capabilities
    keep_for_plan(row.target, reading, actor=ctx.job.actor)
    ctx.step("Comparing")
    findings = audit(input_of(tree, row.target, reading, capabilities))
    counts = counts_of(findings)
    with ctx.fenced():
        if not FileAudit.objects.select_for_update().filter(pk=row.pk).exists():
            return {}  # removed: it does not come back
        row.shape, row.counts = tree.shape, tree.counts()
        row.findings = cleaned(with_lines(findings[:MOST_FINDINGS], tree))
        row.finding_counts, row.version = counts, capabilities.version
        row.read_at = row.finished_at = timezone.now()
        row.file = row.values = ""
        row.save()
    return {"audit": str(row.uuid), **counts}


def input_of(
    tree: Tree, target: Environment, reading: EnvironmentReading, capabilities: Capabilities
) -> AuditInput:
    """What the engine is given."""
    unknown = unknown_to(capabilities)
    documents = reading.documents
    return AuditInput(
        assets=tree.assets,
        target=documents,
        target_name=target.name,
        queries=tree.queries,
        problems=[(one.path, one.line, one.text) for one in tree.problems],
        templates=tree.templates,
        unknown_fields={kind: of_kind(unknown, kind) for kind in _KINDS},
        undrawable=undrawable(capabilities),
        catalogs={
            uuid: default_catalog(document, documents.values())
            for uuid, document in documents.items()
            if document.kind == Kind.DATABASE and backend_of(document) in CATALOG_BACKENDS
        },
        version=version_tuple(capabilities.version)
        if version_tuple(capabilities.version) != (0, 0, 0)
        else (),
    )


def with_lines(findings: Sequence[Finding], tree: Tree) -> list[dict[str, Any]]:
    """The findings in JSON, each with the line of its file."""
    lines = {one.path: [one.line] for one in tree.problems}
    by_path: dict[str, list[Finding]] = {}
    for one in findings:
        by_path.setdefault(one.path, []).append(one)
    found: dict[int, int] = {}
    for path, ones in by_path.items():
        known = lines.get(path) or tree.lines_of(path, [one.keys for one in ones])
        found |= {id(one): line for one, line in zip(ones, known * len(ones), strict=False)}
    return [
        {
            **asdict(one),
            "keys": [str(key) for key in one.keys],
            "severity": one.severity.value,
            "line": found[id(one)],
        }
        for one in findings
    ]


def job_ended(job: Job) -> None:
    """An audit whose job did not succeed says why, and forgets its file. A hook of the jobs."""
    if job.kind != AUDIT:
        return
    error: Mapping[str, Any] = job.error or {
        "code": "no_report" if job.state == State.SUCCEEDED else str(job.state),
        "message": f"The job was {job.state}, and left no report.",
    }
    FileAudit.objects.filter(uuid=job.params.get("audit"), finished_at=None).update(
        error=dict(error), finished_at=timezone.now(), file="", values=""
    )


def find_audit(uuid: Any, user: Any) -> FileAudit:
    """Raises NotFoundError for what is absent or not visible."""
    rows = FileAudit.objects.visible_to(user).select_related("target", "job", "created_by")
    if (found := rows.filter(uuid=uuid).first()) is None:
        raise NotFoundError()
    return found


def remove_audit(row: FileAudit, *, actor: Any, source: str = Source.PAGE) -> None:
    """Forget a report now: one's own, or with `migration:plan` on its target. Raises NotAllowed."""
    if row.created_by_id != actor.pk:
        policy.require(actor, Permission.MIGRATION_PLAN, row.target)
    with transaction.atomic():
        history.record("files:remove_audit", row, actor=actor, source=source)
        row.delete()


def forget_audits() -> int:
    """Reports whose time is over; files of jobs that never came."""
    now = timezone.now()
    FileAudit.objects.filter(created_at__lt=now - KEEP_FILE).update(file="", values="")
    return FileAudit.objects.filter(created_at__lt=now - KEEP).delete()[0]
