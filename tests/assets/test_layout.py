"""The picture of a graph: places of boxes and lines, without a browser."""

from __future__ import annotations

from migrations_app.assets.layout import BOX_HEIGHT, BOX_WIDTH, MOST_IN_COLUMN, Node, Picture, lay_out, short


def node(kind: str, name: str) -> Node:
    return Node((kind, name), name)


def draw(charts: int, datasets: int = 1) -> Picture:
    nodes = [node("chart", f"c{number:02}") for number in range(charts)]
    nodes += [node("dataset", f"d{number:02}") for number in range(datasets)]
    edges = [
        (one.key, ("dataset", f"d{index % datasets:02}"), False) for index, one in enumerate(nodes[:charts])
    ]
    return lay_out(nodes, edges, ("dataset", "d00"))


def test_boxes_stand_in_their_columns_and_none_upon_another() -> None:
    picture = draw(8, 3)
    assert [heading.text for heading in picture.headings] == ["Charts", "Datasets"]
    for one in picture.boxes:
        assert 0 <= one.x <= picture.width - BOX_WIDTH
        assert 0 <= one.y <= picture.height - BOX_HEIGHT
        for other in picture.boxes:
            assert one is other or one.x != other.x or abs(one.y - other.y) > BOX_HEIGHT
    assert len(picture.lines) == 8
    assert [box.node.title for box in picture.boxes if box.is_centre] == ["d00"]


def test_neighbours_stand_beside_each_other() -> None:
    """Charts of one dataset are not scattered: sorted by the mean place of what they stand on."""
    picture = draw(9, 3)
    charts = sorted((box for box in picture.boxes if box.kind == "chart"), key=lambda box: box.y)
    of = [int(box.node.title[1:]) % 3 for box in charts]
    assert sorted(of, key=of.index) == of


def test_what_has_no_room_is_folded_and_counted_never_the_centre() -> None:
    nodes = [node("chart", f"c{number:02}") for number in range(40)]
    picture = lay_out(
        [*nodes, node("dataset", "d")],
        [(one.key, ("dataset", "d"), False) for one in nodes[:39]],
        nodes[39].key,
    )
    charts = [box for box in picture.boxes if box.kind == "chart"]
    assert len(charts) == MOST_IN_COLUMN
    assert [box.label for box in charts if box.more] == [f"and {40 - MOST_IN_COLUMN + 1} more"]
    assert any(box.is_centre for box in charts)
    assert len(picture.lines) == MOST_IN_COLUMN - 1  # ten boxes and the fold; the centre has none


def test_circles_and_what_is_only_mentioned_are_drawn() -> None:
    """A dataset that reads another by a macro, and the other way round."""
    one, other = node("dataset", "a"), node("dataset", "b")
    picture = lay_out([one, other], [(one.key, other.key, True), (other.key, one.key, False)], one.key)
    assert sorted(line.is_maybe for line in picture.lines) == [False, True]


def test_titles_are_cut_by_their_width() -> None:
    assert short("Sales") == "Sales"
    assert short("x" * 40) == "x" * 24 + "…"
    assert len(short("数" * 40)) == 12
