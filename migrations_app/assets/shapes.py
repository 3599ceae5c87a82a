"""What the REST API answers about assets over all environments."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from environments.canonical.documents import Kind
from migrations_app.models import Pairing

from .cards import Card
from .drawing import Graph
from .history import Event
from .impact import Impact, User
from .suggesting import Suggestion

PAIRED = [kind.value for kind in Kind if kind != Kind.DATABASE]


class PlaceSerializer(serializers.Serializer[Card]):
    """How an asset stands on one environment."""

    environment = serializers.CharField(source="environment.slug", help_text="its slug")
    uuid = serializers.CharField(source="member.uuid", help_text="there; empty where it never was")
    is_there = serializers.BooleanField(source="member.is_there")
    title = serializers.CharField(source="member.title")
    superset_id = serializers.IntegerField(source="member.asset.superset_id", default=None, allow_null=True)
    state = serializers.CharField(
        help_text="against the reference, which is: source; in_sync, behind, drifted, diverged, differs, absent, "
        "only_here, unknown"
    )
    changes = serializers.IntegerField(help_text="fields that differ")
    sentences = serializers.ListField(
        child=serializers.CharField(),
        source="row.sentences",
        default=list,
        help_text="the first of them in words",
    )
    changed_on = serializers.DateTimeField(source="member.asset.changed_on", default=None, allow_null=True)
    changed_by = serializers.CharField(source="member.asset.changed_by", default="")
    last_run = serializers.IntegerField(source="run.number", default=None, allow_null=True)
    last_run_at = serializers.DateTimeField(source="run.finished_at", default=None, allow_null=True)
    read_at = serializers.DateTimeField(source="environment.inventory_at", allow_null=True)
    gone_at = serializers.DateTimeField(source="member.gone.gone_at", default=None, allow_null=True)
    pairing = serializers.IntegerField(
        source="member.pairing.pk", default=None, allow_null=True, help_text="id of the pairing that says so"
    )
    url = serializers.CharField(
        source="member.go_url", help_text="leads to it in Superset, below our address"
    )


class FamilySerializer(serializers.Serializer[dict[str, Any]]):
    """One asset over all environments that may be seen."""

    kind = serializers.CharField(help_text="dashboard, chart, dataset or database")
    key = serializers.CharField(help_text="the uuid that was seen first")
    title = serializers.CharField()
    uuids = serializers.ListField(child=serializers.CharField())
    reference = serializers.CharField(allow_null=True, help_text="the environment that states are against")
    environments = PlaceSerializer(many=True)


class NodeSerializer(serializers.Serializer[dict[str, Any]]):
    kind = serializers.CharField(help_text="dashboard, chart, dataset or database")
    uuid = serializers.CharField()
    title = serializers.CharField()
    steps = serializers.IntegerField(help_text="below 0: it is needed; above: it uses; 0: the asset itself")
    state = serializers.CharField(help_text="against the reference; empty: in sync or not compared")
    is_maybe = serializers.BooleanField(help_text="only mentions it")
    is_there = serializers.BooleanField()


class EdgeSerializer(serializers.Serializer[dict[str, Any]]):
    from_kind = serializers.CharField(help_text="dashboard, chart, dataset or database")
    from_uuid = serializers.CharField()
    to_kind = serializers.CharField(help_text="dashboard, chart, dataset or database")
    to_uuid = serializers.CharField()
    how = serializers.CharField(help_text="needs, or mentions")


class GraphSerializer(serializers.Serializer[dict[str, Any]]):
    environment = serializers.CharField()
    nodes = NodeSerializer(many=True)
    edges = EdgeSerializer(many=True)


class UseSerializer(serializers.Serializer[Any]):
    where = serializers.CharField()
    certain = serializers.BooleanField(help_text="false: a text mentions it, and texts are not parsed")


class ImpactUserSerializer(serializers.Serializer[User]):
    kind = serializers.CharField(help_text="dashboard, chart, dataset or database")
    uuid = serializers.SerializerMethodField()
    title = serializers.CharField()
    steps = serializers.IntegerField()
    is_maybe = serializers.BooleanField()
    uses = UseSerializer(many=True, help_text="of the column")
    through = serializers.ListField(child=serializers.CharField())

    def get_uuid(self, user: User) -> str:
        return user.key[1]


class ImpactSerializer(serializers.Serializer[Impact]):
    """Who would feel it on one environment."""

    environment = serializers.CharField(source="environment.slug")
    users = ImpactUserSerializer(many=True)
    own = UseSerializer(many=True, help_text="of the column, within the dataset itself")
    unread = serializers.IntegerField(help_text="users whose contents were not read")
    has_column = serializers.BooleanField()


class EventSerializer(serializers.Serializer[Event]):
    at = serializers.DateTimeField()
    what = serializers.CharField(help_text="seen, changed, edited, run, commit, backup, paired or gone")
    environment = serializers.CharField(
        source="environment.slug", allow_null=True, help_text="null of a commit"
    )
    text = serializers.CharField()
    who = serializers.CharField()
    state = serializers.CharField(help_text="of a run")
    sentences = serializers.ListField(child=serializers.CharField())
    place = serializers.CharField(help_text="holds what it was then, for comparisons; empty where none does")


class PairingSerializer(serializers.ModelSerializer[Pairing]):
    """What a person said: these two are one asset."""

    source = serializers.CharField(source="source.slug", read_only=True)  # type: ignore[assignment]
    target = serializers.CharField(source="target.slug", read_only=True)
    created_by = serializers.CharField(
        source="created_by.username", read_only=True, default=None, allow_null=True
    )

    class Meta:
        model = Pairing
        fields = ["id", "source", "target", "kind", "source_uuid", "target_uuid", "created_at", "created_by"]
        read_only_fields = fields


class PairingRequestSerializer(serializers.Serializer[Any]):
    source = serializers.CharField(help_text="slug of an environment")  # type: ignore[assignment]
    target = serializers.CharField(help_text="slug of an environment")
    kind = serializers.CharField(help_text="dashboard, chart or dataset")
    source_uuid = serializers.CharField(max_length=36)
    target_uuid = serializers.CharField(
        max_length=36, help_text="the same as source_uuid: takes a pairing that is in the way out"
    )


class SuggestionSerializer(serializers.Serializer[Suggestion]):
    uuid = serializers.CharField(source="asset.uuid")
    title = serializers.CharField(source="asset.title")
    score = serializers.IntegerField(help_text="0 to 100")
    reasons = serializers.ListField(child=serializers.CharField())
    is_free = serializers.BooleanField(help_text="false: the source has an asset with that uuid, too")


def graph_json(graph: Graph) -> dict[str, Any]:
    reach = graph.reach
    nodes = {node.key: node for node in (*graph.needs, *graph.users, graph.centre)}
    return {
        "environment": reach.environment.slug,
        "nodes": [
            {
                "kind": kind,
                "uuid": uuid,
                "title": nodes[kind, uuid].title,
                "steps": step,
                "state": nodes[kind, uuid].state,
                "is_maybe": nodes[kind, uuid].is_maybe,
                "is_there": not nodes[kind, uuid].is_missing,
            }
            for (kind, uuid), step in sorted(reach.steps.items(), key=lambda one: (one[1], one[0]))
        ],
        "edges": [
            {
                "from_kind": edge.above[0],
                "from_uuid": edge.above[1],
                "to_kind": edge.below[0],
                "to_uuid": edge.below[1],
                "how": edge.how,
            }
            for edge in reach.edges
        ],
    }
