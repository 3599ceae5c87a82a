"""What one is mailed of; and webhooks."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from sstools.errors import Invalid, Unavailable
from sstools.roles import places, policy
from sstools.roles.permissions import Permission
from sstools.web.htmx import go_to, render_page

from . import events, services
from .forms import WebhookForm
from .models import Delivery, DeliveryState, Webhook

PAGE_SIZE = 25


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def mine(request: HttpRequest) -> HttpResponse:
    """What the reader is mailed of."""
    if request.method == "POST":
        services.set_wishes(request.user, request.POST.getlist("mine"), request.POST.getlist("others"))
        messages.success(request, "Saved.")
        return go_to(request, "notices:mine")
    wishes = [(events.find(wish.event), wish) for wish in services.wishes_of(request.user)]
    context = {
        "wishes": [
            (event, wish, policy.can_anywhere(request.user, event.permission)) for event, wish in wishes
        ],
        "problem": services.mail_problem(request.user),
        "address": getattr(request.user, "email", ""),
    }
    return render_page(request, "notices/mine.html", None, context)


@require_safe
@login_required
def webhook_list(request: HttpRequest) -> HttpResponse:
    policy.require_anywhere(request.user, Permission.WEBHOOK_EDIT)
    hooks: list[Any] = list(Webhook.objects.visible_to(request.user))
    names = {place.resource_name: place for place in places.seen_by(request.user)}
    titles = {event.key: event.title for event in events.all_events()}
    for hook in hooks:
        hook.place = names.get(hook.scope)
        hook.told = [titles.get(key, key) for key in hook.events]
        hook.last = hook.deliveries.order_by("-id").first()
    return render_page(request, "notices/webhooks.html", None, {"hooks": hooks})


def _find(request: HttpRequest, uuid: Any) -> Webhook:
    return get_object_or_404(Webhook.objects.visible_to(request.user), uuid=uuid)


@require_safe
@login_required
def webhook_detail(request: HttpRequest, uuid: Any) -> HttpResponse:
    hook = _find(request, uuid)
    rows = hook.deliveries.select_related("notice")
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    waits = rows.filter(state=DeliveryState.WAITING, attempts=0).exists()
    context = {
        "hook": hook,
        "page": page,
        "poll": 3 if waits else 0,
        "place": places.find(hook.scope, request.user),
        "titles": [event.title for event in events.all_events() if event.key in hook.events],
    }
    return render_page(request, "notices/webhook.html", "notices/_deliveries.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def webhook_edit(request: HttpRequest, uuid: Any = None) -> HttpResponse:
    """A new one, or a change of one that there is."""
    policy.require_anywhere(request.user, Permission.WEBHOOK_EDIT)
    hook = _find(request, uuid) if uuid else None
    form = WebhookForm(request.POST or None, user=request.user, webhook=hook)
    if request.method == "POST" and form.is_valid():
        try:
            saved = services.save_webhook(hook, form.cleaned_data, actor=request.user)
        except Invalid as error:
            for name, texts in (error.errors or {"url": [str(error)]}).items():
                for text in texts:
                    form.add_error(name if name in form.fields else None, text)
        except Unavailable as error:
            form.add_error("url", error.message)
        else:
            messages.success(request, f"{saved} is saved. Try it to see whether it answers.")
            return go_to(request, "notices:webhook", uuid=saved.uuid)
    status = 422 if form.is_bound else 200
    return render_page(
        request, "notices/webhook_form.html", None, {"form": form, "hook": hook}, status=status
    )


@require_POST
@login_required
def webhook_try(request: HttpRequest, uuid: Any) -> HttpResponse:
    hook = _find(request, uuid)
    services.try_webhook(hook, actor=request.user)
    messages.success(request, "A notice is on its way; below is what becomes of it.")
    return go_to(request, "notices:webhook", uuid=hook.uuid)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def webhook_delete(request: HttpRequest, uuid: Any) -> HttpResponse:
    hook = _find(request, uuid)
    if request.method != "POST":
        return render_page(request, "notices/webhook_delete.html", None, {"hook": hook})
    services.delete_webhook(hook, actor=request.user)
    messages.success(request, f"{hook.name} is told of nothing any more.")
    return go_to(request, "notices:webhooks")


@require_POST
@login_required
def delivery_again(request: HttpRequest, uuid: Any) -> HttpResponse:
    hooks = Webhook.objects.visible_to(request.user)
    delivery = get_object_or_404(Delivery.objects.filter(webhook__in=hooks), uuid=uuid)
    services.send_again(delivery, actor=request.user)
    assert delivery.webhook is not None
    return go_to(request, "notices:webhook", uuid=delivery.webhook.uuid)
