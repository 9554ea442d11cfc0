"""A whole graph as Python that builds the same canvas again, as far as the coordinator still tells it. Knows no HTTP.

What cannot be told is said beside the code, and never guessed. Values are written out as their `repr`, and never
unpickled.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from grpcflow import Grpcflow, Signature, chain, chord, codec, errors, group
from grpcflow.dashboard.actions import BadArguments
from grpcflow.graph import reading
from grpcflow.graph.view import GraphView
from grpcflow.lower import Calls, lower, to_chunks
from grpcflow_protos.v1 import graph_service_pb2 as pb

if TYPE_CHECKING:
    from grpcflow.dashboard.link import Link
    from grpcflow.graph.model import Run
    from grpcflow_protos.v1 import value_pb2

__all__ = ["CALLS", "canvas_code"]

#: Nodes of a graph that is written out, and letters of the code: nobody reads, or pastes, more.
CALLS: Final = 500
_LETTERS: Final = 200_000

#: Builds what was found once more, to compare it; it sends nothing.
_APP: Final = Grpcflow("grpcflow.dashboard", set_as_current=False)

_HEAD: Final = "from grpcflow import chain, chord, group, xmap, xstarmap  # and the app as `app`\n\n"


@dataclass(slots=True, eq=False)
class _Call:
    """One call as it was submitted."""

    index: int
    id: str
    task: str
    queue: str
    priority: int
    written: str = ""
    mapped: str = ""
    immutable: bool = False
    callbacks: "list[_Steps]" = field(default_factory=list)
    errbacks: "list[_Steps]" = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Group:
    """Members side by side, each of them a chain."""

    index: int
    members: "tuple[_Steps, ...]"


_Steps: TypeAlias = "tuple[_Call | _Group, ...]"


@dataclass(slots=True)
class _Node:
    """One node and what it waits for: (parent, kind) of calls, members of joins."""

    join: bool
    inputs: list[tuple[int, str]] = field(default_factory=list)
    errors: list[tuple[int, str]] = field(default_factory=list)
    members: list[int] = field(default_factory=list)


class _Untold(Exception):
    """Something of the graph has no words in a canvas; the message says what."""


def canvas_code(link: "Link", id: str) -> dict[str, Any]:
    """Return a graph as Python.

    Args:
        link: Whose coordinator is asked.
        id: Id of any node of the graph, or its own.

    Returns:
        ``python``: the code, with what is missing of it as comments; ``lacks``: the same as sentences, none where all
        is told.

    Raises:
        BadArguments: It is too large, or of a kind that cannot be written as a canvas; the message says why.
        NotFound: There is no such graph, or it has expired.
        CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer.
    """
    view = GraphView(link, id)
    summary = view.summary
    if summary.tally.nodes > CALLS:
        raise BadArguments(f"It has {summary.tally.nodes:,} nodes; a canvas of up to {CALLS} is copied.")
    graph = _Graph(list(view.runs(every=True)))
    lacks = graph.take_arguments(link)
    try:
        steps = graph.steps(graph.at[summary.id])
        beside, told_of_all = graph.attach_callbacks(steps)
    except _Untold as why:
        raise BadArguments(f"It cannot be written as a canvas: {why}") from None
    lacks += beside or graph.differences(steps, told_of_all)
    if summary.attached_to:
        lacks.append(f"It runs in place of {summary.attached_to}, whose canvas goes on with its value.")
    lacks.append("Options other than queue and priority, as times, limits and stamps, are those that the tasks have.")
    code = f"canvas = {_shown(steps)}\n" + "".join(f"canvas.link_error({_shown(one)})\n" for one in told_of_all)
    code = "".join(f"# {one}\n" for one in lacks) + _HEAD + code + "result = canvas.apply_async()\n"
    if len(code) > _LETTERS:
        raise BadArguments(f"Its code has {len(code):,} letters; a canvas of up to {_LETTERS:,} is copied.")
    return {"python": code, "lacks": lacks[:-1]}


class _Graph:
    """The nodes of a graph, and the steps that lead to each of them.

    Args:
        runs: All of it, with every node.
    """

    def __init__(self, runs: "Sequence[Run]") -> None:
        self.at: dict[str, int] = {}
        self._nodes: dict[int, _Node] = {}
        self._calls: dict[int, _Call] = {}
        self._steps: dict[int, _Steps] = {}
        for run in runs:
            for node in run.nodes:
                self.at[node.id] = node.index
                self._nodes[node.index] = _node(run)
                if not run.join:
                    self._calls[node.index] = _Call(node.index, node.id, run.task, run.queue, run.priority)

    def differences(self, steps: _Steps, of_all: list[_Steps]) -> list[str]:
        """Return what a canvas of these steps would be other than this graph, as a sentence: it is built, to be sure.

        Args:
            steps: The canvas.
            of_all: Errbacks of the whole.
        """
        canvas = _built(steps)
        for errback in of_all:
            canvas.link_error(_built(errback))
        lowered = lower(canvas, Calls(_APP))
        chunks = [] if lowered is None else list(to_chunks(lowered, bytes(12)))
        templates = [pb.TemplateView(task=one.task) for chunk in chunks for one in chunk.templates]
        made: list[tuple[str, _Node]] = []
        for one in (one for chunk in chunks for one in chunk.runs):
            view = pb.RunView(first=one.first, count=one.count, template=one.template, join=one.HasField("join"))
            view.members.extend(one.join.members)
            view.inputs.extend(one.inputs)
            run = reading.run(view, templates, bytes(12))
            made += [(run.task, _node(run))] * run.count
        tasks = {index: call.task for index, call in self._calls.items()}
        ours = [(tasks.get(index, ""), node) for index, node in sorted(self._nodes.items())]
        return [] if made == ours else ["It does not build quite the same graph: look at empty groups and callbacks."]

    # --- arguments ----------------------------------------------------------------------------------------

    def take_arguments(self, link: "Link") -> list[str]:
        """Ask for the arguments of all calls; return what cannot be told of them."""
        calls = list(self._calls.values())
        found = link.connection.lookup([call.id for call in calls], states_only=True, details=True)
        hidden, unread, plain = 0, 0, 0
        for call, settled in zip(calls, found, strict=True):
            details = None if settled is None else settled.details
            if details is None or not details.payload:
                hidden += 1
                call.written = "args=..."
                continue
            try:
                args, kwargs = codec.decode_call(details.payload, details.content_type)
            except errors.SerializationError:
                unread += 1
                call.written = "args=..."
                continue
            call.mapped = _mapped(details)
            words = [f"args={list(args)!r}"] if args else []
            words += [f"kwargs={dict(kwargs)!r}"] if kwargs else []
            call.written = repr(args[0]) if call.mapped and args else ", ".join(words)
            plain += not _is_literal([list(args), dict(kwargs)])
        lacks = ((hidden, "are not kept any more, or nobody is to be shown them"), (unread, "cannot be read here"))
        told = [f"The arguments of {_calls(many)} {why}: they stand as `...`." for many, why in lacks if many]
        if plain:
            told.append(f"The arguments of {_calls(plain)} are not literals: see whether Python takes them as written.")
        return told

    # --- steps --------------------------------------------------------------------------------------------

    def steps(self, index: int) -> _Steps:
        """Return what runs one after the other up to a node, as a chain.

        Raises:
            _Untold: It is no chain.
        """
        way: list[int] = []
        while index not in self._steps:
            way.append(index)
            node = self._nodes[index]
            if node.join or not node.inputs:
                break
            if len(node.inputs) > 1:
                raise _Untold(f"{self._calls[index].task} takes the values of {len(node.inputs)} others.")
            index = node.inputs[0][0]
        for index in reversed(way):
            node = self._nodes[index]
            if node.join:
                self._steps[index] = self._grouped(index, node)
                continue
            before = self._steps[node.inputs[0][0]] if node.inputs else ()
            call = self._calls[index]
            call.immutable = bool(node.inputs) and node.inputs[0][1] == "after"
            self._steps[index] = (*before, call)
        return self._steps[index]

    def _grouped(self, index: int, node: _Node) -> _Steps:
        """Return the steps up to a join: what all of its members follow, then the group of what each has for itself."""
        ways = [self.steps(member) for member in node.members]
        shared = 0
        # A group of one that stands in a chain is none: its way is a chain of its own.
        alone = len(ways) == 1 and not node.inputs
        shortest = 0 if alone else min((len(way) for way in ways), default=1) - 1
        while shared < shortest and len({way[shared] for way in ways}) == 1:
            shared += 1
        before = ways[0][:shared] if ways else ()
        if any(not before or parent != before[-1].index for parent, _ in node.inputs):
            raise _Untold("a group waits for more than its members.")
        return (*before, _Group(index, tuple(way[shared:] for way in ways)))

    # --- callbacks ----------------------------------------------------------------------------------------

    def attach_callbacks(self, main: _Steps) -> tuple[list[str], list[_Steps]]:
        """Give calls the callbacks and errbacks that hang on them.

        Args:
            main: The steps of the canvas.

        Returns:
            What of the graph is not in the canvas, as sentences; and errbacks of the whole canvas.

        Raises:
            _Untold: A call would run twice, or something is no chain.
        """
        calls = list(_calls_in(main))
        covered, of_all = set(calls), list[_Steps]()
        if len(covered) < len(calls):
            raise _Untold("a call belongs to two groups, or to a group and to what follows it.")
        followed = {parent for node in self._nodes.values() for parent, _ in node.inputs}
        for index, call in self._calls.items():
            if call in covered or index in followed:
                continue
            steps = self.steps(index)
            known = next(at for at, step in enumerate(steps) if step not in covered)
            own = [step for step in steps[known:] if isinstance(step, _Call)]
            holder = self._holders(own[0], steps[:known], calls) if len(own) == len(steps) - known else None
            if holder is not None:
                (of_all if holder == "all" else holder).append(tuple(own))
                covered.update(own)
        beside = len(self._calls) - len(covered)
        told = "submitted together with it, or callbacks and errbacks of groups."
        return [f"Not in it: {_calls(beside)} of the graph, {told}"] if beside else [], of_all

    def _holders(self, first: _Call, before: _Steps, main: list[_Call]) -> "list[_Steps] | Literal['all'] | None":
        """Return where a callback that begins with a call hangs; None: that has no words."""
        if before:
            return before[-1].callbacks if isinstance(before[-1], _Call) else None
        failing = self._nodes[first.index].errors
        if not failing:
            return None
        first.immutable = failing[0][1] == "error_after"
        parents = [self._calls[parent] for parent, _ in failing if parent in self._calls]
        if len(failing) == len(parents) == 1:
            return parents[0].errbacks
        return "all" if set(parents) == set(main) else None


def _node(run: "Run") -> _Node:
    """Return what each node of a run waits for."""
    made = _Node(run.join)
    for edge in run.edges:
        if edge.kind == "member":
            made.members += edge.parents
        elif edge.is_error:
            made.errors += [(parent, edge.kind) for parent in edge.parents]
        else:
            made.inputs += [(parent, edge.kind) for parent in edge.parents]
    return made


def _mapped(details: "value_pb2.CallDetails") -> str:
    """Return what applies a call's task to each of a list, ``xmap`` or ``xstarmap``; "": it is called once."""
    try:
        headers = codec.decode(details.headers, details.headers_content_type or codec.JSON) if details.headers else {}
    except errors.SerializationError:
        return ""
    via = headers.get("via") if isinstance(headers, dict) else None
    return {"map": "xmap", "starmap": "xstarmap"}.get(via, "") if isinstance(via, str) else ""


def _calls_in(steps: _Steps) -> Iterator[_Call]:
    for step in steps:
        if isinstance(step, _Call):
            yield step
        else:
            for member in step.members:
                yield from _calls_in(member)


# --- building and writing -----------------------------------------------------------------------------------


def _paired(steps: _Steps) -> "list[_Call | _Group | tuple[_Group, _Call]]":
    """Return steps with groups of one beside the call that takes their list: in a chain they would be no groups."""
    found: list[_Call | _Group | tuple[_Group, _Call]] = []
    for step in steps:
        before = found[-1] if found else None
        if isinstance(step, _Call) and isinstance(before, _Group) and len(before.members) == 1:
            found[-1] = (before, step)
        else:
            found.append(step)
    return found


def _built(steps: _Steps) -> Signature:
    """Return steps as a canvas without arguments."""
    made: list[Signature] = []
    for step in _paired(steps):
        if isinstance(step, tuple):
            made.append(chord([_built(one) for one in step[0].members], _built((step[1],))))
        elif isinstance(step, _Group):
            made.append(group([_built(one) for one in step.members]))
        else:
            call = _APP.signature(step.task, immutable=step.immutable or bool(step.mapped))
            if step.callbacks:
                call.set(link=[_built(one) for one in step.callbacks])
            if step.errbacks:
                call.set(link_error=[_built(one) for one in step.errbacks])
            made.append(call)
    return made[0] if len(made) == 1 else chain(made)


def _shown(steps: _Steps, indent: str = "") -> str:
    """Return steps as an expression."""
    parts = _paired(steps)
    if len(parts) == 1:
        return _step(parts[0], indent)
    return _call("chain", [_step(part, indent + "    ") for part in parts], indent)


def _step(step: "_Call | _Group | tuple[_Group, _Call]", indent: str) -> str:
    inner = indent + "    "
    if isinstance(step, tuple):
        return _call("chord", [f"[{_shown(one, inner)}]" for one in step[0].members] + [_step(step[1], inner)], indent)
    if isinstance(step, _Group):
        members = [_shown(one, inner) for one in step.members]
        # In brackets a group of one chain is a group, and not the chain's parts side by side.
        return _call("group", [f"[{members[0]}]"] if len(members) == 1 else members, indent)
    options = [f"queue={step.queue!r}", *([f"priority={step.priority}"] if step.priority else [])]
    if step.mapped:
        words = [f"app.signature({step.task!r})", step.written, *options]
    else:
        words = [repr(step.task), step.written, *options, *(["immutable=True"] if step.immutable else [])]
    text = f"{step.mapped or 'app.signature'}({', '.join(word for word in words if word)})"
    for option, found in (("link", step.callbacks), ("link_error", step.errbacks)):
        if found:
            text += f".set({option}=[{', '.join(_shown(one, inner) for one in found)}])"
    return text


def _call(name: str, parts: list[str], indent: str) -> str:
    return f"{name}(\n" + "".join(f"{indent}    {part},\n" for part in parts) + f"{indent})"


def _is_literal(value: Any) -> bool:
    """Return whether Python reads a value back from its text."""
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False


def _calls(many: int) -> str:
    return "1 call" if many == 1 else f"{many} calls"
