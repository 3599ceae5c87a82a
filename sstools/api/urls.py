"""Addresses below /api/."""

from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView

from . import views

app_name = "api"
v1: list[URLPattern | URLResolver] = [
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("tokens/", views.TokensView.as_view(), name="tokens"),
    path("tokens/<int:pk>/", views.TokenView.as_view(), name="token"),
    path("me/", views.MeView.as_view(), name="me"),
    path("me/sessions/", views.SessionsView.as_view(), name="me-sessions"),
    path("access/", include("sstools.roles.api")),
    path("", include("sstools.jobs.api")),
    path("", include("sstools.audit.api")),
    path("", include("sstools.notices.api")),
    path("", include("sstools.schedules.api")),
    path("", include("sstools.plugins.api")),
    path("", include("environments.api")),
    path("", include("environments.backups.api")),
    path("", include("migrations_app.assets.api")),
    path("", include("environments.search.api")),
    path("", include("migrations_app.api")),
    path("", include("migrations_app.comparing.api")),
    path("", include("migrations_app.drift.api")),
    path("", include("migrations_app.fanout.api")),
    path("", include("migrations_app.release.api")),
    path("", include("migrations_app.rehearsals.api")),
    path("", include("migrations_app.estate.api")),
    path("", include("migrations_app.files.api")),
    path("", include("migrations_app.git.api")),
    path("", include("migrations_app.replacing.api")),
    path("", include("migrations_app.git.follow_api")),
]
urlpatterns = [
    path("docs/", views.docs, name="docs"),
    path("v1/", include(v1)),
]
