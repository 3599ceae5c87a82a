"""Why an answer is not a success: Superset's words, and what we make of its status."""

from __future__ import annotations

from urllib.parse import urlsplit

from .answer import Answer
from .errors import (
    AmbiguousWrite,
    SupersetError,
    SupersetRefused,
    SupersetUnreachable,
    is_login_page,
    message_of,
)


def is_unauthorized(answer: Answer) -> bool:
    if answer.status == 401:
        return True
    # The JWT library answers 422 {"msg"} to a token it cannot read, as after a change of the server's SECRET_KEY.
    return answer.status == 422 and isinstance(answer.json, dict) and set(answer.json) == {"msg"}


def is_csrf_failure(answer: Answer) -> bool:
    """Whether a write was turned away for its CSRF token, before anything was done.

    JSON requests get a 400 that says so; a multipart one is sent to the login page (4.1.4 to 6.1.0).
    """
    if answer.status in (301, 302, 303, 307):
        return urlsplit(answer.location).path.rstrip("/").endswith("/login")
    if answer.status != 400:
        return False
    message, _ = message_of(answer)
    return "CSRF" in message or "referrer" in message


def is_passing(message: str) -> bool:
    """Whether a 500's text is about the metadata database's connection: those pass."""
    signs = (
        "OperationalError",
        "server closed the connection",
        "QueuePool limit",
        "Lost connection",
        "deadlock detected",
    )
    return any(sign in message for sign in signs)


def may_pass(answer: Answer, attempt: int) -> bool:
    """Whether asking again may help. A 500 that gives its reason will give it again; one without gets one more try."""
    if answer.status in (429, 502, 503, 504):
        return True
    if answer.status < 500:
        return False
    message, _ = message_of(answer)
    if message and not answer.is_html and not is_passing(message):
        return False
    return attempt <= 1


def not_superset(answer: Answer, url: str) -> SupersetRefused:
    """What else stands at `url`: a redirect (to where), a sign-in page, a web page (its title), another service."""
    here = urlsplit(url)
    if 300 <= answer.status < 400:
        to = urlsplit(answer.location)
        if to.hostname and to.hostname != here.hostname:
            what = f"sends us on to {to.scheme or here.scheme}://{to.hostname}"
            hint = "Is a sign-in service in front of it, or is that its real address?"
        elif to.hostname and to.scheme != here.scheme:
            what = f"sends us on to {to.scheme}://{to.hostname}{f':{to.port}' if to.port else ''}"
            hint = "Use that address."
        else:
            what, hint = f"sends us on to {to.path or 'another page'}", "Is the address complete?"
    elif answer.is_html and is_login_page(answer.text):
        what, hint = "answers with a sign-in page instead of data", "Is a sign-in service in front of it?"
    elif answer.is_html:
        title, _ = message_of(answer)
        what = f"answers with a web page ({title or 'without a title'}) instead of data"
        hint = "Is this a Superset?"
    else:
        what, hint = "answers with something that is not Superset's", "Is this a Superset?"
    return SupersetRefused(f"{here.netloc} {what}. {hint}", code="not_superset", status=answer.status)


def ambiguous(
    method: str, path: str, url: str, failure: SupersetUnreachable, *, answered: bool = False
) -> AmbiguousWrite:
    """`answered`: Superset itself gave the answer, so the write is over, one way or the other."""
    return AmbiguousWrite(
        f"Whether {urlsplit(url).netloc} carried out {method} {path} is unknown: {failure.message}",
        status=failure.status,
        detail={"cause": failure.code, "answered": answered},
    )


def is_of_superset(answer: Answer) -> bool:
    """Whether Superset itself answered, and not a proxy that gave up on it: then nothing of the request goes on.

    Proxies answer 502 to 504, and some (API gateways) do so in JSON; Superset's own pages bear its name in the title.
    """
    if answer.status in (408, 502, 503, 504):
        return False
    if isinstance(answer.json, dict):
        return bool({"errors", "message", "msg", "result", "error"} & answer.json.keys())
    return answer.is_html and "superset</title>" in answer.text[:5_000].lower()


def unconfirmed(method: str, path: str, url: str, answer: Answer) -> AmbiguousWrite:
    """A write answered with success, but not in Superset's way: a proxy, or half of an answer."""
    return AmbiguousWrite(
        f"Whether {urlsplit(url).netloc} carried out {method} {path} is unknown: "
        f"its answer (status {answer.status}) is not Superset's.",
        status=answer.status,
        detail={"cause": "not_superset", "answered": is_of_superset(answer)},
    )


def error_of(answer: Answer, *, method: str, path: str, url: str, who: str, writes: bool) -> SupersetError:
    """The error for a status that is not success."""
    status = answer.status
    where = urlsplit(url).netloc
    message, detail = message_of(answer)
    said = f": {message}" if message else "."
    if method != "GET" and is_csrf_failure(answer):
        text = "Superset refuses the CSRF token, also a new one. Does a proxy drop cookies or the Referer header?"
        return SupersetRefused(f"{text} {message}".strip(), code="csrf", status=status)
    if 300 <= status < 400:
        return not_superset(answer, url)
    if is_unauthorized(answer):
        if answer.is_html:
            return not_superset(answer, url)  # Superset's API says it in JSON; this is a proxy's own sign-in
        return SupersetRefused(f"Superset does not accept {who}{said}", code="unauthorized", status=status)
    if status == 403:
        return SupersetRefused(
            f"{who} may not do this ({method} {path}){said}", code="forbidden", status=status
        )
    if status == 429:
        return SupersetUnreachable(
            f"{where} asks for fewer requests{said}", code="rate_limited", status=status
        )
    if status in (404, 405):
        # Superset answers its own API paths in JSON; a page means that another service, or another path, is here.
        if answer.is_html:
            return not_superset(answer, url)
        return SupersetRefused(f"Superset has no {path}{said}", code="not_found", status=status)
    if status in (413, 414):
        return SupersetRefused(
            f"The request is too large for {where} or a proxy before it{said}",
            code="too_large",
            status=status,
        )
    if status in (409, 412, 423):
        return SupersetRefused(
            f"Superset reports a conflict{said}", code="conflict", status=status, detail=detail
        )
    if status == 408 or status >= 500:
        meaningful = status == 500 and bool(message) and not answer.is_html and not is_passing(message)
        if not meaningful:
            failure = SupersetUnreachable(
                f"{where} failed with status {status}{said}", code="server_error", status=status
            )
            if not writes:
                return failure
            return ambiguous(method, path, url, failure, answered=is_of_superset(answer))
        # Imports and edits are one transaction; an error that says why has rolled it back (superset-api.md 8.4).
        return SupersetRefused(f"Superset failed{said}", code="invalid", status=status, detail=detail)
    return SupersetRefused(f"Superset refuses{said}", code="invalid", status=status, detail=detail)
