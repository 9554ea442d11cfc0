"""A graph as Python: what the code builds is the graph that was there, and what it cannot build is said."""

import datetime
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from grpcflow import Grpcflow, chain, chord, group
from grpcflow.connection import Connection
from grpcflow.dashboard.actions import BadArguments
from grpcflow.dashboard.canvas_code import CALLS, canvas_code
from grpcflow.dashboard.link import Link
from grpcflow.lower import Calls, lower, to_chunks
from grpcflow.testing import Cluster

app = Grpcflow("dashboard-canvases", set_as_current=False)
GRAPH = bytes(12)


@app.task(name="c.add")
def add(*numbers: Any, **more: Any) -> Any:
    return None


@app.task(name="c.secret", sensitive=True)
def secret(password: str) -> None:
    return None


@pytest.fixture(scope="module")
def link() -> Iterator[Link]:
    """Asks a cluster without a worker: what was submitted stays as it was."""
    with Cluster(app, concurrency=0) as cluster:
        made = Link(Connection([cluster.address]))
        yield made
        made.stop()


def a(n: int, **options: Any) -> Any:
    return add.s(n).set(**options)


def built(link: Link, canvas: Any) -> tuple[Any, dict[str, Any]]:
    """Submits a canvas; returns what its code builds, before it is submitted, and what is said of it."""
    told = canvas_code(link, canvas.apply_async().id)
    words: dict[str, Any] = {"app": app}
    exec(told["python"].replace("result = canvas.apply_async()\n", ""), words)
    return words["canvas"], told


def graph_of(canvas: Any) -> Any:
    lowered = lower(canvas, Calls(app))
    assert lowered is not None
    return [chunk.SerializeToString(deterministic=True) for chunk in to_chunks(lowered, GRAPH)]


CANVASES: dict[str, Callable[[], Any]] = {
    "a call": lambda: add.s(1, [2, {"x": None}], y="é'\n"),
    "with options": lambda: a(1, queue="mail", priority=7),
    "a map": lambda: chain(add.map([1, 2]), add.starmap([(1, 2), (3, 4)])),
    "a chain": lambda: chain(a(1), a(2), add.si(3), a(4)),
    "a group": lambda: group(a(n) for n in range(5)),
    "a group of one": lambda: group([chain(a(1), a(2))]),
    "a chord": lambda: chord([a(1), chain(a(2), a(3)), a(4)], a(5)),
    "a chord that takes nothing": lambda: chord([a(1), a(2)], add.si(5)),
    "a group behind a call": lambda: chain(a(1), group(a(2), add.si(3), chain(a(4), a(5)))),
    "groups one after the other": lambda: chain(group(a(1), a(2)), group(a(3), a(4)), a(5)),
    "chords in chords": lambda: chord([chord([a(1), a(2)], a(3)), chain(a(4), group(a(5), a(6)), a(7))], a(8)),
    "a chord of one": lambda: chain(chord([a(1)], a(2)), a(3)),
    "an errback of a chord": lambda: chord([a(1), a(2)], a(3)).on_error(a(4)),
    "a callback": lambda: a(1, link=[a(2)]),
    "a callback of two steps in a chain": lambda: chain(a(1, link=[chain(a(2), a(3))]), a(4)),
    "errbacks of one call": lambda: chain(a(1, link_error=[a(2), add.si(3)]), a(4)),
    "an errback of all": lambda: chain(a(1), a(2), a(3)).on_error(a(9)),
}


@pytest.mark.parametrize("name", CANVASES)
def test_the_code_builds_the_same_graph(link: Link, name: str) -> None:
    canvas, told = built(link, CANVASES[name]())
    assert graph_of(canvas) == graph_of(CANVASES[name]()), told["python"]
    assert told["lacks"] == []


def test_what_is_not_in_it_is_said(link: Link) -> None:
    _, told = built(link, chain(a(1), chord([a(2), chain(a(3), a(4)).on_error(a(6))], a(5))))
    assert "Not in it: 1 call of the graph" in told["lacks"][0]
    assert told["python"].startswith(f"# {told['lacks'][0]}\n")


def test_a_graph_that_only_looks_like_the_canvas_is_told_apart(link: Link) -> None:
    [sentence] = canvas_code(link, a(1, link_error=[group(a(2), a(3))]).apply_async().id)["lacks"]
    assert "not build quite the same graph" in sentence


def test_arguments_that_nobody_is_to_see_are_not_shown(link: Link) -> None:
    told = canvas_code(link, chain(secret.s("open sesame"), a(1)).apply_async().id)
    assert "open sesame" not in told["python"]
    assert "args=..." in told["python"]
    assert "1 call are not kept" in told["lacks"][0]


def test_arguments_that_are_no_literals_are_pointed_at(link: Link) -> None:
    [sentence] = canvas_code(link, add.delay(datetime.date(2026, 1, 2)).id)["lacks"]
    assert "not literals" in sentence


def test_what_is_too_large_is_refused(link: Link) -> None:
    with pytest.raises(BadArguments, match="nodes"):
        canvas_code(link, group(a(n) for n in range(CALLS)).apply_async().id)
    with pytest.raises(BadArguments, match="letters"):
        canvas_code(link, add.delay("x" * 300_000).id)
