"""What a page shows of a job as it is now: for the job's own page, and for pages of what it works on."""

import json
from dataclasses import replace
from typing import Any

from sstools.roles import places

from . import notices, pages, registry, services, steps, waiting
from .models import Job, State

CHAIN = 10  # jobs of a chain of tries that are shown
BEHIND = 5  # jobs that wait for this one, by name
ENDED = {State.SUCCEEDED: "is done", State.FAILED: "failed", State.CANCELLED: "was cancelled"}


def state_of(job: Job, user: Any) -> dict[str, Any]:
    """Context of templates/jobs/_live.html and its parts: all that changes with the job; the log stays outside."""
    now = services.db_now()
    page = pages.page_of(job, user)
    lines = steps.step_lines(job)
    place = waiting.places([job], user).get(job.pk)
    may_drive, may_cancel = services.may_drive(job, user), services.may_cancel(job, user)
    kind = registry.find(job.kind)
    held = list(job.held_locks.values_list("resource", flat=True))
    silence = waiting.silence(job, now)
    progress = steps.progress_of(job, lines)
    if progress is not None and silence is not None:
        progress = replace(progress, seconds_left=None)  # nobody works on it: nothing can be said
    return {
        "job": job,
        "shown": page,
        "kind_title": kind.title if kind else job.kind,
        "job_steps": page.steps if page.steps is not None else steps.steps_of(job, lines),
        "progress": progress,
        "place": place,
        "silence": silence,
        "notices": notices.of(job, user),
        "origin": pages.origin_of(job, user),
        "claim": waiting.Claim.of(job.owner) if job.state == State.RUNNING else None,
        "held": _named(user, held),
        "keeps_locks": bool(held),
        "wanted": _named(user, list(place.resources)) if place else [],
        "behind": list(waiting.waiting_behind(job).order_by("pk")[: BEHIND + 1])
        if not job.is_finished
        else [],
        "no_worker": not job.is_finished and waiting.nobody_works(now),
        "link": services.link_of(job),
        "may_cancel": _can_be_cancelled(job) and may_cancel,
        "cancel_asks": bool(kind and kind.cancel_choices) and job.attempt > 0,
        # The page has the dialog as it was made with; where that no longer fits, the button leads to a page of its own.
        "cancel_dialog": "cancel-dialog-choices" if page.cancel_choices else "cancel-dialog",
        "may_retry": job.can_be_retried and bool(kind and kind.can_retry) and may_drive,
        "may_answer": job.state == State.NEEDS_INPUT and may_drive,
        "chain": _chain(user, job),
        "result": [] if page.headline else [_result(*item) for item in (job.result or {}).items()],
        **_why_not(job, kind, may_drive, may_cancel),
        "live_text": f"{job} {ENDED[State(job.state)]}." if job.is_finished else _said(job),
    }


def _can_be_cancelled(job: Job) -> bool:
    """Not while it asks which cancel is meant: the answer is the cancel."""
    asks = job.state == State.NEEDS_INPUT and (job.question or {}).get("code") == services.CANCEL_CHOICE
    return not job.is_finished and not asks


def _why_not(job: Job, kind: registry.Kind | None, may_drive: bool, may_cancel: bool) -> dict[str, str]:
    """What the reader may not do although the job allows it, in words."""
    cancel = "Other people's jobs are ended with the right job:cancel."
    needed = f"the right {kind.permission}" if kind and kind.permission else "having asked for it"
    can_retry = job.can_be_retried and bool(kind and kind.can_retry)
    return {
        "why_no_cancel": cancel if _can_be_cancelled(job) and not may_cancel else "",
        "why_no_retry": f"Trying it again needs {needed}." if can_retry and not may_drive else "",
    }


def _said(job: Job) -> str:
    """What screen readers are told: a state, not every percent."""
    return f"{job} waits for an answer." if job.state == State.NEEDS_INPUT else ""


def _named(user: Any, resources: list[str]) -> list[places.Place]:
    """Those of the resources that the reader may know of, as people know them."""
    if not resources:
        return []
    return [place for place in places.seen_by(user) if place.resource_name in resources]


def _chain(user: Any, job: Job) -> list[Job]:
    """The tries at the same work, the first one first; empty where there was one try. None that is not visible."""
    first, before = job, [job]
    while first.retry_of_id is not None and len(before) < CHAIN:
        first = Job.objects.get(pk=first.retry_of_id)
        before.insert(0, first)
    last = job
    while len(before) < 2 * CHAIN and (after := last.retries.order_by("pk").last()) is not None:
        before.append(after)
        last = after
    if len(before) == 1:
        return []
    rows = Job.objects.visible_to(user).filter(pk__in=[each.pk for each in before])
    return list(rows.select_related("actor").order_by("pk"))


def _result(key: str, value: Any) -> tuple[str, str, bool]:
    """(name, text, whether the text is long) of a value in a job's result."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
    return key.replace("_", " "), text, "\n" in text
