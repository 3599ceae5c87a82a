"""REST: /api/v1/search/."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from environments.canonical.documents import Kind

from .finding import Hit, search
from .links import page_of, resolve

MOST = 100
KINDS = [kind.value for kind in Kind]


class SearchMarkSerializer(serializers.Serializer[Any]):
    text = serializers.CharField()
    is_match = serializers.BooleanField()


class SearchReasonSerializer(serializers.Serializer[Any]):
    field = serializers.CharField(help_text="where it stands: title, slug, metric, column, SQL, …")
    parts = SearchMarkSerializer(many=True)


class SearchHitSerializer(serializers.Serializer[Any]):
    """One asset, wherever it is."""

    kind = serializers.ChoiceField(choices=KINDS)
    uuid = serializers.CharField()
    title = serializers.CharField()
    page = serializers.CharField(help_text="path of its page here")
    environments = serializers.ListField(
        child=serializers.CharField(), help_text="slugs of those where it fits"
    )
    elsewhere = serializers.ListField(
        child=serializers.CharField(), help_text="slugs of those where it is with another content"
    )
    why = SearchReasonSerializer(many=True)


class SearchAnswerSerializer(serializers.Serializer[Any]):
    total = serializers.IntegerField(help_text="assets that fit")
    more = serializers.BooleanField(help_text="there are more than total")
    reason = serializers.CharField(help_text="why a pasted address led to nothing, else empty")
    results = SearchHitSerializer(many=True)


class SearchQuerySerializer(serializers.Serializer[Any]):
    q = serializers.CharField(max_length=2_000)
    kind = serializers.ChoiceField(choices=KINDS, required=False)
    environment = serializers.CharField(required=False)
    limit = serializers.IntegerField(min_value=1, max_value=MOST, required=False, default=50)


class SearchView(APIView):
    """Assets of all environments by their words, or by the address of their page in Superset."""

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "q", str, required=True, description="words, or an address of a Superset that is registered"
            ),
            OpenApiParameter("kind", str, enum=KINDS),
            OpenApiParameter("environment", str, description="slug"),
            OpenApiParameter("limit", int, description=f"results at most, up to {MOST}; 50 if not said"),
        ],
        responses=SearchAnswerSerializer,
    )
    def get(self, request: Request) -> Response:
        """Every word of q must begin a word of the asset. In order: titles, names, other texts. Needs asset:view."""
        asked = SearchQuerySerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        given = asked.validated_data
        if (link := resolve(request.user, given["q"])) is not None:
            asset = link.asset
            hits = (
                []
                if asset is None
                else [Hit(asset.kind, asset.uuid, asset.title, [asset], frozenset({asset.environment.slug}))]
            )
            return Response(_answer(hits, len(hits), False, link.reason))
        found = search(
            request.user,
            given["q"],
            kinds=[given["kind"]] if "kind" in given else [],
            environment=given.get("environment", ""),
            limit=given["limit"],
        )
        return Response(_answer(found.hits, found.total, found.more, ""))


def _answer(hits: list[Hit], total: int, more: bool, reason: str) -> dict[str, Any]:
    return {"total": total, "more": more, "reason": reason, "results": [_result(hit) for hit in hits]}


def _result(hit: Hit) -> dict[str, Any]:
    return {
        "kind": hit.kind,
        "uuid": hit.uuid,
        "title": hit.title,
        "page": page_of(hit.assets[0]),
        "environments": [one.slug for one in hit.environments],
        "elsewhere": [one.slug for one in hit.elsewhere],
        "why": [
            {"field": one.label, "parts": [{"text": text, "is_match": hit} for text, hit in one.parts]}
            for one in hit.excerpts
        ],
    }


urlpatterns = [path("search/", SearchView.as_view(), name="search")]
