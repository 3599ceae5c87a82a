"""The graph of one asset on one environment, ready to be drawn: boxes with links and states."""

from __future__ import annotations

from dataclasses import dataclass

from environments.models import Environment
from migrations_app.estate.models import SyncState
from sstools.web.states import look

from .families import page_url
from .layout import Node, Picture, lay_out
from .reach import Key, Reach, chunks


@dataclass
class Graph:
    """`picture` and `lists` have the same content; `lists`: (what, nodes)."""

    reach: Reach
    picture: Picture
    centre: Node
    needs: list[Node]
    users: list[Node]


def graph_of(reach: Reach, reference: Environment | None) -> Graph:
    """States are those against `reference`, where that is another environment."""
    states = _states(reach, reference)
    nodes = {key: _node(reach, key, states) for key in reach.steps}
    lines = [(edge.above, edge.below, edge.how != "needs") for edge in reach.edges]
    picture = lay_out(nodes.values(), lines, reach.centre)
    needs, users = ([nodes[key] for key in keys] for keys in (reach.needs, reach.users))
    return Graph(reach, picture, nodes[reach.centre], needs, users)


def _node(reach: Reach, key: Key, states: dict[Key, str]) -> Node:
    state = states.get(key, "")
    is_there = key in reach.assets
    return Node(
        key,
        reach.title(key),
        page_url(*key, "graph") + f"?env={reach.environment.slug}" if is_there else "",
        state,
        look(state).icon if state else key[0] if is_there else "alert",
        is_maybe=key in reach.maybe,
        is_missing=not is_there,
    )


def _states(reach: Reach, reference: Environment | None) -> dict[Key, str]:
    """Only what is not in sync: that is what a reader looks for."""
    if reference is None or reference.pk == reach.environment.pk:
        return {}
    found: dict[Key, str] = {}
    rows = SyncState.objects.filter(source=reference, target=reach.environment).exclude(state="in_sync")
    for some in chunks(sorted(uuid for _, uuid in reach.steps)):
        for kind, uuid, state in rows.filter(target_uuid__in=some).values_list(
            "kind", "target_uuid", "state"
        ):
            found[kind, uuid] = state
    return found
