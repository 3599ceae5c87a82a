"""All words that assets have, so that what stands inside of one can be found: the few words that hold a piece of text
are looked for among all of them, and assets by those.
"""

from collections.abc import Iterable
from dataclasses import replace

from django.db import connection

from .models import Word
from .words import JOINT, Term

SHORTEST = 3  # characters of a piece that is looked for inside of words: fewer are in nearly all
MOST_WORDS = 1_000  # that one piece may stand in; the shortest ones count
BATCH = 500


class Vocabulary:
    """What one run of the index has learned: asking the database for each word again would cost more than the rest."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def learn(self, words: Iterable[str]) -> None:
        """Keep these words; numbers, and what is too short to hold a piece, are none.

        In one order for all: those who learn the same at the same time wait for one another, and none for ever.
        """
        new = {word for word in words if len(word) > SHORTEST and JOINT not in word and not word.isdecimal()}
        new -= self._known
        Word.objects.bulk_create(
            (Word(word=word) for word in sorted(new)), ignore_conflicts=True, batch_size=BATCH
        )
        self._known |= new

    @staticmethod
    def all_words() -> set[str]:
        return set(Word.objects.values_list("word", flat=True))

    def forget(self, words: set[str]) -> None:
        """Of these words those that were not learned: no asset has them any more."""
        gone = sorted(words - self._known)
        for start in range(0, len(gone), BATCH):
            Word.objects.filter(word__in=gone[start : start + BATCH]).delete()


def inside(term: Term) -> tuple[list[Term], bool]:
    """What else a term may be the rest of: terms with the whole words that it stands in, not at their beginning.

    Of several words side by side the first one is the end of a word. True beside it: there are more than are told.
    """
    piece, *rest = term.words
    if len(piece) < SHORTEST:
        return [], False
    if rest:
        found = _words(
            "right(word, %s) = %s" if _is_postgres() else "substr(word, -%s) = %s", len(piece), piece
        )
    else:
        found = _words("strpos(word, %s) > 1" if _is_postgres() else "instr(word, %s) > 1", piece)
    terms = [replace(term, words=(word, *rest), is_whole=not rest) for word in found if word != piece]
    return terms[:MOST_WORDS], len(found) > MOST_WORDS


def _words(condition: str, *values: str | int) -> list[str]:
    sql = f"SELECT word FROM search_word WHERE {condition} ORDER BY length(word), word LIMIT %s"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql, [*values, MOST_WORDS + 1])
        return [word for (word,) in cursor.fetchall()]


def _is_postgres() -> bool:
    return bool(connection.vendor == "postgresql")
