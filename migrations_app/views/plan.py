"""The third step: what would happen to each asset, what is in the way, and answering it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_http_methods, require_POST

from migrations_app import services
from migrations_app.forms import OverrideForm
from migrations_app.models import Migration, Plan, PlanCompanion, PlanItem
from sstools.errors import Conflict, Invalid
from sstools.web.htmx import go_to, render_page

from . import beside
from .common import KIND_LABELS, find_migration, page_context, superset_link, superset_links

#: Rows of one kind on the overview; the rest is behind a link to the list of that kind.
GROUP_SIZE = 50
PAGE_SIZE = 100
MOST_PROBLEMS = 50
MOST_CONFLICTS = 50
SAID = 4  # sentences shown beside a conflict
#: The order of the counts. Unchanged comes last: nothing happens to it.
ACTIONS = ("create", "update", "remove", "keep", "leave_out", "blocked", "unchanged")
COUNT_WORDS = {
    "create": "create",
    "update": "update",
    "remove": "remove",
    "keep": "kept by choice",
    "leave_out": "left out",
    "blocked": "blocked",
    "unchanged": "same, not written",
}


@dataclass
class Choice:
    """One answer to a conflict, in words for this very case."""

    value: str
    label: str
    text: str


@dataclass
class Question:
    """A conflict as it is asked: of an asset, or of what goes with one. `name`: what it is, for people."""

    item: PlanItem | PlanCompanion
    name: str
    what: str
    code: str
    word: str
    text: str
    who: str
    when: Any
    other_title: str
    other_link: str
    link: str
    choices: list[Choice]
    given: str
    value: str
    sentences: list[str]
    more: int
    error: str = ""

    @property
    def is_open(self) -> bool:
        return self.item.action == "blocked"

    @property
    def is_beside(self) -> bool:
        return isinstance(self.item, PlanCompanion)

    @property
    def takes_name(self) -> bool:
        return any(choice.value == "rename" for choice in self.choices)


WORDS = {
    "drifted": "edited on the target",
    "diverged": "both edited",
    "accepted": "accepted there",
    "slug_taken": "slug taken",
    "table_taken": "table taken",
    "doubled": "same table twice",
    "in_use": "still used",
    "two_truths": "two truths",
    "beside_drifted": "edited on the target",
    "beside_diverged": "both edited",
}
ANSWERED = {
    "take": "taken from the source",
    "keep": "kept as it is on the target",
    "leave_out": "left out",
    "adopt": "adopted: the target's own is this one",
    "rename": "brought under another name",
    "by_uuid": "mended by the uuids of its layout",
    "by_id": "mended by the ids of its layout",
}


@dataclass
class Group:
    kind: str
    label: str
    count: int
    items: list[PlanItem] = field(default_factory=list)

    @property
    def more(self) -> int:
        return self.count - len(self.items)

    @property
    def is_open(self) -> bool:
        """A short group, or one in which something is more than new."""
        return self.count <= 12 or any(item.action != "create" for item in self.items)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def migration_plan(request: HttpRequest, number: int) -> HttpResponse:
    """GET shows the plan, one kind or action of it with ?kind=&action=&page=; POST makes it (again)."""
    migration = find_migration(request, number)
    if request.method == "POST":
        try:
            services.request_plan(migration, actor=request.user)
        except Conflict as error:
            return plan_page(request, migration, {"problem": error}, status=error.status)
        return go_to(request, "migrations_app:plan", migration.number)
    return plan_page(request, migration)


@require_POST
@login_required
def migration_answer(request: HttpRequest, number: int) -> HttpResponse:
    """`answer:<uuid>` and `name:<uuid>`, `all=<code>:<answer>` for all of a kind, `back=<uuid>`. Plans again."""
    migration = find_migration(request, number)
    if migration.plan is None or migration.plan.hash != request.POST.get("plan"):
        problem = Conflict(
            "The plan changed after you opened it; no answer was saved.",
            remedy="Look at the new plan, then answer.",
        )
        return plan_page(request, migration, {"problem": problem}, status=409)
    answers: dict[str, Any] = {
        uuid: {"answer": value, "value": request.POST.get(f"name:{uuid}", "") if value == "rename" else ""}
        for key, value in request.POST.items()
        if value and key.startswith("answer:") and (uuid := key.removeprefix("answer:"))
    }
    if back := request.POST.get("back"):  # an answer taken back; what else stands in the form is not meant
        answers = {back: None}
    code, _, answer = request.POST.get("all", "").partition(":")
    if answer:
        answers |= _answer_all(migration.plan, code, answer)
    try:
        if not answers:
            raise Invalid(
                "Nothing was answered yet.", remedy="Choose an answer to at least one of the conflicts."
            )
        services.answer_conflicts(migration, answers, actor=request.user)
        services.request_plan(migration, actor=request.user)
    except (Conflict, Invalid) as error:
        more = {
            "problem": error,
            "answers": {key: value or {} for key, value in answers.items()},
            "answer_errors": getattr(error, "errors", {}),
        }
        return plan_page(request, find_migration(request, number), more, status=error.status)
    return go_to(request, "migrations_app:plan", migration.number)


def _answer_all(plan: Plan, code: str, answer: str) -> dict[str, Any]:
    """The same answer for all of one kind of conflict; `blocked` stands for what has no conflict of its own."""
    beside = plan.companions if code.startswith("beside_") else plan.items
    rows = beside.filter(action="blocked").values_list("uuid", "conflict")
    if code == "blocked":
        return {uuid: {"answer": answer} for uuid, conflict in rows if not conflict}
    return {
        uuid: {"answer": answer}
        for uuid, conflict in rows
        if conflict and conflict["code"] == code and answer in conflict["options"]
    }


@require_POST
@login_required
def migration_override(request: HttpRequest, number: int) -> HttpResponse:
    """Let failed checks pass, with the reason; `do=stop` lets them stop the apply again."""
    migration = find_migration(request, number)
    if request.POST.get("do") == "stop":
        services.update_migration(migration, actor=request.user, override_reason="")
        messages.success(request, "Failed checks stop the apply again.")
        return go_to(request, "migrations_app:plan", migration.number)
    form = OverrideForm(request.POST)
    if not form.is_valid():
        return plan_page(request, migration, {"override_form": form}, status=422)
    try:
        services.update_migration(migration, actor=request.user, override_reason=form.cleaned_data["reason"])
    except Conflict as error:
        return plan_page(request, migration, {"problem": error}, status=error.status)
    messages.success(request, "The failed checks no longer stop it.")
    return go_to(request, "migrations_app:plan", migration.number)


# --- The page -------------------------------------------------------------------------------------------------------
def plan_page(
    request: HttpRequest, migration: Migration, more: dict[str, Any] | None = None, status: int = 200
) -> HttpResponse:
    context = {**page_context(request, migration, "plan"), **(more or {})}
    plan = migration.plan
    if plan is not None and (context["planning"] is None or context["planning_failed"]):
        context |= _plan_context(request, migration, plan, context)
    return render_page(
        request, "migrations_app/plan.html", "migrations_app/_plan.html", context, status=status
    )


def _plan_context(
    request: HttpRequest, migration: Migration, plan: Plan, context: dict[str, Any]
) -> dict[str, Any]:
    """Eight queries, however large the plan: rows on a page are limited, and documents are not loaded."""
    index = {
        uuid: (kind, title, action)
        for uuid, kind, title, action in plan.items.values_list("uuid", "kind", "title", "action")
    }
    by_kind = Counter((kind, action) for kind, _, action in index.values())
    asked: list[PlanItem | PlanCompanion] = list(
        plan.items.filter(conflict__isnull=False).order_by("position")
    )
    if plan.companion_counts:
        asked += plan.companions.filter(conflict__isnull=False)
    blocked = list(plan.items.filter(action="blocked", conflict__isnull=True).order_by("position"))
    unanswered = sum(item.action == "blocked" for item in asked)
    errors = plan.errors
    settled = [
        item for item in plan.items.filter(answer__isnull=False, conflict__isnull=True)[:MOST_CONFLICTS]
    ]
    asked.sort(key=lambda item: item.action != "blocked")
    questions = _questions(migration, asked[:MOST_CONFLICTS], context)
    return {
        "settled": [(item, ANSWERED.get((item.answer or {}).get("answer", ""), "")) for item in settled],
        "counts": [
            {
                "action": action,
                "count": int(plan.counts.get(action, 0)),
                "word": COUNT_WORDS[action],
                "url": f"?action={action}#items" if plan.counts.get(action) else "",
            }
            for action in ACTIONS
            if plan.counts.get(action) or action in ("create", "update", "unchanged")
        ],
        "questions": questions,
        "open_questions": [question for question in questions if question.is_open],
        "answered_questions": [question for question in questions if not question.is_open],
        "questions_left": max(0, len(asked) - MOST_CONFLICTS),
        "unanswered": unanswered,
        "answered": len(asked) - unanswered,
        "codes": _codes(asked),
        "blocked": blocked[:MOST_CONFLICTS],
        "blocked_count": len(blocked),
        "problems": _problems(plan, index, "problems" in request.GET),
        "problem_counts": Counter(problem["severity"] for problem in plan.problems),
        "errors": errors,
        "override_form": context.get("override_form") or OverrideForm(),
        "losses": _losses(plan, index),
        "affected": _affected(plan, index),
        "companions": beside.listed(migration, plan),
        "why_not": services.why_not_applicable(migration, with_gates=False) if migration.is_open else "",
        **_items(request, plan, by_kind),
    }


# --- Conflicts ------------------------------------------------------------------------------------------------------
def _questions(
    migration: Migration, asked: list[PlanItem | PlanCompanion], context: dict[str, Any]
) -> list[Question]:
    target = migration.target
    theirs = superset_links(target, [item.conflict["other_uuid"] for item in asked if item.conflict])
    ours = superset_links(migration.source, [item.uuid for item in asked])
    given, errors = context.get("answers", {}), context.get("answer_errors", {})
    questions = []
    for item in asked:
        conflict = item.conflict or {}
        answer = given.get(item.uuid) or item.answer or {}
        if isinstance(item, PlanItem):
            sentences = [change["sentence"] for change in item.changes]
            name, what = f"{item.kind.capitalize()} {item.title}", f"{item.kind.capitalize()} “{item.title}”"
        else:
            sentences = list(item.changes)
            name = what = f"{item.words[:1].upper()}{item.words[1:]}"
        questions.append(
            Question(
                item=item,
                name=name,
                what=what,
                code=conflict["code"],
                word=WORDS.get(conflict["code"], conflict["code"].replace("_", " ")),
                text=conflict["text"],
                who=conflict.get("who", ""),
                when=parse_datetime(conflict["when"]) if conflict.get("when") else None,
                other_title=conflict.get("other_title", ""),
                other_link=superset_link(target, item.kind, conflict.get("other_uuid", ""), theirs),
                link=ours.get(item.uuid, ""),
                choices=[_choice(option, item, conflict, migration) for option in conflict["options"]],
                given=answer.get("answer") or ("keep" if item.action == "keep" else ""),
                value=answer.get("value", ""),
                sentences=sentences[:SAID],
                more=max(0, len(sentences) - SAID),
                error=" ".join(errors.get(item.uuid, [])),
            )
        )
    return questions


def _choice(
    option: str, item: PlanItem | PlanCompanion, conflict: dict[str, Any], migration: Migration
) -> Choice:
    """What an answer does here, said before it is given."""
    source, target = migration.source_name, migration.target.name
    other = conflict.get("other_title") or "the other one"
    by = f" of {conflict['who']}" if conflict.get("who") else ""
    kind, code = item.kind, conflict["code"]
    if code == "in_use":
        return {
            "keep": Choice("keep", "Keep it", f"It stays on {target}."),
            "take": Choice("take", "Remove it anyway", "What stands on it will no longer work."),
        }.get(option, Choice(option, option, ""))
    if option == "by_uuid":
        text = "The layout was written with the ids of another instance: its uuids say which charts belong there."
        return Choice("by_uuid", "The uuids", text)
    if option == "by_id":
        text = "What people see today is right: the uuids are left over, as in a copy made with its charts."
        return Choice("by_id", "The ids, as it shows today", text)
    if option == "keep":
        if code == "table_taken":
            return Choice(
                "keep",
                f"Use “{other}” as it is",
                f"Charts point to {target}'s dataset, which is not written.",
            )
        return Choice(
            "keep", f"Keep what {target} has", "Nothing is written to it, and the difference counts as seen."
        )
    if option == "take":
        lost = (
            f"The edit{by} on {target} is lost"
            if code in ("drifted", "diverged", "accepted", "beside_drifted", "beside_diverged")
            else f"{target}'s is overwritten"
        )
        label = f"Put back what was {source}" if migration.maps_nothing else f"Take what is in {source}"
        return Choice("take", label, f"{lost}. The restore point keeps it.")
    if option == "adopt":
        return Choice(
            "adopt",
            f"Adopt “{other}”",
            f"Both are the same {kind} from now on: {target}'s keeps its uuid and gets the new content.",
        )
    if option == "rename":
        how = "slug" if kind == "dashboard" else "name"
        return Choice(
            "rename", "Bring ours beside it", f"It arrives under another {how}; “{other}” is not touched."
        )
    stands = {"dataset": "Charts on it are blocked or left out too.", "chart": "Dashboards come without it."}
    return Choice(
        "leave_out", "Leave it out", stands.get(kind, "The rest of the migration goes on without it.")
    )


def _codes(asked: Iterable[PlanItem | PlanCompanion]) -> list[dict[str, Any]]:
    """Kinds of conflict that are open more than once, with the answers that suit all of them at once."""
    rows = [item.conflict for item in asked if item.conflict and item.action == "blocked"]
    found = []
    for code, count in Counter(row["code"] for row in rows).items():
        if count > 1:
            options = set.intersection(*(set(row["options"]) for row in rows if row["code"] == code))
            labels = {
                "keep": "Keep all",
                "take": "Take all",
                "leave_out": "Leave all out",
                "adopt": "Adopt all",
            }
            found.append(
                {
                    "word": f"{WORDS.get(code, code)}{', of what comes along' if code.startswith('beside_') else ''}",
                    "count": count,
                    "answers": [
                        (f"{code}:{name}", label) for name, label in labels.items() if name in options
                    ],
                }
            )
    return found


# --- Findings -------------------------------------------------------------------------------------------------------
def _problems(plan: Plan, index: dict[str, Any], everything: bool) -> dict[str, Any]:
    rows = [
        {**problem, "kind": index[problem["uuid"]][0] if problem["uuid"] in index else ""}
        for problem in plan.problems
    ]
    shown = rows if everything else rows[:MOST_PROBLEMS]
    return {"rows": shown, "more": len(rows) - len(shown)}


def _losses(plan: Plan, index: dict[str, Any]) -> dict[str, Any]:
    """Of single assets, and of every import."""
    return {
        "assets": [{**loss, "known": loss["uuid"] in index} for loss in plan.losses if loss["uuid"]],
        "general": [loss for loss in plan.losses if not loss["uuid"]],
    }


def _affected(plan: Plan, index: dict[str, Any]) -> dict[str, Any]:
    """What stands on written assets outside the plan: one line each, with what it stands on."""
    titles = {uuid: (kind, title) for uuid, (kind, title, _) in index.items()}
    targets = dict(plan.items.values_list("target_uuid", "uuid"))
    merged: dict[str, dict[str, Any]] = {}
    for entry in plan.affected:
        row = merged.setdefault(entry["uuid"], {**entry, "through": []})
        through = titles.get(targets.get(entry["by"], entry["by"]))
        if through and through not in row["through"]:
            row["through"].append(through)
    rows = sorted(
        merged.values(), key=lambda row: (list(KIND_LABELS).index(row["kind"]), row["title"].casefold())
    )
    links = superset_links(plan.migration.target, [row["uuid"] for row in rows[:MOST_PROBLEMS]])
    for row in rows:
        row["link"] = superset_link(plan.migration.target, row["kind"], row["uuid"], links)
    return {
        "rows": rows[:MOST_PROBLEMS],
        "more": max(0, len(rows) - MOST_PROBLEMS),
        "counts": Counter(row["kind"] for row in rows),
        "total": len(rows),
    }


# --- Items ----------------------------------------------------------------------------------------------------------
def _items(request: HttpRequest, plan: Plan, by_kind: Counter[tuple[str, str]]) -> dict[str, Any]:
    """The overview by kind, unchanged folded; or, with ?kind= or ?action=, one numbered list."""
    kind, action = request.GET.get("kind", ""), request.GET.get("action", "")
    kind, action = kind if kind in KIND_LABELS else "", action if action in ACTIONS else ""
    rows = plan.items.order_by("position").defer("conflict", "answer", "reasons")
    if kind or action:
        if kind:
            rows = rows.filter(kind=kind)
        if action:
            rows = rows.filter(action=action)
        page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
        return {
            "listed": page,
            "kind": kind,
            "kind_label": KIND_LABELS.get(kind, ""),
            "action": action,
            "groups": [],
        }
    groups = []
    for name, label in KIND_LABELS.items():
        count = sum(number for (of, act), number in by_kind.items() if of == name and act != "unchanged")
        if count:
            found = rows.filter(kind=name).exclude(action="unchanged")[:GROUP_SIZE]
            groups.append(Group(name, label, count, list(found)))
    same = Counter({name: by_kind[name, "unchanged"] for name in KIND_LABELS if by_kind[name, "unchanged"]})
    return {
        "listed": None,
        "groups": groups,
        "same": [(KIND_LABELS[name] if number != 1 else name, number) for name, number in same.items()],
        "same_count": same.total(),
    }
