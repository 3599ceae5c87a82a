"""Answers for pages that htmx asks for in pieces."""

from typing import Any

from django.contrib.messages import get_messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers
from django_htmx.http import HttpResponseClientRedirect


def wants_fragment(request: HttpRequest) -> bool:
    """Whether htmx will put the answer into a page that is there already.

    Not so for boosted links, whose answer replaces the body, nor when htmx restores an entry of the history.
    """
    htmx: Any = getattr(request, "htmx", None)
    return bool(htmx) and not htmx.boosted and not htmx.history_restore_request


def render_page(
    request: HttpRequest,
    page: str,
    partial: str | None,
    context: dict[str, Any] | None = None,
    status: int = 200,
) -> HttpResponse:
    """Answer with `partial` when htmx asks for a piece of the page, otherwise with the whole `page`.

    Both get the same context, plus `is_fragment`. A fragment also carries, out of band, the pending messages
    (as toasts) and what `context["live_text"]` says to screen readers, so no partial needs to think of them.
    `partial=None`: there is no smaller piece, the page is answered always.
    """
    fragment = partial is not None and wants_fragment(request)
    context = {**(context or {}), "is_fragment": fragment}
    response = render(request, partial if fragment and partial else page, context, status=status)
    patch_vary_headers(response, ["HX-Request"])
    if fragment:
        # The fragment has the address of the page: kept by the browser, it would be shown as the page on Back.
        response["Cache-Control"] = "no-store"
        if context.get("live_text") or len(get_messages(request)):
            response.write(render_to_string("_out_of_band.html", context, request=request))
    return response


def go_to(request: HttpRequest, to: Any, *args: Any, **kwargs: Any) -> HttpResponse:
    """Send the browser to another page: `to` is a URL's name (with its arguments), a path or a model with a URL.

    htmx would follow a 302 by itself and put the new page into the old one, so it is told to leave instead.
    """
    url = resolve_url(to, *args, **kwargs)
    if wants_fragment(request):
        return HttpResponseClientRedirect(url)
    return HttpResponseRedirect(url)
