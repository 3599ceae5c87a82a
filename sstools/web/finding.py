"""What the palette and the page of the search show, from what sources.search found."""

from django.http import HttpRequest

from . import navigation, search
from .search import FEW, Ask, Group, Item

MOST_TEXT = 2_000  # characters; a pasted address may be long
MOST_RECENT = 40  # addresses that a browser may name


def asked(request: HttpRequest) -> str:
    """What was typed. No NUL: PostgreSQL takes none."""
    return request.GET.get("q", "")[:MOST_TEXT].replace("\x00", "").strip()


def groups(request: HttpRequest, ask: Ask) -> list[Group]:
    """Pages of the rail by their name, then what the sources found."""
    pages = tuple(item for item in _pages(request) if search.fits(ask.text, item.title, item.detail))
    found = search.find(ask)
    return [Group("Go to", pages[:FEW]), *found] if pages else found


def suggestions(request: HttpRequest) -> list[Group]:
    """Where nothing was typed: what this browser looked at lately (`?recent=/path/`, repeated), then all pages."""
    paths = list(dict.fromkeys(request.GET.getlist("recent")))[:MOST_RECENT]
    recent = search.recall(request.user, paths) if paths else []
    found = [Group("Recent", tuple(recent[:FEW])), Group("Go to", tuple(_pages(request)))]
    return [group for group in found if group.items]


def _pages(request: HttpRequest) -> list[Item]:
    return [
        Item(link.label, link.url, link.icon, link.text)
        for _, links in navigation.rail(request)
        for link in links
    ]
