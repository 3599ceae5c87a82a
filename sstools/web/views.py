"""Overview, own preferences, the style page."""

from typing import Any, cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods, require_safe

from sstools.roles import policy

from . import home as overview
from . import styleguide as samples
from .forms import PreferenceForm
from .htmx import go_to, render_page
from .models import Preference
from .navigation import first_url


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    is_stranger = not policy.has_role(request.user)
    context = {
        "facts": overview.facts(request.user),
        "steps": [] if is_stranger else overview.start_steps(request.user),
        "sections": overview.sections(request.user),
        "new_migration_url": "" if is_stranger else first_url(*overview.START[-1].names),
        "is_stranger": is_stranger,
    }
    return render_page(request, "web/home.html", None, context)


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


@require_http_methods(["GET", "HEAD", "POST"])
def styleguide(request: HttpRequest) -> HttpResponse:
    """Every component with its markup. For those who write pages: while debugging, and for staff."""
    if not (settings.DEBUG or getattr(request.user, "is_staff", False)):
        raise Http404
    return render_page(request, "web/styleguide.html", None, samples.context(request))
