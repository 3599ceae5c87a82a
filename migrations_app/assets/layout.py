"""A dependency graph in four columns, laid out on the server: places of boxes and lines, no database, no markup."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Key = tuple[str, str]  # kind, uuid

COLUMNS = ("dashboard", "chart", "dataset", "database")
TITLES = {"dashboard": "Dashboards", "chart": "Charts", "dataset": "Datasets", "database": "Databases"}
#: In pixels. A box is high enough to be hit with a finger.
BOX_WIDTH, BOX_HEIGHT, GAP_X, GAP_Y, HEAD = 196, 32, 56, 10, 30
MOST_IN_COLUMN = 12
CHARACTERS = 25  # that fit a box in the font of the page
SWEEPS = 4  # sorting by neighbours settles after a few


@dataclass(frozen=True)
class Node:
    """What is to be drawn. `is_maybe`: only mentioned; `is_missing`: named, and not there."""

    key: Key
    title: str
    url: str = ""
    state: str = ""
    icon: str = ""
    is_maybe: bool = False
    is_missing: bool = False


@dataclass
class Box:
    """A node in its place, or ("more": how many) what its column has no room for."""

    node: Node
    column: int
    x: int = 0
    y: int = 0
    more: int = 0
    is_centre: bool = False

    width: int = BOX_WIDTH
    height: int = BOX_HEIGHT

    @property
    def kind(self) -> str:
        return self.node.key[0]

    @property
    def text_x(self) -> int:
        return self.x + 30

    @property
    def text_y(self) -> int:
        return self.y + 21

    @property
    def icon_x(self) -> int:
        return self.x + 9

    @property
    def icon_y(self) -> int:
        return self.y + 9

    @property
    def label(self) -> str:
        return f"and {self.more} more" if self.more else short(self.node.title)


@dataclass(frozen=True)
class Line:
    path: str
    is_maybe: bool


@dataclass(frozen=True)
class Heading:
    text: str
    x: int
    y: int = 16


@dataclass
class Picture:
    width: int
    height: int
    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    headings: list[Heading] = field(default_factory=list)


def lay_out(nodes: Iterable[Node], edges: Iterable[tuple[Key, Key, bool]], centre: Key) -> Picture:
    """Boxes by kind from left to right, sorted by the mean place of their neighbours; what is too much is folded.

    `edges`: (above, below, is_maybe). The centre is never folded. The same input gives the same picture.
    """
    by_key = {node.key: node for node in nodes}
    wanted = [(above, below, maybe) for above, below, maybe in edges if above in by_key and below in by_key]
    columns = {kind: [key for key in by_key if key[0] == kind] for kind in COLUMNS}
    neighbours: dict[Key, list[Key]] = {key: [] for key in by_key}
    for above, below, _ in wanted:
        neighbours[above].append(below)
        neighbours[below].append(above)
    for keys in columns.values():
        keys.sort(key=lambda key: (key != centre, -len(neighbours[key]), by_key[key].title, key))
    folded: dict[Key, Key] = {}
    shown: dict[str, list[Key]] = {}
    for kind, keys in columns.items():
        if len(keys) <= MOST_IN_COLUMN:
            shown[kind] = keys
            continue
        shown[kind] = keys[: MOST_IN_COLUMN - 1]
        rest = (kind, "")
        folded.update(dict.fromkeys(keys[MOST_IN_COLUMN - 1 :], rest))
    lines: dict[tuple[Key, Key], bool] = {}
    for above, below, maybe in wanted:
        ends = folded.get(above, above), folded.get(below, below)
        if ends[0] != ends[1]:
            lines[ends] = lines.get(ends, True) and maybe
    _sort(shown, lines)
    return _placed(by_key, shown, folded, lines, centre)


def _sort(shown: dict[str, list[Key]], lines: Mapping[tuple[Key, Key], bool]) -> None:
    """Each column by the mean place of what its boxes are joined with, again and again from both sides."""
    joined: dict[Key, list[Key]] = {}
    for above, below in lines:
        joined.setdefault(above, []).append(below)
        joined.setdefault(below, []).append(above)
    for sweep in range(SWEEPS):
        place = {
            key: index - (len(keys) - 1) / 2 for keys in shown.values() for index, key in enumerate(keys)
        }
        for kind in COLUMNS if sweep % 2 == 0 else reversed(COLUMNS):

            def mean(key: Key, place: Mapping[Key, float] = place) -> float:
                near = [
                    place[other] for other in joined.get(key, ()) if other in place and other[0] != key[0]
                ]
                return sum(near) / len(near) if near else place[key]

            shown[kind].sort(key=lambda key: (mean(key), place[key]))
            place.update({key: index - (len(shown[kind]) - 1) / 2 for index, key in enumerate(shown[kind])})


def _placed(
    by_key: Mapping[Key, Node],
    shown: Mapping[str, Sequence[Key]],
    folded: Mapping[Key, Key],
    lines: Mapping[tuple[Key, Key], bool],
    centre: Key,
) -> Picture:
    used = [kind for kind in COLUMNS if shown[kind]]
    more: dict[Key, int] = {}
    for rest in folded.values():
        more[rest] = more.get(rest, 0) + 1
    sizes = {kind: len(shown[kind]) + ((kind, "") in more) for kind in used}
    rows = max(sizes.values(), default=0)
    picture = Picture(
        width=max(1, len(used) * BOX_WIDTH + (len(used) - 1) * GAP_X) + 2,
        height=HEAD + rows * (BOX_HEIGHT + GAP_Y) + 2,
    )
    boxes: dict[Key, Box] = {}
    for column, kind in enumerate(used):
        x = 1 + column * (BOX_WIDTH + GAP_X)
        picture.headings.append(Heading(TITLES[kind], x))
        top = HEAD + (rows - sizes[kind]) * (BOX_HEIGHT + GAP_Y) // 2
        for index, key in enumerate(shown[kind]):
            boxes[key] = Box(
                by_key[key], column, x, top + index * (BOX_HEIGHT + GAP_Y), is_centre=key == centre
            )
        if number := more.get((kind, "")):
            y = top + len(shown[kind]) * (BOX_HEIGHT + GAP_Y)
            boxes[kind, ""] = Box(Node((kind, ""), ""), column, x, y, more=number)
    picture.boxes = list(boxes.values())
    for (above, below), maybe in sorted(lines.items()):
        if above in boxes and below in boxes:
            picture.lines.append(Line(_path(boxes[above], boxes[below]), maybe))
    return picture


def _path(left: Box, right: Box) -> str:
    """A curve from the right side of one box to the left side of another; within a column, around their right sides."""
    if left.column > right.column:
        left, right = right, left
    half = BOX_HEIGHT // 2
    y1, y2 = left.y + half, right.y + half
    x1 = left.x + BOX_WIDTH
    if left.column == right.column:
        bend = x1 + GAP_X // 2
        return f"M{x1} {y1}C{bend} {y1} {bend} {y2} {x1} {y2}"
    middle = x1 + GAP_X // 2
    # Past the columns between them it runs straight, at the height where it ends.
    x2 = right.x
    return f"M{x1} {y1}C{middle} {y1} {middle} {y2} {x1 + GAP_X} {y2}H{x2}"


def short(title: str, room: int = CHARACTERS) -> str:
    """A title that fits a box; wide letters (Chinese, Japanese, Korean) take two places."""
    used = 0
    for index, letter in enumerate(title):
        used += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if used > room:
            return f"{title[: max(1, index - 1)].rstrip()}…"
    return title
