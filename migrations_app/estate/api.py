"""REST: /api/v1/sync-states/, with the filters of the overview."""

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets

from .filters import DEFAULT_SORT, SyncStateFilter, ordering
from .models import SyncState


class SyncStateSerializer(serializers.ModelSerializer[SyncState]):
    """How one asset of a source stands to its counterpart on a target, as the last readings of both have it."""

    # Fields have a `source` of their own, which the stubs see overridden here.
    source = serializers.SlugRelatedField(slug_field="slug", read_only=True)  # type: ignore[assignment,var-annotated]
    target = serializers.SlugRelatedField(slug_field="slug", read_only=True)  # type: ignore[var-annotated]
    sentences = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="the first changes in words"
    )
    changes = serializers.IntegerField(read_only=True, help_text="number of fields that differ")
    needs_attention = serializers.SerializerMethodField(
        help_text="diverged, drifted, deleted on the target, or not readable, and nobody has decided that it may be so"
    )

    class Meta:
        model = SyncState
        fields = [
            "source",
            "target",
            "kind",
            "source_uuid",
            "target_uuid",
            "title",
            "state",
            "is_settled",
            "needs_attention",
            "changes",
            "sentences",
            "changed_by",
            "changed_at",
            "computed_at",
        ]
        read_only_fields = fields

    def get_needs_attention(self, state: SyncState) -> bool:
        return state.needs_attention


class SyncStateViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[SyncState]):
    serializer_class = SyncStateSerializer
    filterset_class = SyncStateFilter
    queryset = SyncState.objects.none()  # for the schema; see get_queryset

    def get_queryset(self) -> QuerySet[SyncState]:
        if getattr(self, "swagger_fake_view", False):
            return self.queryset
        rows = SyncState.objects.visible_to(self.request.user).select_related("source", "target")
        return rows.order_by(*ordering(DEFAULT_SORT))

    @extend_schema(summary="How assets stand between environments")
    def list(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        """One entry for each asset of each ordered pair of environments, what needs attention first. Never asks a
        Superset: read the environments to have it up to date.
        """
        return super().list(*args, **kwargs)


urlpatterns = [path("sync-states/", SyncStateViewSet.as_view({"get": "list"}), name="sync-states")]
