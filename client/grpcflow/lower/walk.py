"""From canvas to graph: the walk that gives every construct its meaning.

Pure: the same canvas, settings and tasks give the same graph. It never recurses on the canvas: chains of ten
thousand steps and deep nesting are walked with a stack of its own. It may not import grpc or protobuf.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from grpcflow.canvas.parts import is_empty, merged_options
from grpcflow.lower.model import LoweredGraph, Mode, OnFailure, Outcome, Run
from grpcflow.lower.nodes import Graph
from grpcflow.lower.sources import Known, Link, Source, Sources, without_values
from grpcflow.lower.steps import (
    IDEMPOTENCY,
    NOT_HANDED_DOWN,
    NOTHING,
    Canvas,
    Errback,
    Given,
    Step,
    callbacks_of,
    chunked,
    effective_steps,
    empty_chains,
    members_of,
)
from grpcflow.lower.templates import Calls

__all__ = ["lower"]

#: A part of the walk: yields the parts that it needs done first, is sent their outcomes, and returns its own.
Walk = Generator["Walk", Outcome, Outcome]

_CALLS: Final = frozenset({None, "xmap", "xstarmap"})
_JOINED: Final = frozenset({"group", "chunks"})
#: Options of a chord that hold for its header; all others hold for its body.
_HEADER_OPTIONS: Final = frozenset({"countdown", "eta"})


def lower(
    canvas: Canvas,
    calls: Calls,
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> LoweredGraph | None:
    """Return the graph of a canvas; None for an empty chain, which has no meaning of its own.

    Args:
        canvas: A signature of any kind.
        calls: Makes templates and payloads.
        args: Partial arguments, for the first step.
        kwargs: Partial keyword arguments.
        options: Options that win over those of the canvas; None values do not count.

    Raises:
        TypeError: A task does not take its arguments, or an option does not exist.
        ValueError: An option is wrong, or a chord has no body.
        SerializationError: An argument cannot travel.
        PayloadTooLarge: The encoded arguments of a call are over the limit.
    """
    if is_empty(canvas):
        return None
    given = NOTHING
    if args or kwargs or options:
        wanted = {name: value for name, value in (options or {}).items() if value is not None}
        key = wanted.pop(IDEMPOTENCY, None)
        given = Given(args, kwargs, wanted, idempotency=key)
        if key is not None:  # it wins over the canvas's own
            own = {name: value for name, value in canvas["options"].items() if name != IDEMPOTENCY}
            canvas = {**canvas, "options": own}
    whole = merged_options(canvas["options"], given.options)
    lowering = _Lowering(calls.under(whole.get("parent_id"), whole.get("root_id")))
    outcome = lowering.run(Step(canvas, given))
    graph = lowering.graph
    return LoweredGraph(graph.templates, graph.runs, graph.node_count, outcome)


class _Lowering:
    """One walk over one canvas."""

    def __init__(self, calls: Calls) -> None:
        self.graph = Graph(calls)

    def run(self, whole: Step) -> Outcome:
        """Walk the canvas, then its callbacks, then what those linked, until nothing is left."""
        outcome = self._walk(whole, (), None)
        links, errbacks = self.graph.links, self.graph.errbacks
        while links or errbacks:
            if links:
                link = links.popleft()
                ended = self._called_back(Step(link.signature, link.given), link.sources, link.parent)
                if ended is not None and link.parent is not None:
                    link.parent.callbacks.append(ended)
            else:
                errback = errbacks.popleft()
                failing = tuple(Source(node, mode=Mode.ERROR) for node in errback.parents)
                key = errback.idempotency
                self._called_back(
                    Step(errback.signature, NOTHING if key is None else Given(idempotency=key)), failing, None
                )
        return outcome

    def _called_back(self, step: Step, sources: Sources, parent: Outcome | None) -> Outcome | None:
        """Walk a callback; None for an empty chain, of which only what is linked to it runs."""
        if is_empty(step.canvas):
            self._skip(empty_chains(step), sources, parent)
            return None
        return self._walk(step, sources, parent)

    def _walk(self, step: Step, sources: Sources, parent: Outcome | None) -> Outcome:
        """Walk one part and all that it asks for, with a stack of our own instead of Python's."""
        if step.canvas["subtask_type"] in _CALLS:
            return self.graph.call(step, sources, parent)
        stack = [self._part(step, sources, parent)]
        outcome: Any = None  # a generator must be sent None first
        while stack:
            try:
                stack.append(stack[-1].send(outcome))
                outcome = None
            except StopIteration as ended:
                stack.pop()
                outcome = ended.value
        walked: Outcome = outcome
        return walked

    def _part(self, step: Step, sources: Sources, parent: Outcome | None) -> Walk:
        """Return the walk of a composed canvas, by its kind."""
        kind = step.canvas["subtask_type"]
        if kind == "chain":
            return self._chain(step, sources, parent)
        if kind in _JOINED:
            return self._group(step, sources, parent)
        if kind == "chord":
            return self._chord(step, sources, parent)
        raise ValueError(f"there is no kind of canvas {kind!r}")

    def _chain(self, step: Step, sources: Sources, parent: Outcome | None) -> Walk:
        """Walk the steps; a group that another step follows is the header of a chord."""
        steps, skipped = effective_steps(step)
        self._skip(skipped.get(0, ()), sources, parent)
        if not steps:  # nothing but empty groups, so its value is that of one
            return self.graph.join((), (), _within(sources), step, parent)
        outcome = parent
        for position, current in enumerate(steps):
            kind = current.canvas["subtask_type"]
            if kind in _JOINED and position + 1 < len(steps):
                # An errback of the whole chain is told of the body, which fails with its header.
                following = steps[position + 1].errbacks
                current.errbacks = [errback for errback in current.errbacks if errback not in following]
            if isinstance(outcome, Known):
                current.given = current.given.after(outcome.value)
            if kind in _CALLS:
                outcome = self.graph.call(current, sources, outcome)
            elif kind in _JOINED:
                outcome = yield self._group(current, sources, outcome, in_chord=position + 1 < len(steps))
            else:
                outcome = yield self._part(current, sources, outcome)
            sources = _after(outcome)
            self._skip(skipped.get(position + 1, ()), sources, outcome)
        return outcome  # type: ignore[return-value] # there is at least one step

    def _chord(self, step: Step, sources: Sources, parent: Outcome | None) -> Walk:
        """Walk the header as a group, then the body, which waits for its join."""
        parts = step.canvas["kwargs"]
        if parts.get("body") is None:
            raise ValueError("this chord has no body: write chord(header, body) or chord(header)(body)")
        given = step.given.into(step.canvas)
        early = {name: value for name, value in given.options.items() if name in _HEADER_OPTIONS}
        late = {name: value for name, value in given.options.items() if name not in _HEADER_OPTIONS}
        key = given.idempotency
        header = Step(_as_group(parts["header"]), Given(given.args, given.kwargs, early, given.sealed, key))
        if is_empty(parts["body"]):
            header.task_id = step.own_id()  # the header's list is the value
        body = Step(parts["body"], Given(options=late, idempotency=key), step.own_id())
        body.links = step.all_links()
        errbacks = callbacks_of(step.canvas, "link_error", step.given)
        body.errbacks = step.errbacks + [Errback(errback) for errback in errbacks]
        outcome: Outcome | None = None
        if next(members_of(Step(header.canvas)), None) is not None:
            outcome = yield self._group(header, sources, parent, in_chord=True)
            sources, parent = _after(outcome), outcome
            value = outcome.value if isinstance(outcome, Known) else None
        else:
            # There is no header to wait for: the body runs with the empty list, after what came before the chord.
            self._skip_group(header, sources, parent)
            sources, value = without_values(sources), []
        if value is not None:
            body.given = body.given.after(value)
        if not is_empty(body.canvas):
            return (yield from self._after_header(body, sources, parent))
        self._skip(effective_steps(body)[1].get(0, ()), sources, parent)
        if outcome is None:
            return self.graph.join((), (), _within(sources), body, parent)
        self.graph.note_callbacks(body, outcome)  # an empty chain hands on the header's list
        return outcome

    def _after_header(self, body: Step, sources: Sources, parent: Outcome | None) -> Walk:
        """Walk the body of a chord."""
        if body.canvas["subtask_type"] in _CALLS:
            return self.graph.call(body, sources, parent)
        return (yield self._part(body, sources, parent))

    # --- what comes to nothing, and what is linked to it -----------------------------------------------------

    def _skip(self, skipped: Iterable[Step], sources: Sources, parent: Outcome | None) -> None:
        """Note the links of what was skipped in one place of a chain; ``sources``: what that place waits for."""
        for step in skipped:
            if isinstance(parent, Known):
                step.given = step.given.after(parent.value)
            self._linked(step, sources, parent)

    def _linked(self, step: Step, sources: Sources, parent: Outcome | None) -> None:
        """Note the links of a part that comes to no node: an empty chain hands on what it gets, all else gives []."""
        links = step.all_links()
        if not links:
            return
        key = step.idempotency()
        given = Given(step.given.args, idempotency=key)
        if not is_empty(step.canvas):
            sources, given = without_values(sources), Given(([],), idempotency=key)
        # A link does not run where what it waits for fails, and that is no failure of its own.
        sources = tuple(replace(source, on_failure=OnFailure.PASS) for source in sources)
        self.graph.links.extend(Link(link, sources, given, parent) for link in links)

    def _skip_group(self, step: Step, sources: Sources, parent: Outcome | None) -> None:
        """Note the links in and of a group that has no members."""
        for _ in members_of(step):  # there are none; reading them finds what else stands in it
            raise AssertionError("a group of none has a member")
        self._skip([*step.skipped, step], sources, parent)

    def _group(self, step: Step, sources: Sources, parent: Outcome | None, *, in_chord: bool = False) -> Walk:
        """Walk the members, then the join; plain calls with nothing to wait for share runs."""
        graph = self.graph
        inner = _within(sources)
        members: list[Outcome | tuple[int, int]] = []
        shared: list[Run] = []
        run: Run | None = None
        for canvas, given in _members(step):
            if not inner and graph.shares_run(canvas):
                before, run = run, graph.shared_call(canvas, given, run)
                if run is not before:
                    _close(before, members)
                    shared.append(run)
                continue
            _close(run, members)
            run = None
            member = Step(canvas, given)
            if canvas["subtask_type"] in _CALLS:
                members.append(graph.call(member, inner, None))
            else:
                members.append((yield self._part(member, inner, None)))
        _close(run, members)
        self._skip(step.skipped, sources, parent)
        # The join waits for what its members wait for, too: so it can tell a failure from before it, which passes
        # through the group in silence, from a failure of a member, which is its own.
        return graph.join(members, shared, inner, step, parent, in_chord=in_chord)


def _after(outcome: Outcome) -> Sources:
    """Return how what follows waits for ``outcome``; what follows a group follows as the body of a chord."""
    if isinstance(outcome, Known):
        return outcome.sources
    return (Source(outcome.node, OnFailure.PASS if outcome.members is None else OnFailure.CHORD),)


def _within(sources: Sources) -> Sources:
    """Return how members wait: a group that waits for a group fails with the members' error, member by member."""
    return tuple(
        replace(source, on_failure=OnFailure.BODY) if source.on_failure is OnFailure.CHORD else source
        for source in sources
    )


def _close(run: Run | None, members: list[Outcome | tuple[int, int]]) -> None:
    """Note the calls of a shared run that gets no more of them."""
    if run is not None:
        members.append((run.first, len(run.payloads)))


def _as_group(header: Any) -> Canvas:
    """Return the header of a chord as a group."""
    if isinstance(header, Mapping) and header["subtask_type"] == "group":
        return header
    tasks = [header] if isinstance(header, Mapping) else list(header)
    return {
        "task": "",
        "args": (),
        "kwargs": {"tasks": tasks},
        "options": {},
        "subtask_type": "group",
        "immutable": False,
    }


def _members(step: Step) -> Iterable[tuple[Canvas, Given]]:
    """Return the members of a group or of chunks, with what each is given."""
    if step.canvas["subtask_type"] == "group":
        return members_of(step)
    options = merged_options(step.canvas["options"], step.given.options)
    handed = Given(
        options={name: value for name, value in options.items() if name not in NOT_HANDED_DOWN},
        idempotency=step.idempotency(),
    )
    return [(member, handed) for member in chunked(step.canvas)]
