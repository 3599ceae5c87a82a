"""What changes states besides readings, asked for where it happens: the comparing itself is a job's."""

from __future__ import annotations

from typing import Any

from environments.models import Environment
from sstools.jobs import services as jobs
from sstools.jobs.models import Job, Source

COMPARE = "estate.compare_pair"


def request_comparison(
    source: Environment, target: Environment, *, actor: Any, via: str = Source.PAGE
) -> Job | None:
    """Have two environments compared again: what stands for what between them has changed. None before both were read.

    No job is joined: one that is at work may have looked before the change.
    """
    if source.pk == target.pk or source.inventory_at is None or target.inventory_at is None:
        return None
    return jobs.enqueue(
        COMPARE,
        {"source": str(source.uuid), "target": str(target.uuid)},
        actor=actor,
        about=[source, target],
        title=f"Compare {source.name} with {target.name}",
        source=via,
    )


def pairing_changed(source: Environment, target: Environment, assets: frozenset[tuple[str, str]]) -> None:
    """After a pairing was made, changed or removed."""
    request_comparison(source, target, actor=None)
