"""Searching: what fits, in which order, and why."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from environments.models import Asset, Environment
from environments.words import fold
from sstools.roles import policy
from sstools.roles.permissions import Permission

from .contents import Rank, Text, texts_of
from .engines import Row, Scope, engine
from .indexing import bodies_of, row_of
from .vocabulary import SHORTEST, inside
from .words import Excerpt, Term, excerpt, terms_of

LOOKED_AT = 1_000  # rows that one search looks at; with more that fit, the count says "more than"
MOST_EXCERPTS = 3
KIND_ORDER = {"dashboard": 0, "chart": 1, "dataset": 2, "database": 3}


@dataclass
class Hit:
    """One asset, wherever it is. `assets`: its rows that the user may see, along the way to production.

    `matching`: slugs of the environments where it fits. `excerpts`: why, the best first.
    """

    kind: str
    uuid: str
    title: str = ""
    assets: list[Asset] = field(default_factory=list)
    matching: frozenset[str] = frozenset()
    excerpts: tuple[Excerpt, ...] = ()

    @property
    def environments(self) -> tuple[Environment, ...]:
        return tuple(asset.environment for asset in self.assets if asset.environment.slug in self.matching)

    @property
    def elsewhere(self) -> tuple[Environment, ...]:
        """Where it is with a content that does not fit."""
        return tuple(
            asset.environment for asset in self.assets if asset.environment.slug not in self.matching
        )


@dataclass
class Found:
    """What a search found. `keys`: (kind, uuid) of all, in order; `hits`: those that were asked for, with all details.

    `more`: there are more than `total`.
    """

    terms: Sequence[Term]
    keys: list[tuple[str, str]] = field(default_factory=list)
    more: bool = False
    hits: list[Hit] = field(default_factory=list)

    @property
    def total(self) -> int:
        return len(self.keys)


def search(
    user: Any,
    text: str,
    *,
    kinds: Collection[str] = (),
    environment: str = "",
    start: int = 0,
    limit: int = 50,
    looked_at: int = LOOKED_AT,
) -> Found:
    """Assets that `user` may see with every word of `text`: as the beginning of a word in any of their texts, or,
    from three characters on, inside of one.

    "In quotes" words must stand side by side; joined by anything but spaces (dwh.sales_fact), they must be so there.
    `kinds`: none for all. `environment`: a slug. `start`, `limit`: which of the hits get their details. Order: titles
    that begin with the text, then titles, then names (columns, metrics, owners, slugs, uuids), then other texts, then
    what stands inside of words only; by title within each.
    """
    terms = terms_of(text)
    found = Found(terms)
    scope = _scope(user, kinds, environment)
    if not terms or scope is None:
        return found
    found.keys, found.more = _candidates(terms, fold(text), scope, looked_at)
    found.hits = _detailed(user, found.keys[start : start + limit], terms, environment)
    return found


def _scope(user: Any, kinds: Collection[str], slug: str) -> Scope | None:
    """None where there is nothing that the user may see."""
    where = policy.scopes(user, Permission.ASSET_VIEW)
    wanted = tuple(kinds) or None
    if where.everything and not slug:
        return Scope(None, wanted)
    rows = (
        Environment.objects.all()
        if where.everything
        else Environment.objects.filter(uuid__in=where.uuids("environment"))
    )
    ids = list((rows.filter(slug=slug) if slug else rows).values_list("pk", flat=True))
    return Scope(ids, wanted) if ids else None


def _candidates(
    terms: Sequence[Term], folded: str, scope: Scope, limit: int
) -> tuple[list[tuple[str, str]], bool]:
    db = engine()
    rows: dict[int, Row] = {}
    order: dict[tuple[str, str], int] = {}
    more = False

    def take(batch: Iterable[Row]) -> None:
        new = [row for row in batch if row[0] not in rows]
        rows.update((row[0], row) for row in new)
        for _, kind, uuid, _ in sorted(new, key=lambda row: (row[3], KIND_ORDER.get(row[1], 9), row[2])):
            order.setdefault((kind, uuid), len(order))

    if len(folded) > 1:
        take(db.with_title(folded, scope, limit))
    for rank in Rank:
        if len(rows) >= limit:
            more = True
            break
        batch = db.with_words([[term] for term in terms], rank, scope, limit)
        more = len(batch) >= limit
        take(batch)
    else:
        wider = [(term, *inside(term)) for term in terms] if len(rows) < limit else []
        if any(others for _, others, _ in wider):
            batch = db.with_words([[term, *others] for term, others, _ in wider], Rank.TEXT, scope, limit)
            more = len(batch) >= limit or any(is_cut for *_, is_cut in wider)
            take(batch)
    return list(order), more


def _detailed(
    user: Any, keys: Sequence[tuple[str, str]], terms: Sequence[Term], environment: str
) -> list[Hit]:
    hits = {key: Hit(*key) for key in keys}
    rows = Asset.objects.visible_to(user).filter(uuid__in={uuid for _, uuid in keys})
    rows = rows.select_related("environment").defer("search_text", "environment__check_report")
    order = {
        pk: place for place, pk in enumerate(Environment.objects.in_order().values_list("pk", flat=True))
    }
    for row in sorted(rows, key=lambda row: order.get(row.environment_id, 99)):
        if (hit := hits.get((row.kind, row.uuid))) is not None:
            hit.assets.append(row)
    bodies = bodies_of(row.document_id for hit in hits.values() for row in hit.assets)
    for hit in hits.values():
        _explain(hit, bodies, terms, environment)
    return [hit for hit in hits.values() if hit.assets]


def _explain(hit: Hit, bodies: dict[str, Any], terms: Sequence[Term], environment: str) -> None:
    """Where it fits, and why: from what is stored now, so nothing is claimed that an index of yesterday said."""
    explained: dict[tuple[Any, ...], tuple[Excerpt, ...]] = {}
    fitting: set[str] = set()
    for row in hit.assets:
        known = (row.document_id, row.title, row.slug, str(row.owners))
        if known not in explained:
            explained[known] = why(row, bodies.get(row.document_id or ""), terms)
        if explained[known] and environment in ("", row.environment.slug):
            if not fitting:
                hit.title, hit.excerpts = row.title, explained[known]
            fitting.add(row.environment.slug)
    hit.matching = frozenset(fitting)
    if not fitting:
        hit.title = hit.assets[0].title if hit.assets else ""


def why(row: Asset, body: dict[str, Any] | None, terms: Sequence[Term]) -> tuple[Excerpt, ...]:
    """The texts that `terms` stand in, marked, the fewest that show all of them; none if they do not all fit."""
    found = texts_of(row_of(row), body)
    terms = [_as_it_stands(term, found) for term in terms]
    texts = [(text, {term for term in terms if term.pattern.search(text.text)}) for text in found]
    missing = set(terms)
    chosen: list[Excerpt] = []
    while missing:
        text, fitting = max(
            texts, key=lambda pair: (len(pair[1] & missing), -pair[0].rank), default=(None, set())
        )
        if text is None or not fitting & missing:
            return ()
        if len(chosen) < MOST_EXCERPTS:
            chosen.append(excerpt(text.label, text.text, fitting))
        missing -= fitting
    return tuple(chosen)


def _as_it_stands(term: Term, texts: Sequence[Text]) -> Term:
    """A term that begins no word of these texts is looked for inside of them."""
    if len(term.words[0]) < SHORTEST or any(term.pattern.search(text.text) for text in texts):
        return term
    return replace(term, is_inside=True)
