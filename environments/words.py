"""Texts as people search for them."""

import unicodedata


def fold(text: str) -> str:
    """`text` for comparing: case folded, compatibility forms and spaces evened out, ё as е, nothing unprintable.

    SQLite's own LIKE and ORDER BY fold ASCII letters only, and PostgreSQL's depend on its collation.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().replace("ё", "е")
    return " ".join("".join(c if c.isprintable() else " " for c in folded).split())


def clean(text: str, length: int) -> str:
    """`text` as a database takes it: no NUL, no lone surrogates, at most `length` characters."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()[:length]
