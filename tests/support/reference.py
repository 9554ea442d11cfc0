"""The reference evaluator: what a canvas may come to, found by running it in process in the most obvious way.

It walks the canvas as it was written, recursively and in order, and knows nothing of nodes, edges, workers or time.
What a cluster decides by a race is a *set* here: where several header members fail, any of them may be the first.

May NOT import grpcflow: the judge shares no code with the judged.

The rules (each has its test in tests/canvas/test_reference.py):

* A value is prepended to the arguments of what follows, to those of every member of a group; an immutable call
  ignores it. Partial arguments of the whole canvas enter in the same way, with keyword arguments merged.
* In a chain nested chains splice, groups in groups flatten, a group of one is its member, an empty group is skipped.
* A group's value is the list of its members' values; a chord's body gets that list, and [] from an empty header.
* A failing step fails all behind it in its chain with the same error, and their errbacks stay silent, because nothing
  of theirs went wrong. That holds for whole groups and chords behind it, too.
* A failing member fails its group with the same error; the other members still run. A call behind the group fails
  with a ChordError of its own and its errbacks fire; a group behind it fails with the members' error, errbacks firing.
* Every callback runs once: links on success, errbacks on failure. What becomes of a callback changes nothing else.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

Canvas = Mapping[str, Any]
Functions = Mapping[str, Callable[..., Any]]

#: What an errback gets in place of the failed task's id, which no reference can know.
FAILED_ID: Final = "<failed id>"


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception that a task raised."""

    type_name: str
    message: str


@dataclass(frozen=True, slots=True)
class ChordFailed:
    """The ChordError of a body: a member of its header failed with *cause*."""

    cause: "Error"


Error = Raised | ChordFailed


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a canvas may come to.

    Attributes:
        value: The final value as canonical JSON text; None where it fails.
        errors: The errors it may end with; empty where it succeeds.
        runs: How often each call runs, callbacks included, by the text that `describe_call` gives.
    """

    value: str | None
    errors: frozenset[Error]
    runs: Counter[str]


def canonical(value: Any) -> str:
    """Returns *value* as JSON text that is equal for equal values."""
    return json.dumps(value, sort_keys=True)


def describe_call(task: str, args: Sequence[Any], kwargs: Mapping[str, Any], via: str = "") -> str:
    """Returns one call as text; *via* is "map" or "starmap" where one task calls another for each item."""
    return f"{via}{' ' if via else ''}{task}{canonical([list(args), dict(kwargs)])}"


def call_function(
    functions: Functions, task: str, args: Sequence[Any], kwargs: Mapping[str, Any], via: str = ""
) -> Any:
    """Returns what a call gives, as it comes back from JSON; lets the function's exception through."""
    function = functions[task]
    match via:
        case "map":
            value = [function(item) for item in args[0]]
        case "starmap":
            value = [function(*item) for item in args[0]]
        case _:
            value = function(*args, **kwargs)
    return json.loads(json.dumps(value))


def evaluate(
    canvas: Canvas, functions: Functions, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> Outcome:
    """Runs *canvas* with partial *args* and *kwargs* and returns what it may come to.

    Args:
        canvas: The signature as a dict, as the user wrote it.
        functions: The tasks by name.
        args: Prepended to the arguments of the first step.
        kwargs: Merged into its keyword arguments; these win.
    """
    run = _Run(functions)
    end = run.canvas(canvas, _Given(tuple(args), dict(kwargs or {})))
    if isinstance(end, _Success):
        return Outcome(canonical(end.value), frozenset(), run.calls)
    return Outcome(None, end.errors, run.calls)


# ------------------------------------------------------------------------------------------------ what flows


@dataclass(frozen=True, slots=True)
class _Given:
    """A step may start, with these in front of its own arguments."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


class _Spread(Enum):
    """How a failure reaches the next step."""

    PASS = "same error, errbacks silent"
    CHORD = "ChordError, errbacks fire"
    BODY = "same error, errbacks fire"


@dataclass(frozen=True, slots=True)
class _Broken:
    """A step will never start, because what it waits for failed."""

    errors: frozenset[Error]
    spread: _Spread


@dataclass(frozen=True, slots=True)
class _Success:
    value: Any


@dataclass(frozen=True, slots=True)
class _Failure:
    """A canvas failed.

    Attributes:
        errors: What it may have failed with.
        joined: Its end is a group.
        inherited: Its end only passes on what failed before it.
        loud: Something in it failed on its own account, so that errbacks of the whole of it fire.
    """

    errors: frozenset[Error]
    joined: bool
    inherited: bool
    loud: bool


_Start = _Given | _Broken
_End = _Success | _Failure


def _next_start(previous: _End) -> _Start:
    """Returns how the end of one step reaches the next; a group that follows makes BODY of CHORD itself."""
    if isinstance(previous, _Success):
        return _Given((previous.value,))
    if previous.inherited or not previous.joined:
        return _Broken(previous.errors, _Spread.PASS)
    return _Broken(previous.errors, _Spread.CHORD)


# ------------------------------------------------------------------------------------------------ shapes


def _kind(canvas: Canvas) -> str:
    return canvas.get("subtask_type") or "task"


def _members(canvas: Canvas) -> list[Canvas]:
    """Returns the members of a group; those of groups directly in it stand in their place."""
    found: list[Canvas] = []
    for member in canvas["kwargs"]["tasks"]:
        found += _members(member) if _kind(member) == "group" else [member]
    return found


def _header(canvas: Canvas) -> list[Canvas]:
    """Returns the header members of a chord, written as a list or as a group."""
    header = canvas["kwargs"]["header"]
    return _members(header if isinstance(header, Mapping) else {"kwargs": {"tasks": header}})


def _callbacks(canvas: Canvas, option: str) -> list[Canvas]:
    """Returns the callbacks of one kind: none, one, or a list of them."""
    found = canvas["options"].get(option) or []
    return [found] if isinstance(found, Mapping) else list(found)


def _starmaps(canvas: Canvas) -> list[Canvas]:
    """Returns the members of the group that chunks stands for."""
    size, items, task = canvas["kwargs"]["n"], list(canvas["kwargs"]["it"]), canvas["kwargs"]["task"]
    return [
        {
            "task": "xstarmap",
            "args": [],
            "kwargs": {"task": task, "it": items[start : start + size]},
            "options": {},
            "subtask_type": "xstarmap",
            "immutable": True,
        }
        for start in range(0, len(items), size)
    ]


def _steps(canvas: Canvas) -> Iterator[Canvas]:
    """Yields the steps of a chain without those that stand for nothing; a group of one is its member."""
    for step in canvas["kwargs"]["tasks"]:
        if _kind(step) == "group":
            members = _members(step)
            if len(members) > 1:
                yield step
            elif members:
                yield _unrolled(step, members[0])
        elif _kind(step) != "chain" or list(_steps(step)):
            yield step


def _unrolled(step: Canvas, member: Canvas) -> Canvas:
    """Returns the one member of a group as a chain of one, which carries the group's callbacks."""
    return {**step, "kwargs": {"tasks": [member]}, "subtask_type": "chain"} if step["options"] else member


# ------------------------------------------------------------------------------------------------ the walk


class _Run:
    """One evaluation: the functions, and what has been called so far."""

    def __init__(self, functions: Functions) -> None:
        self.functions = functions
        self.calls: Counter[str] = Counter()

    def canvas(self, canvas: Canvas, start: _Start) -> _End:
        """Runs one canvas of any kind to its end, callbacks included."""
        match _kind(canvas):
            case "task" | "xmap" | "xstarmap":
                end = self._call(canvas, start)
            case "chain":
                end = self._chain(canvas, start)
            case "group":
                end = self._group(_members(canvas), start)
            case "chunks":
                end = self._group(_starmaps(canvas), start)
            case "chord":
                end = self._chord(canvas, start)
            case other:
                raise AssertionError(f"unknown kind of canvas: {other}")
        self._callbacks(canvas, end)
        return end

    def _callbacks(self, canvas: Canvas, end: _End) -> None:
        if isinstance(end, _Success):
            for callback in _callbacks(canvas, "link"):
                self.canvas(callback, _Given((end.value,)))
        elif end.loud:
            for errback in _callbacks(canvas, "link_error"):
                self.canvas(errback, _Given((FAILED_ID,)))

    def _call(self, canvas: Canvas, start: _Start) -> _End:
        if isinstance(start, _Broken):
            errors = start.errors
            if start.spread is _Spread.CHORD:
                errors = frozenset[Error](ChordFailed(cause) for cause in errors)
            silent = start.spread is _Spread.PASS
            return _Failure(errors, joined=False, inherited=silent, loud=not silent)
        task, args, kwargs, via = _bound(canvas, start)
        self.calls[describe_call(task, args, kwargs, via)] += 1
        try:
            return _Success(call_function(self.functions, task, args, kwargs, via))
        except Exception as error:
            raised = Raised(type(error).__name__, str(error))
            return _Failure(frozenset([raised]), joined=False, inherited=False, loud=True)

    def _chain(self, canvas: Canvas, start: _Start) -> _End:
        ends: list[_End] = []
        for step in _steps(canvas):
            if ends:
                start = _next_start(ends[-1])
            ends.append(self.canvas(step, start))
        if not ends:
            return self._nothing(start)
        last = ends[-1]
        if isinstance(last, _Success):
            return last
        loud = any(isinstance(end, _Failure) and end.loud for end in ends)
        return _Failure(last.errors, joined=last.joined, inherited=last.inherited, loud=loud)

    def _nothing(self, start: _Start) -> _End:
        """An empty chain gives on what it was given."""
        if isinstance(start, _Broken):
            return _Failure(start.errors, joined=False, inherited=True, loud=False)
        return _Success(start.args[0] if start.args else None)

    def _group(self, members: Sequence[Canvas], start: _Start) -> _End:
        if isinstance(start, _Broken) and start.spread is _Spread.CHORD:
            start = _Broken(start.errors, _Spread.BODY)
        ends = [self.canvas(member, start) for member in members]
        silent = isinstance(start, _Broken) and start.spread is _Spread.PASS
        errors = [end.errors for end in ends if isinstance(end, _Failure)]
        if isinstance(start, _Broken):
            errors.append(start.errors)
        if errors:
            return _Failure(frozenset[Error]().union(*errors), joined=True, inherited=silent, loud=not silent)
        return _Success([end.value for end in ends if isinstance(end, _Success)])

    def _chord(self, canvas: Canvas, start: _Start) -> _End:
        members, body = _header(canvas), canvas["kwargs"]["body"]
        if members:
            start = _next_start(self._group(members, start))
        elif isinstance(start, _Given):
            start = _Given(([],))
        return self.canvas(body, start)


def _bound(canvas: Canvas, given: _Given) -> tuple[str, list[Any], dict[str, Any], str]:
    """Returns the call that a signature makes of what it is given: task, args, kwargs and via."""
    if _kind(canvas) in {"xmap", "xstarmap"}:
        return canvas["kwargs"]["task"]["task"], [canvas["kwargs"]["it"]], {}, _kind(canvas)[1:]
    if canvas.get("immutable"):
        return canvas["task"], list(canvas["args"]), dict(canvas["kwargs"]), ""
    return canvas["task"], [*given.args, *canvas["args"]], {**canvas["kwargs"], **given.kwargs}, ""
