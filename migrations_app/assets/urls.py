from django.urls import path, register_converter

from environments.canonical.documents import Kind

from . import views

_BY_PLURAL = {kind.plural: kind for kind in Kind}


class KindConverter:
    """ "dashboards" in an address is Kind.DASHBOARD."""

    regex = "|".join(sorted(_BY_PLURAL))

    def to_python(self, value: str) -> Kind:
        return _BY_PLURAL[value]

    def to_url(self, value: Kind | str) -> str:
        return value if value in _BY_PLURAL else Kind(value).plural


register_converter(KindConverter, "kinds")

app_name = "assets"
urlpatterns = [
    path("<kinds:kind>/<slug:uuid>/", views.asset_detail, name="detail"),
    path("<kinds:kind>/<slug:uuid>/graph/", views.asset_graph, name="graph"),
    path("<kinds:kind>/<slug:uuid>/history/", views.asset_history, name="history"),
    path("<kinds:kind>/<slug:uuid>/checks/", views.asset_checks, name="checks"),
    path("<kinds:kind>/<slug:uuid>/pairing/", views.asset_pairing, name="pairing"),
]
