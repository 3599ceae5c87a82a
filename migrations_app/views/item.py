"""One asset of a plan: what changes in it, in sentences, field by field, and both documents side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from environments.store import StoreDamaged, get_documents
from environments.superset.yaml_text import readable_yaml
from migrations_app.comparing.lines import CONTEXT_LINES, as_lines, compare_lines
from migrations_app.models import PlanItem
from sstools.web.htmx import render_page

from .common import find_migration, page_context, superset_link, superset_links

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
    text = value if isinstance(value, str) else readable_yaml(value).strip().removesuffix("...").strip()
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"


# --- Both documents -------------------------------------------------------------------------------------------------
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
