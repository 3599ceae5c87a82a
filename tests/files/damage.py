"""A tree that preset-cli 0.3.13 made of Superset 6.1.0 (the Slack dashboard of the examples), and damages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

TREE = Path(__file__).parents[1] / "data" / "trees" / "preset_cli"
DASHBOARD = "dashboards/Slack_Dashboard_7.yaml"
DATABASE = "databases/examples.yaml"
CHART = "charts/Weekly_Threads_65.yaml"
OTHER_CHART = "charts/Weekly_Messages_69.yaml"
DATASET = "datasets/examples/threads_15.yaml"
SECRET = "hunter2-in-a-tree"  # never in what is kept

Data = dict[str, Any]


def tree_files() -> dict[str, bytes]:
    return {path.relative_to(TREE).as_posix(): path.read_bytes() for path in sorted(TREE.rglob("*.yaml"))}


def changed(files: dict[str, bytes], path: str, change: Callable[[Data], object]) -> None:
    data = yaml.safe_load(files[path])
    change(data)
    files[path] = yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode()


def uuid_of(files: dict[str, bytes], path: str) -> str:
    return str(yaml.safe_load(files[path])["uuid"])


def some_node(board: Data, number: int = 0) -> Data:
    nodes = [
        node for node in board["position"].values() if isinstance(node, dict) and node.get("type") == "CHART"
    ]
    return dict.__getitem__(nodes[number], "meta")  # type: ignore[no-any-return]


def damaged() -> tuple[dict[str, bytes], set[tuple[str, str]]]:
    """Files with one of each damage, and (code, path) of what an audit against an empty 6.1.0 has to name."""
    files = tree_files()
    planted: set[tuple[str, str]] = set()

    def plant(code: str, path: str, change: Callable[[Data], object]) -> None:
        changed(files, path, change)
        planted.add((code, path))

    nowhere = "00000000-0000-4000-8000-00000000dead"
    plant("dangling_chart", DASHBOARD, lambda board: some_node(board).update(uuid=nowhere))
    plant("chart_unlinked", DASHBOARD, lambda board: some_node(board, 1).pop("uuid"))
    plant(
        "metadata_crash",
        DASHBOARD,
        lambda board: board["metadata"].update(timed_refresh_immune_slices=[4711]),
    )
    plant(
        "filter_outside",
        DASHBOARD,
        lambda board: board["metadata"].update(
            native_filter_configuration=[{"id": "F", "name": "Day", "targets": [{"datasetUuid": nowhere}]}]
        ),
    )
    plant(
        "foreign_id",
        DASHBOARD,
        lambda board: board["metadata"].update(
            chart_customization_config=[{"id": "C", "scope": {"excluded": [4712]}}]
        ),
    )
    plant(
        "annotation_lost",
        CHART,
        lambda chart: chart["params"].update(
            annotation_layers=[
                {"name": "Releases", "annotationType": "EVENT", "sourceType": "NATIVE", "value": 1}
            ]
        ),
    )
    plant("dangling_dataset", OTHER_CHART, lambda chart: chart.update(dataset_uuid=nowhere))
    plant("viz_type_unknown", OTHER_CHART, lambda chart: chart.update(viz_type="event_flow"))
    plant("unknown_field", CHART, lambda chart: chart.update(colour_of_the_week="red"))
    plant("foreign_id", DATASET, lambda data: data.update(sql="SELECT * FROM {{ dataset(4713) }}"))
    plant("secret_in_file", DATASET, lambda data: data.update(template_params={"api_token": SECRET}))
    plant("loads_data", DATASET, lambda data: data.update(data="https://files.test/threads.csv"))
    plant(
        "secret_in_file",
        DATABASE,
        lambda data: data.update(sqlalchemy_uri=f"postgresql://bi:{SECRET}@dwh/dev"),
    )
    plant("unknown_extra", DATABASE, lambda data: data["extra"].update(our_own_key=1))
    doubled = "charts/Z_copy_99.yaml"
    files[doubled] = files["charts/Top_Timezones_67.yaml"]
    plant("doubled_uuid", doubled, lambda chart: chart.update(slice_name="A copy of it"))
    files["charts/Broken_98.yaml"] = b"slice_name: [unfinished\n"
    planted.add(("unreadable_file", "charts/Broken_98.yaml"))
    return files, planted
