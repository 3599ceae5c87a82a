"""Addresses below /api/."""

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

v1 = [
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("", include("environments.api")),
    path("", include("migrations_app.api")),
]
app_name = "api"
urlpatterns = [path("v1/", include(v1))]
