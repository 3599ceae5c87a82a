"""The verdict of one point: is what ss-tools says of the run exactly what the target shows?"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from .estates import EDIT
from .proxy import Call

if TYPE_CHECKING:
    from .sweep import Point, Situation

PLANNED, NOT_PLANNED = "planned", "not planned"
APPLIED, ROLLED_BACK, STOPPED, ATTENTION = (
    "applied",
    "rolled back",
    "stopped before writing",
    "needs attention",
)
#: State of the run -> its name here, state of its job, state of its migration.
ENDS = {
    "applied": (APPLIED, "succeeded", "done"),
    "rolled_back": (ROLLED_BACK, "failed", "rolled_back"),
    "stopped": (STOPPED, "failed", "planned"),
    "needs_attention": (ATTENTION, "failed", "needs_attention"),
}
CANNOT_BE_ASKED = "cannot be asked what is there"


class Asset(NamedTuple):
    kind: str
    title: str
    fingerprint: str


Target = dict[str, Asset]


@dataclass
class Case:
    """All that is known about one point after its end."""

    situation: Situation
    point: Point
    database: str
    fired: bool  # whether it came to the fault
    facts: dict[str, Any]  # inside.inspect
    looks: int  # how often the target was looked at after the run's own end
    target: Target
    changed: list[str]  # tables of the target's metadata that are not as before
    calls: list[Call]
    connections_before: list[dict[str, Any]]
    connections_after: list[dict[str, Any]]
    texts: dict[
        str, str
    ]  # uuid -> where a colleague writes into it, of all charts and dashboards on the target
    theirs: str  # uuid of the chart that is not part of any plan
    edited: set[str]  # uuids of what a colleague edited meanwhile
    secrets: set[str]


def judge(case: Case) -> tuple[str, list[str]]:
    """(outcome, what is wrong with it)."""
    outcome, problems = _of_plan(case) if case.situation.what == "plan" else _of_run(case)
    return outcome, problems + _of_everything(case)


def _of_plan(case: Case) -> tuple[str, list[str]]:
    job, migration = case.facts["job"], case.facts["migration"]
    problems = []
    if migration["state"] not in ("draft", "planned"):
        problems.append(f"the migration is {migration['state']}")
    if effects := [str(call.key) for call in case.calls if call.took_effect]:
        problems.append(f"planning wrote: {effects}")
    if case.changed and not (case.edited and set(case.changed) <= {"dashboards", "slices"}):
        problems.append(f"planning changed {case.changed} of the target")
    problems += differences(case.situation.before, without_theirs(case), "after planning")
    if job["state"] == "succeeded":
        if case.facts["plan"]["hash"] != case.situation.plan_hash:
            problems.append("another plan than without the fault")
        return PLANNED, problems
    if job["state"] != "failed":
        problems.append(f"the job is {job['state']}")
    return NOT_PLANNED, problems + _text_problems("the job", job["error"])


def _of_run(case: Case) -> tuple[str, list[str]]:
    job, run, migration = case.facts["job"], case.facts["run"], case.facts["migration"]
    if run["state"] not in ENDS:
        return run["state"], [f"the run is {run['state']}, its job {job['state']}"]
    outcome, job_state, migration_state = ENDS[run["state"]]
    problems = []
    if job["state"] != job_state and not (case.looks and job["state"] == "failed"):
        problems.append(f"the run is {outcome} and its job {job['state']}")
    if migration["state"] != migration_state:
        problems.append(f"the run is {outcome} and its migration {migration['state']}")
    if outcome != APPLIED:
        problems += _text_problems("the job", job["error"]) + _text_problems("the run", run["error"])
    target = without_theirs(case)
    if outcome == APPLIED:
        problems += differences(case.situation.after, target, "applied")
    elif outcome in (ROLLED_BACK, STOPPED):
        problems += differences(case.situation.before, target, outcome)
    else:
        problems += _list_problems(case, target)
    if outcome == STOPPED:
        if effects := [str(call.key) for call in case.calls if call.took_effect]:
            problems.append(f"it says nothing was written; Superset carried out {effects}")
        if case.changed and not (case.edited and set(case.changed) <= {"dashboards", "slices"}):
            problems.append(f"it says nothing was written; {case.changed} of the target are not as before")
    return outcome, problems


def _list_problems(case: Case, target: Target) -> list[str]:
    """Needs attention: what it lists as written and as not written must be what the target shows."""
    run = case.facts["run"]
    if CANNOT_BE_ASKED in (run["error"] or {}).get("message", ""):
        return ["it says that the target cannot be asked, and the target answers"]
    shown: dict[bool, set[str]] = {True: set(), False: set()}
    for item in case.facts["plan"]["items"]:
        if item["action"] in ("create", "update"):
            there = target.get(item["uuid"])
            shown[there is not None and there.fingerprint == item["wanted"]].add(item["uuid"])
        elif item["action"] == "remove":
            shown[item["uuid"] not in target].add(item["uuid"])
    problems = []
    for name, listed, really in (
        ("written", set(run["written"]), shown[True]),
        ("not written", set(run["unwritten"]), shown[False]),
    ):
        if listed != really:
            problems.append(f"listed as {name}: {sorted(listed)}, the target shows {sorted(really)}")
    return problems


def _of_everything(case: Case) -> list[str]:
    """What holds whatever the outcome."""
    problems = []
    if case.facts["locks"]:
        problems.append(f"locks are left: {case.facts['locks']}")
    if case.facts["unfinished_runs"]:
        problems.append(f"runs are unfinished: {case.facts['unfinished_runs']}")
    if case.connections_after != case.connections_before:
        problems.append("a connection of the target changed")
    if case.theirs not in case.texts:
        problems.append("somebody else's chart is gone")
    for uuid in sorted(case.edited):
        if case.texts.get(uuid) != EDIT:
            what = "chart or dashboard of the plan" if uuid != case.theirs else "chart of somebody else"
            problems.append(f"what a colleague wrote into a {what} during the run is lost")
    problems += _strangers(case)
    sent = Counter(
        (call.key.side, call.key.method, call.key.path, call.digest)
        for call in case.calls
        if call.took_effect
    )
    problems += [
        f"carried out {count} times: {' '.join(key[:3])}" for key, count in sent.items() if count > 1
    ]
    if wrote := [str(call.key) for call in case.calls if call.took_effect and call.key.side == "source"]:
        problems.append(f"the source was written to: {wrote}")
    told = json.dumps(case.facts)
    if any(secret in told for secret in case.secrets):
        problems.append("a secret is in the job's log or errors")
    return problems


def _strangers(case: Case) -> list[str]:
    """Nothing may be on the target twice, and nothing that neither was there nor was planned."""
    before, after = case.situation.before, case.situation.after
    known = {*before, *after}
    problems = [
        f"nobody planned {asset.kind} “{asset.title}”"
        for uuid, asset in case.target.items()
        if uuid not in known
    ]
    most = _titles(before) | _titles(after)  # the larger of both counts
    problems += [
        f"{count} times on the target: {kind} “{title}”"
        for (kind, title), count in _titles(case.target).items()
        if count > max(1, most[kind, title])
    ]
    return problems


def _titles(target: Target) -> Counter[tuple[str, str]]:
    return Counter((asset.kind, asset.title) for asset in target.values())


def _text_problems(whose: str, error: dict[str, Any] | None) -> list[str]:
    if not error:
        return [f"{whose} has no error text"]
    return [
        f"the error of {whose} has no {name}" for name in ("code", "message", "remedy") if not error.get(name)
    ]


def without_theirs(case: Case) -> Target:
    """The target as if nobody had edited meanwhile; the edits themselves are looked for in the database."""
    before = case.situation.before
    return {
        uuid: before.get(uuid, asset) if uuid in case.edited else asset for uuid, asset in case.target.items()
    }


def differences(expected: Target, found: Target, when: str) -> list[str]:
    """In words, at most ten."""
    problems = []
    for uuid in sorted({*expected, *found}):
        one, other = expected.get(uuid), found.get(uuid)
        if one == other:
            continue
        asset = one or other
        assert asset is not None
        what = "is missing" if other is None else "should not be there" if one is None else "differs"
        problems.append(f"{when}: {asset.kind} “{asset.title}” {what}")
    return problems[:10]
