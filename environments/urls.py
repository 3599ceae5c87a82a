from django.urls import path

from . import views
from .asset_list import asset_list

app_name = "environments"
urlpatterns = [
    path("assets/", asset_list, name="assets"),
    path("environments/", views.environment_list, name="list"),
    path("environments/new/", views.environment_create, name="create"),
    path("environments/<slug:slug>/", views.environment_detail, name="detail"),
    path("environments/<slug:slug>/edit/", views.environment_edit, name="edit"),
    path("environments/<slug:slug>/check/", views.environment_check, name="check"),
    path("environments/<slug:slug>/read/", views.environment_read, name="read"),
    path("environments/<slug:slug>/remove/", views.environment_remove, name="remove"),
    path("go/<slug:slug>/<slug:kind>/<slug:uuid>/", views.go, name="go"),
]
