"""After the last write: what is on the target now, held against the plan and against what was there before."""

from __future__ import annotations

from environments.canonical.documents import Document, Kind
from environments.canonical.rules import CONVERTED_VIZ_TYPES
from environments.store import EnvironmentReading
from migrations_app.engine.diff import field_changes
from migrations_app.engine.plan import Action
from migrations_app.errors import RunFailed
from migrations_app.models import RunState
from migrations_app.planning import same_for_comparison

from .attempt import Attempt, Item
from .reading import fresh_reading


def read_back(attempt: Attempt) -> None:
    """Read what was written and hold it against the plan; prove that connections and bystanders are as before."""
    assert attempt.before is not None
    if not attempt.may_have_written:
        attempt.after = attempt.before
        return
    attempt.enter(RunState.READING_BACK)
    with attempt.step("read_back", "Read back and compare with the plan") as result:
        attempt.after = fresh_reading(attempt.target, attempt.migration.target, attempt.target_ids())
        written, unwritten = compare(attempt, attempt.after)
        attempt.save(written=written, unwritten=unwritten)
        changed = _changed_connections(attempt, attempt.after)
        lost = _lost_bystanders(attempt, attempt.after)
        result.update(
            equal=len(written),
            different=len(unwritten),
            connections="unchanged" if not changed else "CHANGED",
        )
        if changed:
            raise RunFailed(
                f"A connection of the target changed during the run: {', '.join(changed)}.",
                code="connection_changed",
            )
        if lost:
            raise RunFailed(
                f"Assets outside the plan disappeared during the run: {', '.join(lost[:3])}.",
                code="bystander_lost",
            )
        if unwritten:
            names = [item.row.title for item in attempt.items if item.uuid in unwritten]
            raise RunFailed(
                f"{len(unwritten)} assets are not on the target as planned: {', '.join(names[:3])}.",
                code="not_as_planned",
                detail={"assets": unwritten[:50]},
            )


def compare(attempt: Attempt, after: EnvironmentReading) -> tuple[list[str], list[str]]:
    written: list[str] = []
    unwritten: list[str] = []
    for item in attempt.items:
        if not item.action.writes:
            continue
        now = after.documents.get(item.uuid)
        if item.action == Action.REMOVE:
            as_planned = now is None and item.uuid not in after.unreadable
        else:
            as_planned = same_for_comparison(item.wanted, now) or _was_converted(item.wanted, now)
        (written if as_planned else unwritten).append(item.uuid)
        if not as_planned:
            _say_difference(attempt, item, now)
    return written, unwritten


def _say_difference(attempt: Attempt, item: Item, now: Document | None) -> None:
    if item.action == Action.REMOVE or now is None or item.wanted is None:
        what = "is still there" if item.action == Action.REMOVE else "is not there"
    else:
        changes = field_changes(item.wanted, now)
        what = "differs in " + ", ".join(".".join(change.path) for change in changes[:5])
    attempt.ctx.log("error", f"{item.kind.value} “{item.row.title}” {what}")


def _changed_connections(attempt: Attempt, after: EnvironmentReading) -> list[str]:
    assert attempt.untouched is not None
    return [
        document.title
        for uuid, document in attempt.untouched.documents.items()
        if document.kind == Kind.DATABASE
        and (uuid in after.documents or after.complete)
        and (uuid not in after.documents or after.documents[uuid].fingerprint != document.fingerprint)
    ]


def _lost_bystanders(attempt: Attempt, after: EnvironmentReading) -> list[str]:
    assert attempt.untouched is not None
    if not (attempt.untouched.complete and after.complete):
        return []
    planned = {item.uuid for item in attempt.items}
    gone = [
        f"{document.kind.value} “{document.title}”"
        for uuid, document in attempt.untouched.documents.items()
        if uuid not in after.documents and uuid not in planned and uuid not in after.unreadable
    ]
    for uuid, document in attempt.untouched.documents.items():
        now = after.documents.get(uuid)
        if uuid not in planned and now is not None and not same_for_comparison(document, now):
            bystander = f"{document.kind.value} “{document.title}”"
            attempt.ctx.log(
                "warning", f"Not part of the plan, and changed by somebody else meanwhile: {bystander}."
            )
    return gone


def _was_converted(wanted: Document | None, now: Document | None) -> bool:
    """Superset turned an obsolete chart type into its successor, as the plan said it would."""
    return (
        wanted is not None
        and now is not None
        and wanted.kind == Kind.CHART
        and wanted.body.get("viz_type") in CONVERTED_VIZ_TYPES
        and now.body.get("viz_type") != wanted.body.get("viz_type")
        and now.body.get("slice_name") == wanted.body.get("slice_name")
    )
