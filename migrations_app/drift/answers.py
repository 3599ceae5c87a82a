"""The three answers to drift, and what becomes of them. Nothing is written to a Superset here: two of them make
migrations, with the rights and approvals of their direction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone

from environments.canonical.references import references
from environments.models import Asset, Environment
from migrations_app import services as migrations
from migrations_app.engine.drift import How
from migrations_app.errors import NotReady
from migrations_app.estate.services import request_comparison
from migrations_app.models import Baseline, Migration, PlanItem, Run, RunState
from migrations_app.models import Mapping as PairMapping
from migrations_app.places import applied_documents
from migrations_app.removing import Wanted
from sstools.audit import services as audit
from sstools.errors import Conflict, Invalid
from sstools.jobs.models import Job, Source
from sstools.roles import policy
from sstools.roles.permissions import Permission

from . import beside
from .detecting import rebase_taken
from .models import Answer, Finding, FindingState

MOST_AT_ONCE = 500


class EditedAgain(Conflict):
    """What was looked at is not what is there."""

    code = "edited_again"
    message = "It was edited again after you looked; nothing was done."
    remedy = "Look at what is there now, then answer."


def why_not_take(finding: Finding) -> str:
    """Why a finding cannot be taken into the source, in words; "" if it can."""
    if finding.is_beside:
        return beside.why_only_accept(finding)
    if finding.run is not None and finding.run.migration.copy_terms:
        return "It is a copy that a fan-out made: what is edited here belongs to no asset of the source."
    if finding.how == How.DELETED:
        if finding.source is None:
            return "It is not known which environment it came from: accept that it is gone here."
        if not Asset.objects.filter(environment=finding.source, uuid=_uuid_there(finding)).exists():
            return f"{finding.source} does not have it either: accept that it is gone here."
    return ""


def why_not_revert(finding: Finding) -> str:
    """Why a finding cannot be reverted, in words; "" if it can."""
    if finding.is_beside:
        return beside.why_only_accept(finding)
    if finding.how != How.CREATED and finding.base_document_id is None:
        return (
            "What the last run left was not kept with its content by the version of ss-tools that applied it. "
            "Bring it from the source by a migration instead."
        )
    return ""


@transaction.atomic
def take(
    findings: Sequence[Finding], *, actor: Any, source: Environment | None = None, via: str = Source.PAGE
) -> Migration:
    """A migration that brings exactly these assets from the target to the source, and removes there what was deleted on
    the target (which needs `migration:prune` there), with a plan under way.

    source: where to, for what no run brought. Asking twice gives the same one while it is open. Raises NotAllowed,
    NotReady, Invalid("no_source"), Conflict("is_answered").
    """
    rows = _locked(findings)
    target = rows[0].target
    origins = {row.source for row in rows if row.source is not None}
    where = source or (next(iter(origins)) if len(origins) == 1 else None)
    if where is None:
        raise Invalid(
            "It is not known which environment these belong to.",
            code="no_source",
            remedy="Say into which one they are to be taken.",
            errors={"source": ["Choose one."]},
        )
    policy.require(actor, Permission.ENVIRONMENT_VIEW, target)
    policy.require(actor, Permission.MIGRATION_PLAN, where)
    for row in rows:
        if reason := why_not_take(row):
            raise NotReady(reason)
    edited = [row for row in rows if row.how != How.DELETED]
    if len(edited) < len(rows):
        policy.require(actor, Permission.MIGRATION_PRUNE, where)
        if any(row.source not in (where, None) for row in rows):
            raise Invalid("A deletion is taken where it came from.", code="wrong_source")
    if (known := _known_answer(rows, Answer.TAKE, where)) is not None:
        return known
    title = f"Take into {where.tag}: {_names(rows)}"
    if edited:
        selection = [row.asset_uuid for row in edited]
        migration = migrations.create_migration(
            target, where, selection=selection, actor=actor, title=title, with_dependencies=False
        )
        _turn_the_mapping_round(where, target, actor)
    else:
        migration = _of_removals(target, where, title, actor)
    _answered(rows, Answer.TAKE, migration, actor, via)
    migration.job = migrations.request_plan(migration, actor=actor, source=via)
    return migration


def _of_removals(target: Environment, where: Environment, title: str, actor: Any) -> Migration:
    """It brings nothing: what it removes is told by the findings that it answers (`removals_of`)."""
    migration = Migration.objects.create(
        title=title[:200],
        source_place=f"env:{target.slug}",
        source=target,
        target=where,
        with_dependencies=False,
        verify=False,
        created_by=actor,
    )
    data = {"source": target.slug, "target": where.slug, "assets": 0}
    audit.record("migration:create", migration, actor=actor, data=data)
    return migration


def removals_of(migration: Migration) -> list[Wanted]:
    """What a migration is to remove from where it was once brought from: what the findings that it answers miss."""
    rows = Finding.objects.filter(migration=migration, answer=Answer.TAKE, how=How.DELETED.value)
    wanted = []
    for row in rows.select_related("run").order_by("pk"):
        item = PlanItem.objects.filter(plan=row.run.plan_id, target_uuid=row.asset_uuid) if row.run else None
        brought = item.values_list("source_sha256", flat=True).first() if item is not None else ""
        wanted.append(
            Wanted(row.kind, _uuid_there(row), row.asset_uuid, row.title, row.run_id or 0, brought or "")
        )
    return wanted


def _uuid_there(finding: Finding) -> str:
    return finding.source_uuid or finding.asset_uuid


@transaction.atomic
def revert(findings: Sequence[Finding], *, actor: Any, via: str = Source.PAGE) -> Migration:
    """A migration that brings back what was last applied of these assets, and removes what somebody made by hand; with
    a plan under way. Asking twice gives the same one while it is open. Raises NotAllowed, NotReady,
    Conflict("is_answered").
    """
    rows = _locked(findings)
    target = rows[0].target
    policy.require(actor, Permission.MIGRATION_PLAN, target)
    for row in rows:
        if reason := why_not_revert(row):
            raise NotReady(reason)
    if (known := _known_answer(rows, Answer.REVERT, target)) is not None:
        return known
    rows = _with_what_they_need(rows)
    uuids = [row.asset_uuid for row in rows]
    migration = Migration.objects.create(
        title=f"Revert on {target.tag}: {_names(rows)}"[:200],
        source_place=f"applied:{target.slug}",
        target=target,
        selection=sorted(uuids),
        # That the edit goes is what was asked for; the plan shows whose and which it is.
        answers={row.asset_uuid: {"answer": "take", "value": ""} for row in rows if row.how == How.CHANGED},
        with_dependencies=False,
        verify=False,
        created_by=actor,
    )
    audit.record(
        "migration:create",
        migration,
        actor=actor,
        data={"source": migration.source_place, "target": target.slug, "assets": len(uuids)},
    )
    _answered(rows, Answer.REVERT, migration, actor, via)
    migration.job = migrations.request_plan(migration, actor=actor, source=via)
    return migration


@transaction.atomic
def accept(
    findings: Sequence[Finding],
    *,
    reason: str,
    actor: Any,
    seen: Mapping[str, str] | None = None,
    via: str = Source.PAGE,
) -> list[Finding]:
    """What is there is right: from now on it is what the next edit is held against, and what a plan keeps.

    seen: uuid of a finding -> the content that was looked at. Raises NotAllowed, Invalid without a reason, EditedAgain,
    Conflict("is_answered") while a migration that answers it is at work.
    """
    rows = _locked(findings)
    policy.require(actor, Permission.DRIFT_ACCEPT, rows[0].target)
    reason = " ".join(reason.split())
    if not reason or len(reason) > 500:
        text = "Say why it may stay: the reason is shown with every later plan."
        raise Invalid(text, errors={"reason": [text if not reason else "At most 500 characters."]})
    now = timezone.now()
    word = {"by": policy.name_of(actor), "at": now.isoformat(), "reason": reason}
    for row in rows:
        if seen is not None and seen.get(str(row.uuid), row.content) != row.content:
            raise EditedAgain()
        if row.migration is not None and row.migration.is_busy:
            raise _is_answered(row)
        if row.is_beside:
            beside.accept(row, word)
        else:
            base, _ = Baseline.objects.get_or_create(target=row.target, uuid=row.asset_uuid)
            base.present, base.document_id, base.accepted = row.content, row.document_id, word
            base.save()
        row.state, row.closed_at, row.reason = FindingState.ACCEPTED, now, reason
        row.answered_by, row.answered_at, row.answer = actor, now, ""
        row.save()
        audit.record(
            "drift:accept",
            row,
            actor=actor,
            source=via,
            data={
                "kind": row.kind,
                "uuid": row.asset_uuid,
                "how": row.how,
                "reason": reason,
                "before": row.base,
                "after": row.content,
                "changed_by": row.changed_by,
            },
        )
    _states_follow(rows[0].target)
    return rows


def job_ended(job: Job) -> None:
    """What was taken into the source is drift no more, as soon as the run that took it has ended."""
    if job.kind != migrations.APPLY:
        return
    run = Run.objects.filter(number=job.params.get("run"), state=RunState.APPLIED).first()
    if run is None:
        return
    waiting = Finding.objects.open().filter(migration=run.migration_id, answer=Answer.TAKE)
    for finding in waiting.select_related("migration", "target"):
        if rebase_taken(finding):
            finding.state, finding.closed_at, finding.closed_by = FindingState.TAKEN, timezone.now(), run
            finding.save(update_fields=["state", "closed_at", "closed_by"])


# --- Helpers ----------------------------------------------------------------------------------------------------------


def _locked(findings: Sequence[Finding]) -> list[Finding]:
    """The same rows, open and of one target. Raises Invalid, NotReady."""
    if not findings or len(findings) > MOST_AT_ONCE:
        raise Invalid(f"One to {MOST_AT_ONCE} findings at a time.", code="wrong_number")
    found = Finding.objects.select_for_update(of=("self",)).select_related("target", "source", "migration")
    rows = list(found.filter(pk__in=[one.pk for one in findings]).order_by("pk"))
    if len({row.target_id for row in rows}) > 1:
        raise Invalid(
            "These are on different environments; answer those of one at a time.", code="many_targets"
        )
    for row in rows:
        if not row.is_open:
            raise NotReady(f"{row} is no drift any more: {row.get_state_display()}.")
    return rows


def _known_answer(rows: Sequence[Finding], answer: Answer, where: Environment) -> Migration | None:
    """The open migration that answers exactly these already. Raises Conflict("is_answered") for another."""
    standing = {row.migration for row in rows if row.migration is not None and _is_at_work(row.migration)}
    if not standing:
        return None
    same = len(standing) == 1 and all(row.answer == answer and row.migration in standing for row in rows)
    known = next(iter(standing))
    if same and known.is_open and known.target_id == where.pk:
        return known
    raise _is_answered(next(row for row in rows if row.migration in standing))


def _is_at_work(migration: Migration) -> bool:
    return migration.is_open or migration.is_busy


def _is_answered(row: Finding) -> Conflict:
    return Conflict(
        f"{row} is being answered by migration {row.migration_id}.",
        code="is_answered",
        remedy="Bring that one to its end, or discard it.",
        detail={"migration": row.migration_id},
    )


def _answered(rows: Sequence[Finding], answer: Answer, migration: Migration, actor: Any, via: str) -> None:
    for row in rows:
        row.answer, row.migration, row.answered_by, row.answered_at = answer, migration, actor, timezone.now()
        row.save(update_fields=["answer", "migration", "answered_by", "answered_at"])
        audit.record(
            f"drift:{answer}",
            row,
            actor=actor,
            source=via,
            data={"kind": row.kind, "uuid": row.asset_uuid, "how": row.how, "migration": migration.number},
        )


def _names(rows: Sequence[Finding]) -> str:
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    return f"{rows[0].title}{more}"


def _with_what_they_need(rows: list[Finding]) -> list[Finding]:
    """What was deleted comes back together with what it stands on, where that was deleted as well."""
    target = rows[0].target
    deleted = {
        row.asset_uuid: row for row in Finding.objects.open().filter(target=target, how=How.DELETED.value)
    }
    taken = {row.asset_uuid: row for row in rows}
    queue = list(taken)
    documents = applied_documents(target, [*taken, *deleted]) if deleted else {}
    while queue:
        document = documents.get(queue.pop())
        for one in references(document) if document is not None else ():
            if one.how == "needs" and one.uuid in deleted and one.uuid not in taken:
                taken[one.uuid] = deleted[one.uuid]
                queue.append(one.uuid)
    return list(taken.values())


def _turn_the_mapping_round(source: Environment, target: Environment, actor: Any) -> None:
    """The way back has a mapping of its own. Where nobody made one, it begins as the opposite of the way there, as far
    as that has one: connections that stand for one only, with their schemas and catalogs, and texts that are no
    patterns. People see it on the migration's map.
    """
    there = PairMapping.objects.between(source, target)
    back = PairMapping.objects.between(target, source)
    databases = {} if back.databases else _inverse_databases(there.databases)
    texts = [row for row in there.substitutions if not row["is_pattern"] and row["replace"].strip()]
    substitutions = None
    if not back.substitutions and texts:
        substitutions = [
            {"find": row["replace"], "replace": row["find"], "is_pattern": False} for row in reversed(texts)
        ]
    if databases or substitutions:
        migrations.save_mapping(
            target, source, actor=actor, databases=databases or None, substitutions=substitutions
        )


def _inverse_databases(databases: Mapping[str, Any]) -> dict[str, Any]:
    targets = [entry["target"] for entry in databases.values()]
    return {
        entry["target"]: {
            "target": uuid,
            "schemas": _inverse(entry.get("schemas", {})),
            "catalogs": _inverse(entry.get("catalogs", {})),
        }
        for uuid, entry in databases.items()
        if targets.count(entry["target"]) == 1
    }


def _inverse(names: Mapping[str, str]) -> dict[str, str]:
    values: Collection[str] = list(names.values())
    return {value: key for key, value in names.items() if list(values).count(value) == 1}


def _states_follow(target: Environment) -> None:
    """What a matrix says of the target's assets stands on what was last applied there."""
    for source in Environment.objects.filter(routes_from__target=target).distinct():
        request_comparison(source, target, actor=None)
