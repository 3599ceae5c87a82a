"""Sign in with a password or through the directory, and sign out, on both sides."""

from __future__ import annotations

import logging
from typing import Any, cast

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, login
from django.contrib.auth import views as auth_views
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from sstools.errors import SSToolsError
from sstools.web.errors import error_response

from . import backends, history
from .forms import LoginForm
from .sessions import DIRECTORY_BACKEND

logger = logging.getLogger(__name__)


class Login(auth_views.LoginView):
    """`next` is checked by Django: an address of another site leads to the overview instead."""

    template_name = "registration/login.html"
    authentication_form = LoginForm
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        form = cast(Any, context["form"])
        allowed = settings.LOCAL_SIGN_IN
        # Where nearly all come through the directory the password form is one click away, for emergencies.
        asked = "local" in self.request.GET or form.is_bound
        return context | {
            "has_directory": settings.SSO,
            "directory_label": settings.SSO_LABEL,
            "shows_form": allowed == backends.EVERYBODY or (allowed == backends.SUPERUSERS and asked),
            "may_show_form": allowed == backends.SUPERUSERS,
        }

    def form_invalid(self, form: Any) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=422)


class Logout(auth_views.LogoutView):
    """By POST only: a link of another site must not sign anybody out. Directory sessions end at the directory too."""

    http_method_names = ["post", "options"]

    @method_decorator(never_cache)
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method != "POST":
            return super().dispatch(request, *args, **kwargs)
        address = ""
        if settings.SSO and request.session.get(BACKEND_SESSION_KEY) == DIRECTORY_BACKEND:
            from . import adfs

            address = adfs.leave(request, request.build_absolute_uri(resolve_url(settings.LOGIN_URL)))
        answer = super().dispatch(request, *args, **kwargs)
        # Not a redirect: browsers hold those of a form to form-action, which names this site alone.
        return render(request, "signin/leaving.html", {"address": address}) if address else answer


@require_safe
@never_cache
def begin(request: HttpRequest) -> HttpResponse:
    """To the provider."""
    if not settings.SSO:
        raise Http404
    from . import adfs

    wanted = request.GET.get("next", "")
    fits = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    try:
        return redirect(adfs.begin(request, wanted if fits else resolve_url(settings.LOGIN_REDIRECT_URL)))
    except SSToolsError as error:
        return _refused(request, error)


@require_safe
@never_cache
def callback(request: HttpRequest) -> HttpResponse:
    """Back from the provider."""
    if not settings.SSO:
        raise Http404
    from . import adfs

    try:
        with transaction.atomic():
            user, next_url, id_token = adfs.complete(request)
    except SSToolsError as error:
        return _refused(request, error)
    login(request, user, backend=DIRECTORY_BACKEND)
    request.session.set_expiry(settings.SSO_SESSION_HOURS * 3600)
    adfs.remember(request, id_token)
    return redirect(next_url)


def _refused(request: HttpRequest, error: SSToolsError) -> HttpResponse:
    logger.warning("A sign-in through the directory failed: %s %s", error.code, error.message)
    if (user := getattr(error, "about", None)) is not None:
        history.refused(request, user, error.code)
    response = error_response(
        request,
        error.status,
        error.message,
        remedy=error.remedy,
        code=error.code,
        title="You are not signed in",
    )
    return response


def locked_out(request: HttpRequest, original_response: Any = None, credentials: Any = None) -> HttpResponse:
    """Too many wrong passwords. The same words whether there is such a user or not."""
    history.locked_out(request, credentials or {})
    minutes = settings.SIGN_IN_PAUSE_MINUTES
    response = error_response(
        request,
        429,
        f"Too many attempts with a wrong password. Sign-in from here is closed for {minutes} minutes.",
        remedy="Wait, or ask an administrator of ss-tools. Nothing else of yours was touched.",
        code="too_many_attempts",
        title="Too many attempts",
    )
    response["Retry-After"] = str(minutes * 60)
    return response


def login_path() -> str:
    """Where the button of the sign-in page leads."""
    return reverse("django_auth_adfs:login")
