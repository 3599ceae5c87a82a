"""Reading what programs send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

MAX_DEPTH = 40  # of lists and objects inside of each other; ours have five


class PlainJSONParser(JSONParser):
    """JSON whose texts can be kept: PostgreSQL takes no NUL, and half of a surrogate pair is no character."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            data = super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise ParseError("The JSON is nested too deeply.") from None
        if problem := problem_of(data):
            raise ParseError(problem)
        return data


def problem_of(data: Any) -> str:
    """What is wrong with a JSON value, as a sentence; "" if nothing is."""
    pending: list[tuple[Any, int]] = [(data, 0)]
    while pending:
        value, depth = pending.pop()
        if depth > MAX_DEPTH:
            return "The JSON is nested too deeply."
        if isinstance(value, dict):
            pending += ((item, depth + 1) for pair in value.items() for item in pair)
        elif isinstance(value, list):
            pending += ((item, depth + 1) for item in value)
        elif isinstance(value, str):
            if "\0" in value:
                return "A text holds a NUL character."
            if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
                return "A text holds half of a surrogate pair."
    return ""
