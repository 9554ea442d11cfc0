"""Deep and large canvases: no recursion limit, and nothing that grows with the square of their size."""

import json
import pickle
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.client.fake_connection import FakeApp

from grpcflow import Signature, chain, chord, codec, group, signature
from grpcflow.lower import Calls, LoweredGraph, lower, to_chunks
from grpcflow_protos.limits import CHUNK_BYTES

app = FakeApp("deep")

#: Levels of a canvas, more than the interpreter takes of calls within calls.
BEYOND = 1_200


@app.task(name="noop")
def noop(*args: Any) -> None:
    """Do nothing."""


NESTED: dict[str, Callable[[Any], Signature]] = {
    "group": lambda inner: group(noop.s(), chain(noop.s(), inner), noop.s()),
    "only groups": lambda inner: group(noop.s(), inner),
    "chord in a header": lambda inner: chord([noop.s(), inner], noop.s()),
    "chord as a body": lambda inner: chord([noop.s(), noop.s()], inner),
    "chain": lambda inner: chain(noop.s(), inner),
}


def nested(kind: str, depth: int) -> Any:
    canvas: Any = noop.s("innermost")
    for _ in range(depth):
        canvas = NESTED[kind](canvas)
    return canvas


def lowered(canvas: Any) -> LoweredGraph:
    graph = lower(canvas, Calls(app))
    assert graph is not None
    return graph


@pytest.mark.parametrize("kind", NESTED)
def test_levels_beyond_the_recursion_limit_meet_none(kind: str) -> None:
    assert sys.getrecursionlimit() < BEYOND
    canvas = nested(kind, BEYOND)
    copied = canvas.clone()
    assert copied == canvas
    assert (copied != canvas) is False
    assert "innermost" in repr(canvas)
    assert canvas.app is app
    longer = canvas | noop.s("after")
    assert longer != canvas
    callback = noop.s("link")
    assert copied.link(callback) is callback
    copied.set_immutable(True)
    frozen = canvas.freeze()
    assert canvas.apply_async().id == frozen.id
    assert lowered(longer).node_count > BEYOND


@pytest.mark.parametrize("kind", NESTED)
def test_fifty_levels_go_through_json_and_pickle(kind: str) -> None:
    canvas = nested(kind, 50)
    back = signature(json.loads(json.dumps(canvas)), app=app)
    assert json.dumps(back) == json.dumps(canvas)
    assert lowered(back).node_count == lowered(canvas).node_count
    assert pickle.loads(pickle.dumps(canvas)) == canvas  # noqa: S301 - our own bytes


@pytest.mark.parametrize("kind", NESTED)
def test_a_canvas_is_an_argument_like_any_other(kind: str) -> None:
    """The codec reads 200 levels of containers, which are forty of canvases."""
    canvas = nested(kind, 30)
    assert json.dumps(codec.decode(codec.encode(canvas))) == json.dumps(canvas)


@pytest.mark.parametrize("kind", NESTED)
def test_a_deep_dict_is_read_back_without_recursion(kind: str) -> None:
    canvas = nested(kind, BEYOND)
    assert signature(dict(canvas), app=app) == canvas
    assert lowered(dict(canvas)).node_count == lowered(canvas).node_count


def _ored(count: int) -> Signature:
    canvas: Any = noop.s()
    for i in range(count - 1):
        canvas |= noop.s(i)
    assert isinstance(canvas, Signature)
    return canvas


def _ored_behind_a_group(count: int) -> Signature:
    canvas: Any = group(noop.s(1), noop.s(2))
    for i in range(count):
        canvas |= noop.s(i)
    assert isinstance(canvas, chord)
    return canvas


LARGE: dict[str, Callable[[int], Signature]] = {
    "group": lambda n: group(noop.s(i) for i in range(4 * n)),
    "skewed group": lambda n: group(noop.s(i) for i in range(n)).skew(),
    "chord": lambda n: chord((noop.s(i) for i in range(4 * n)), noop.s()),
    "chain": lambda n: chain(noop.s(i) for i in range(n)),
    "chain by operator": _ored,
    "chord by operator": _ored_behind_a_group,
    "chord of chords": lambda n: chord(
        (chord((noop.s(i) for i in range(30)), noop.s()) for _ in range(n // 30)), noop.s()
    ),
    "nested groups": lambda n: nested("group", n // 4),
    "nested chords": lambda n: nested("chord in a header", n // 4),
    "nested bodies": lambda n: nested("chord as a body", n // 4),
}


def _seconds(make: Callable[[int], Signature], size: int) -> float:
    """Returns what all steps from the canvas to its messages take."""
    started = time.process_time()
    canvas = make(size)
    canvas.clone().freeze()
    to_chunks(lowered(canvas), b"g" * 12)
    return time.process_time() - started


@pytest.mark.parametrize("kind", LARGE)
def test_time_grows_in_line_with_the_size(kind: str) -> None:
    """Eight times the size takes at most twenty times the time, where the square would take sixty-four.

    One of three tries has to show it, for a busy machine.
    """
    most = 20 * max(min(_seconds(LARGE[kind], 250) for _ in range(3)), 0.002)
    tries = (_seconds(LARGE[kind], 2_000) for _ in range(3))
    assert any(took < most for took in tries)


def test_a_group_of_a_hundred_thousand_is_cut_into_bounded_messages() -> None:
    chunks = to_chunks(lowered(group(noop.s(i) for i in range(100_000))), b"g" * 12)
    assert sum(run.count for chunk in chunks for run in chunk.runs) == 100_001
    assert max(chunk.ByteSize() for chunk in chunks) <= CHUNK_BYTES + 1_000


def test_a_chord_of_three_hundred_chords_of_three_hundred() -> None:
    canvas = chord((chord((noop.s(i) for i in range(300)), noop.s()) for _ in range(300)), noop.s())
    graph = lowered(canvas)
    assert graph.node_count == 300 * 302 + 2
    assert graph.runs[-2].members is not None
    assert sum(count for _, count in graph.runs[-2].members) == 300
