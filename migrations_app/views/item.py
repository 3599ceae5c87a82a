"""One asset of a plan: what changes in it, in sentences, field by field, and both documents side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any

import yaml
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.html import escape
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from environments.canonical.comparison import comparison_form
from environments.canonical.documents import Document
from environments.store import StoreDamaged, get_documents
from migrations_app.models import PlanItem
from sstools.web.htmx import render_page
from sstools.web.words import word_marks

from .common import find_migration, page_context, superset_link, superset_links

CONTEXT_LINES = 3
#: Fields listed in the plan itself; the item's page has all of them.
MOST_CHANGES = 40
#: Longer values are cut in the list of fields; the documents below show them whole.
MOST_CHARACTERS = 600
#: Above this many changed lines the comparison of documents stays closed until it is asked for (?lines=all).
MOST_LINES = 2_000


@require_safe
@login_required
def migration_item(request: HttpRequest, number: int, uuid: str) -> HttpResponse:
    """The fragment that opens inside the plan, and a page of its own. ?view=split|unified, ?same=all"""
    migration = find_migration(request, number)
    plan = migration.plan or migration.plans.first()
    item = get_object_or_404(PlanItem, plan=plan, uuid=uuid)
    changes = [_shown(change) for change in item.changes]
    links_to = superset_links(migration.target, [item.target_uuid])
    context: dict[str, Any] = {
        "item": item,
        "migration": migration,
        "target": migration.target,
        "source": migration.source,
        "changes": changes[:MOST_CHANGES],
        "more_changes": max(0, len(changes) - MOST_CHANGES),
        "source_link": superset_links(migration.source, [item.uuid]).get(item.uuid, ""),
        "target_link": superset_link(migration.target, item.kind, item.target_uuid, links_to)
        if item.present_id
        else "",
    }
    if not getattr(request, "htmx", False):
        context |= page_context(request, migration, "plan")
        context |= {"changes": changes, "more_changes": 0, **_documents(request, item)}
    return render_page(request, "migrations_app/item.html", "migrations_app/_item_body.html", context)


def _shown(change: Mapping[str, Any]) -> dict[str, Any]:
    before, after = change["before"], change["after"]
    return {
        "path": " › ".join(str(part) for part in change["path"]),
        "before": None if before is None else _text(before),
        "after": None if after is None else _text(after),
        "sentence": change["sentence"],
        "tone": "added" if before is None else "removed" if after is None else "changed",
        "icon": "plus" if before is None else "minus" if after is None else "tilde",
    }


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else _yaml(value).strip().removesuffix("...").strip()
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"


# --- Both documents -------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Line:
    """One row of the comparison: numbers are empty on the side that has no such line; `gap` stands for folded ones."""

    kind: str  # same, added, removed, changed, gap
    left_number: int | None = None
    right_number: int | None = None
    left: SafeString | str = ""
    right: SafeString | str = ""
    gap: int = 0


def _documents(request: HttpRequest, item: PlanItem) -> dict[str, Any]:
    shas = [sha for sha in (item.present_id, item.wanted_id) if sha]
    view = "unified" if request.GET.get("view") == "unified" else "split"
    everything = request.GET.get("same") == "all"
    try:
        found = get_documents(shas)
    except StoreDamaged as error:
        return {"damaged": error, "rows": [], "view": view}
    present = as_lines(found[item.present_id]) if item.present_id else []
    wanted = as_lines(found[item.wanted_id]) if item.wanted_id else []
    rows = list(compare_lines(present, wanted, None if everything else CONTEXT_LINES))
    changed = sum(row.kind in ("added", "removed", "changed") for row in rows)
    one_sided = not present or not wanted
    return {
        "rows": rows if changed <= MOST_LINES or request.GET.get("lines") == "all" else [],
        "changed_lines": changed,
        "view": "unified" if one_sided else view,
        "one_sided": one_sided,
        "everything": everything,
        "too_long": changed > MOST_LINES and request.GET.get("lines") != "all",
    }


def as_lines(document: Document) -> list[str]:
    """A document as YAML, in the form that comparisons see: keys sorted, nothing that only one instance knows."""
    form = {"uuid": document.uuid, **comparison_form(document)}
    return _yaml(form).splitlines()


def _yaml(value: Any) -> str:
    options: dict[str, Any] = {
        "sort_keys": True,
        "allow_unicode": True,
        "width": 100,
        "default_flow_style": False,
    }
    return str(yaml.dump(value, Dumper=_Dumper, **options))


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks: SQL and CSS are read line by line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _as_block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # A block cannot hold lines that end in spaces; YAML would fall back to one long quoted line.
    lines = text.replace("\r\n", "\n").replace("\t", "  ").split("\n")
    if len(lines) > 1:
        return dumper.represent_scalar(
            "tag:yaml.org,2002:str", "\n".join(line.rstrip() for line in lines), style="|"
        )
    return dumper.represent_scalar("tag:yaml.org,2002:str", text)


_Dumper.add_representer(str, _as_block)


def compare_lines(left: list[str], right: list[str], context: int | None) -> Iterator[Line]:
    """Rows of a side-by-side comparison. Unchanged lines are folded to `context` around a change; None: none."""
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    codes = matcher.get_opcodes()
    for number, (action, i, j, k, m) in enumerate(codes):
        if action == "equal":
            yield from _unchanged(left, i, j, k, context, first=number == 0, last=number == len(codes) - 1)
            continue
        for offset, (old, new) in enumerate(zip_longest(left[i:j], right[k:m])):
            if old is None:
                yield Line("added", None, k + offset + 1, "", _mark("ins", new))
            elif new is None:
                yield Line("removed", i + offset + 1, None, _mark("del", old), "")
            else:
                before, after = word_marks(old, new)
                yield Line("changed", i + offset + 1, k + offset + 1, before, after)


def _unchanged(
    lines: list[str], i: int, j: int, k: int, context: int | None, *, first: bool, last: bool
) -> Iterator[Line]:
    count = j - i
    head = count if context is None else 0 if first else context
    tail = 0 if context is None or last else context
    if context is None or count <= head + tail + 1:
        head, tail = count, 0
    for offset in range(count):
        if offset == head and count - head - tail > 0:
            yield Line("gap", gap=count - head - tail)
        if offset < head or offset >= count - tail:
            yield Line("same", i + offset + 1, k + offset + 1, lines[i + offset], lines[i + offset])


def _mark(tag: str, text: str) -> SafeString:
    stripped = text.lstrip(" ")
    indent = text[: len(text) - len(stripped)]
    return SafeString(f"{escape(indent)}<{tag}>{escape(stripped)}</{tag}>")
