"""What puts the companions of a target back as they were before a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from environments.canonical.companions import FACETS, Companion, CompanionKind
from migrations_app.engine.checks import Problem, Severity
from migrations_app.engine.plan import Action, Plan

from .comparing import decided, same
from .model import WORDS, CompanionItem, Side, Touched, urgency


def with_restored(plan: Plan, touched: Iterable[Touched], before: Mapping[str, Companion], now: Side) -> Plan:
    """The plan of a roll back with what puts companions back as they were `before` the run."""
    items: list[CompanionItem] = []
    problems: list[Problem] = []
    gone = {item.target_uuid for item in plan.items if item.action == Action.REMOVE}
    kept = {item.target_uuid for item in plan.items if item.action in (Action.KEEP, Action.LEAVE_OUT)}
    for one in touched:
        if one.kind in FACETS and one.asset_uuid in gone | kept:
            continue  # it goes, or stays, with its asset
        was, present = before.get(one.uuid), now.companions.get(one.uuid)
        if why := now.unreadable.get(one.kind):
            text = f"The {WORDS[one.kind]} “{one.title}” cannot be put back: {why}"
            problems.append(Problem(Severity.ERROR, "companion_unreadable", "", text, "See to it by hand."))
            continue
        if was is None and present is None:
            continue
        was_before = was
        if one.kind == CompanionKind.RLS and one.left is not None and present is not None:
            since = set(present.body["tables"]) - set(one.left.body["tables"])
            since -= set(was.body["tables"]) if was is not None else set()
            if since:  # put under the rule since the run: they stay protected
                held = was.body["tables"] if was is not None else ()
                was = (was or present).replace(tables=sorted(since.union(held)))
        if not same(present, one.left) and not same(present, was_before):
            stays = one.kind == CompanionKind.ROLES
            what = "it stays as it is now" if stays else "rolling back undoes that as well"
            what += "; datasets put under it since stay under it" if was is not was_before else ""
            text = f"The {WORDS[one.kind]} “{one.title}” was changed after the run: {what}."
            problems.append(Problem(Severity.WARNING, "companion_edited", "", text, ""))
            if stays:  # without roles everybody may open a dashboard that somebody closed since
                continue
        items.append(
            decided(
                CompanionItem(
                    one.kind,
                    one.uuid,
                    one.uuid,
                    one.title,
                    Action.LEAVE_OUT,
                    one.asset_uuid if one.kind in FACETS else "",
                    wanted=was,
                    present=present,
                )
            )
        )
    found = tuple(sorted({*plan.problems, *problems}, key=urgency))
    return replace(plan, companions=tuple(items), problems=found)
