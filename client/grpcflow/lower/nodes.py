"""The graph while it grows: nodes, runs, edges and templates, and the callbacks that are still to come.

Knows how nodes are laid out and nothing of what a canvas means. Pure; may not import grpc or protobuf.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from grpcflow.canvas.parts import merged_options
from grpcflow.lower.keys import IDEMPOTENT_FOR, KEY_OPTIONS, NO_KEYS, Keys, idempotent, literal_keys
from grpcflow.lower.model import EdgeSpec, Mode, Outcome, Run, TemplateSpec
from grpcflow.lower.options import checked_name, length_of
from grpcflow.lower.sources import Known, Link, Source, Sources, without_values
from grpcflow.lower.steps import NOTHING, OWN_OPTIONS, Canvas, Errback, Given, Step, callbacks_of
from grpcflow.lower.templates import Calls
from grpcflow_protos.limits import BATCH_BYTES, RUN_NODES

__all__ = ["Graph"]

_VIA: Final[Mapping[str | None, str]] = {"xmap": "map", "xstarmap": "starmap"}
_Check = Callable[[Sequence[Any], Mapping[str, Any], int], None]


class Graph:
    """Nodes in the order of their indexes; parents come before their children.

    Args:
        calls: Makes templates and payloads.
    """

    def __init__(self, calls: Calls) -> None:
        self.templates: list[TemplateSpec] = []
        self.runs: list[Run] = []
        self.node_count = 0
        #: Callbacks that are still to be walked.
        self.links: deque[Link] = deque()
        self.errbacks: deque[Errback] = deque()
        self._calls = calls
        self._template_index: dict[TemplateSpec, int] = {}
        #: Templates by what they were made of: name, via and options; and the same without countdowns, unused ones too.
        self._known: dict[tuple[Any, ...], int] = {}
        self._undelayed: dict[tuple[Any, ...], TemplateSpec] = {}
        self._checks: dict[str, _Check | None] = {}
        #: True where functions decide of routes, call by call.
        self._asks = calls.asks_for_routes
        #: How many calls have an idempotency key, by the key.
        self._idempotent: dict[str, int] = {}
        #: Runs of one node, by its index; nodes of longer runs have no edges of their own.
        self._run_of: dict[int, Run] = {}

    def call(self, step: Step, sources: Sources, parent: Outcome | None) -> Outcome:
        """Add one call, with edges to what it waits for, and note its callbacks."""
        canvas, given = step.canvas, step.given
        edges: tuple[EdgeSpec, ...] = ()
        values: int | None = 0
        if sources:
            takes = not (canvas["immutable"] or given.sealed)
            edges = tuple(EdgeSpec(source.node, source.entering(takes), source.on_failure) for source in sources)
            # What an errback is told depends on the worker that runs it, so its arguments cannot be checked here.
            told = any(edge.mode is Mode.ERROR for edge in edges)
            values = None if told else sum(edge.mode is Mode.VALUE for edge in edges)
        template, payload, keys = self._described(canvas, given, values)
        run = Run(self.node_count, template, [payload], edges, size=len(payload), keys=keys)
        return self._finish(run, step, parent)

    @staticmethod
    def shares_run(canvas: Canvas) -> bool:
        """Return True for a call that needs nothing of its own but its payload."""
        if canvas["subtask_type"] not in _CALL_KINDS:
            return False
        options = canvas["options"]
        return not options or OWN_OPTIONS.isdisjoint(options)

    def shared_call(self, canvas: Canvas, given: Given, run: Run | None) -> Run:
        """Add one call that waits for nothing, to ``run`` where it fits in, and return the run it is in."""
        template, payload, keys = self._described(canvas, given, 0)
        fits = (
            run is not None
            and run.template == template
            and (run.keys is keys or (run.keys == keys and not keys.unique))
            and len(run.payloads) < RUN_NODES
            and run.size + len(payload) <= BATCH_BYTES
        )
        if run is None or not fits:
            run = Run(self.node_count, template, keys=keys)
            self.runs.append(run)
        run.payloads.append(payload)
        run.size += len(payload)
        self.node_count += 1
        return run

    def join(
        self,
        members: "Sequence[Outcome | tuple[int, int]]",
        shared: Sequence[Run],
        sources: Sources,
        step: Step,
        parent: Outcome | None,
        *,
        in_chord: bool = False,
    ) -> Outcome:
        """Add the node that collects members.

        Args:
            members: Outcomes, and (first, count) of calls in shared runs, in order; without any the list is empty.
            shared: The shared runs, in order.
            sources: What it waits for besides its members; nothing of that enters its list.
            step: The group; its callbacks stand on the join.
            parent: The outcome before it.
            in_chord: True for the header of a chord.
        """
        if sources and sources[0].mode in _OF_ERRBACKS:
            empty = [member for member in members if isinstance(member, Known)]
            if len(empty) == len(members):
                return self._foreseen(empty, sources, step)
            # Of the members of an errback those that are calls wait for the failure, and the join for them.
            members = [self._joined(member) if isinstance(member, Known) else member for member in members]
            sources = ()
        index = self.node_count
        ranges: list[tuple[int, int]] = []
        results: list[Outcome | tuple[int, int]] = []
        place = 0
        runs = iter(shared)
        for member in members:
            if isinstance(member, Outcome):
                run, count = self._run_of[member.node], 1
                _extend(ranges, member.node, 1)
                results.append(member)
            else:
                run, count = next(runs), member[1]
                _extend(ranges, *member)
                _extend(results, *member)
            run.children.append(index)
            run.group, run.group_index, run.in_chord = index, place, in_chord
            place += count
        edges = tuple(EdgeSpec(source.node, source.entering(takes=False), source.on_failure) for source in sources)
        outcome = self._finish(Run(index, -1, inputs=edges, members=ranges), step, parent)
        outcome.members = results
        return outcome

    def _foreseen(self, parts: list[Known], sources: Sources, step: Step) -> Known:
        """Return the end of nothing but empty groups in an errback; no node is added."""
        known = Known(parts, without_values(sources))
        self.note_callbacks(step, known)
        return known

    def _joined(self, known: Known) -> Outcome:
        """Add the nodes for what is known, beside members that are not: these hold back what follows."""
        waiting = [known]
        for current in waiting:
            waiting += current.parts
        made: dict[int, Outcome] = {}
        for current in reversed(waiting):
            made[id(current)] = self.join([made[id(part)] for part in current.parts], (), (), _UNNAMED, None)
        return made[id(known)]

    def _finish(self, run: Run, step: Step, parent: Outcome | None) -> Outcome:
        """Add a run of one node, tell its parents, and note its callbacks."""
        own_id = step.own_id()
        run.id = checked_name("task_id", own_id) if own_id else ""
        for edge in run.inputs:
            self._run_of[edge.parent].children.append(run.first)
        self.runs.append(run)
        self._run_of[run.first] = run
        self.node_count += 1
        outcome = Outcome(run.first, run.id, parent)
        self.note_callbacks(step, outcome)
        return outcome

    def note_callbacks(self, step: Step, outcome: Outcome) -> None:
        """Remember the links and errbacks of a step whose end is ``outcome``; what is known cannot fail."""
        canvas, given = step.canvas, step.given
        links, errbacks = step.links, step.errbacks
        if not (OWN_OPTIONS.isdisjoint(canvas["options"]) and OWN_OPTIONS.isdisjoint(given.options)):
            links = links + callbacks_of(canvas, "link", given)
            errbacks = errbacks + [Errback(item) for item in callbacks_of(canvas, "link_error", given)]
        if not (links or errbacks):
            return
        key = step.idempotency()
        if isinstance(outcome, Known):
            handed = Given((outcome.value,), idempotency=key)
            self.links.extend(Link(link, outcome.sources, handed) for link in links)
            return
        handed = NOTHING if key is None else Given(idempotency=key)
        self.links.extend(Link(link, (Source(outcome.node),), handed, outcome) for link in links)
        for errback in errbacks:
            if not errback.parents:
                errback.idempotency = key
                self.errbacks.append(errback)
            errback.parents.append(outcome.node)

    # --- what a call is made of ---------------------------------------------------------------------------

    def _described(self, canvas: Canvas, given: Given, inputs: int | None) -> tuple[int, bytes, Keys]:
        """Return template, payload and keys of a call; ``inputs``: values to come, None where that is not known."""
        options = canvas["options"]
        if given.options:
            options = merged_options(options, given.options)
        via = _VIA.get(canvas["subtask_type"], "")
        if via:
            inner = canvas["kwargs"]["task"]
            name, args, kwargs = inner["task"], (canvas["kwargs"]["it"],), {}
            options = merged_options(inner["options"], options)
        else:
            name, args, kwargs = canvas["task"], canvas["args"], canvas["kwargs"]
            if given is not NOTHING and not canvas["immutable"]:
                args, kwargs = (*given.args, *args), {**kwargs, **given.kwargs}
            if inputs is not None and (check := self._check(name)) is not None:
                check(args, kwargs, inputs)
        keys = NO_KEYS
        if self._asks or given.idempotency is not None or (options and not KEY_OPTIONS.isdisjoint(options)):
            template, keys = self._keyed(name, args, kwargs, options, via, given)
        else:
            template = self._template(name, options, via)
        spec = self.templates[template]
        if spec.keys is not None:
            keys = spec.keys.made(args, kwargs, inputs, keys)
        return template, self._calls.payload(spec, args, kwargs), keys

    def _keyed(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any],
        via: str,
        given: Given,
    ) -> tuple[int, Keys]:
        """Return template and keys of a call that has keys of its own, or whose route depends on the call."""
        rest, keys, key = literal_keys(name, options, given.idempotency)
        if key:
            place = self._idempotent.get(key, 0)
            self._idempotent[key] = place + 1
            rest.update(unique_for=IDEMPOTENT_FOR, unique_stays=True)
            keys = keys._replace(unique=idempotent(key, place))
        if self._asks:
            return self._routed(name, rest, via, self._calls.route(name, args, kwargs, rest)), keys
        return self._template(name, rest, via), keys

    def _check(self, name: str) -> _Check | None:
        """Return the check of a task's arguments, or None where this app does not know it."""
        try:
            return self._checks[name]
        except KeyError:
            found = self._checks[name] = self._calls.checker(name)
            return found

    def _template(self, name: str, options: Mapping[str, Any], via: str) -> int:
        """Return the index of the template for these options, the same one for equal templates."""
        key = (name, via, *options.items())
        try:
            found = self._known.get(key)
        except TypeError:  # an option that cannot be a key, as headers: its template is made and compared
            return self._index(self._calls.template(name, options, via))
        if found is None:
            found = self._known[key] = self._new_template(name, options, via)
        return found

    def _routed(self, name: str, options: Mapping[str, Any], via: str, route: Mapping[str, Any]) -> int:
        """Return the same for a call whose route a function gave."""
        key = (name, via, (*route.items(),), *options.items())
        try:
            found = self._known.get(key)
        except TypeError:
            return self._index(self._calls.template(name, options, via, route))
        if found is None:
            found = self._known[key] = self._index(self._calls.template(name, options, via, route))
        return found

    def _new_template(self, name: str, options: Mapping[str, Any], via: str) -> int:
        """Return the index of a template for new options; those that differ in countdowns only are made once."""
        countdown = options.get("countdown")
        if countdown is None:
            return self._index(self._calls.template(name, options, via))
        rest = {option: value for option, value in options.items() if option != "countdown"}
        key = (name, via, *rest.items())
        base = self._undelayed.get(key)
        if base is None:
            base = self._undelayed[key] = self._calls.template(name, rest, via)
        if base.countdown is not None or base.eta is not None:  # of the route, or two starts
            return self._index(self._calls.template(name, options, via))
        # Not compared with those that are there, for that takes longer than all the rest.
        self.templates.append(base.delayed(length_of("countdown", countdown) or None))
        return len(self.templates) - 1

    def _index(self, template: TemplateSpec) -> int:
        """Return the index of a template, after adding it where it is new."""
        index = self._template_index.setdefault(template, len(self.templates))
        if index == len(self.templates):
            self.templates.append(template)
        return index


_OF_ERRBACKS: Final = frozenset({Mode.ERROR, Mode.ERROR_AFTER})

#: An empty group that nobody wrote: it has no id and no callbacks.
_UNNAMED: Final = Step({"options": {}})

_CALL_KINDS: Final = frozenset({None, "xmap", "xstarmap"})


def _extend(ranges: list[Any], first: int, count: int) -> None:
    """Add a range to ranges, to the last one where it follows on it."""
    last = ranges[-1] if ranges else None
    if isinstance(last, tuple) and last[0] + last[1] == first:
        ranges[-1] = (last[0], last[1] + count)
    else:
        ranges.append((first, count))
