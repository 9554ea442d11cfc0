"""Pictures of graphs: what is folded, where things stand in the tree, and that drawings are well formed."""

import random
from collections.abc import Mapping
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import pytest
from tests.client.shown_graphs import BEGAN, ShownGraph, ShownGraphs, add, report, succeeded, total
from tests.support.random_canvases import draw

from grpcflow import chain, chord, group
from grpcflow.graph import GraphView
from grpcflow.graph.boxes import Line, Picture
from grpcflow.graph.layout import lay_out
from grpcflow.graph.model import Tally
from grpcflow.graph.tree import bar_parts, rows

NASTY = 'Bad<&>"\'\x00\x1b[31m: "quoted" \\ ]]> <script>alert(1)</script>\nsecond line'


def view(canvas: Any, told: Any = succeeded) -> GraphView:
    graph = ShownGraph(canvas, told)
    return GraphView(ShownGraphs(graph), graph.id)


def failing(*bad: int, error: str = "ValueError: no") -> Any:
    def told(index: int) -> Mapping[str, Any]:
        if index in bad:
            return {"state": "FAILURE", "worker": "w2", "error": error, "settled_at_ms": BEGAN + 400}
        return succeeded(index)

    return told


def shape(picture: Picture) -> list[str]:
    """Returns the tree without states: the branches and the labels."""
    return [row.prefix + row.label for row in rows(picture)]


def inner(count: int = 4) -> Any:
    return chord([add.s(i) for i in range(count)], total.s())


def test_a_chord_of_chords_is_a_tree_of_chains_in_groups() -> None:
    picture = view(chord([inner(), inner(), add.s(1)], total.s()) | report.s()).picture()
    assert shape(picture) == [
        "├─ group of 3",
        "│  ├─ chain",
        "│  │  ├─ group of 4",
        "│  │  │  └─ shop.add x 4",
        "│  │  └─ shop.total",
        "│  ├─ chain",
        "│  │  ├─ group of 4",
        "│  │  │  └─ shop.add x 4",
        "│  │  └─ shop.total",
        "│  └─ shop.add",
        "├─ shop.total",
        "└─ shop.report",
    ]


def test_a_call_before_a_group_stands_before_it_and_not_in_it() -> None:
    canvas = chain(
        add.s(1), group(chain(add.s(2), total.s()), report.s(3)), total.s(), group(add.s(i) for i in range(9))
    )
    assert shape(view(canvas).picture()) == [
        "├─ shop.add",
        "├─ group of 2",
        "│  ├─ chain",
        "│  │  ├─ shop.add",
        "│  │  └─ shop.total",
        "│  └─ shop.report",
        "├─ shop.total",
        "└─ group of 9",
        "   └─ shop.add x 9",
    ]


def test_callbacks_hang_at_their_call() -> None:
    canvas = chain(add.s(1).on_error(report.si("a")), add.s(2).set(link=[chain(total.s(), report.s())]), add.s(3))
    assert shape(view(canvas).picture()) == [
        "├─ shop.add",
        "│  └─ on error: shop.report",
        "├─ shop.add",
        "│  └─ then: chain",
        "│     ├─ shop.total",
        "│     └─ shop.report",
        "└─ shop.add",
    ]


def test_neighbours_that_others_tell_apart_are_not_one_box() -> None:
    together = view(chain(report.s(), group(add.s(1), add.s(2), add.s(3)))).picture()
    assert [box.count for box in together.boxes] == [1, 3, 1]
    apart = view(chain(report.s(), group(add.s(1), inner(2), add.s(3).on_error(total.si())))).picture()
    assert [box.count for box in apart.boxes if box.title == "shop.add"] == [1, 2, 1]


def test_a_thousand_members_are_one_box_with_a_bar_and_the_first_failures() -> None:
    for canvas in (inner(1000), chain(report.s(), group(add.s(i) for i in range(1000)), total.s())):
        text = view(canvas, failing(17, 30, 31, 32, 600)).tree()
        line = next(line for line in text.splitlines() if "shop.add x 1,000" in line)
        assert line.endswith("████████▓  995 SUCCESS, 5 FAILURE")
        assert [part.split("#")[0].split()[-1] for part in text.splitlines() if " #" in part] == ["├─", "├─", "└─"]
        assert text.count("FAILURE  w2  ValueError: no") == 3


def test_a_thousand_chains_are_one_chain_of_boxes_of_a_thousand() -> None:
    canvas = group(chain(add.s(i), total.s(), report.s()) for i in range(1000))
    assert shape(view(canvas).picture()) == [
        "└─ group of 1,000",
        "   └─ chain",
        "      ├─ shop.add x 1,000",
        "      ├─ shop.total x 1,000",
        "      └─ shop.report x 1,000",
    ]


@pytest.mark.slow
def test_a_thousand_chords_are_folded_too() -> None:
    picture = view(chord([inner(3) for _ in range(1000)], report.s())).picture()
    assert shape(picture) == [
        "├─ group of 1,000",
        "│  └─ chain",
        "│     ├─ group of 3 x 1,000",
        "│     │  └─ shop.add x 3,000",
        "│     └─ shop.total x 1,000",
        "└─ shop.report",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1, 2, 50, 500])
def test_what_is_over_the_limit_is_left_out_and_counted_but_never_the_end(limit: int) -> None:
    seen = view(chain(add.si(i) for i in range(1200)) | report.s())
    picture = seen.picture(limit)
    assert len(picture.boxes) == limit
    assert picture.boxes[picture.end].title == "shop.report"
    assert picture.left_out == 1201 - limit
    assert sum(box.count for box in picture.boxes) == limit
    assert f"... and {1201 - limit:,} more that are not shown" in seen.tree(limit)
    assert f"{1201 - limit:,} more are not shown" in seen.svg(limit)
    assert f"{1201 - limit:,} more are not shown" in seen.dot(limit)


@pytest.mark.slow
def test_far_beyond_the_limit_nothing_more_is_read() -> None:
    graph = ShownGraph(chain(add.si(i) for i in range(20_000)), page=100)
    served = ShownGraphs(graph)
    picture = GraphView(served, graph.id).picture(10)
    assert picture.left_out == 19_990
    assert picture.boxes[-1].run.first == 19_999
    assert len([one for one in served.asked if one[0] == "page"]) < 60


def test_a_limit_of_no_box_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one box; limit=0"):
        view(add.s(1)).picture(0)


def test_states_of_a_tree_are_told_with_workers_times_and_errors() -> None:
    def told(index: int) -> Mapping[str, Any]:
        return {
            0: {**succeeded(0), "retries": 2, "losses": 1},
            1: {"state": "STARTED", "worker": "w1"},
            2: {"state": "PENDING", "waiting": True},
            3: {"state": "FAILURE", "error": "ValueError: no", "origin": "elsewhere"},
        }[index]

    lines = view(chain(add.si(i) for i in range(4)), told).tree().splitlines()
    assert lines[1:] == [
        "├─ shop.add  SUCCESS  w1  250 ms  2 retries  lost once",
        "├─ shop.add  STARTED  w1",
        "├─ shop.add  WAITING",
        "└─ shop.add  FAILURE  because of elsewhere",
    ]
    assert lines[0].endswith("  FAILURE  1 SUCCESS, 1 FAILURE, 1 RUNNING, 1 WAITING")


@pytest.mark.slow
def test_a_deeply_nested_canvas_has_a_tree_and_a_picture() -> None:
    for depth, lines in ((30, 30 * 4 + 1), (400, 500)):
        canvas: Any = add.s(1)
        for _ in range(depth):
            canvas = chord([canvas, report.s(2)], total.s())
        seen = view(canvas)
        assert len(seen.tree().splitlines()) >= lines
        ElementTree.fromstring(seen.svg())


def test_bars_show_what_there_is_at_all_and_keep_their_width() -> None:
    assert bar_parts(Tally(1000, succeeded=999, failed=1), 20) == [("SUCCESS", 19), ("FAILURE", 1)]
    tally = Tally(100_000, unsettled=99_995, running=1, succeeded=1, failed=1, revoked=1, rejected=1, ignored=1)
    parts = bar_parts(tally, 20)
    assert (len(parts), sum(width for _, width in parts)) == (7, 20)
    assert min(width for _, width in parts) == 1


def test_what_users_wrote_cannot_break_a_picture() -> None:
    seen = view(chord([add.s(1), report.s(2)], total.s()), failing(0, error=NASTY))
    document = ElementTree.fromstring(seen.svg())
    texts = "".join(document.itertext())
    assert "<script>" in texts
    assert not [one for one in document.iter() if one.tag.endswith("script")]
    assert "\x00" not in seen.svg()
    dot = seen.dot()
    assert "\n" not in dot.split("tooltip=")[1].split("];")[0]
    assert '\\"quoted\\" \\\\ ]]>' in dot


def test_a_picture_says_what_colours_and_shapes_mean_and_only_those_there_are() -> None:
    plain = view(add.s(1)).svg()
    assert ">SUCCESS<" in plain
    assert "collects a group" not in plain
    assert "on error" not in plain
    full = view(chord([add.s(1), add.s(2)], total.s()).on_error(report.s()), failing(0)).svg()
    for text in (">SUCCESS<", ">FAILURE<", "collects a group", "on error", "stroke-dasharray"):
        assert text in full


def overlaps(spots: list[Any]) -> list[tuple[Any, Any]]:
    boxes = [(spot.x, spot.y - spot.height / 2, spot.x + spot.width, spot.y + spot.height / 2) for spot in spots]
    return [(a, b) for a, b in combinations(boxes, 2) if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]]


def test_a_chain_of_thirty_goes_on_in_the_next_band_as_text_does() -> None:
    layout = lay_out([(120.0, 46.0)] * 30, [Line(i, i + 1, "value") for i in range(29)])
    assert len(layout.bands) == 4
    assert {spot.y for spot in layout.spots} == {(top + bottom) / 2 for top, bottom in layout.bands}
    assert sum(len(way.breaks) for way in layout.ways) == 3
    assert overlaps(layout.spots) == []


def test_the_main_line_runs_straight_and_errbacks_stand_beside_it() -> None:
    lines = [Line(0, 1, "value"), Line(1, 2, "value"), Line(0, 3, "error"), Line(1, 4, "error")]
    layout = lay_out([(120.0, 46.0)] * 5, lines)
    ys = [spot.y for spot in layout.spots]
    assert max(ys[:3]) - min(ys[:3]) < 1
    assert min(ys[3:]) > max(ys[:3]) + 46


@pytest.mark.slow
def test_random_canvases_are_drawn_whole_with_no_box_over_another(rng: random.Random) -> None:
    drawn = 0
    for _ in range(60):
        made = draw(rng)
        try:
            graph = ShownGraph(made.built(), args=made.args, kwargs=made.kwargs)
        except AssertionError:
            continue  # an empty canvas
        seen = GraphView(ShownGraphs(graph), graph.id)
        picture = seen.picture()
        for limited in (picture, seen.picture(rng.randint(1, 8))):
            shown = [id(row.box) for row in rows(limited) if row.box is not None]
            assert sorted(shown) == sorted(id(box) for box in limited.boxes)
            assert sum(box.count for box in limited.boxes) + limited.left_out == graph.nodes
        assert all(line.parent < line.child for line in picture.lines)
        layout = lay_out([(120.0, 46.0)] * len(picture.boxes), picture.lines)
        assert overlaps(layout.spots) == []
        ElementTree.fromstring(seen.svg())
        assert seen.dot().count(" -> ") == len(picture.lines)
        drawn += 1
    assert drawn > 30
