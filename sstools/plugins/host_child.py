"""The process that one call of a plugin is made in. Started as `python -I host_child.py`; standard library only.

One line of JSON comes in: {"path": sys.path, "name", "entry": "module:attribute", "what", "item", "given",
"cpu_seconds", "memory_bytes"}. Lines of JSON go out: {"step": …}, {"log": …}, and last {"answer": …} or
{"error": {"code", "text", "trace"}}. What a plugin prints goes to standard error. Its limits are set before anything of
it is imported.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any, TextIO

LONGEST_TEXT = 2000
TRACE_LINES = 12


def main() -> None:
    asked = json.loads(sys.stdin.buffer.readline())
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a plugin prints must not get between the lines of the protocol
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (asked["memory_bytes"], asked["memory_bytes"]))
    cpu = int(asked["cpu_seconds"])
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 5))
    sys.path[:] = asked["path"]
    try:
        plugin = load(asked["name"], asked["entry"])
        answer = CALLS[asked["what"]](plugin, asked, out)
        line = json.dumps({"answer": answer}, allow_nan=False)
    except MemoryError:
        line = failed("plugin_out_of_memory", "It needs more memory than it may have.")
    except Refused as refused:
        line = failed(refused.code, str(refused))
    except BaseException as error:  # a plugin may raise anything, also SystemExit
        where = "load" if not isinstance(error, Raised) else "call"
        cause = error.__cause__ if isinstance(error, Raised) and error.__cause__ else error
        code = "plugin_load_failed" if where == "load" else "plugin_failed"
        line = failed(code, f"{type(cause).__name__}: {cause}", cause)
    out.write(line + "\n")
    out.flush()
    os._exit(0)  # whatever threads it left


class Refused(Exception):
    """What is there is no plugin, or its answer is none."""

    def __init__(self, text: str, code: str = "plugin_invalid") -> None:
        super().__init__(text)
        self.code = code


class Raised(Exception):
    """A function of the plugin raised what is its cause."""


def failed(code: str, text: str, error: BaseException | None = None) -> str:
    trace = "".join(traceback.format_exception(error)[-TRACE_LINES:]) if error is not None else ""
    return json.dumps({"error": {"code": code, "text": text[:LONGEST_TEXT], "trace": trace[-8000:]}})


def load(name: str, entry: str) -> Any:
    from sstools.plugins.extension import Plugin

    module, _, attribute = entry.partition(":")
    plugin = import_module(module)
    for part in attribute.split(".") if attribute else ():
        plugin = getattr(plugin, part)
    if not isinstance(plugin, Plugin):
        raise Refused(f"{entry} is no sstools.plugins.extension.Plugin, but {type(plugin).__name__}.")
    if plugin.name != name:
        raise Refused(
            f"Its entry point is called {name}, and its Plugin {plugin.name}: both must say the same."
        )
    return plugin


def describe(plugin: Any, asked: dict[str, Any], out: TextIO) -> Any:
    """What it brings, without its functions."""
    return plain(plugin)


def plain(value: Any) -> Any:
    """JSON of dataclasses; functions are left out. Raises Refused for what is none."""
    if is_dataclass(value) and not isinstance(value, type):
        found = {one.name: getattr(value, one.name) for one in fields(value)}
        return {name: plain(item) for name, item in found.items() if not callable(item)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if hasattr(value, "items"):
        return plain(dict(value.items()))
    raise Refused(f"{type(value).__name__} is nothing that can be written down.", "plugin_answer_invalid")


def one_of(items: Any, name: str) -> Any:
    for item in items:
        if item.name == name:
            return item
    raise Refused(f"It has no {name} any more: have plugins looked at again.")


def called(function: Any, *args: Any) -> Any:
    try:
        return function(*args)
    except MemoryError:
        raise
    except BaseException as error:
        raise Raised from error


def findings(found: Any) -> list[Any]:
    from sstools.plugins.extension import Finding

    rows = called(list, found)
    for row in rows:
        if not isinstance(row, Finding):
            raise Refused(f"It answered {type(row).__name__}, not Findings.", "plugin_answer_invalid")
    return [plain(row) for row in rows]


def result(found: Any) -> Any:
    from sstools.plugins.extension import Result

    if not isinstance(found, Result):
        raise Refused(f"It answered {type(found).__name__}, not a Result.", "plugin_answer_invalid")
    return plain(found)


def run_job(plugin: Any, asked: dict[str, Any], out: TextIO) -> Any:
    from sstools.plugins.extension import Asset, JobCall, Place

    def tell(line: dict[str, Any]) -> None:
        out.write(json.dumps(line) + "\n")
        out.flush()

    def step(title: str, done: int | None = None, total: int | None = None) -> None:
        tell({"step": {"title": str(title), "done": done, "total": total}})

    def log(level: str, text: str) -> None:
        tell({"log": {"level": str(level), "text": str(text)}})

    given = asked["given"]
    place = given["environment"]
    call = JobCall(
        given["settings"],
        given["values"],
        Place(**place) if place else None,
        [Asset(**one) for one in given["assets"]],
        given["event"],
        given["actor"],
        step,
        log,
    )
    return result(called(one_of(plugin.jobs, asked["item"]).run, call))


def check_plan(plugin: Any, asked: dict[str, Any], out: TextIO) -> Any:
    from sstools.plugins.extension import Place, PlanCall, PlannedItem

    given = asked["given"]
    call = PlanCall(
        given["settings"],
        Place(**given["source"]) if given["source"] else None,
        Place(**given["target"]),
        [PlannedItem(**one) for one in given["items"]],
    )
    return findings(called(one_of(plugin.plan_checks, asked["item"]).check, call))


def show_panel(plugin: Any, asked: dict[str, Any], out: TextIO) -> Any:
    from sstools.plugins.extension import Asset, PanelCall, Place

    given = asked["given"]
    call = PanelCall(given["settings"], Place(**given["environment"]), Asset(**given["asset"]))
    return result(called(one_of(plugin.panels, asked["item"]).show, call))


def health(plugin: Any, asked: dict[str, Any], out: TextIO) -> Any:
    return str(called(plugin.health, asked["given"]["settings"])) if plugin.health else ""


CALLS = {
    "describe": describe,
    "job": run_job,
    "plan_check": check_plan,
    "panel": show_panel,
    "health": health,
}

if __name__ == "__main__":
    main()
