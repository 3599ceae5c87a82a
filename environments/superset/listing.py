"""Complete lists at any size, whatever happens to the instance while they are read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from .errors import SupersetUnreachable

ASKED_PAGE = 1_000  # rows; the server cuts it to its own cap (FAB_API_MAX_PAGE_SIZE, 100 by default)
FIRST_WINDOW = 100  # ids per window of the sweep: the default cap, so that a window is one request
WIDEST_WINDOW = 1_000_000  # ids; where rows are sparse
MAX_REQUESTS = 20_000  # of one sweep, so that a server that answers nonsense cannot keep us forever


@dataclass(frozen=True)
class Page:
    count: int
    rows: list[dict[str, Any]]


FetchPage = Callable[[Mapping[str, Any]], Page]


def read_all(fetch: FetchPage, columns: Iterable[str], *, max_parallel: int) -> list[dict[str, Any]]:
    """Every row once, ordered by id. `fetch` takes the query without `keys` and gives one page.

    Costs one request per page of the server's cap, the pages after the first in parallel. Lists are ordered by change
    time, so a row that changes meanwhile moves between pages: that shows as a row read twice, or as a count that is not
    the number of rows. Then the list is read again in windows of ids, which nothing can move.
    """
    columns = list(columns)
    first = fetch({"page": 0, "page_size": ASKED_PAGE, "columns": columns})
    cap = len(first.rows)
    pages = [first]
    if cap and first.count > cap * MAX_REQUESTS:
        raise SupersetUnreachable(
            f"The list claims {first.count} rows and shows {cap} of them at a time; that cannot be read.",
            code="server_error",
        )
    if first.count > cap > 0:
        queries = [
            {"page": number, "page_size": cap, "columns": columns}
            for number in range(1, -(-first.count // cap))
        ]
        if max_parallel > 1 and len(queries) > 1:
            with ThreadPoolExecutor(max_parallel, thread_name_prefix="superset-list") as pool:
                pages += pool.map(fetch, queries)
        else:
            pages += map(fetch, queries)
    rows = {int(row["id"]): row for page in pages for row in page.rows}
    read = sum(len(page.rows) for page in pages)
    if len(rows) == read == first.count and all(page.count == first.count for page in pages):
        return [rows[key] for key in sorted(rows)]
    return read_by_id_windows(fetch, columns)


def read_newest(fetch: FetchPage, columns: Iterable[str], wanted: Collection[str]) -> list[dict[str, Any]]:
    """The rows of these uuids. Lists begin with what changed last, so what was just written takes as many requests
    as it fills pages, however much else there is. A page that moved meanwhile costs a reading of everything; what is
    not there is not in the answer.
    """
    columns = list(columns)
    found: dict[str, dict[str, Any]] = {}
    number, size, seen = 0, ASKED_PAGE, 0
    while True:
        page = fetch({"page": number, "page_size": size, "columns": columns})
        found |= {str(row.get("uuid")): row for row in page.rows if row.get("uuid") in wanted}
        seen += len(page.rows)
        if len(found) == len(set(wanted)):
            return list(found.values())
        if not page.rows or seen >= page.count:
            rows = read_all(fetch, columns, max_parallel=1) if number else page.rows
            return [row for row in rows if row.get("uuid") in wanted]
        number, size = number + 1, size if number else len(page.rows)


def read_by_id_windows(fetch: FetchPage, columns: Iterable[str]) -> list[dict[str, Any]]:
    """Every row that existed all the time, once, ordered by id: windows `id > a and id < b` (superset-api.md 4.4 C)."""
    columns = list(columns)
    rows: dict[int, dict[str, Any]] = {}
    low, width = 0, FIRST_WINDOW
    empty = 0
    for _ in range(MAX_REQUESTS):
        window = [
            {"col": "id", "opr": "gt", "value": low},
            {"col": "id", "opr": "lt", "value": low + width + 1},
        ]
        page = fetch({"page": 0, "page_size": ASKED_PAGE, "columns": columns, "filters": window})
        if page.count > len(page.rows):
            if width == 1:
                break  # one id, several rows: not a list that ids can divide
            width = max(1, width // 2)
            continue
        rows.update((int(row["id"]), row) for row in page.rows)
        low += width
        # The next window aims at what one page holds, by the density of this one.
        width = min(WIDEST_WINDOW, width * 2) if len(page.rows) * 2 <= FIRST_WINDOW else width
        empty = 0 if page.rows else empty + 1
        if empty:
            rest = fetch(
                {
                    "page": 0,
                    "page_size": 1,
                    "columns": ["id"],
                    "filters": [{"col": "id", "opr": "gt", "value": low}],
                }
            )
            if rest.count == 0:
                return [rows[key] for key in sorted(rows)]
    raise SupersetUnreachable(
        "The list kept changing in a way that makes no sense while it was read. Try again.",
        code="server_error",
    )
