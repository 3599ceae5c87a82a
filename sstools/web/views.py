"""Overview, own preferences, the style page."""

from typing import Any, cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_safe

from sstools.roles import policy

from . import finding
from . import home as overview
from . import search as everywhere
from . import styleguide as samples
from .forms import PreferenceForm
from .htmx import go_to, render_page, wants_fragment
from .models import Preference
from .navigation import first_url


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    return show_overview(request)


def show_overview(request: HttpRequest, status: int = 200) -> HttpResponse:
    """The overview as `request.GET` asks for it; also the answer to what was asked for on it and could not be done."""
    is_stranger = not policy.has_role(request.user)
    main = None if is_stranger else overview.main(request)
    if main is not None and wants_fragment(request):
        return render_page(request, "web/home.html", main.partial, main.context, status=status)
    context = {
        **(main.context if main is not None else {}),
        "main": main,
        "facts": overview.facts(request.user),
        "steps": [] if is_stranger else overview.start_steps(request.user),
        "sections": overview.sections(request.user),
        "new_migration_url": "" if is_stranger else first_url(*overview.START[-1].names),
        "is_stranger": is_stranger,
    }
    return render_page(request, "web/home.html", None, context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def me(request: HttpRequest) -> HttpResponse:
    user = cast(Any, request.user)
    preference = Preference.objects.filter(user=user).first() or Preference(user=user)
    form = PreferenceForm(request.POST or None, instance=preference)
    if request.method == "POST":
        if form.is_valid():
            form.save()
            messages.success(request, "Your preferences are saved.")
            return go_to(request, "web:me")
        return render_page(request, "web/me.html", None, {"form": form}, status=422)
    return render_page(request, "web/me.html", None, {"form": form})


@require_safe
@login_required
def search(request: HttpRequest) -> HttpResponse:
    """Everything that fits, on a page of its own: for those without JavaScript, and for what is more than a few."""
    text = finding.asked(request)
    context: dict[str, Any] = {"q": text}
    if text:
        ask = everywhere.Ask(request.user, text)
        if url := everywhere.leads_to(ask):
            return go_to(request, url)
        sections = everywhere.sections(ask, request.GET.dict())
        groups = [group for group in finding.groups(request, ask) if not group.is_in_full]
        said = [section.context["said"] for section in sections if "said" in section.context]
        context |= {"sections": sections, "groups": groups, "live_text": ", ".join(said)}
    return render_page(request, "web/search.html", "web/_search.html", context)


@require_safe
@login_required
def palette(request: HttpRequest) -> HttpResponse:
    """The list below the field of the palette: what fits, or what was looked at lately where nothing is asked."""
    text = finding.asked(request)
    groups = (
        finding.groups(request, everywhere.Ask(request.user, text)) if text else finding.suggestions(request)
    )
    count = sum(len(group.items) for group in groups)
    response = render(request, "web/_palette_list.html", {"q": text, "groups": groups, "count": count})
    response["Cache-Control"] = "no-store"
    return response


@require_http_methods(["GET", "HEAD", "POST"])
def styleguide(request: HttpRequest) -> HttpResponse:
    """Every component with its markup. For those who write pages: while debugging, and for staff."""
    if not (settings.DEBUG or getattr(request.user, "is_staff", False)):
        raise Http404
    return render_page(request, "web/styleguide.html", None, samples.context(request))
