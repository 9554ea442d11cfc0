"""Random canvases: hypothesis strategies that draw them as written, and a builder that makes them with the public API.

A canvas is drawn as a plain dict (see written.py), so that the reference evaluator can judge what the user wrote and
not what the client made of it. `build` then says the same with `from grpcflow import ...`.

What the rules leave open is not drawn: an empty chain anywhere but in a chain that holds something, callbacks on a
group that flattens away, callbacks on a group of one or of none in a chain.
"""

import functools
import itertools
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from tests.support import shapes, written
from tests.support.functions import FUNCTIONS
from tests.support.written import Canvas

from grpcflow import Grpcflow, Signature, signature
from grpcflow import chain as chain_of
from grpcflow import chord as chord_of
from grpcflow import group as group_of

#: The app that the canvases belong to; its tasks are those of functions.py.
app = Grpcflow("canvases")
TASKS = {name: app.task(name=name)(function) for name, function in FUNCTIONS.items()}

Strategy = st.SearchStrategy[Canvas]


@dataclass(frozen=True, slots=True)
class Drawn:
    """One random submission.

    Attributes:
        canvas: As written.
        args: Partial arguments of the whole.
        kwargs: Partial keyword arguments of the whole.
        operators: True: chains are written with the | operator.
    """

    canvas: Canvas
    args: list[Any]
    kwargs: dict[str, Any]
    operators: bool

    def built(self) -> Signature:
        """Returns the canvas as the public API makes it."""
        return build(self.canvas, operators=self.operators)


# ------------------------------------------------------------------------------------------------ drawing

_NUMBERS = st.integers(0, 9)
_HARMLESS = st.sampled_from(["add", "mul", "xsum", "tag", "tag", "noop", "again"])
_LABELS = st.sampled_from(["a", "b", "c", "d", "e", "f"])


def _calls(tasks: st.SearchStrategy[str]) -> Strategy:
    def made(task: str, args: list[Any], kwargs: dict[str, Any], immutable: bool, options: dict[str, Any]) -> Canvas:
        canvas = (written.fixed if immutable else written.call)(f"canvases.{task}", *args, **kwargs)
        return written.having(canvas, **options)

    args = st.lists(_NUMBERS | _LABELS, max_size=2)
    kwargs = st.dictionaries(st.sampled_from(["p", "q"]), _NUMBERS, max_size=1)
    return st.builds(made, tasks, args, kwargs, st.integers(0, 5).map(lambda n: n == 5), _OPTIONS)


#: Options that move a call in time and order and must change nothing else.
_OPTIONS = st.sampled_from([{}, {}, {}, {}, {"countdown": 2}, {"priority": 7}])


_FAILING = st.builds(functools.partial(written.call, "canvases.fail"), _LABELS)
#: About one call in ten fails: enough to see failures, and whole canvases still succeed.
_ANY_CALL = st.one_of(*[_calls(_HARMLESS)] * 9, _FAILING)
_ROWS = st.lists(st.lists(_NUMBERS, min_size=1, max_size=2), max_size=4)
_MAPS = st.builds(written.xmap, _HARMLESS.map("canvases.{}".format), _ROWS)
_STARMAPS = st.builds(written.xstarmap, _HARMLESS.map("canvases.{}".format), _ROWS)
_CHUNKS = st.builds(written.chunks, _HARMLESS.map("canvases.{}".format), _ROWS, st.integers(1, 3))


def _with_callbacks(canvases: Strategy) -> Strategy:
    """Draws callbacks onto some canvases: calls and small canvases."""
    links = st.lists(st.one_of(_ANY_CALL, _small()), min_size=1, max_size=2)
    errbacks = st.lists(st.one_of(_calls(_HARMLESS), _small()), min_size=1, max_size=2)

    def attached(canvas: Canvas, link: list[Canvas] | None, errback: list[Canvas] | None) -> Canvas:
        canvas = written.linked(canvas, *link) if link else canvas
        return written.on_error(canvas, *errback) if errback else canvas

    seldom = st.none() | st.none() | st.none()
    return st.builds(attached, canvases, seldom | links, seldom | errbacks)


def _small() -> Strategy:
    calls = _calls(_HARMLESS)
    return st.one_of(
        st.lists(calls, min_size=1, max_size=2).map(lambda found: written.chain(*found)),
        st.lists(calls, min_size=2, max_size=2).map(lambda found: written.group(*found)),
    )


def _is_group(canvas: Canvas) -> bool:
    return bool(canvas["subtask_type"] == "group")


def _bare(canvas: Canvas) -> Canvas:
    """Returns a group without callbacks; anything else as it is."""
    return canvas | {"options": {}} if _is_group(canvas) else canvas


def _member(canvas: Canvas) -> Canvas:
    return _bare(canvas)


def _step(canvas: Canvas) -> Canvas:
    return _bare(canvas) if _is_group(canvas) and _size(canvas) < 2 else canvas


def _size(canvas: Canvas) -> int:
    """Counts the members of a group, groups in it flattened."""
    return len(shapes.members(canvas))


_NOTHING = st.sampled_from([written.group(), written.group(written.group())])


def canvases(depth: int = 5) -> Strategy:
    """Draws canvases with at most *depth* primitives nested in each other."""
    leaf = _with_callbacks(st.one_of(_ANY_CALL, _ANY_CALL, _ANY_CALL, _MAPS, _STARMAPS))
    return st.one_of(leaf, *_composed(depth), _CHUNKS) if depth else leaf


def _composed(depth: int, fewest: int = 1) -> list[Strategy]:
    """Returns the strategies of chains, groups and chords with at least *fewest* parts."""
    inner = st.deferred(lambda: canvases(depth - 1))
    members = st.lists(inner.map(_member), min_size=fewest, max_size=4)
    steps = st.lists(inner.map(_step), min_size=fewest, max_size=4)
    return [
        _with_callbacks(st.builds(_chain, steps, st.none() | _NOTHING)),
        _with_callbacks(members.map(lambda found: written.group(*found))),
        _with_callbacks(st.builds(written.chord, members | st.just([]), inner)),
    ]


def _chain(steps: list[Canvas], nothing: Canvas | None) -> Canvas:
    return written.chain(*steps, *([nothing] if nothing else []))


def _numbered(canvas: Canvas, numbers: Iterator[int]) -> Canvas:
    """Returns the canvas with a number in each callback, so that no two are equal and each can be counted."""

    def inner(part: Any) -> Any:
        if isinstance(part, list):
            return [inner(item) for item in part]
        return _numbered(part, numbers) if isinstance(part, dict) and "subtask_type" in part else part

    options = dict(canvas["options"])
    for name in {"link", "link_error"} & options.keys():
        options[name] = [_numbered(_signed(callback, next(numbers)), numbers) for callback in options[name]]
    kwargs = {name: inner(value) for name, value in canvas["kwargs"].items()}
    return canvas | {"kwargs": kwargs, "options": options}


def _signed(callback: Canvas, number: int) -> Canvas:
    """Returns a callback with a number among the arguments of its calls."""
    if callback["subtask_type"] is None:
        return callback | {"args": [*callback["args"], f"callback {number}"]}
    parts = callback["kwargs"].get("tasks", [])
    return callback | {"kwargs": callback["kwargs"] | {"tasks": [_signed(part, number) for part in parts]}}


def submissions(depth: int = 5) -> st.SearchStrategy[Drawn]:
    """Draws whole submissions: a canvas, partial arguments, and how it is written."""
    kwargs = st.dictionaries(st.just("p"), _NUMBERS, max_size=1)
    # Three in four are composed of several parts, for a single call tells little.
    drawn = st.one_of(canvases(depth), *_composed(depth, 2))
    numbered = drawn.map(lambda canvas: _numbered(canvas, itertools.count(1)))
    return st.builds(Drawn, numbered, st.lists(_NUMBERS, max_size=2), kwargs, st.booleans())


# ------------------------------------------------------------------------------------------------ building


def build(canvas: Canvas, *, operators: bool = False) -> Signature:
    """Says with the public API what *canvas* says as a dict.

    Args:
        canvas: As written.
        operators: True: chains of two and more are written with the | operator, but for those with a group of one, or
            that begin with one of none: the operator makes a chord of it, as in Celery, and only chain() unrolls it.
            Nor are those of which all but one step are empty: the operator leaves the other step as it is, and a group
            is flattened into a group that a chain with it is a member of.
    """
    again: Callable[[Canvas], Signature] = functools.partial(build, operators=operators)
    built = _built(canvas, again, operators=operators)
    built.set(**{name: value for name, value in canvas["options"].items() if name not in ("link", "link_error")})
    for callback in canvas["options"].get("link", ()):
        built.link(again(callback))
    for errback in canvas["options"].get("link_error", ()):
        built.link_error(again(errback))
    return built


def _built(canvas: Canvas, again: Callable[[Canvas], Signature], *, operators: bool) -> Signature:
    kwargs = canvas["kwargs"]
    match canvas["subtask_type"]:
        case None:
            task = TASKS[canvas["task"]]
            return (task.si if canvas["immutable"] else task.s)(*canvas["args"], **kwargs)
        case "chain":
            steps = [again(step) for step in kwargs["tasks"]]
            short = any(_is_short(step, place) for place, step in enumerate(kwargs["tasks"]))
            if operators and sum(1 for _ in shapes.steps(canvas)) > 1 and not short:
                return functools.reduce(operator.or_, steps)
            return chain_of(*steps)
        case "group":
            return group_of([again(member) for member in kwargs["tasks"]])
        case "chord":
            return chord_of([again(member) for member in kwargs["header"]], again(kwargs["body"]))
        case "xmap":
            return TASKS[kwargs["task"]["task"]].map(kwargs["it"])
        case "xstarmap":
            return TASKS[kwargs["task"]["task"]].starmap(kwargs["it"])
        case "chunks":
            return TASKS[kwargs["task"]["task"]].chunks(kwargs["it"], kwargs["n"])
        case other:
            raise AssertionError(f"unknown kind of canvas: {other}")


def _is_short(step: Canvas, place: int) -> bool:
    """Tells whether a step is a group of one, or the first step and a group of none."""
    return _is_group(step) and (_size(step) == 1 or (_size(step) == 0 and not place))


def rebuilt(built: Signature) -> Signature:
    """Returns a signature that went through JSON, as one does that is an argument of a task."""
    return signature(dict(built), app=app)
