"""What two sides of a comparison are: `env:dev`, `backup:318`, `run:42:before`, `run:42:after`,
`file:<uuid>`, `git:<repository>@<ref>`.

Everything comes from what is stored, whatever its age: no Superset is asked here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import QuerySet

from environments.backups.models import Backup, BackupReason
from environments.canonical.documents import Document, Kind, canonical_json
from environments.models import Asset, Environment, Reason, Snapshot
from environments.store import READ_CHUNK, entries_of, latest_complete
from migrations_app.git import services as repositories
from migrations_app.git.models import OWN_TREE, Repository
from migrations_app.models import Run
from sstools.errors import NotFoundError
from sstools.roles import policy
from sstools.roles.permissions import Permission

from .models import UploadedBundle

_TITLE_FIELD = {
    Kind.DATABASE: "database_name",
    Kind.DATASET: "table_name",
    Kind.CHART: "slice_name",
    Kind.DASHBOARD: "dashboard_title",
}
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class NoSuchPlace(NotFoundError):
    code = "no_such_place"
    remedy = (
        "Write env:<slug>, backup:<number>, run:<number>:before, run:<number>:after, file:<uuid> or "
        "git:<repository>@<branch>."
    )


class PlaceAsset(NamedTuple):
    """One asset of a place. `sha`: fingerprint of its content, "" where that was not read. `comparable`: its comparison
    fingerprint if it is known. `changed_by`, `changed_on`: as lists say, of environments only.
    """

    kind: str
    uuid: str
    title: str
    sha: str
    comparable: str = ""
    changed_by: str = ""
    changed_on: datetime | None = None


@dataclass
class PlaceContents:
    """One side. `place` names it in addresses, `label` on pages.

    `environment`: in whose terms its documents are, None where nobody said. `is_live`: that environment as last read.
    `complete`: what is not in it was not there. `absent`: uuids that are known not to have been there, where it is not
    complete. `read_at`: how old it is. `problem`: why it is older than it should be. `version` changes with the
    contents.
    """

    place: str
    label: str
    environment: Environment | None
    is_live: bool
    complete: bool
    read_at: datetime | None
    version: str
    rows: Callable[[], QuerySet[Any]]
    columns: tuple[str, ...]
    absent: frozenset[str] = frozenset()
    problem: Mapping[str, Any] | None = None
    run: Run | None = None
    backup: Backup | None = None
    snapshot: Snapshot | None = None

    @cached_property
    def assets(self) -> dict[str, PlaceAsset]:
        """All of them by uuid: one query."""
        return {asset.uuid: asset for asset in self._fetched(self.rows())}

    def find(self, uuids: Iterable[str]) -> dict[str, PlaceAsset]:
        """Some of them by uuid; the whole place is not fetched for that."""
        wanted = list(dict.fromkeys(uuids))
        if "assets" in self.__dict__:
            return {uuid: self.assets[uuid] for uuid in wanted if uuid in self.assets}
        found: dict[str, PlaceAsset] = {}
        for start in range(0, len(wanted), READ_CHUNK):
            rows = self.rows().filter(uuid__in=wanted[start : start + READ_CHUNK])
            found |= {asset.uuid: asset for asset in self._fetched(rows)}
        return found

    def titles(self, *documents: Document | None) -> dict[str, Document]:
        """What gives names to the uuids that these documents speak of: documents that have nothing but a title."""
        text = "".join(canonical_json(document.to_json()) for document in documents if document is not None)
        return {
            uuid: Document(Kind(asset.kind), uuid, {_TITLE_FIELD[Kind(asset.kind)]: asset.title})
            for uuid, asset in self.find(_UUID.findall(text)).items()
        }

    def _fetched(self, rows: QuerySet[Any]) -> Iterator[PlaceAsset]:
        for kind, uuid, title, sha, *more in rows.values_list(*self.columns).iterator(chunk_size=5000):
            yield PlaceAsset(kind, uuid, title or uuid, sha or "", *more)


def read_place(text: str, user: Any) -> PlaceContents:
    """A place by its name, for somebody who may see its assets.

    Raises NoSuchPlace for what is absent or hidden, NotAllowed for an environment whose assets somebody may not see.
    """
    kind, _, name = text.strip().partition(":")
    readers: dict[str, Callable[[str, Any], PlaceContents | None]] = {
        "env": _environment,
        "backup": _backup,
        "run": _run,
        "file": _file,
        "git": _commit,
    }
    found = readers[kind](name, user) if kind in readers and name else None
    if found is None:
        raise NoSuchPlace(f"There is no place “{text[:100]}”, or you may not see it.")
    return found


def _environment(slug: str, user: Any) -> PlaceContents | None:
    environment = Environment.objects.visible_to(user).filter(slug=slug).first()
    if environment is None:
        return None
    policy.require(user, Permission.ASSET_VIEW, environment)
    latest = latest_complete(environment)
    read_at = environment.inventory_at
    return PlaceContents(
        place=f"env:{environment.slug}",
        label=environment.name,
        environment=environment,
        is_live=True,
        complete=True,
        read_at=read_at,
        version=f"{environment.pk}/{read_at}/{latest.number if latest else 0}",
        rows=lambda: Asset.objects.filter(environment=environment).order_by(),
        columns=("kind", "uuid", "title", "document_id", "comparable", "changed_by", "changed_on"),
        problem=environment.inventory_error,
    )


def _backup(name: str, user: Any) -> PlaceContents | None:
    if not (name.isascii() and name.isdigit()) or len(name) > 18:
        return None
    backups = Backup.objects.visible_to(user).select_related("environment", "snapshot")
    backup = backups.filter(pk=int(name)).first()
    if backup is None or not policy.can(user, Permission.ASSET_VIEW, backup.environment):
        return None
    if not backup.is_readable:
        raise NoSuchPlace(
            f"{backup} is {backup.get_state_display()}: it holds nothing.", remedy="Compare with another one."
        )
    snapshot = backup.snapshot
    return PlaceContents(
        place=backup.place,
        label=f"{backup.environment.name} in backup {backup.number}",
        environment=backup.environment,
        is_live=False,
        complete=snapshot.complete,
        read_at=snapshot.exported_at or snapshot.created_at,
        version=f"snapshot/{snapshot.number}",
        rows=lambda: entries_of(snapshot),
        columns=("kind", "uuid", "document__title", "document_id"),
        backup=backup,
        snapshot=snapshot,
    )


def _run(name: str, user: Any) -> PlaceContents | None:
    number, _, moment = name.partition(":")
    if not (number.isascii() and number.isdigit()) or len(number) > 18 or moment not in ("before", "after"):
        return None
    runs = Run.objects.visible_to(user).select_related("migration__target", "restore_point")
    run = runs.filter(number=int(number)).first()
    if run is None or not policy.can(user, Permission.ASSET_VIEW, run.migration.target):
        return None
    snapshot = run.restore_point if moment == "before" else snapshot_after(run)
    if snapshot is None:
        what = (
            "restore point: it stopped before writing" if moment == "before" else "snapshot of what it left"
        )
        raise NoSuchPlace(f"Run {run.number} has no {what}.", remedy="Compare with the environment itself.")
    target = run.migration.target
    return PlaceContents(
        place=f"run:{run.number}:{moment}",
        label=f"{target.name} {moment} run {run.number}",
        environment=target,
        is_live=False,
        complete=snapshot.complete,
        read_at=snapshot.exported_at or snapshot.created_at,
        version=f"snapshot/{snapshot.number}",
        rows=lambda: entries_of(snapshot),
        snapshot=snapshot,
        columns=("kind", "uuid", "document__title", "document_id"),
        absent=frozenset(run.created) if moment == "before" else frozenset(),
        run=run,
    )


def snapshot_after(run: Run) -> Snapshot | None:
    """What the target held when the run had ended: taken in the transaction that ends it."""
    if run.started_at is None or run.finished_at is None:
        return None
    taken = run.migration.target.snapshots.filter(
        reason=Reason.AFTER_RUN, created_at__gte=run.started_at, created_at__lte=run.finished_at
    )
    return taken.order_by("-number").first()


def _file(name: str, user: Any) -> PlaceContents | None:
    try:
        uuid = UUID(name)
    except ValueError:
        return None
    bundle = UploadedBundle.objects.visible_to(user).select_related("origin").filter(uuid=uuid).first()
    if bundle is None:
        return None
    return PlaceContents(
        place=bundle.place,
        label=bundle.name,
        environment=bundle.origin,
        is_live=False,
        complete=bundle.complete,
        read_at=bundle.exported_at or bundle.uploaded_at,
        version=bundle.place,
        rows=lambda: bundle.documents.order_by(),
        columns=("kind", "uuid", "document__title", "document_id"),
    )


def _commit(name: str, user: Any) -> PlaceContents | None:
    slug, _, ref = name.partition("@")
    repository = Repository.objects.visible_to(user).filter(slug=slug).first()
    if repository is None:
        return None
    policy.require_anywhere(user, Permission.ASSET_VIEW)
    reading = repositories.reading_of(repository, ref or repository.branch)
    if reading is None:
        raise NoSuchPlace(
            f"{repository} was not read at {ref[:100] or repository.branch}.",
            remedy="Read it there first, on its page.",
        )
    return PlaceContents(
        place=reading.place,
        label=reading.name,
        environment=reading.origin,
        is_live=False,
        complete=reading.shape == OWN_TREE,
        read_at=reading.committed_at,
        version=f"{reading.place}/{reading.folder}",
        rows=lambda: reading.assets.order_by(),
        columns=("kind", "uuid", "document__title", "document_id", "comparable"),
    )


# --- To choose from -------------------------------------------------------------------------------------------------
RECENT_RUNS, RECENT_FILES, RECENT_BACKUPS = 20, 20, 20


def choices(user: Any, *more: PlaceContents) -> list[tuple[str, list[tuple[str, str]]]]:
    """(group, [(place, label)]) of what may be compared: environments, recent backups, restore points of recent runs,
    uploads, commits, and whatever else is chosen already. Six queries.
    """
    environments = [
        (f"env:{environment.slug}", environment.name)
        for environment in Environment.objects.visible_to(user).in_order()
        if policy.can(user, Permission.ASSET_VIEW, environment)
    ]
    runs = Run.objects.visible_to(user).exclude(restore_point=None).select_related("migration__target")
    points = [
        (run.place, f"{run.migration.target.name} before run {run.number}")
        for run in runs.defer("plan__problems")[:RECENT_RUNS]
        if policy.can(user, Permission.ASSET_VIEW, run.migration.target)
    ]
    bundles = UploadedBundle.objects.visible_to(user)[:RECENT_FILES]
    files = [(bundle.place, bundle.name) for bundle in bundles]
    kept = Backup.objects.visible_to(user).readable().exclude(reason=BackupReason.RESTORE_POINT)
    backups = [
        (
            backup.place,
            f"{backup.environment.name}, backup {backup.number} of {backup.started_at:%Y-%m-%d %H:%M}",
        )
        for backup in kept.select_related("environment")[:RECENT_BACKUPS]
        if policy.can(user, Permission.ASSET_VIEW, backup.environment)
    ]
    commits = [(reading.place, reading.name) for reading in repositories.recent_readings(user)]
    groups = [
        ("Environments", environments),
        ("Backups", backups),
        ("Restore points", points),
        ("Uploads", files),
        ("Git", commits),
    ]
    known = {place for _, group in groups for place, _ in group}
    others = list(dict.fromkeys((side.place, side.label) for side in more if side.place not in known))
    return [(name, group) for name, group in [*groups, ("Others", others)] if group]
