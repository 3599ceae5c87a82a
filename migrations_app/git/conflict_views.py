"""Page: a commit that was refused because its branch moved on, with what is to be chosen."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.views.decorators.http import require_http_methods

from sstools.errors import NotAllowed, SSToolsError
from sstools.roles import policy
from sstools.roles.permissions import Permission
from sstools.web.htmx import go_to, render_page

from . import conflicts, services


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def conflict(request: HttpRequest, slug: str, job: Any) -> HttpResponse:
    """POST `choose:<uuid>` = mine, theirs or fields; `field:<uuid>:<key>` = mine or theirs; `remote`, `message`."""
    row = services.find_repository(slug, request.user)
    refused = conflicts.find_refused(row, job, request.user)
    problem: SSToolsError | None = None
    data = request.POST if request.method == "POST" else QueryDict()
    chosen = _choices(data, refused)
    if request.method == "POST":
        try:
            made = conflicts.settle(
                refused,
                chosen,
                actor=request.user,
                remote=data.get("remote", ""),
                message=data.get("message", ""),
            )
        except NotAllowed:
            raise
        except SSToolsError as error:
            problem = error
        else:
            return go_to(request, "jobs:detail", uuid=made.uuid)
    errors = getattr(problem, "errors", None) or {}
    context = {
        "repository": row,
        "tab": "commit",
        "refused": refused,
        "rows": [
            {
                "asset": one,
                "choice": data.get(f"choose:{one.uuid}") or ("" if one.is_whole else "fields"),
                "errors": errors.get(one.uuid, ()),
                "fields": [(field, chosen.get(one.uuid, {}).get(field.key, "")) for field in one.fields],
            }
            for one in refused.conflicts
        ],
        "message": data.get("message") or refused.message,
        "problem": problem,
        "can_read": policy.can_anywhere(request.user, Permission.ENVIRONMENT_TEST),
    }
    return render_page(request, "git/conflict.html", None, context, status=problem.status if problem else 200)


def _choices(data: QueryDict, refused: conflicts.Refused) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for one in refused.conflicts:
        whole = data.get(f"choose:{one.uuid}", "")
        if whole in ("mine", "theirs"):
            found[one.uuid] = {conflicts.WHOLE: whole}
        else:
            given = {field.key: data.get(f"field:{one.uuid}:{field.key}", "") for field in one.fields}
            found[one.uuid] = {key: value for key, value in given.items() if value}
    return found
