"""Carrying out a plan on a model of a target, as the executor does: batch by batch, learning ids in between."""

from __future__ import annotations

from dataclasses import replace

from environments.canonical.documents import Document, Documents, Kind
from environments.canonical.ids import IdTable
from environments.canonical.rendering import Rendered, of_new_dataset
from migrations_app.engine.batches import Batch, Way, missing_ids, next_batch, still_pending
from migrations_app.engine.mapping import AssetMapping, DatabaseTarget
from migrations_app.engine.plan import Action, Plan, written_documents
from tests.canonical.model import ModelSuperset

CONNECTION = "77777777-0000-4000-8000-000000000001"


def empty_target(first_id: int = 500_011) -> ModelSuperset:
    """A target that holds a connection of its own and nothing else."""
    target = ModelSuperset(first_id, "https://prod.example.org", 3)
    fields = {
        "database_name": "Warehouse PROD",
        "sqlalchemy_uri": "postgresql://reader@prod/prod",
        "extra": {},
    }
    target.add(Kind.DATABASE, CONNECTION, fields)
    return target


def mapped(documents: Documents, connection: str = CONNECTION) -> AssetMapping:
    """Every connection of the documents on one of the target's."""
    databases = {str(item.body["database_uuid"]) for item in documents.values() if item.kind == Kind.DATASET}
    return AssetMapping(databases={uuid: DatabaseTarget(connection) for uuid in databases})


def identity(documents: Documents) -> AssetMapping:
    """Of a rollback: each connection stands for itself."""
    databases = {str(item.body["database_uuid"]) for item in documents.values() if item.kind == Kind.DATASET}
    return AssetMapping(databases={uuid: DatabaseTarget(uuid) for uuid in databases})


def carry_out(plan: Plan, target: ModelSuperset, *, sparse: bool = True) -> list[Batch]:
    """The imports and removals of a plan. Asserts that every bundle is closed and that no asset is written in vain."""
    before = target.documents()
    wanted = written_documents(plan)
    pending: dict[str, Document] = dict(wanted)
    batches: list[Batch] = []
    ids = IdTable(target.ids)
    while batch := next_batch(pending, {**before, **wanted}, ids, sparse=sparse, base_url=target.url):
        assert len(batches) < 20, "the batches never end"
        assert set(batch.writes) <= set(pending)
        _assert_closed(batch, target)
        written = [item for item in batch.rendered if item.uuid in set(batch.writes)]
        target.take_in([_as_sent(item, before) if sparse else item for item in written])
        batches.append(batch)
        pending = still_pending(pending, batch)
        for kind, uuid in missing_ids(pending, ids, base_url=target.url):
            if uuid in batch.writes and (number := target.ids.id_of(kind, uuid)) is not None:
                ids.add(kind, number, uuid)
    for kind in (Kind.DASHBOARD, Kind.CHART, Kind.DATASET):
        for item in plan.items:
            if item.action == Action.REMOVE and item.kind == kind:
                target.remove(item.target_uuid)
    return batches


def _as_sent(item: Rendered, before: Documents) -> Rendered:
    is_new_dataset = item.kind == Kind.DATASET and item.uuid not in before
    return replace(item, data=of_new_dataset(item.data)) if is_new_dataset else item


def _assert_closed(batch: Batch, target: ModelSuperset) -> None:
    inside = {item.uuid for item in batch.rendered}
    for item in batch.rendered:
        dataset = item.data.get("dataset_uuid")
        if item.kind == Kind.CHART:
            assert dataset in inside or (batch.way == Way.SPARSE and dataset in target.rows), (
                "skipped in silence"
            )
        if item.kind == Kind.DATASET and batch.way != Way.SPARSE:
            assert item.data["database_uuid"] in batch.databases
        if item.kind == Kind.DASHBOARD:
            for node in item.data["position"].values():
                if isinstance(node, dict) and node.get("type") == "CHART":
                    chart = node["meta"]["uuid"]
                    assert chart in target.rows
                    assert batch.way == Way.SPARSE or chart in inside
