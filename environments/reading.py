"""Reading an environment into canonical documents, with as few requests as its Superset allows.

Three ways, measured on Superset 6.1.0 (one worker): a full export costs 3.4 ms per file and one request, exports of
chosen dashboards 8 ms per file with everything they stand on, lists about 100 ms per hundred rows. So a small estate is
exported whole, a large one in chunks; and what was read before is not exported again where its list says that nothing
moved.

Not every change shows in a list (`changed_on` stays as it is when a dataset's columns are refreshed, when tags or roles
change, and, for connections, lists tell no time that can be compared). `fresh=True` believes no list; whoever is about
to write something reads it fresh. `sweep` exports some of what seems unchanged, those that were exported longest ago.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from .canonical.documents import Kind, Note
from .canonical.ids import IdTable
from .canonical.reading import read_assets
from .listed import Facts, still_good
from .models import Environment
from .store import EnvironmentReading, get_documents, latest_complete, load_snapshot, notes_of
from .superset.bundle import Bundle, RawAsset
from .superset.client import EXPORT_CHUNK, SupersetClient
from .superset.errors import SupersetError
from .superset.rows import ChartRow, DashboardRow, DatabaseRow, DatasetRow

__all__ = ["EnvironmentReading", "read_everything", "read_selected"]

SMALL_ESTATE = 1500  # assets; exported whole within 5 s, far below the 60 s of a usual proxy
WHOLE_MS, RELATED_MS, REQUEST_MS = 3.4, 8.0, 25.0  # per file of a full export, of a chosen one, per request
FILES_PER_DASHBOARD = 12.0  # where nothing is known of the estate; the examples of Superset have 15
IN_MEMORY = 300  # documents that a reading for the store holds before it puts them away
MANY_SINGLE = 25  # stragglers fetched one by one; more than that means something else is wrong
MANY_DAMAGED = 25  # assets whose export fails; more than that, and it is not the assets

Progress = Callable[[str, int, int], None]
Row = DashboardRow | ChartRow | DatasetRow | DatabaseRow


def last_reading(environment: Environment, *, bodies: bool = True) -> EnvironmentReading | None:
    """What the last complete snapshot holds, None where there is none: what a reading may use again.

    Without `bodies` only the documents that were exported without a list beside them are loaded, the others are
    `hashes`.
    """
    snapshot = latest_complete(environment)
    if snapshot is None:
        return None
    stored = load_snapshot(snapshot, bodies=bodies)
    unmarked = {uuid: sha for uuid, sha in stored.hashes.items() if not stored.marks.get(uuid)}
    loaded = get_documents(unmarked.values())
    for uuid, sha in unmarked.items():
        stored.documents[uuid] = loaded[sha]
        del stored.hashes[uuid]
    return stored if stored.documents or stored.hashes else None


def known_damage(environment: Environment) -> frozenset[str]:
    """What the last complete reading found and could not read."""
    snapshot = latest_complete(environment)
    notes = notes_of(snapshot) if snapshot is not None else ()
    return frozenset(note.uuid for note in notes if note.code == "unreadable")


def read_everything(
    client: SupersetClient,
    environment: Environment,
    *,
    fresh: bool = False,
    stored: EnvironmentReading | None = None,
    progress: Progress | None = None,
) -> EnvironmentReading:
    """Every dashboard, chart, dataset and connection that the account sees.

    `fresh` exports all of it. Otherwise a stored document is used again where the list says that the asset was last
    changed before it was exported, by the server's own clock. Raises SupersetError.
    `stored`: that of `last_reading`, where the caller has it; with `fresh` or `stored` no database is touched, so a
    thread may do it; but for the one question what is known to be damaged, where an export of everything failed.
    What is known to be damaged is left out with a note, as the last reading did; other damage is an error.
    `progress(what, done, total)` is called between requests and may raise to stop.
    """
    task = _Task(client, environment, progress)
    stored = None if fresh else stored or last_reading(environment)
    if stored is None:
        return task.whole() if _is_small(client, environment.asset_total) else task.listed(None)
    return task.listed(stored)


def read_for_store(
    client: SupersetClient,
    environment: Environment,
    stored: EnvironmentReading | None,
    *,
    sweep: int = 0,
    progress: Progress | None = None,
) -> EnvironmentReading:
    """The same for the store, in the memory of some hundred documents: always with lists, what was exported put away
    in the store while it is read (`hashes`), and of what seems unchanged up to `sweep` files exported again. Uses the
    database; `progress` is called in this thread. Raises SupersetError.
    """
    task = _Task(client, environment, progress, in_memory=IN_MEMORY)
    return task.listed(stored, sweep)


def read_selected(
    client: SupersetClient,
    environment: Environment,
    wanted: Mapping[Kind, Iterable[int]],
    *,
    progress: Progress | None = None,
) -> EnvironmentReading:
    """Assets by their ids in this environment, exported now, with all they stand on.

    Exports everything where that is cheaper. Ids that no longer exist are simply not in the answer. `complete` is True
    only if everything was exported. Raises SupersetError.
    """
    task = _Task(client, environment, progress)
    chosen = {kind: sorted(set(wanted.get(kind, ()))) for kind in Kind}
    if _whole_is_cheaper(client, environment, chosen):
        return task.whole()
    return task.selected({kind: ids for kind, ids in chosen.items() if ids})


def _is_small(client: SupersetClient, total: int | None) -> bool:
    # Before 6.0 a full export loses datasets of one name, and its files do not tell the ids of datasets.
    return client.capabilities.dataset_ids_in_export and (total is None or total <= SMALL_ESTATE)


def _whole_is_cheaper(
    client: SupersetClient, environment: Environment, chosen: Mapping[Kind, list[int]]
) -> bool:
    total = environment.asset_total
    if total is None or not _is_small(client, total):
        return False
    counts = environment.asset_counts
    dashboards = counts.get(Kind.DASHBOARD.value, 0)
    per_dashboard = min(FILES_PER_DASHBOARD * 2, total / dashboards) if dashboards else FILES_PER_DASHBOARD
    files = {Kind.DASHBOARD: per_dashboard, Kind.CHART: 1.5, Kind.DATASET: 1.1, Kind.DATABASE: 10.0}
    chosen_ms = sum(len(ids) * files[kind] * RELATED_MS + REQUEST_MS for kind, ids in chosen.items() if ids)
    return total * WHOLE_MS + REQUEST_MS < chosen_ms


class _Task:
    """One reading on its way."""

    def __init__(
        self,
        client: SupersetClient,
        environment: Environment,
        progress: Progress | None,
        *,
        in_memory: int | None = None,
    ) -> None:
        self.client = client
        self.in_memory = in_memory
        self.url = environment.url
        self.total = environment.asset_total
        self.progress = progress or (lambda what, done, total: None)
        self.requests_before = _requests(client)
        self.environment = environment
        self.reading = EnvironmentReading(environment_uuid=str(environment.uuid))
        self.notes: dict[str, list[Note]] = {}
        self.damaged: dict[tuple[Kind, int], str] = {}
        self.spare: frozenset[str] = frozenset()  # known to be damaged: their failing is no reason to fail
        self.listed_ids = IdTable()
        self._notes_before: dict[str, list[Note]] | None = None

    # -- everything in one export -------------------------------------------------------------------

    def whole(self) -> EnvironmentReading:
        self.progress("Exporting everything", 0, 1)
        try:
            bundle = self.client.export_assets()
        except SupersetError as exc:
            self.spare = known_damage(self.environment)
            if not self._may_be_of_one(exc):
                raise
            return self.listed(None)
        if lost := _lost(bundle):
            bundle = Bundle.merge(bundle, *self._singles(lost))
        self._take(bundle, IdTable())
        return self._done(complete=True)

    def _singles(self, lost: Mapping[Kind, set[str]]) -> list[Bundle]:
        """What a full export left out because two files had one name; what no list knows really is gone."""
        bundles: list[Bundle] = []
        for kind, uuids in lost.items():
            ids = [row.id for row in self._list(kind) if row.uuid in uuids]
            bundles += [self._export(kind, [number]) for number in ids[:MANY_SINGLE]]
        return bundles

    # -- lists, and what they say has moved -----------------------------------------------------------

    def listed(self, stored: EnvironmentReading | None, sweep: int = 0) -> EnvironmentReading:
        rows: dict[Kind, list[Any]] = {}
        with self._counted("list"):
            for done, kind in enumerate(reversed(Kind)):
                self.progress(f"Listing {kind.plural}", done, len(Kind))
                rows[kind] = self._list(kind)
        ids = IdTable((kind, row.id, row.uuid) for kind in rows for row in rows[kind])
        facts = Facts(rows, ids)
        self.listed_ids = ids
        if stored is not None:
            self.spare = stored.unreadable
        reading = self.reading
        reading.rows, reading.marks = rows, facts.marks
        to_export: dict[Kind, list[int]] = {kind: [] for kind in Kind}
        for kind in Kind:
            for row in rows[kind]:
                if stored is not None and still_good(kind, row, stored, facts):
                    self._reuse(row.uuid, stored)
                else:
                    to_export[kind].append(row.id)
        with self._counted("export"):
            self._export_listed(to_export, facts)
        if stored is not None and sweep:
            with self._counted("sweep"):
                self._sweep(sweep, stored, facts)
        return self._done(complete=True)

    def _sweep(self, files: int, stored: EnvironmentReading, facts: Facts) -> None:
        """Export again what was exported longest ago, of one kind so that it is one request: datasets first, as theirs
        are the changes that lists miss. They bring their connections.
        """
        reading = self.reading
        ages = [
            (moment, rank, kind, row.id)
            for rank, kind in enumerate((Kind.DATASET, Kind.CHART, Kind.DASHBOARD, Kind.DATABASE))
            for row in facts.rows[kind]
            if (moment := reading.exported.get(row.uuid)) is not None
            and moment == stored.exported.get(row.uuid)
            if kind != Kind.DATABASE or row.id not in facts.dataset_of
        ]
        if not ages:
            return
        ages.sort(key=lambda one: one[:2])
        oldest = ages[0][2]
        per_asset = FILES_PER_DASHBOARD if oldest == Kind.DASHBOARD else 1.0
        number = max(1, min(EXPORT_CHUNK[oldest.value], int(files / per_asset)))
        chosen = [number_of for _, _, kind, number_of in ages if kind == oldest][:number]
        self.progress(f"Exporting {oldest.plural} again", 0, len(chosen))
        came: set[str] = set()
        for bundle in self._exports(oldest, chosen):
            self._take(bundle, facts.ids)
            came |= bundle.assets.keys() & facts.marks.keys()
        reading.swept = frozenset(came)

    def _reuse(self, uuid: str, stored: EnvironmentReading) -> None:
        if uuid in stored.documents:
            self.reading.documents[uuid] = stored.documents[uuid]
        elif uuid in stored.hashes:
            self.reading.hashes[uuid], self.reading.kinds[uuid] = stored.hashes[uuid], stored.kinds[uuid]
        self.reading.exported[uuid] = stored.exported[uuid]
        if uuid not in self.notes:
            self.notes[uuid] = self._stored_notes(stored).get(uuid, [])

    def _stored_notes(self, stored: EnvironmentReading) -> dict[str, list[Note]]:
        if self._notes_before is None:
            self._notes_before = _by_uuid(stored.notes)
        return self._notes_before

    def _export_listed(self, to_export: dict[Kind, list[int]], facts: Facts) -> None:
        missing = sum(len(ids) for ids in to_export.values())
        if not missing:
            self.reading.ids.update(facts.ids)
            return
        total = len(facts.marks)
        if not self.spare and _is_small(self.client, total) and missing * RELATED_MS > total * WHOLE_MS:
            self.progress("Exporting everything", 0, 1)
            try:
                self._take(self.client.export_assets(), facts.ids)
            except SupersetError as exc:
                if not self._may_be_of_one(exc):
                    raise
                self._export_in_chunks(to_export, facts)
        else:
            self._export_in_chunks(to_export, facts)
        # Whatever is listed and did not come, two files had one name (before 6.0 datasets, databases always): singly.
        for kind in Kind:
            late = [row for row in facts.rows[kind] if not self._has(row.uuid)]
            late = [row for row in late if (kind, row.id) not in self.damaged]
            for row in late[:MANY_SINGLE]:
                self._take(self._export_alone(kind, row, facts), facts.ids)
        self._note_damaged(facts)
        self._note_doubled(facts)
        self.reading.ids.update(facts.ids)

    def _note_damaged(self, facts: Facts) -> None:
        for (kind, number), text in self.damaged.items():
            uuid = facts.ids.uuid_of(kind, number)
            if uuid is not None and not self._has(uuid):
                self.notes[uuid] = [Note("unreadable", uuid, f"This {kind} cannot be exported: {text}")]

    def _note_doubled(self, facts: Facts) -> None:
        """Superset keeps uuids apart within a kind only. Here they name an asset among all of them, and two of one name
        must not be taken for each other.
        """
        names: dict[str, list[str]] = {}
        for kind in Kind:
            for row in facts.rows[kind]:
                title = row.title if kind == Kind.DASHBOARD else row.name
                names.setdefault(row.uuid, []).append(f"the {kind.value} “{title}”")
        for uuid, both in names.items():
            if uuid and len(both) > 1:
                self.reading.documents.pop(uuid, None)
                self.reading.hashes.pop(uuid, None)
                text = f"{' and '.join(both)} have one uuid: nothing can tell them apart."
                self.notes[uuid] = [Note("unreadable", uuid, f"{text[0].upper()}{text[1:]}")]

    def _may_be_of_one(self, exc: SupersetError) -> bool:
        """Whether one damaged asset may be why a whole export failed. A reading for the store then goes without it, any
        other only without what that one found.
        """
        goes_on = self.in_memory is not None or bool(self.spare)
        return goes_on and (exc.code == "bundle_invalid" or exc.status == 500)

    def _give_up(self, kind: Kind, number: int, exc: SupersetError) -> None:
        if self.in_memory is None and self.listed_ids.uuid_of(kind, number) not in self.spare:
            raise exc
        self.damaged[kind, number] = str(exc)

    def _fetch(self, kind: Kind, ids: list[int]) -> list[Bundle]:
        """An export in halves, and without what cannot be exported at all: that must not hide the others."""
        try:
            return list(self.client.iter_exports(kind.value, ids))
        except SupersetError as exc:
            if not self._may_be_of_one(exc) or len(self.damaged) >= MANY_DAMAGED:
                raise
            if len(ids) == 1:
                self._give_up(kind, ids[0], exc)
                return []
        middle = len(ids) // 2
        return [*self._fetch(kind, ids[:middle]), *self._fetch(kind, ids[middle:])]

    def _export_in_chunks(self, to_export: dict[Kind, list[int]], facts: Facts) -> None:
        """Dashboards first: they bring their charts, datasets and connections, which then need no request."""
        total = sum(len(ids) for ids in to_export.values())
        for kind in reversed(Kind):
            pending = [number for number in to_export[kind] if not self._has(facts.ids.uuid_of(kind, number))]
            if kind == Kind.DATABASE:
                self._export_databases(pending, facts)
                continue
            for bundle in self._exports(kind, pending):
                self._take(bundle, facts.ids)
                self.progress(f"Exporting {kind.plural}", min(total, len(self.reading.exported)), total)

    def _exports(self, kind: Kind, ids: list[int]) -> Iterator[Bundle]:
        """Chunk by chunk in the order of the ids, as many at a time as the environment allows."""
        size = EXPORT_CHUNK[kind.value]
        chunks = [ids[start : start + size] for start in range(0, len(ids), size)]
        parallel = min(self.environment.max_parallel, len(chunks))
        if parallel < 2:
            for chunk in chunks:
                yield from self._fetch(kind, chunk)
            return
        with ThreadPoolExecutor(parallel, thread_name_prefix="superset-export") as pool:
            waiting: deque[Future[list[Bundle]]] = deque()
            try:
                for chunk in chunks:
                    waiting.append(pool.submit(self._fetch, kind, chunk))
                    if len(waiting) > parallel:
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _export_databases(self, pending: list[int], facts: Facts) -> None:
        """A connection's own export carries all of its datasets; the export of one of them carries it as well."""
        through = [
            facts.dataset_of[number]
            for number in pending
            if number in facts.dataset_of and not self._has(facts.ids.uuid_of(Kind.DATABASE, number))
        ]
        for bundle in self._exports(Kind.DATASET, through):
            self._take(bundle, facts.ids)
        unused = [number for number in pending if number not in facts.dataset_of]
        for bundle in self._exports(Kind.DATABASE, unused):
            self._take(bundle, facts.ids)

    def _export_alone(self, kind: Kind, row: Row, facts: Facts) -> Bundle:
        if kind == Kind.DATABASE and row.id in facts.dataset_of:
            return self._export(Kind.DATASET, [facts.dataset_of[row.id]])
        return self._export(kind, [row.id])

    # -- chosen assets --------------------------------------------------------------------------------

    def selected(self, wanted: Mapping[Kind, list[int]]) -> EnvironmentReading:
        ids = _known_ids(self.environment)
        bundles: list[Bundle] = []
        for kind, numbers in wanted.items():
            self.progress(f"Exporting {kind.plural}", len(bundles), len(wanted))
            bundles.append(self._export(kind, numbers))
        if bundles:
            self._take_all(bundles, ids)
        self.reading.ids.update(ids)
        return self._done(complete=False)

    # -- common ---------------------------------------------------------------------------------------

    def _list(self, kind: Kind) -> list[Any]:
        listing: dict[Kind, Callable[[], list[Any]]] = {
            Kind.DASHBOARD: self.client.list_dashboards,
            Kind.CHART: self.client.list_charts,
            Kind.DATASET: self.client.list_datasets,
            Kind.DATABASE: self.client.list_databases,
        }
        return listing[kind]()

    def _export(self, kind: Kind, ids: list[int]) -> Bundle:
        export: dict[Kind, Callable[[Iterable[int]], Bundle]] = {
            Kind.DASHBOARD: self.client.export_dashboards,
            Kind.CHART: self.client.export_charts,
            Kind.DATASET: self.client.export_datasets,
            Kind.DATABASE: self.client.export_databases,
        }
        try:
            return export[kind](ids)
        except SupersetError as exc:
            if self._may_be_of_one(exc) and len(ids) == 1:
                self._give_up(kind, ids[0], exc)
                return Bundle()
            if exc.code != "not_found":
                raise
            return Bundle(vanished=tuple(ids))

    def _has(self, uuid: str | None) -> bool:
        return uuid is None or uuid in self.reading.exported

    @contextmanager
    def _counted(self, purpose: str) -> Iterator[None]:
        before = _requests(self.client)
        yield
        self.reading.purposes[purpose] += _requests(self.client) - before

    def _take(self, bundle: Bundle, ids: IdTable) -> None:
        self._take_all([bundle], ids)
        if self.in_memory is not None and len(self.reading.documents) >= self.in_memory:
            self.reading.put_away()

    def _take_all(self, bundles: list[Bundle], ids: IdTable) -> None:
        """Read bundles together: references between them resolve, and each asset knows when it was exported."""
        moments: dict[str, datetime | None] = {}
        for bundle in bundles:
            for uuid in bundle.assets:
                moments.setdefault(uuid, bundle.exported_at)  # the first is kept, as merging does
        merged = bundles[0] if len(bundles) == 1 else Bundle.merge(*bundles)
        assets: list[RawAsset] = list(merged.assets.values())
        read = read_assets(assets, ids, self.url)
        reading = self.reading
        reading.documents.update(read.documents)
        for uuid in read.documents:
            reading.hashes.pop(uuid, None)
            reading.learned.pop(uuid, None)
        reading.ids.update(read.ids)
        notes = _by_uuid(read.notes)
        for uuid in moments.keys() & (read.documents.keys() | notes.keys()):
            reading.exported[uuid] = moments[uuid]
            self.notes[uuid] = notes.get(uuid, [])

    def _done(self, *, complete: bool) -> EnvironmentReading:
        reading = self.reading
        reading.complete = complete
        reading.notes = tuple(note for uuid in sorted(self.notes) for note in self.notes[uuid])
        moments = [moment for moment in reading.exported.values() if moment is not None]
        reading.exported_at = min(moments, default=None)
        if self.in_memory is not None:
            reading.put_away()
        reading.requests = _requests(self.client) - self.requests_before
        return reading


def _lost(bundle: Bundle) -> dict[Kind, set[str]]:
    """What the assets of a full export refer to and it lacks, by kind: left out in silence, or really gone."""
    lost: dict[Kind, set[str]] = {}
    for owner, gone in bundle.unresolved().items():
        asset = bundle.assets[owner]
        if asset.kind == "dataset":
            lost.setdefault(Kind.DATABASE, set()).update(gone)
        elif asset.kind == "chart":
            lost.setdefault(Kind.DATASET, set()).update(gone)
    # A dashboard's charts have their id in the file name and are never lost; a place without one is a deleted chart.
    return lost


def _known_ids(environment: Environment) -> IdTable:
    """Ids of the whole environment as last seen, for references to what is not exported now."""
    rows = environment.assets.values_list("kind", "superset_id", "uuid")
    ids = IdTable((Kind(kind), number, uuid) for kind, number, uuid in rows)
    if (snapshot := latest_complete(environment)) is not None:
        entries = snapshot.entries.exclude(superset_id=None).values_list("kind", "superset_id", "uuid")
        for kind, id_then, uuid in entries:
            if id_then is not None:
                ids.add(Kind(kind), id_then, uuid)
    return ids


def _by_uuid(notes: Iterable[Note]) -> dict[str, list[Note]]:
    found: dict[str, list[Note]] = {}
    for note in notes:
        found.setdefault(note.uuid, []).append(note)
    return found


def _requests(client: SupersetClient) -> int:
    """Requests about assets so far: signing in and looking at the version are not counted."""
    return sum(
        1
        for record in list(client.log)
        if record.path.startswith("/api/v1/") and not record.path.startswith("/api/v1/security/")
    )
