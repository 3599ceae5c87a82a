"""The table of a sweep: points tried and how they ended, by kind of fault."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from environments.lab.places import REPOSITORY
from tests.bench.page import commit

from . import judge
from .estates import IN_WORDS

PAGE = REPOSITORY / "docs" / "faults.md"
_HEAD = """# Faults that were tried

Written by `make faults ARGS="--write …"`; do not edit. What a point is and what must hold at
each: [faults](development.md#faults).
"""

COLUMNS = (
    judge.PLANNED,
    judge.NOT_PLANNED,
    judge.APPLIED,
    judge.ROLLED_BACK,
    judge.STOPPED,
    judge.ATTENTION,
)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """`rows`: situation, fault, outcome, problems, fired of each point."""
    if not rows:
        return "No point was tried."
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    wrong: Counter[tuple[str, str]] = Counter()
    for row in rows:
        for key in ((row["situation"], row["fault"]), ("all", "")):
            counts[key][row["outcome"]] += 1
            counts[key]["points"] += 1
            wrong[key] += bool(row["problems"])
    columns = [name for name in COLUMNS if counts["all", ""][name]]
    others = [name for name in counts["all", ""] if name not in (*COLUMNS, "points")]
    head = ["", "points", *columns, *others, "wrong"]
    lines = [head]
    for key in sorted(counts, key=lambda item: (item[0] == "all", item)):
        found = counts[key]
        lines.append(
            [
                " ".join(key).strip(),
                str(found["points"]),
                *(str(found[name] or "·") for name in (*columns, *others)),
                str(wrong[key] or "·"),
            ]
        )
    widths = [max(len(line[index]) for line in lines) for index in range(len(head))]
    return "\n".join(
        line[0].ljust(widths[0])
        + "  "
        + "  ".join(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))
        for line in lines
    )


def failures(rows: Sequence[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        if row["problems"]:
            lines.append(f"{row['point']} -> {row['outcome']}")
            lines += [f"    {problem}" for problem in row["problems"]]
            if row.get("said"):
                lines.append(f"    it said: {row['said'][:300]}")
    unreached = [row["point"] for row in rows if not row["fired"]]
    if unreached:
        lines.append(f"{len(unreached)} points were not reached: {', '.join(unreached[:5])}")
    return "\n".join(lines)


def page(rows: Sequence[dict[str, Any]], total: int, *, estate: str, version: str) -> str:
    """docs/faults.md, of `rows` among `total` points."""
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit()}"
    wrong = failures(rows)
    return "\n".join(
        [
            _HEAD,
            f"*{when}: {IN_WORDS[estate]}, to a Superset {version}. {len(rows)} of {total} points were tried.*",
            "",
            f"```text\n{table(rows)}\n```",
            *(["", f"```text\n{wrong}\n```"] if wrong else []),
            "",
        ]
    )
