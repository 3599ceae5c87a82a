"""What became of a write whose answer never came: asked of the target, never guessed, and never sent again blindly.

A Superset goes on with a request whose client went away (superset-api.md 8.4). So after a broken line, a timeout, a
proxy's error page, or a worker that died, a write is *under way* until the target shows it whole, or until so much time
has passed since it left that it must have ended (`bound_seconds`). Until then the target is read again and again; only
after that "it is not there" means that it will not come. Where Superset itself gave the answer (its own error, as JSON
or as its own page) the write is over, and one look is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from enum import StrEnum

from django.conf import settings

from environments.canonical.comparison import comparison_fingerprint
from environments.models import Environment
from environments.store import EnvironmentReading
from environments.superset.errors import AmbiguousWrite, SupersetError
from migrations_app.engine.companions import same
from migrations_app.models import Run, RunStep
from sstools.jobs import services as jobs

from .attempt import Attempt, is_unsettled
from .patience import PAUSES, patiently, read_target
from .proving import as_planned

#: How often the same write is sent, at most; each time after the target has proven that the one before came to nothing.
TRIES = 2


class Outcome(StrEnum):
    DONE = "done"
    NOT_DONE = "not_done"
    PARTLY = "partly"


def bound_seconds(environment: Environment, request: str) -> float:
    """How long after it left a write may still be under way.

    `import_timeout_seconds` of the environment is what its owner takes for the longest import (for others,
    `read_timeout_seconds`); a client that waited so long has gone, and the server gets half of that time again.
    """
    is_import = "/import/" in request
    longest = environment.import_timeout_seconds if is_import else environment.read_timeout_seconds
    return longest * settings.WRITE_ENDS_PERCENT / 100


def send(attempt: Attempt, row: RunStep, request: Callable[[], object]) -> None:
    """Carry out the write that a step's row announces: sent once, and its outcome found out where the answer is none.

    Sent a second time only if the target has proven that the first came to nothing. Raises what the request raises
    once it is known that it came to nothing; where that cannot be found out, SupersetError with the step unsettled.
    """
    must_end = attempt.must_end
    for last in (*[False] * (TRIES - 1), True):
        sent = row.intent.get("requests", 0)

        def was_taken(error: SupersetError, sent: int = sent) -> bool:
            """Superset may have seen the write itself, and not only the questions before it."""
            left = row.intent.get("requests", 0) > sent
            return isinstance(error, AmbiguousWrite) or (left and not _proves_nothing(error))

        try:
            with attempt.sending(row):
                patiently(attempt, request, waits=must_end, unless=was_taken)
            return
        except SupersetError as error:
            over = _is_over(error)
            # One that went before it may have been taken: a companion is of several requests, or read after it.
            most = 0 if _is_beside(row) else 1
            if over and _proves_nothing(error) and row.intent.get("requests", 0) <= most:
                keep_outcome(attempt, row, "refused")
                raise
            attempt.ctx.log(
                "warning",
                f"No word on what became of it ({error.message}). Reading the target to see what happened.",
            )
            outcome = settle(attempt, row, over=over)
            if outcome == Outcome.DONE or (outcome == Outcome.PARTLY and _is_one_transaction(row)):
                attempt.ctx.log("info", "It was carried out although its answer never came.")
                return
            if over or last:
                if outcome == Outcome.NOT_DONE and error.written is None:
                    error.written = False
                    error.message += " Read since, the target shows that it was not carried out."
                raise
            attempt.ctx.log(
                "warning",
                "The target shows that it was not carried out, and none of it is under way: sent again.",
            )
            _forget_outcome(attempt, row)


def _is_beside(row: RunStep) -> bool:
    return row.intent.get("what") in ("companion", "remove_companion")


def _is_over(error: SupersetError) -> bool:
    """Whether nothing of the write is under way any more: Superset answered it, or it never reached Superset."""
    return bool(error.detail.get("answered")) if isinstance(error, AmbiguousWrite) else True


def _proves_nothing(error: SupersetError) -> bool:
    """Whether the error alone proves that nothing was written. A 500 says so too, but nobody should rely on that."""
    return not isinstance(error, AmbiguousWrite) and (error.status is None or error.status < 500)


def settle_lost_writes(attempt: Attempt) -> None:
    """Find out what became of every write of this run of which nobody knows, those of its roll backs included.

    Raises SupersetError if the target cannot be asked.
    """
    runs = [attempt.row.pk, *_undoing(attempt.row)]
    for row in RunStep.objects.filter(run__in=runs, name__in=("write", "remove")).order_by("pk"):
        if not is_unsettled(row):
            continue
        owner = attempt if row.run_id == attempt.row.pk else attempt.of(row.run)
        attempt.ctx.log("info", f"“{row.title}” was under way when its worker was lost: reading the target.")
        outcome = settle(owner, row)
        said = {
            Outcome.DONE: "it was carried out",
            Outcome.NOT_DONE: "it was not carried out, and will not be",
            Outcome.PARTLY: "it is there in part, or changed since",
        }[outcome]
        attempt.ctx.log("info", f"“{row.title}”: {said}.")
    attempt.refresh_may_have_written()


def _undoing(run: Run) -> list[int]:
    """Runs that undo this one within its own job."""
    return list(Run.objects.filter(migration__rolls_back=run, job=run.job_id).values_list("pk", flat=True))


def settle(attempt: Attempt, row: RunStep, *, over: bool = False) -> Outcome:
    """Look at the target until it shows a step's write whole, or until nothing of it can be under way any more.

    `over`: nothing is under way already. The outcome is kept with the step, once it is certain. Raises SupersetError
    where the target cannot be read after that time.
    """
    left = 0.0 if over else _seconds_left(attempt, row)
    outcome: Outcome | None = None
    for pause in _looks(left):
        attempt.ctx.wait(pause, cancellable=False)
        before = outcome
        try:
            outcome = outcome_of(attempt, row, read_target(attempt))
        except SupersetError:
            outcome = None  # it is down, perhaps because of this very write: the next look tells
        # An import is one transaction: what shows part of it twice has all of it, and somebody else's work on top.
        if outcome == Outcome.DONE or (outcome == before == Outcome.PARTLY and _is_one_transaction(row)):
            break
    if outcome is None:
        outcome = outcome_of(attempt, row, patiently(attempt, lambda: read_target(attempt), waits=True))
    keep_outcome(attempt, row, outcome.value)
    return outcome


def _is_one_transaction(row: RunStep) -> bool:
    """A removal takes what is left when it is sent again, and so does a companion, of several requests perhaps."""
    return row.name != "remove" and row.intent.get("what") != "companion"


def _seconds_left(attempt: Attempt, row: RunStep) -> float:
    sent = row.intent.get("sent_at")
    left_at = datetime.fromisoformat(sent) if sent else row.started_at or jobs.db_now()
    bound = bound_seconds(attempt.migration.target, str(row.intent.get("request", "/import/")))
    return max(0.0, bound - (jobs.db_now() - left_at).total_seconds())


def _looks(left: float) -> Iterator[float]:
    """Pauses before each look: the first at once, the last when `left` seconds are over."""
    yield 0
    step = 0
    while left > 0:
        pause = min(left, PAUSES[min(step, len(PAUSES) - 1)])
        left, step = left - pause, step + 1
        yield pause


def outcome_of(attempt: Attempt, row: RunStep, reading: EnvironmentReading) -> Outcome:
    """What a reading shows of a step's write. One request is one transaction, but others work on the target too."""
    intent = row.intent
    if intent.get("what") in ("companion", "remove_companion"):
        return _outcome_beside(attempt, row, reading)
    wanted = {item.uuid: item for item in attempt.items}
    what = intent.get("what", "remove" if row.name == "remove" else "import")
    opened: dict[str, str] = intent.get("open", {})
    shown: list[bool] = []
    for uuid in intent.get("uuids", ()):
        now = reading.documents.get(uuid)
        item = wanted[uuid]
        if what == "remove":
            shown.append(now is None and uuid not in reading.unreadable)
        elif what == "connection":
            document = item.wanted
            assert document is not None
            shown.append(
                now is not None and now.body.get("database_uuid") == document.body.get("database_uuid")
            )
        elif (
            uuid in opened and what == "import"
        ):  # another write completes it: that it moved is all there is to see
            shown.append(
                now is not None and (not opened[uuid] or comparison_fingerprint(now) != opened[uuid])
            )
        else:
            shown.append(as_planned(item, now))
    if all(shown):
        return Outcome.DONE
    return Outcome.PARTLY if any(shown) else Outcome.NOT_DONE


def _outcome_beside(attempt: Attempt, row: RunStep, reading: EnvironmentReading) -> Outcome:
    (uuid,) = row.intent["uuids"]
    now = reading.companions.get(uuid)
    wanted = next(one.wanted for one in attempt.companions if one.uuid == uuid)
    if same(wanted, now):
        return Outcome.DONE
    before = row.intent.get("before", "")
    return Outcome.NOT_DONE if (now.fingerprint if now else "") == before else Outcome.PARTLY


def keep_outcome(attempt: Attempt, row: RunStep, outcome: str) -> None:
    row.result = {**row.result, "settled": outcome}
    with attempt.ctx.fenced():
        RunStep.objects.filter(pk=row.pk).update(result=row.result)


def _forget_outcome(attempt: Attempt, row: RunStep) -> None:
    """Before the same step sends again: until that is settled in turn, something may be under way."""
    row.result = {name: value for name, value in row.result.items() if name != "settled"}
    with attempt.ctx.fenced():
        RunStep.objects.filter(pk=row.pk).update(result=row.result)
