"""The errors that ss-tools expects, each with a stable `code`. Whatever else comes is a bug, and shown as one.

`message` says what happened and to what, `remedy` what to do about it. Both are shown to people: no secrets in them.
"""

from collections.abc import Callable
from typing import Any, TypeVar

E = TypeVar("E", bound=BaseException)


class SSToolsError(Exception):
    """Something expected went wrong. `status` is the HTTP status that the API and the pages answer with."""

    code: str = "failed"
    status: int = 400
    message: str = "That did not work."
    remedy: str = ""

    def __init__(
        self,
        message: str = "",
        *,
        code: str = "",
        remedy: str = "",
        status: int = 0,
        detail: dict[str, Any] | None = None,
    ) -> None:
        self.message = message or self.message
        self.code = code or self.code
        self.remedy = remedy or self.remedy
        self.status = status or self.status
        self.detail: dict[str, Any] = detail or {}
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()

    def as_dict(self) -> dict[str, Any]:
        """The shape in which jobs keep an error and the API shows it."""
        out: dict[str, Any] = {"code": self.code, "message": self.message, "remedy": self.remedy}
        if self.detail:
            out["detail"] = self.detail
        return out


class NotAllowed(SSToolsError):
    """The actor lacks the permission."""

    code, status, message = "not_allowed", 403, "You may not do that."
    remedy = "Ask an administrator of ss-tools for a role that allows it."


class NotFoundError(SSToolsError):
    """Absent, or not visible to the one who asks: the two are never told apart."""

    code, status, message = "not_found", 404, "There is no such thing, or you may not see it."


class Conflict(SSToolsError):
    """It contradicts the present state: done already, changed meanwhile, held by somebody else."""

    code, status, message = "conflict", 409, "That does not fit the present state."


class Invalid(SSToolsError):
    """The input is wrong. `errors` maps a field's name to its messages."""

    code, status, message = "invalid", 422, "Some values are not right."

    def __init__(
        self, message: str = "", *, errors: dict[str, list[str]] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(message, **kwargs)
        self.errors = errors or {}
        if self.errors:
            self.detail = {**self.detail, "errors": self.errors}


class Unavailable(SSToolsError):
    """Something outside does not answer; later may help."""

    code, status, message = "unavailable", 503, "A service that is needed does not answer."
    remedy = "Try again in a moment."


class JobCancelled(SSToolsError):
    """Raised inside a job at a cancel point after somebody asked for its end."""

    code, status, message = "cancelled", 409, "The job was cancelled."


_translations: dict[type[BaseException], Callable[[Any], SSToolsError | None]] = {}


def translates(
    kind: type[E],
) -> Callable[[Callable[[E], SSToolsError | None]], Callable[[E], SSToolsError | None]]:
    """Decorator: this function turns exceptions of `kind` into ours, or answers None for one that is a bug.

    For packages above this one and for pure libraries that know nothing of Django: jobs, API and pages then show
    such an exception with its own code and words instead of as a bug.
    """

    def register(function: Callable[[E], SSToolsError | None]) -> Callable[[E], SSToolsError | None]:
        _translations[kind] = function
        return function

    return register


def as_expected(exc: BaseException) -> SSToolsError | None:
    """`exc` as an error that may be shown, or None when it is a bug."""
    if isinstance(exc, SSToolsError):
        return exc
    for kind in type(exc).__mro__:
        if (function := _translations.get(kind)) and (expected := function(exc)) is not None:
            return expected
    return None
