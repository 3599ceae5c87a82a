"""The OpenAPI schema, arranged for a page that people read. Pure."""

import json
from dataclasses import dataclass, field
from typing import Any

METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Row:
    name: str
    kind: str
    required: bool
    text: str


@dataclass(frozen=True)
class Operation:
    key: str
    method: str
    path: str
    summary: str
    description: str
    parameters: tuple[Row, ...]
    body: tuple[Row, ...]
    answers: tuple[tuple[str, str, tuple[Row, ...]], ...]  # status, name of the shape, its fields


@dataclass
class Section:
    name: str
    operations: list[Operation] = field(default_factory=list)


def reference(schema: dict[str, Any]) -> list[Section]:
    """Sections by tag, each with its operations in the order of their addresses."""
    sections: dict[str, Section] = {}
    for path, item in schema["paths"].items():
        for method in METHODS:
            if method not in item:
                continue
            operation = item[method]
            tag = (operation.get("tags") or ["other"])[0]
            sections.setdefault(tag, Section(tag)).operations.append(
                _operation(schema, path, method, operation)
            )
    return sorted(sections.values(), key=lambda section: section.name)


def _operation(schema: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> Operation:
    description = str(operation.get("description", "")).strip()
    first, _, rest = description.partition("\n\n")
    parameters = tuple(
        Row(p["name"], _kind(schema, p.get("schema", {})), bool(p.get("required")), p.get("description", ""))
        for p in operation.get("parameters", [])
    )
    body = _content(operation.get("requestBody", {}))
    answers = tuple(
        (status, _name(_content(answer)), _rows(schema, _content(answer)))
        for status, answer in sorted(operation.get("responses", {}).items())
    )
    return Operation(
        key=str(operation.get("operationId", f"{method}{path}")),
        method=method.upper(),
        path=path,
        summary=first,
        description=rest,
        parameters=parameters,
        body=_rows(schema, body),
        answers=answers,
    )


def _content(thing: dict[str, Any]) -> dict[str, Any]:
    for media in thing.get("content", {}).values():
        shape: dict[str, Any] = media.get("schema", {})
        return shape
    return {}


def _resolve(schema: dict[str, Any], shape: dict[str, Any]) -> dict[str, Any]:
    for one in shape.get("allOf", []) if len(shape.get("allOf", [])) == 1 else []:
        shape = one
    if ref := shape.get("$ref"):
        target: Any = schema
        for part in ref.removeprefix("#/").split("/"):
            target = target[part]
        return dict(target)
    return shape


def _name(shape: dict[str, Any]) -> str:
    if shape.get("type") == "array":
        return f"list of {_name(shape.get('items', {}))}"
    return str(shape.get("$ref", shape.get("type", ""))).rsplit("/", 1)[-1]


def _kind(schema: dict[str, Any], shape: dict[str, Any]) -> str:
    named = _name(shape)
    shape = _resolve(schema, shape)
    if values := shape.get("enum"):
        return " | ".join(json.dumps(value) for value in values)
    if shape.get("type") == "array":
        return f"list of {_kind(schema, shape.get('items', {}))}"
    kind = shape.get("format") or shape.get("type") or named or "any"
    if kind == "object" and named not in ("object", ""):
        kind = named
    return f"{kind} or null" if shape.get("nullable") else str(kind)


def _rows(schema: dict[str, Any], shape: dict[str, Any]) -> tuple[Row, ...]:
    if shape.get("type") == "array":
        shape = shape.get("items", {})
    shape = _resolve(schema, shape)
    required = set(shape.get("required", []))
    return tuple(
        Row(name, _kind(schema, value), name in required, value.get("description", ""))
        for name, value in shape.get("properties", {}).items()
    )
