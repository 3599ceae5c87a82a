"""Which words of a text changed, for the side-by-side of a value before and after."""

import re
from difflib import SequenceMatcher

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

_TOKENS = re.compile(r"\w+|\s+|[^\w\s]")
MOST_TOKENS = 2_000  # difflib is quadratic at worst; a longer text is marked as a whole
LEAST_ALIKE = 0.25  # below this the marks say less than "all of it"


def word_marks(before: str, after: str) -> tuple[SafeString, SafeString]:
    """Both texts as safe HTML, what only one of them has within <del> or <ins>.

    >>> word_marks("SUM(amount)", "SUM(net)")
    ('SUM(<del>amount</del>)', 'SUM(<ins>net</ins>)')
    """
    old, new = _TOKENS.findall(before), _TOKENS.findall(after)
    if len(old) + len(new) > MOST_TOKENS:
        return _whole(before, "del"), _whole(after, "ins")
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    if matcher.ratio() < LEAST_ALIKE:
        return _whole(before, "del"), _whole(after, "ins")
    left, right = [], []
    for action, i, j, k, m in matcher.get_opcodes():
        if action == "equal":
            left.append(escape("".join(old[i:j])))
            right.append(escape("".join(new[k:m])))
            continue
        left.append(_whole("".join(old[i:j]), "del"))
        right.append(_whole("".join(new[k:m]), "ins"))
    return mark_safe("".join(left)), mark_safe("".join(right))  # noqa: S308  every piece is escaped above


def _whole(text: str, tag: str) -> SafeString:
    return mark_safe(f"<{tag}>{escape(text)}</{tag}>") if text else mark_safe("")  # noqa: S308  escaped
