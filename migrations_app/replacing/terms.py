"""What is to be replaced by what, and where: checked, kept as JSON, and done to one text. No database, no Superset."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

import re2

from environments.canonical.documents import Kind
from environments.canonical.texts import hide_tokens, show_tokens
from sstools.errors import Invalid

MOST_CHARACTERS = 2000  # of what is looked for, and of what stands there instead
MOST_SELECTED = 5000
#: A text that grows beyond this is a mistake: Superset's own fields hold 64 KB to 16 MB.
MOST_RESULT = 1_000_000
#: Of computing, for all texts of one plan. RE2 takes linear time; this is for estates of a size nobody has seen yet.
SECONDS = 60.0
#: Bytes for one compiled pattern: what needs more repeats repetitions ("((a{0,99}){0,99}){0,99}") and is refused.
PATTERN_MEMORY = 1 << 20


class Field(StrEnum):
    SQL = "sql"
    METRICS = "metrics"
    TITLES = "titles"
    TEXTS = "texts"
    CSS = "css"
    JINJA = "jinja"


#: What each means, for people.
FIELDS: Mapping[Field, str] = {
    Field.SQL: "SQL of datasets, computed columns, filters",
    Field.METRICS: "Expressions of metrics",
    Field.TITLES: "Titles, tabs, names of filters, labels of columns and metrics",
    Field.TEXTS: "Descriptions, certification, Markdown, Handlebars",
    Field.CSS: "CSS of dashboards and of Handlebars charts",
    Field.JINJA: "Jinja in SQL and metrics, template parameters",
}
#: What can be written; connections never are.
KINDS = (Kind.DATASET, Kind.CHART, Kind.DASHBOARD)


class How(StrEnum):
    TEXT = "text"
    WORDS = "words"
    PATTERN = "pattern"


HOWS: Mapping[How, str] = {
    How.TEXT: "this text, anywhere",
    How.WORDS: "this text as whole words",
    How.PATTERN: "a regular expression (RE2)",
}


@dataclass(frozen=True)
class Terms:
    """`fields`, `kinds`: where it is looked for. Scope, each empty for everything: `title`: a part of the asset's
    title, in any case; `database`: uuid of a connection, then of its datasets and the charts on them; `selection`:
    uuids of assets, each with all it stands on.
    """

    find: str
    replace: str
    how: How = How.TEXT
    ignore_case: bool = False
    fields: tuple[Field, ...] = tuple(Field)
    kinds: tuple[Kind, ...] = KINDS
    title: str = ""
    database: str = ""
    selection: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Terms:
        return cls(
            **{
                **data,
                "how": How(data["how"]),
                "fields": tuple(Field(one) for one in data["fields"]),
                "kinds": tuple(Kind(one) for one in data["kinds"]),
                "selection": tuple(data["selection"]),
            }
        )

    @property
    def words(self) -> str:
        """ "“a” → “b”", shortened."""
        by = f"“{short(self.replace)}”" if self.replace else "nothing"
        return f"“{short(self.find)}” → {by}"


def short(text: str, length: int = 60) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= length else f"{flat[: length - 1]}…"


def checked(
    *,
    find: str,
    replace: str = "",
    how: str = How.TEXT.value,
    ignore_case: bool = False,
    fields: Sequence[str] = (),
    kinds: Sequence[str] = (),
    title: str = "",
    database: str = "",
    selection: Sequence[str] = (),
) -> Terms:
    """Terms that somebody entered; no `fields`: all, no `kinds`: all. Raises Invalid by field."""
    errors: dict[str, list[str]] = {}
    for name, text in (("find", find), ("replace", replace)):
        if len(text) > MOST_CHARACTERS:
            errors[name] = [f"At most {MOST_CHARACTERS} characters."]
        elif "\0" in text or not _is_unicode(text):
            errors[name] = ["NUL and half characters are in no text of Superset."]
    if not find:
        errors["find"] = ["What is to be replaced?"]
    if how not in set(How):
        errors["how"] = [f"One of {', '.join(How)}."]
    if unknown := sorted(set(fields) - set(Field)):
        errors["fields"] = [f"Unknown: {', '.join(unknown)[:200]}."]
    if unknown := sorted(set(kinds) - {kind.value for kind in KINDS}):
        errors["kinds"] = [f"Unknown: {', '.join(unknown)[:200]}."]
    if len(selection) > MOST_SELECTED:
        errors["selection"] = [f"At most {MOST_SELECTED}."]
    if len(title) > 250:
        errors["title"] = ["At most 250 characters."]
    if not errors:
        terms = Terms(
            find,
            replace,
            How(how),
            bool(ignore_case),
            tuple(one for one in Field if one in fields or not fields),
            tuple(kind for kind in KINDS if kind.value in kinds or not kinds),
            title.strip(),
            database.lower(),
            tuple(sorted({uuid.lower() for uuid in selection})),
        )
        try:
            Replacer(terms).check()
        except WrongPattern as error:
            errors[error.field] = [str(error)]
        else:
            return terms
    raise Invalid("What is to be replaced is not right.", code="wrong_replacement", errors=errors)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class WrongPattern(ValueError):
    """In words for people; `field`: find or replace."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


@dataclass
class Replacer:
    """Does to texts what terms say, and counts. One for each plan.

    Plain texts by `re` of an escaped text; what people write as a pattern by RE2, whose time grows with the length of
    the text alone: no pattern, however it nests repetitions, keeps a worker busy.
    """

    terms: Terms
    count: int = 0
    spent: float = field(default=0.0, init=False)

    def check(self) -> None:
        """Raises WrongPattern."""
        if self._search("") is not None:
            raise WrongPattern("find", "It also fits nothing at all, so it would change every text.")
        _ = self._parts

    def apply(self, text: str) -> str:
        """The text with every place replaced; marks of ids and addresses in it are not looked into. Raises Invalid."""
        if self.terms.how != How.PATTERN and not self.terms.ignore_case and self.terms.find not in text:
            return text
        if not _is_unicode(text):
            return text  # half of a character: no pattern of people can mean it
        began = time.thread_time()
        hidden, tokens = hide_tokens(text)
        changed = show_tokens(self._replaced(hidden), tokens)
        self.spent += time.thread_time() - began
        if self.spent > SECONDS:
            raise Invalid(
                "Looking through this environment takes too long. Nothing was written.",
                code="replacement_too_slow",
                remedy="Take fewer kinds or fields, or a part of the assets.",
            )
        return changed

    def _replaced(self, text: str) -> str:
        parts: list[str] = []
        end = size = 0
        for match in self._matches(text):
            if match.end() == match.start():
                continue  # a border is no text
            new = self._expanded(match)
            parts += [text[end : match.start()], new]
            size += match.start() - end + len(new)
            end = match.end()
            self.count += 1
            if size > MOST_RESULT:
                raise Invalid(
                    "A text would grow beyond a million characters. Nothing was written.",
                    code="replacement_too_long",
                    remedy="Look at what is put in, and how often it fits.",
                )
        return "".join([*parts, text[end:]]) if parts else text

    @cached_property
    def _plain(self) -> re.Pattern[str]:
        find = self.terms.find
        pattern = re.escape(find)
        if (
            self.terms.how == How.WORDS
        ):  # borders only where the text itself begins or ends with a word's character
            before = r"(?<!\w)" if re.match(r"\w", find) else ""
            pattern = before + pattern + (r"(?!\w)" if re.search(r"\w$", find) else "")
        return re.compile(pattern, re.IGNORECASE if self.terms.ignore_case else 0)

    @cached_property
    def _pattern(self) -> Any:
        options = re2.Options()
        options.log_errors = False
        options.max_mem = PATTERN_MEMORY
        options.case_sensitive = not self.terms.ignore_case
        try:
            return re2.compile(self.terms.find, options)
        except re2.error as error:
            said = error.args[0] if error.args else error
            said = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
            hint = " RE2 has no look-around and no references back." if "(?" in said or "\\" in said else ""
            raise WrongPattern("find", f"This pattern does not work: {said}.{hint}") from None

    def _matches(self, text: str) -> Any:
        return (self._pattern if self.terms.how == How.PATTERN else self._plain).finditer(text)

    def _search(self, text: str) -> Any:
        return (self._pattern if self.terms.how == How.PATTERN else self._plain).search(text)

    @cached_property
    def _parts(self) -> tuple[str | int, ...]:
        """What stands there instead: texts, and numbers of groups. Raises WrongPattern."""
        if self.terms.how != How.PATTERN:
            return (self.terms.replace,)
        names: Mapping[str, int] = self._pattern.groupindex
        parts: list[str | int] = []
        end = 0
        for match in _ESCAPE.finditer(self.terms.replace):
            parts.append(self.terms.replace[end : match.start()])
            end = match.end()
            name = match["name"] or match["number"]
            if name is None:
                plain = {"\\": "\\", "n": "\n", "t": "\t"}.get(match["other"])
                if plain is None:
                    raise WrongPattern(
                        "replace", f"“{match[0]}” means nothing here; a backslash is written twice."
                    )
                parts.append(plain)
                continue
            number = int(name) if name.isdigit() else names.get(name, -1)
            if not 0 <= number <= self._pattern.groups:
                raise WrongPattern("replace", f"The pattern has no group {name}.")
            parts.append(number)
        parts.append(self.terms.replace[end:])
        return tuple(parts)

    def _expanded(self, match: Any) -> str:
        return "".join(part if isinstance(part, str) else match[part] or "" for part in self._parts)


#: \1, \g<1>, \g<name>, and \\, \n, \t.
_ESCAPE = re.compile(
    r"\\(?:g<(?P<name>[A-Za-z_]\w{0,99}|\d{1,2})>|(?P<number>\d{1,2})|(?P<other>.|$))", re.DOTALL
)
