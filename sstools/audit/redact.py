"""What history, audit and logs must not hold. Pure: no Django, no I/O."""

import re
from typing import Any

HIDDEN = "***"
_SECRET_NAME = re.compile(
    r"(?i)(password|passwd|passphrase|secret|token|api_?key|private_?key|credential|authorization|cookie|session_?id"
    r"|csrf|encrypted_extra|field_keys)"
)
_TEXT_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # user:password@ inside an address
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s/:@]*):[^\s/@]+@"), r"\1:***@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), r"\1 ***"),
    # our own tokens and JSON web tokens, wherever they stand
    (re.compile(r"\bsst_[A-Za-z0-9_-]{8,}"), HIDDEN),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), HIDDEN),
    # name=value, "name": "value"
    (
        re.compile(
            r"""(?ix)(["']?\b[a-z_-]*(?:password|passwd|secret|token|api_?key|private_?key)[a-z_]*["']?\s*[:=]\s*)
            ("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s,;&}'"]+)"""
        ),
        r"\1***",
    ),
)


def is_secret_name(name: str) -> bool:
    """Whether what stands under this name is a credential, as far as one can tell."""
    return bool(_SECRET_NAME.search(name))


def _plain(text: str) -> str:
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def redact_text(text: str) -> str:
    """`text` without what looks like a credential, and without what no database keeps (NUL, half surrogate pairs)."""
    text = _plain(text)
    for pattern, replacement in _TEXT_RULES:
        text = pattern.sub(replacement, text)
    return text


def redact(value: Any) -> Any:
    """A copy of JSON-like `value`, with the values under secret-sounding names hidden and texts cleaned."""
    if isinstance(value, dict):
        return {
            _plain(str(key)): HIDDEN
            if _SECRET_NAME.search(str(key)) and item not in (None, "", [], {}) and not isinstance(item, bool)
            else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    if isinstance(value, str):
        return redact_text(str(value))
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact_text(str(value))
