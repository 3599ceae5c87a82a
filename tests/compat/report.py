"""The table of pairs, on the terminal and in docs/versions.md; and the tables of the code there."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from environments.lab.places import REPOSITORY
from environments.lab.versions import SUPERSETS
from environments.superset.fields import FIELDS
from environments.superset.versions import CAPABILITIES

PAGE = REPOSITORY / "docs" / "versions.md"
_WORDS = {
    "theme": "theme of a dashboard",
    "annotation_layer": "annotation layer of a chart",
    "annotation_layer_target": "annotation layer of a chart on the target",
}

Rows = Mapping[tuple[str, str], Mapping[str, Any]]


def terminal(rows: Rows) -> str:
    lines = [f"{'pair':<16} {'holds':<6} {'charts':<34} loses"]
    for (source, target), row in sorted(rows.items()):
        verdicts = _counted(row.get("verdicts", {}))
        holds = "yes" if not row["problems"] else "NO"
        lines.append(f"{source + ' → ' + target:<16} {holds:<6} {verdicts:<34} {_lost(row) or 'nothing'}")
    return "\n".join(lines)


def write_page(rows: Rows, page: Path = PAGE) -> Path:
    text = page.read_text(encoding="utf-8")
    for name, table in (("capabilities", capabilities()), ("fields", fields()), ("compat", _table(rows))):
        if table:
            begin, end = (f"<!-- {name}: {word} -->" for word in ("begin", "end"))
            before, _, rest = text.partition(begin)
            text = f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    page.write_text(text, encoding="utf-8")
    return page


def capabilities() -> str:
    lines = ["| Capability | Since | What | Source |", "|---|---|---|---|"]
    for line in CAPABILITIES:
        lines.append(f"| `{line.name}` | {_since(line.since)} | {line.meaning} | {line.source} |")
    return "\n".join(lines)


def fields() -> str:
    lines = ["| Kind | Field | Since | Without it | Source |", "|---|---|---|---|---|"]
    for field in FIELDS:
        lines.append(
            f"| {field.kind} | `{field.name}` | {_since(field.since)} | {field.meaning} | {field.source} |"
        )
    return "\n".join(lines)


def _since(release: tuple[int, int]) -> str:
    return ".".join(map(str, release))


def _table(rows: Rows) -> str:
    if not rows:
        return ""
    lines = [
        "| From | To | Holds | Assets written | Charts asked | Lost or changed | Seen |",
        "|---|---|---|---|---|---|---|",
    ]
    for source, target in product(SUPERSETS, SUPERSETS):
        row = rows.get((source, target))
        if row is None:
            lines.append(f"| {source} | {target} | not tried yet | | | | |")
            continue
        counts = row.get("counts", {})
        written = counts.get("create", 0) + counts.get("update", 0)
        holds = "yes" if not row["problems"] else f"no: {_cell(row['problems'][0])}"
        lines.append(
            f"| {source} | {target} | {holds} | {written} | {_charts(row)} | "
            f"{_lost(row) or 'none'} | {row['when']}, `{row['commit']}` |"
        )
    return "\n".join(lines)


def _lost(row: Mapping[str, Any]) -> str:
    lost = [f"{number} × {_WORDS.get(name, name)}" for name, number in row.get("losses", {}).items()]
    turned = [f"{number} × {name}" for name, number in row.get("converted", {}).items()]
    left_out = [f"left out: “{_cell(text.partition(': ')[0])}”" for text in row.get("left_out", [])]
    return "; ".join([*left_out, *lost, *turned])


def _charts(row: Mapping[str, Any]) -> str:
    """The verdicts, and the types of the charts that differ."""
    text = _counted(row.get("verdicts", {}))
    types = sorted(
        {entry.partition(": ")[0].rpartition("(")[2].rstrip(")") for entry in row.get("differing", [])}
    )
    return f"{text} ({', '.join(types)})" if types else text


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in counts.items() if number)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:200]
