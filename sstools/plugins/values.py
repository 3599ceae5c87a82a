"""Values of fields, typed: of a plugin's settings and its jobs' forms. Whether what a plugin declares makes sense."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .extension import INTERFACE, Event, FieldKind

_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")
_ITEM = re.compile(r"[a-z][a-z0-9-]{0,49}")
_RANGE = re.compile(r"(>=|<=|==|<|>)\s*(\d+)(?:\.(\d+))?")
KINDS = frozenset({"dashboard", "chart", "dataset", "database"})
LONGEST_TEXT, LONGEST_LONG = 1000, 100_000
#: The most seconds that a plugin may ask for.
MOST = {"jobs": 3600, "plan_checks": 120, "panels": 20}

Fields = Sequence[Mapping[str, Any]]


def checked(
    fields: Fields, given: Mapping[str, Any], *, stored: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """(values, errors by field): every field has its value or its default, nothing else is taken.

    `stored`: what counts for a field that is not given (secrets: nor given empty).
    """
    stored = stored or {}
    values: dict[str, Any] = {}
    errors: dict[str, list[str]] = {
        name: ["There is no such field."] for name in given if name not in {one["name"] for one in fields}
    }
    for one in fields:
        name = one["name"]
        value = given.get(name) if name in given else stored.get(name, one["default"])
        if one["kind"] == FieldKind.SECRET and value in (None, ""):
            value = stored.get(name)
        try:
            values[name] = _typed(one, value)
        except ValueError as error:
            errors[name] = [str(error)]
    return values, errors


def _typed(one: Mapping[str, Any], value: Any) -> Any:
    """Raises ValueError with words for people."""
    kind = one["kind"]
    if kind == FieldKind.FLAG:
        if value in (None, ""):
            return False
        if not isinstance(value, bool):
            raise ValueError("True or false.")
        return value
    if value is None or value == "":
        if one["required"]:
            raise ValueError("This is needed.")
        return None if kind == FieldKind.NUMBER else ""
    if kind == FieldKind.NUMBER:
        return _number(one, value)
    if not isinstance(value, str):
        raise ValueError("A text.")
    if len(value) > (LONGEST_LONG if kind == FieldKind.LONG_TEXT else LONGEST_TEXT):
        raise ValueError("This is too long.")
    if kind == FieldKind.CHOICE and value not in {choice[0] for choice in one["choices"]}:
        raise ValueError("Choose one of those that there are.")
    if one["pattern"] and not re.fullmatch(one["pattern"], value):
        raise ValueError(f"It must look like {one['pattern']}.")
    return value


def _number(one: Mapping[str, Any], value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError("A number.")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError("A number.") from None
    if number != number or abs(number) == float("inf"):
        raise ValueError("A number.")
    if one["minimum"] is not None and number < one["minimum"]:
        raise ValueError(f"At least {one['minimum']:g}.")
    if one["maximum"] is not None and number > one["maximum"]:
        raise ValueError(f"At most {one['maximum']:g}.")
    return int(number) if number.is_integer() else number


def fits(wanted: str, interface: str = INTERFACE) -> bool:
    """Whether the interface is in a range like ">=1.0,<2". Raises ValueError for what is none."""
    have = _version(interface)
    for part in wanted.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"“{wanted}” is no range of versions, like >=1.0,<2.")
        sign, limit = match[1], (int(match[2]), int(match[3] or 0))
        compare = (have > limit) - (have < limit)
        good = {
            ">=": compare >= 0,
            "<=": compare <= 0,
            "==": compare == 0,
            "<": compare < 0,
            ">": compare > 0,
        }
        if not good[sign]:
            return False
    return True


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def problem_of(manifest: Mapping[str, Any]) -> str:
    """Why what a plugin declares cannot be used; "" if it can."""
    try:
        _check(manifest)
    except ValueError as error:
        return str(error)
    except (KeyError, TypeError, AttributeError, re.error) as error:
        return f"What it declares is no Plugin: {type(error).__name__} {error}."
    return ""


def _check(manifest: Mapping[str, Any]) -> None:
    if not str(manifest["title"]).strip() or len(manifest["title"]) > 100:
        raise ValueError("Its title is missing, or longer than 100 characters.")
    _fields(manifest["settings"], "settings", secrets=True)
    for group, most in MOST.items():
        names = [item["name"] for item in manifest[group]]
        if len(set(names)) < len(names):
            raise ValueError(f"Two of its {group} have the same name.")
        for item in manifest[group]:
            if not _ITEM.fullmatch(item["name"]):
                raise ValueError(f"“{item['name']}” is no name: lower-case letters, digits, hyphens.")
            if not 0 < item["seconds"] <= most:
                raise ValueError(
                    f"{item['name']} asks for {item['seconds']:g} seconds; at most {most} are given."
                )
    for job in manifest["jobs"]:
        _fields(job["fields"], job["name"], secrets=False)
        if unknown := set(job["reads"]) - KINDS:
            raise ValueError(f"{job['name']} reads {sorted(unknown)[0]}, and there is no such kind.")
        if unknown := set(job["on"]) - set(Event):
            raise ValueError(f"{job['name']} follows {sorted(unknown)[0]}, and there is no such event.")
        if job["on"] and (errors := checked(job["fields"], {})[1]):
            raise ValueError(
                f"{job['name']} follows events: {sorted(errors)[0]} needs a default that will do."
            )
    for panel in manifest["panels"]:
        if not panel["kinds"] or set(panel["kinds"]) - KINDS:
            raise ValueError(f"{panel['name']} must say for which kinds of assets it is.")


def _fields(fields: Fields, where: str, *, secrets: bool) -> None:
    names = [one["name"] for one in fields]
    if len(set(names)) < len(names):
        raise ValueError(f"Two fields of {where} have the same name.")
    for one in fields:
        if not _NAME.fullmatch(one["name"]):
            raise ValueError(
                f"“{one['name']}” is no name of a field: lower-case letters, digits, underscores."
            )
        if one["kind"] not in set(FieldKind):
            raise ValueError(
                f"{one['name']} of {where} is of the kind {one['kind']}, and there is no such kind."
            )
        if one["kind"] == FieldKind.SECRET and not secrets:
            raise ValueError(f"{one['name']} of {where}: secrets are settings, never fields of a job.")
        if one["kind"] == FieldKind.CHOICE and not one["choices"]:
            raise ValueError(f"{one['name']} of {where} has no choices.")
        re.compile(one["pattern"])
        if one["default"] is not None:
            _typed(one, one["default"])
