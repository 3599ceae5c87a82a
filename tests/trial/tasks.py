"""Kinds of jobs for tests."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model

from sstools.errors import Conflict, JobCancelled
from sstools.jobs.models import Job
from sstools.jobs.registry import job_kind
from sstools.jobs.runner import JobContext
from sstools.roles import policy
from sstools.roles.permissions import Permission
from tests.trial.models import Effect

ended: list[tuple[str, str]] = []  # (uuid, state) as on_end saw them, in this process


def remember(job: Job) -> None:
    ended.append((str(job.uuid), job.state))


@job_kind("trial.write", on_end=remember)
def write(ctx: JobContext, *, name: str, steps: int = 1, seconds: float = 0.0) -> dict[str, Any]:
    """Does its steps slowly, then writes one effect. Done steps are not repeated after a crash."""
    for number in range(steps):
        ctx.step("Writing", done=number, total=steps)
        time.sleep(seconds)
        if not Effect.objects.filter(name=f"{name}/{number}").exists():
            with ctx.fenced():
                Effect.objects.create(name=f"{name}/{number}")
    ctx.step("Writing", done=steps, total=steps)
    return {"written": steps}


@job_kind("trial.apply", title="Apply it", permission=Permission.MIGRATION_APPLY)
def apply(ctx: JobContext, *, name: str = "x") -> dict[str, Any]:
    ctx.step("First")
    ctx.log("info", "with password=hunter2 in it", token="abc")
    ctx.step("Second")
    return {"name": name}


@job_kind("trial.refuse")
def refuse(ctx: JobContext) -> None:
    ctx.step("Trying")
    raise Conflict("The plan is stale.", code="stale_plan", remedy="Make a new plan.")


@job_kind("trial.forbidden")
def forbidden(ctx: JobContext, *, user: int) -> None:
    """Needs a right that its user lacks, and finds out when it is at work."""
    policy.require(get_user_model()._default_manager.get(pk=user), Permission.MIGRATION_APPLY)


@job_kind("trial.break", can_retry=False)
def break_(ctx: JobContext) -> None:
    raise ZeroDivisionError("password=hunter2")


@job_kind("trial.kill")
def kill(ctx: JobContext) -> None:
    """Ends its worker at once, always."""
    os.kill(os.getpid(), signal.SIGKILL)


@job_kind("trial.ask")
def ask(ctx: JobContext) -> dict[str, Any]:
    if ctx.answer is None:
        ctx.ask({"title": "Which database?", "choices": [{"value": "dwh"}, {"value": "other"}]})
    return {"chosen": ctx.answer}


between: list[Callable[[], Any]] = []  # called once by `half`, in this process, when it has written


@job_kind("trial.half", cancel_choices=("finish", "roll_back"))
def half(ctx: JobContext, *, name: str) -> dict[str, Any]:
    """Writes two effects. A cancel between them is obeyed as it was meant, and asked about where that is not known."""
    first = Effect.objects.filter(name=f"{name}/0")
    if not first.exists():
        ctx.step("Writing")
        with ctx.fenced():
            Effect.objects.create(name=f"{name}/0")
    while between:
        between.pop()()
    if ctx.cancel_requested:
        if not ctx.cancel_choice:
            choices = [{"value": "finish", "label": "Finish"}, {"value": "roll_back", "label": "Roll back"}]
            question = {"code": "cancel_choice", "text": "Half is written.", "choices": choices}
            ctx.ask(question, keep_locks=True)
        if ctx.cancel_choice == "roll_back":
            first.delete()
            raise JobCancelled("Rolled back.")
    with ctx.fenced():
        Effect.objects.create(name=f"{name}/1")
    return {"finished": True}


@job_kind("trial.bad_result")
def bad_result(ctx: JobContext) -> dict[str, Any]:
    return {"value": object()}


@job_kind("trial.send")
def send(ctx: JobContext, *, path: str, steps: int, seconds: float = 0.0) -> dict[str, Any]:
    """What cannot be taken back: a line in a file for each request, asked before it whether the job is still ours."""
    done = len(Path(path).read_text().splitlines()) if Path(path).exists() else 0
    for number in range(done, steps):
        time.sleep(seconds)
        ctx.checkpoint()
        with Path(path).open("a") as file:
            file.write(f"{number} {time.time():.3f} {ctx.job.attempt}\n")
    return {"sent": steps}


@job_kind("trial.stall")
def stall(ctx: JobContext, *, path: str, seconds: float) -> dict[str, Any]:
    """Like one long request, between two of which nothing can be asked; only the first attempt is so slow."""
    is_first = not Path(path).exists()
    Path(path).touch()
    if is_first:
        time.sleep(seconds)
    ctx.checkpoint()
    return {"attempt": ctx.job.attempt}
