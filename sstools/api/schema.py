"""The OpenAPI schema: what drf-spectacular does not find out by itself."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.plumbing import build_bearer_security_scheme_object

from .errors import PROBLEM_JSON

PROBLEM = {
    "type": "object",
    "description": "RFC 9457. `code` is stable, the words may improve.",
    "required": ["type", "title", "status", "code", "detail", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "for programs: not_found, not_allowed, plan_changed, …"},
        "detail": {"type": "string", "description": "what happened"},
        "remedy": {"type": "string", "description": "what to do"},
        "errors": {"type": "object", "additionalProperties": True, "description": "field -> messages"},
        "more": {
            "type": "object",
            "additionalProperties": True,
            "description": "with not_allowed: the right that is missing, on what, and who has it",
            "properties": {
                "permission": {"type": "string", "description": "migration:apply"},
                "object": {"type": "string", "description": "environment:<uuid>, or * for everything"},
                "roles": {"type": "array", "items": {"type": "string"}, "description": "that have it"},
                "holders": {
                    "type": "array",
                    "description": "people who may, five at most",
                    "items": {
                        "type": "object",
                        "properties": {"name": {"type": "string"}, "email": {"type": "string"}},
                    },
                },
            },
        },
        "request_id": {"type": "string", "description": "to find it in the log"},
    },
}


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "sstools.api.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return dict(build_bearer_security_scheme_object("Authorization", "Bearer"))


def add_problems(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Postprocessing hook: every operation may answer with a problem."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    answer = {
        "description": "a problem",
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for path in result["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict) and "responses" in operation:
                operation["responses"].setdefault("default", answer)
    return result
