"""From a canvas to a graph that is on its way: what an app does where something is submitted.

Which way it goes: plain calls of a batch, or of one moment of an event loop, share a graph; all else has one of its
own. Importing it must stay light: what lowers and what sends is imported when something is sent.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import cache, partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from grpcflow import batch as batches
from grpcflow import ids, signals, state
from grpcflow.bundles import LARGE
from grpcflow.canvas.parts import CALLBACKS, as_list
from grpcflow.canvas.signature import Signature, as_signature
from grpcflow.result import result_of
from grpcflow.setting_values import POLICY

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.lower import Calls, LoweredGraph
    from grpcflow.lower.model import Attachment, Outcome
    from grpcflow.lower.plain import Plain
    from grpcflow.spans import Spans
    from grpcflow.task import Task

#: Options that say how a submission is sent: it goes by itself then.
_HOW_TO_SEND = frozenset({"retry", "retry_policy", "task_id", "link", "link_error"})

__all__ = ["NO_OPTIONS", "SendingApp"]

#: Options of a submission that has none.
NO_OPTIONS: Mapping[str, Any] = {}


@cache
def _lowering() -> ModuleType:
    """Return what lowers, imported at the first call: an import takes as long as half of what a plain call does."""
    from grpcflow import lower

    return lower


class SendingApp:
    """The part of an app that sends."""

    #: Tells of what it submits and runs; None: nobody traces it. See ``grpcflow.opentelemetry``.
    _spans: "Spans | None" = None
    _calls: "Calls | None" = None
    #: Whether the settings ask for other tries than the own ones of the connection, and the version that this is of.
    _tries: tuple[int, bool] = (-1, False)
    #: Whether the settings let plain calls go the short way, and the version that this is of.
    _short: tuple[int, bool] = (-1, False)

    @property
    def _this(self) -> "Grpcflow":
        return self  # type: ignore[return-value]  # of which this is a part; a cast costs a call at each use

    async def _submitted(
        self,
        canvas: Signature,
        args: Iterable[Any],
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any] | None,
        attachment: "Attachment | None" = None,
        *,
        on_loop: bool = False,
    ) -> Any:
        """Submit a canvas; see ``submit``, and ``asubmit`` for ``on_loop``."""
        if self._this.conf.task_always_eager and attachment is None:
            from grpcflow.eager import apply_canvas

            return apply_canvas(canvas, args, kwargs, app=self._this, as_sent=True, **(options or {}))
        return await self._send(canvas, args, kwargs, options or NO_OPTIONS, attachment, on_loop=on_loop)

    async def _send(
        self,
        canvas: Signature,
        args: Iterable[Any],
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any],
        attachment: "Attachment | None" = None,
        *,
        on_loop: bool = False,
    ) -> Any:
        """Lower a canvas and send its graph; see ``submit``."""
        if not (args or kwargs or options or attachment):
            plain = self._plain(canvas)
            if plain is not None:
                batch = batches.current(self._this)
                place = await self._send_plain(plain, batch, on_loop=on_loop)
                return self._made_plain(place, batch)
        return await self._send_graph(canvas, args, kwargs, options, attachment, on_loop=on_loop)

    def _plain(self, canvas: Signature) -> "Plain | None":
        """Return a signature as a call that may share a graph with others; None where it may not."""
        if canvas["subtask_type"] is not None or self._is_observed():
            return None
        from grpcflow import lower

        plain = lower.plain(canvas, lower.Calls.inside(self._this, state.current_request()))
        return None if plain is None or len(plain[1]) > LARGE else plain

    def _plain_call(self, task: "Task[..., Any]", args: Sequence[Any], kwargs: Mapping[str, Any]) -> "Plain | None":
        """Return the same of a task with these arguments, without a signature in between; None: go the long way."""
        app = self._this
        if not (self._is_short and task._is_plain and app.tasks.get(task.name) is task):
            return None
        lower, request = _lowering(), state.current_request()
        calls = self._calls if request is None else lower.Calls.inside(app, request)
        if calls is None:
            calls = self._calls = lower.Calls(app)
        task.check_arguments(args, kwargs)
        plain = lower.plain_call(task.name, args, kwargs, calls)
        return None if plain is None or len(plain[1]) > LARGE else plain

    def _collected(self, task: "Task[..., Any]", args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Let a batch that is open here keep a plain call, which takes no wait; None: it goes the long way."""
        batch = batches.current(self._this)
        if batch is None or batch.is_due:
            return None
        plain = self._plain_call(task, args, kwargs)
        return None if plain is None else self._made_plain(batch.keep_call(*plain), batch)

    def _made_plain(self, place: tuple[bytes, int], batch: "batches.Batch | None") -> Any:
        """Return the result of a plain call, by its graph and the index of its node."""
        return self._made(
            place[0], _lowering().Outcome.at(place[1]), batch, trailed=state.current_request() is not None
        )

    async def _send_plain(self, plain: "Plain", batch: "batches.Batch | None", *, on_loop: bool) -> tuple[bytes, int]:
        """Send one plain call, with others where there are any; return its graph and the index of its node."""
        if batch is not None:
            return await batch.collect_call(*plain, on_loop=on_loop)
        return await self._this._exchange(on_loop).asubmit_call(*plain)

    async def _send_graph(
        self,
        canvas: Signature,
        args: Iterable[Any],
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any],
        attachment: "Attachment | None",
        *,
        on_loop: bool,
    ) -> Any:
        """Send any canvas; see ``submit``."""
        from grpcflow import lower

        calls = lower.Calls.inside(self._this, state.current_request())
        if options and any(options.get(name) for name in CALLBACKS):
            options = {**options, **{name: self._callbacks(options.get(name)) for name in CALLBACKS}}
        graph = lower.lower(canvas, calls, args=tuple(args), kwargs=kwargs, options=options)
        if graph is None:
            return None
        graph_id = ids.mint_graph()
        # Options of the whole: those of the canvas, and over them those of this submission; None is no option.
        given = {name: value for name, value in options.items() if value is not None} if options else NO_OPTIONS
        whole = {**canvas["options"], **given} if given or canvas["options"] else NO_OPTIONS
        batch = batches.current(self._this) if attachment is None else None
        outcome = graph.outcome
        plain = None
        if (batch is not None or on_loop) and attachment is None and not self._is_observed():
            plain = lower.plain_of(graph)
        if plain is not None and len(plain[1]) <= LARGE and whole.keys().isdisjoint(_HOW_TO_SEND):
            graph_id, index = await self._send_plain(plain, batch, on_loop=on_loop)
            outcome = lower.Outcome(index)
        elif whole or self._is_observed():
            spans, request = self._spans, state.current_request()
            with nullcontext() if spans is None else spans.submitting(canvas, graph, graph_id, request):
                await self._publish(graph, graph_id, whole, attachment, batch, on_loop)
        elif batch is not None:
            await batch.collect(graph_id, lower.to_chunks(graph, graph_id, parted=True), None, on_loop=on_loop)
        else:
            await self._this._exchange(on_loop).asubmit(lower.to_chunks(graph, graph_id, attachment, parted=True))
        trailed = state.current_request() is not None and whole.get("add_to_parent") is not False
        return self._made(graph_id, outcome, batch, trailed=trailed)

    def _made(self, graph_id: bytes, outcome: "Outcome", batch: "batches.Batch | None", *, trailed: bool) -> Any:
        """Return the result of what was sent, and note it where results are noted."""
        made = result_of(self._this, graph_id, outcome)
        if batch is not None:
            batch.results.append(made)
        running = state.get_current_task() if trailed else None
        return made if running is None else running.add_trail(made)

    async def _publish(
        self,
        graph: "LoweredGraph",
        graph_id: bytes,
        options: Mapping[str, Any],
        attachment: "Attachment | None",
        batch: "batches.Batch | None",
        on_loop: bool,
    ) -> None:
        """Send a graph as its options say, and tell who listens of it."""
        from grpcflow import lower, sending

        policy = sending.retry_policy(self._this, options)
        if signals.before_task_publish.receivers:
            sending.emit_before(self._this, graph, graph_id, policy)
        chunks = lower.to_chunks(graph, graph_id, attachment, parted=True)
        published = partial(sending.emit_after, graph, graph_id) if signals.after_task_publish.receivers else None
        if batch is not None:
            await batch.collect(graph_id, chunks, published, on_loop=on_loop)
            return
        rest = sending.rest_on_loop if on_loop else sending.rest_here
        await sending.publish(self._this._exchange(on_loop), chunks, policy, rest)
        if published is not None:
            published()

    def _is_observed(self) -> bool:
        """Return True where somebody listens, or the settings ask for other tries than the connection's own."""
        if self._spans is not None or signals.before_task_publish.receivers or signals.after_task_publish.receivers:
            return True
        conf = self._this.conf
        if self._tries[0] != conf.version:
            own = not conf.task_publish_retry or conf.task_publish_retry_policy != POLICY
            self._tries = conf.version, own
        return self._tries[1]

    @property
    def _is_short(self) -> bool:
        """True where nobody listens, and no setting asks for more than to send a plain call as it is."""
        conf = self._this.conf
        if self._short[0] != conf.version:
            self._short = conf.version, not (conf.task_always_eager or conf.router.asks)
        return self._short[1] and not self._is_observed()

    def _callbacks(self, value: Any) -> list[Signature]:
        """Return callbacks that were given as options as signatures."""
        return [as_signature(item, self._this) for item in as_list(value)]
