"""What is tried in CI of all that `make faults` tries: every request and every step, with the faults that differ there.

Every request is hit by a lost connection, an error of the server or of a proxy, and the death of the worker; one more
fault goes round, so that neighbouring requests get different ones. A write gets all that differ in what Superset did.
"""

from __future__ import annotations

from collections.abc import Sequence

from .proxy import Key
from .sweep import Bench, Point

SITUATIONS = ("plan", "forward", "undo", "back_plan", "back")
GATEWAY = ("502", "503", "504")
SERVER_ERRORS = ("500_json", "500_html", *GATEWAY, "429")
ROUND = (
    "timeout",
    "login_page",
    "refused",
    "truncated",
    "restart",
    "drip",
    "reset_after",
    "outage",
    "kill_after",
)
OF_WRITES = (
    "timeout",
    "refused",
    "restart",
    "500_json",
    "500_html",
    "429",
    "login_page",
    "reset_after",
    "timeout_after",
    "timeout_late",
    "truncated",
    "drip",
    "500_html_after",
    "502_after",
    "login_page_after",
    "kill_after",
    "kill_late",
    "kill_then_edit",
    "kill_after_then_edit",
    "outage",
)
#: One test for each situation and group of faults.
GROUPS = (
    "lost connections",
    "errors of server and proxy",
    "deaths before a request",
    "other faults of reads",
    "writes not done",
    "writes done and not answered",
)
_NOT_DONE = ("timeout", "refused", "restart", "500_json", "500_html", "429", "login_page", "outage")


def points(bench: Bench, situation: str, group: str) -> list[Point]:
    return [
        Point(situation, fault, key=key)
        for position, key in enumerate(bench.situations[situation].keys)
        for fault in faults(group, position, key)
    ]


def faults(group: str, position: int, key: Key) -> Sequence[str]:
    """What is tried at the request at this position."""
    if group == "lost connections":
        return ("reset",)
    if group == "deaths before a request":
        return ("kill",)
    if group == "errors of server and proxy":
        return (GATEWAY[position % len(GATEWAY)],) if key.writes else (SERVER_ERRORS[position % 6],)
    if group == "other faults of reads":
        return () if key.writes else (ROUND[position % len(ROUND)],)
    if not key.writes:
        return ()
    if group == "writes not done":
        return _NOT_DONE
    return tuple(fault for fault in OF_WRITES if fault not in _NOT_DONE)
