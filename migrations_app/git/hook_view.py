"""Where forges send their webhooks: signed in by nothing but a signature."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from . import webhooks


@csrf_exempt
@require_POST
def hook(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """202 for what is signed, whatever comes of it; else 404 that tells nothing; 413 for what is too big to read."""
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        length = 0
    body = request.read(webhooks.MOST_BYTES + 1) if length <= webhooks.MOST_BYTES else b""
    if length > webhooks.MOST_BYTES or len(body) > webhooks.MOST_BYTES:
        return JsonResponse({"code": "too_large"}, status=413)
    if not webhooks.receive(uuid, body, request.headers):
        return JsonResponse({"code": "not_found"}, status=404)
    return JsonResponse({"code": "accepted"}, status=202)
