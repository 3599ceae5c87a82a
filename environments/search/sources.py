"""What the search of every page finds of environments and their assets."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.core.paginator import Paginator
from django.utils.http import urlencode

from environments.canonical.documents import Kind
from environments.models import Asset, Environment
from sstools.web.home import Section
from sstools.web.search import FEW, Ask, Group, Item, fits

from . import finding
from .finding import Found, Hit
from .links import page_of, resolve

PAGE_SIZE = 25
QUICK = 200  # rows that a search looks at while somebody types
KINDS = tuple(kind.value for kind in reversed(Kind))


def find(ask: Ask) -> Iterable[Group]:
    visible = list(Environment.objects.visible_to(ask.user).in_order())
    named = [row for row in visible if fits(ask.text, row.name, row.slug, row.tag)]
    items = (Item(row.name, row.get_absolute_url(), "environments", row.url, (row,)) for row in named[:FEW])
    yield Group("Environments", tuple(items), order=15)
    if (link := resolve(ask.user, ask.text)) is not None:
        linked = (_item_of(link.asset),) if link.asset is not None else ()
        yield Group("Link to Superset", linked, link.reason, order=5, is_in_full=True)
        return
    found = finding.search(ask.user, ask.text, limit=FEW, looked_at=QUICK)
    yield Group("Assets", tuple(_item(hit) for hit in found.hits), order=20, is_in_full=True)


def leads_to(ask: Ask) -> str:
    link = resolve(ask.user, ask.text)
    return page_of(link.asset) if link is not None and link.asset is not None else ""


def sections(ask: Ask, values: Mapping[str, str]) -> Iterable[Section]:
    if (link := resolve(ask.user, ask.text)) is not None:
        yield Section("search/_link.html", {"link": link})
        return
    kind, slug = values.get("kind", ""), values.get("env", "")
    number = values.get("page", "1")
    number = number if number.isascii() and number.isdecimal() and len(number) < 6 else "1"
    options: dict[str, Any] = {"kinds": [kind] if kind in KINDS else [], "environment": slug}
    start = (max(1, int(number)) - 1) * PAGE_SIZE
    found = finding.search(ask.user, ask.text, start=start, limit=PAGE_SIZE, **options)
    page = Paginator(found.keys, PAGE_SIZE).get_page(number)
    if page.start_index() - 1 != start and found.keys:  # ?page=999 is the last page
        found = finding.search(ask.user, ask.text, start=page.start_index() - 1, limit=PAGE_SIZE, **options)
    yield Section("search/_assets.html", _context(ask, found, page, kind, slug))


def _context(ask: Ask, found: Found, page: Any, kind: str, slug: str) -> dict[str, Any]:
    return {
        "hits": [{"hit": hit, "url": page_of(hit.assets[0])} for hit in found.hits],
        "found": found,
        "page": page,
        "q": ask.text,
        "said": f"{'more than ' if found.more else ''}{found.total} {'asset' if found.total == 1 else 'assets'}",
        "kind": kind,
        "env": slug,
        "kinds": [(one, Kind(one).plural) for one in KINDS],
        "environments": list(Environment.objects.visible_to(ask.user).in_order()),
        "query": urlencode({"q": ask.text, **({"env": slug} if slug else {})}),
    }


def recall(user: Any, paths: Collection[str]) -> Mapping[str, Item]:
    """Environments, and assets by our pages of them. A fixed number of queries."""
    uuids = {part for path in paths for part in path.split("/") if len(part) == 36}
    slugs = {path.split("/")[-2] for path in paths if path.count("/") > 2}
    items: dict[str, Item] = {}
    if uuids:
        for row in Asset.objects.visible_to(user).filter(uuid__in=uuids).select_related("environment"):
            items.setdefault(page_of(row), _item_of(row))
    if slugs:
        for environment in Environment.objects.visible_to(user).filter(slug__in=slugs):
            url = environment.get_absolute_url()
            items[url] = Item(environment.name, url, "environments", environment.url, (environment,))
    return {path: items[path] for path in paths if path in items}


def _item_of(asset: Asset) -> Item:
    return Item(asset.title, page_of(asset), asset.kind, asset.kind, (asset.environment,))


def _item(hit: Hit) -> Item:
    excerpts = tuple((one.label, one.parts) for one in hit.excerpts if one.label != "title")
    environments = hit.environments or hit.elsewhere
    return Item(hit.title, page_of(hit.assets[0]), hit.kind, hit.kind, environments, excerpts[:1])
