"""What a replacement makes of an environment's documents, while its plan is made."""

from __future__ import annotations

from collections import Counter

from environments.canonical.documents import Document, Documents
from migrations_app import errors
from migrations_app.models import Migration

from .models import Replacement
from .terms import Field, Replacer, Terms
from .walking import changed, in_scope


def replaced_in(migration: Migration, documents: Documents) -> dict[str, Document]:
    """Those assets of the environment that would be otherwise, by uuid; the number of places is kept with the terms.

    Raises NotReady where the terms are gone; Invalid where they take too long, or make a text too long.
    """
    row = Replacement.objects.filter(migration=migration).first()
    if row is None:
        raise errors.NotReady("What was to be replaced is not known any more.", remedy="Ask for it anew.")
    found, counts = replaced(row.asked, documents)
    Replacement.objects.filter(pk=row.pk).update(found=counts)
    return found


def replaced(terms: Terms, documents: Documents) -> tuple[dict[str, Document], dict[str, int]]:
    """(assets that would be otherwise, number of places by field). Raises Invalid."""
    replacer = Replacer(terms)
    counts: Counter[str] = Counter()

    def change(field: Field, text: str) -> str:
        before = replacer.count
        made = replacer.apply(text)
        if made != text:
            counts[field.value] += replacer.count - before
        return made

    found: dict[str, Document] = {}
    for uuid, document in in_scope(terms, documents).items():
        made = changed(document, terms.fields, change)
        if made is not document:
            found[uuid] = made
    return found, dict(counts)
