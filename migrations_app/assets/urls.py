from django.urls import path

from . import (
    converters,  # noqa: F401  registers "kinds"
    views,
)

app_name = "assets"
urlpatterns = [
    path("<kinds:kind>/<slug:uuid>/", views.asset_detail, name="detail"),
    path("<kinds:kind>/<slug:uuid>/graph/", views.asset_graph, name="graph"),
    path("<kinds:kind>/<slug:uuid>/history/", views.asset_history, name="history"),
    path("<kinds:kind>/<slug:uuid>/checks/", views.asset_checks, name="checks"),
    path("<kinds:kind>/<slug:uuid>/backups/", views.asset_backups, name="backups"),
    path("<kinds:kind>/<slug:uuid>/panels/<slug:plugin>/<slug:name>/", views.asset_panel, name="panel"),
    path("<kinds:kind>/<slug:uuid>/pairing/", views.asset_pairing, name="pairing"),
]
