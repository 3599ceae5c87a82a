"""What the style page shows: invented, fixed, in the shapes that the partials expect."""

from typing import Any

from django.http import HttpRequest


def context(request: HttpRequest) -> dict[str, Any]:
    return {}
