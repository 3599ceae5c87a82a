"""Kinds of assets in addresses: "dashboards" is Kind.DASHBOARD."""

from django.urls import register_converter

from environments.canonical.documents import Kind

_BY_PLURAL = {kind.plural: kind for kind in Kind}


class KindConverter:
    regex = "|".join(sorted(_BY_PLURAL))

    def to_python(self, value: str) -> Kind:
        return _BY_PLURAL[value]

    def to_url(self, value: Kind | str) -> str:
        return value if value in _BY_PLURAL else Kind(value).plural


register_converter(KindConverter, "kinds")
