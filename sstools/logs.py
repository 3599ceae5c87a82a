"""Log lines that say which request and which job they belong to, and hold no secrets."""

import json
import logging
import re
import secrets
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from .audit.redact import redact_text

request_id: ContextVar[str] = ContextVar("request_id", default="-")
job_id: ContextVar[str] = ContextVar("job_id", default="-")
address: ContextVar[str] = ContextVar("address", default="")  # of the client of the request at hand

_ACCEPTABLE_ID = re.compile(
    r"[A-Za-z0-9._-]{8,64}"
)  # what a proxy may hand down; anything else could forge log lines


def client_address(request: HttpRequest) -> str:
    """The client's address: of the connection, or what the trusted proxy in front put last into X-Forwarded-For."""
    if settings.TRUST_PROXY and (chain := request.META.get("HTTP_X_FORWARDED_FOR", "")):
        return str(chain).rsplit(",", 1)[-1].strip()[:64]
    return str(request.META.get("REMOTE_ADDR", ""))[:64]


class RequestIdMiddleware:
    """Gives each request an id (`X-Request-ID`, taken over from the proxy if it is a plain one) and answers with it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        value = given if _ACCEPTABLE_ID.fullmatch(given) else secrets.token_hex(8)
        request.request_id = value  # type: ignore[attr-defined]
        address.set(client_address(request))
        request_id.set(
            value
        )  # not reset: Django logs 4xx and 5xx after the last middleware; the next request sets its own
        response = self.get_response(request)
        response["X-Request-ID"] = value
        return response


class ContextFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        record.job_id = job_id.get()
        return True


class OutageFilter(logging.Filter):
    """Says in one line that our own database is away: every request and worker meets it, and no code is to blame."""

    def filter(self, record: logging.LogRecord) -> bool:
        exc = record.exc_info[1] if record.exc_info else None
        if exc is not None:
            from .outages import outage  # needs Django, which reads its logging first

            if (error := outage(exc)) is not None:
                record.msg = f"{record.getMessage()}: {error.code} ({' '.join(str(exc).split())[:300]})"
                record.args, record.exc_info, record.exc_text = (), None, None
        return True


class RedactingFilter(logging.Filter):
    """Takes out of a line what looks like a credential. A net under the rule that none is ever logged."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        clean = redact_text(message)
        if clean != message:
            record.msg, record.args = clean, ()
        if record.exc_info and not record.exc_text:
            record.exc_text = redact_text(logging.Formatter().formatException(record.exc_info))
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, request, job, message, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        out = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "request": getattr(record, "request_id", "-"),
            "job": getattr(record, "job_id", "-"),
            "message": record.getMessage(),
        }
        if record.exc_text:
            out["traceback"] = record.exc_text
        return json.dumps(out, ensure_ascii=False)
