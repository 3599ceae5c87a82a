"""Incremental readings of real Supersets: what they cost, and what they find."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from environments.connections import connecting_through
from environments.lab.instance import RunningSuperset
from environments.lab.large import Sizes, build_large_estate, uuid_of
from environments.lab.rest import Rest
from environments.models import Environment, GoneAsset, Reading
from environments.superset.transport import tls_context
from migrations_app.estate import states
from migrations_app.estate.models import SyncState
from tests.live.product import Product, product  # noqa: F401  a fixture

pytestmark = [pytest.mark.live, pytest.mark.django_db(transaction=True)]

SIZES = Sizes(charts=40, dashboards=8, datasets=20)


class Witness(httpx.BaseTransport):
    """Passes requests on, and notes what was asked for: an independent witness of the counts."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        self.inner = httpx.HTTPTransport(verify=tls_context(None))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.paths.append(request.url.path)
        return self.inner.handle_request(request)

    def close(self) -> None:
        self.inner.close()


@pytest.fixture
def asked() -> Iterator[Callable[[], list[str]]]:
    """What was asked for about assets since the last call, below /api/v1/."""
    paths: list[str] = []

    def taken() -> list[str]:
        found = [path.removeprefix("/api/v1/").strip("/") for path in paths if path.startswith("/api/v1/")]
        paths.clear()
        return [path for path in found if not path.startswith("security/")]

    with connecting_through(lambda environment: Witness(paths)):
        yield taken


def read(product: Product, environment: Environment) -> Reading:  # noqa: F811
    product.refresh(environment)
    row = environment.readings.first()
    assert row is not None
    return row


def test_readings_of_two_supersets_find_every_edit_and_nothing_else(
    product: Product,  # noqa: F811
    fresh_target: Callable[..., RunningSuperset],
    asked: Callable[[], list[str]],
) -> None:
    """Two releases with other ids, filled on another day; then a colleague edits one of them."""
    newer, older = fresh_target("6.1.0", contents="prod"), fresh_target("6.0.0", contents="prod")
    for superset in (newer, older):
        build_large_estate(superset, SIZES)
    dev, prod = product.register("dev", newer), product.register("prod", older)
    ids = [set(place.assets.values_list("kind", "superset_id")) for place in (dev, prod)]
    assert ids[0] != ids[1]

    # The same assets: nothing differs, whatever their ids, times and releases.
    states.refresh(dev, None)
    found = SyncState.objects.filter(source=dev, target=prod)
    assert [(one.kind, one.title, one.state, one.sentences) for one in found.exclude(state="in_sync")] == []
    assert found.exclude(kind="database").count() == SIZES.total

    # Nothing changed: the lists and no export.
    product.refresh(dev)  # what was made within two seconds of a reading is read again, once
    asked()
    again = read(product, dev)
    assert asked() == ["dashboard", "chart", "dataset", "database"]
    assert (again.requests["list"], again.requests["export"], again.requests["sweep"]) == (4, 0, 0)
    assert (again.added, again.changed, again.gone) == (0, 0, 0)

    # A colleague edits six assets; one reading finds them all, and who it was.
    Rest(newer).add_user("grace", "a long password 1", "Admin")
    expected = edit(Rest(newer, "grace", "a long password 1"))
    before = dict(dev.assets.values_list("uuid", "comparable"))
    asked()
    row = read(product, dev)
    assert {path for path in asked() if path.endswith("/export")} <= {
        "dashboard/export",
        "chart/export",
        "dataset/export",
    }
    assert (row.added, row.changed, row.gone) == (0, len(expected), 1)
    assert row.requests["export"] <= 3
    now = {asset.uuid: asset for asset in dev.assets.all()}
    assert {uuid for uuid, asset in now.items() if asset.comparable != before[uuid]} == set(expected)
    for uuid, edited_by in expected.items():
        if edited_by:
            assert (now[uuid].title, now[uuid].changed_by) == (now[uuid].title, "Grace Lab")
    gone = GoneAsset.objects.get(environment=dev)
    assert (gone.kind, gone.uuid, bool(gone.document)) == ("chart", uuid_of("chart", 39), True)
    states.refresh(dev, None)
    differ = SyncState.objects.filter(source=dev, target=prod).exclude(state="in_sync")
    assert {one.source_uuid or one.target_uuid for one in differ} == {*expected, gone.uuid}
    assert all(one.sentences for one in differ if one.source_uuid)

    # And the next one finds nothing any more.
    asked()
    last = read(product, dev)
    assert (last.added, last.changed, last.gone) == (0, 0, 0)


def edit(rest: Rest) -> dict[str, bool]:
    """A chart's title, a dataset's metric, a dashboard's filter, a layout, a dashboard's title; a chart is deleted.

    Returns what is another now -> whether its own author tells who did it.
    """

    def of(kind: str, number: int) -> tuple[str, str]:
        uuid = uuid_of(kind, number)
        return uuid, f"/api/v1/{kind}/{rest.find(kind, 'uuid', uuid)}"

    def got(path: str) -> dict[str, Any]:
        result: dict[str, Any] = rest.call("GET", path)["result"]
        return result

    expected: dict[str, bool] = {}
    uuid, path = of("chart", 2)
    rest.call("PUT", path, {"slice_name": "Renamed"})
    expected[uuid] = True

    uuid, path = of("dataset", 3)
    names = ("id", "metric_name", "expression", "verbose_name")
    metrics = [{name: metric[name] for name in names} for metric in got(path)["metrics"]]
    metrics[0]["expression"] = "COUNT(DISTINCT region)"
    rest.call("PUT", path, {"metrics": metrics})
    expected[uuid] = True

    uuid, path = of("dashboard", 1)
    metadata = json.loads(got(path)["json_metadata"])
    metadata["native_filter_configuration"][0]["name"] = "Area"
    rest.call("PUT", path, {"json_metadata": json.dumps(metadata)})
    expected[uuid] = True

    uuid, path = of("dashboard", 2)
    position = json.loads(got(path)["position_json"])
    position["GRID_ID"]["children"].reverse()
    rest.call("PUT", path, {"position_json": json.dumps(position)})
    expected[uuid] = True

    uuid, path = of("dashboard", 3)
    rest.call("PUT", path, {"dashboard_title": "Renamed, too"})
    expected[uuid] = True

    _, path = of("chart", 39)
    rest.call("DELETE", path)
    expected[uuid_of("dashboard", 7)] = False  # it stood there; its own row stays as it was
    return expected
