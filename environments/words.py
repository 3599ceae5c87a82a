"""Texts as people search for them."""

import unicodedata
from typing import Any


def fold(text: str) -> str:
    """`text` for comparing: case folded, compatibility forms and spaces evened out, ё as е, nothing unprintable.

    SQLite's own LIKE and ORDER BY fold ASCII letters only, and PostgreSQL's depend on its collation.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().replace("ё", "е")
    return " ".join("".join(c if c.isprintable() else " " for c in folded).split())


def cleaned(value: Any) -> Any:
    """A JSON value as a database takes it: see `clean`."""
    if isinstance(value, str):
        return clean(value, len(value))
    if isinstance(value, dict):
        return {cleaned(key): cleaned(item) for key, item in value.items()}
    return [cleaned(item) for item in value] if isinstance(value, list | tuple) else value


def clean(text: str, length: int) -> str:
    """`text` as a database takes it: no NUL, no lone surrogates, at most `length` characters."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()[:length]
