"""What there is to be told of. Packages register their events in `ready()`; the shell knows no runs and no plans."""

from dataclasses import dataclass

from sstools.roles.permissions import Permission


@dataclass(frozen=True)
class Event:
    """`key`: "noun.past", stable. `mails_you`: mailed to the person it concerns unless they switch that off.

    `permission`: needed on what it is about, to be told of what is not one's own.
    """

    key: str
    title: str
    permission: Permission
    mails_you: bool = True


_events: dict[str, Event] = {}


def register(key: str, title: str, permission: Permission, *, mails_you: bool = True) -> Event:
    """Make an event known; in `ready()`."""
    _events[key] = Event(key, title, permission, mails_you)
    return _events[key]


def all_events() -> list[Event]:
    return [_events[key] for key in sorted(_events)]


def find(key: str) -> Event:
    """Raises KeyError."""
    return _events[key]


TEST = register("webhook.test", "A webhook is tried", Permission.WEBHOOK_EDIT, mails_you=False)
