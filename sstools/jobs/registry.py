"""Which function does which kind of job."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.module_loading import autodiscover_modules

from sstools.errors import SSToolsError
from sstools.roles.permissions import Permission

if TYPE_CHECKING:
    from .models import Job

Handler = Callable[..., dict[str, Any] | None]
OnEnd = Callable[["Job"], None]
Link = Callable[["Job"], tuple[str, str] | None]
OnAnswer = Callable[["Job", Any, Any], Any]


@dataclass(frozen=True)
class Subject:
    """What a schedule's job will work on. `resource`: on it the schedule's rights are asked; "": on everything."""

    label: str
    resource: str = ""
    url: str = ""
    environment: Any = None  # to show its tag


@dataclass(frozen=True)
class Schedulable:
    """How schedules ask for jobs of a kind: by the service that a person's click calls.

    `text`: what such a schedule is good for, in a sentence.
    `form`: a `sstools.schedules.params.ParamsForm`, which turns input into the schedule's params (JSON).
    `subjects([params, …])`: what each of them is about; None where that is gone. One query, however many.
    `request(params, actor=…, source=…, idempotency_key=…)`: enqueues and returns the job; checks the actor's rights.
    `summary(job)`: what came out of a job that succeeded, in a few words.
    `builtin`: (name, cron expression, params) of a schedule that every installation has, without an owner.
    """

    text: str
    form: type[Any]
    subjects: Callable[[Sequence[dict[str, Any]]], "list[Subject | None]"]
    request: Callable[..., "Job"]
    summary: Callable[["Job"], str] | None = None
    builtin: tuple[str, str, dict[str, Any]] | None = None


@dataclass(frozen=True)
class Kind:
    """What is known about a kind of job.

    `permission`: needed, on every resource the job locks, to retry it or to answer its question.
    `on_end(job)`: called in the transaction that ends a job, whatever the way (also cancelled before its start, and
    worker_lost): brings the rows of the owning app in line. Database only, and short.
    `cancel_choices`: what a cancel can mean once the job has begun to write (for example "finish" and "roll_back");
        the handler reads `ctx.cancel_choice`, and asks with `ctx.ask(question, keep_locks=True)` where nobody chose.
    `link(job)`: (label, address) of the page that shows what the job works on, or None.
    `on_answer(job, value, actor)`: called in the transaction that takes an answer; returns what the handler gets as
        `ctx.answer`. Raises Invalid or NotAllowed for an answer that will not do: the job then goes on waiting.
    `schedulable`: given where a schedule may ask for such jobs.
    """

    name: str
    handler: Handler
    title: str
    permission: Permission | None
    can_retry: bool
    on_end: OnEnd | None
    link: Link | None
    cancel_choices: tuple[str, ...] = ()
    schedulable: Schedulable | None = None
    on_answer: OnAnswer | None = None


class UnknownKind(SSToolsError):
    """This version of ss-tools has no such kind of job (renamed, or its plugin is gone)."""

    code, status = "unknown_kind", 422


_kinds: dict[str, Kind] = {}
_loaded = False


def job_kind(
    name: str,
    *,
    title: str = "",
    permission: Permission | None = None,
    can_retry: bool = True,
    on_end: OnEnd | None = None,
    link: Link | None = None,
    cancel_choices: tuple[str, ...] = (),
    schedulable: Schedulable | None = None,
    on_answer: OnAnswer | None = None,
) -> Callable[[Handler], Handler]:
    """Decorator, in an app's `tasks.py`: this function does jobs of kind `name` ("<app label>.<verb_noun>").

    It is called as `handler(ctx, **params)` and its dict is the job's result. It may be run again after a crash, so it
    says "make it so", not "add".
    """

    def register(handler: Handler) -> Handler:
        known = _kinds.get(name)
        if known is not None and known.handler.__qualname__ != handler.__qualname__:
            raise RuntimeError(f"Two handlers for job kind {name}.")
        words = name.rsplit(".", 1)[-1].replace("_", " ")
        title_shown = title or words.capitalize()
        _kinds[name] = Kind(
            name,
            handler,
            title_shown,
            permission,
            can_retry,
            on_end,
            link,
            tuple(cancel_choices),
            schedulable,
            on_answer,
        )
        return handler

    return register


def kind(name: str) -> Kind:
    """Raises UnknownKind."""
    load()
    try:
        return _kinds[name]
    except KeyError:
        raise UnknownKind(f"There is no job kind {name} in this version of ss-tools.") from None


def find(name: str) -> Kind | None:
    """None for a kind that this version of ss-tools does not have."""
    load()
    return _kinds.get(name)


def names() -> Sequence[str]:
    load()
    return sorted(_kinds)


def load() -> None:
    """Import `tasks.py` of all apps, once."""
    global _loaded
    if not _loaded:
        autodiscover_modules("tasks")
        _loaded = True
