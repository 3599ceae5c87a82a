"""Names of things as strings: "environment:<uuid>".

Locks, audit lines and grants hold such a string instead of a foreign key, so the shell needs to know nothing of the
packages above it, and an audit line outlives the row it speaks of.
"""

from typing import Any

EVERYTHING = "*"


def resource_name(obj: Any) -> str:
    """ "<noun>:<key>" of a model instance; a string passes through. The key is the uuid, else number, else pk.

    A model may say its own with a `resource_name` attribute or property.
    """
    if isinstance(obj, str):
        return obj
    if own := getattr(obj, "resource_name", None):
        return str(own)
    noun = obj._meta.model_name
    for field in ("uuid", "number"):
        if (key := getattr(obj, field, None)) is not None:
            return f"{noun}:{key}"
    return f"{noun}:{obj.pk}"


def concerned_by(obj: Any) -> tuple[str, ...]:
    """Names of the things that `obj` is about, for who may know of it: what its `concerns` says, else itself.

    A migration concerns two environments; a user concerns none, and is then a matter of those who may see all.
    """
    if not isinstance(obj, str) and (own := getattr(obj, "concerns", None)) is not None:
        return tuple(sorted({resource_name(one) for one in own}))
    name = resource_name(obj)
    return (name,) if name.startswith("environment:") else ()
