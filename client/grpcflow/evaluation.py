"""Runs a lowered graph in this process: node after node, in the order of their indexes, by a work list.

It gives edges and joins the meaning that ``graph.proto`` gives them, which is the coordinator's, too; so a canvas has
one meaning, wherever it runs. Times, queues and priorities mean nothing here. It knows no canvas, and may not import
grpc or protobuf.
"""

import functools
import socket
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from grpcflow import codec, errors, ids, lower, state
from grpcflow.batching import BatchCall, each_end
from grpcflow.context import RESERVED_HEADERS, Context
from grpcflow.emitting import Collected
from grpcflow.frames import Frame, Kept, KeptCalls, Node, failed_by, handed, in_place_of
from grpcflow.lower.model import LoweredGraph, Mode, TemplateSpec
from grpcflow.result.base import PROPAGATE_STATES
from grpcflow.result.eager import End, Ran
from grpcflow.task import Task
from grpcflow.tracing import Traced, completed, takes_failure, trace

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.canvas.signature import Signature

__all__ = ["Evaluation"]

_ON_ERROR: Final = frozenset({Mode.ERROR, Mode.ERROR_AFTER})


class Evaluation:
    """Runs graphs of one app.

    Args:
        app: The app.
        throw: True: raise what the first failing call raises, at once.
        as_sent: True: arguments are those that came through the codec, and tasks may not wait for results.
        retries: How often the first call counts as retried already.
        about: More fields of all requests.
    """

    def __init__(
        self,
        app: "Grpcflow",
        *,
        throw: bool = False,
        as_sent: bool = False,
        retries: int = 0,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self._app = app
        self._throw = throw
        self._as_sent = as_sent
        self._retries = retries
        self._about = about or {}
        self._hostname = socket.gethostname()
        self._headers: dict[bytes, Mapping[str, Any]] = {}

    def lower(self, canvas: "Signature", request: Context | None, /, **given: Any) -> LoweredGraph | None:
        """Return the graph of a canvas, all of whose tasks are known here; None for an empty chain.

        Args:
            canvas: The canvas.
            request: That of the task that makes the call; None: it is made outside of any.
            **given: As for ``grpcflow.lower.lower``.

        Raises:
            NotRegistered: A task is not known here.
        """
        calls = (lower.Calls if self._as_sent else KeptCalls).inside(self._app, request)
        graph = lower.lower(canvas, calls, **given)
        for template in graph.templates if graph is not None else ():
            self._app.task_named(template.task)
        return graph

    def run(self, graph: LoweredGraph) -> Ran:
        """Run a graph to its end.

        Raises:
            Exception: What the first failing call raised, with ``throw``.
        """
        return self._drive(Frame(Ran(self._app, ids.mint_graph()), graph))

    def _drive(self, first: Frame) -> Ran:
        """Run a graph and, in between, the graphs that replace calls of it, however deep."""
        frames = [first]
        while frames:
            frame = frames[-1]
            node = next(frame.nodes, None)
            if node is not None:
                replacement = self._evaluate(node)
                if replacement is not None:
                    frames.append(replacement)
                continue
            frames.pop()
            if frame.above is not None:
                replaced, request = frame.above
                replaced.frame.ran.ends.append(in_place_of(frame.ran.ends[frame.graph.outcome.node], request))
        return first.ran

    def _evaluate(self, node: Node) -> Frame | None:
        """Bring one node to its end, unless it is replaced: then return the graph that does so."""
        if any(edge.mode in _ON_ERROR for edge in node.run.inputs):
            return self._errback(node)
        ends = node.frame.ran.ends
        for parent, mode in node.parents():
            if parent.state != "SUCCESS":
                ends.append(failed_by(parent, mode))
                return None
        if node.run.members is not None:
            ends.append(End("SUCCESS", [handed(end) for end, mode in node.parents() if mode is None]))
            return None
        args, kwargs = self._arguments(node)
        for edge in node.run.inputs:
            if edge.mode is Mode.VALUE:
                args = [handed(ends[edge.parent]), *args]
        return self._call(node, args, kwargs)

    def _errback(self, node: Node) -> Frame | None:
        """Run an errback where one of its parents failed on its own account."""
        ends = node.frame.ran.ends
        for edge in sorted(node.run.inputs, key=lambda edge: edge.parent):
            end = ends[edge.parent]
            if end.fires and end.state in PROPAGATE_STATES:
                break
        else:
            ends.append(End("IGNORED", fires=False))
            return None
        args, kwargs = self._arguments(node)
        if edge.mode is Mode.ERROR:
            args = [*self._told(node, edge.parent, end, len(args)), *args]
        return self._call(node, args, kwargs)

    def _told(self, node: Node, parent: int, end: End, given: int) -> list[Any]:
        """Return what an errback is told: the failed id, or (request, exception, traceback)."""
        failed_id = node.frame.id_of(parent)
        if not takes_failure(self._app.task_named(node.template.task), given):
            return [failed_id]
        request = end.request or Context(id=failed_id, called_directly=False)
        return [request, end.error, "" if end.error is None else "".join(traceback.format_exception(end.error))]

    def _arguments(self, node: Node) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of a call's own."""
        payload = node.run.payloads[node.index - node.run.first]
        if isinstance(payload, Kept):
            return list(payload.args), dict(payload.kwargs)
        content = node.template.content_type or codec.JSON
        return codec.decode_call(payload, content, accept=(content,))

    # --- calls --------------------------------------------------------------------------------------------

    def _call(self, node: Node, args: list[Any], kwargs: dict[str, Any]) -> Frame | None:
        """Run a call and all its retries."""
        task = self._app.task_named(node.template.task)
        # Task.__call__ is for calls in place; a call that has a request goes past it, unless a subclass has its own.
        function = task.run if type(task).__call__ is Task.__call__ else task
        is_first = node.frame.above is None and node.index == 0
        retries, handed_over = self._retries if is_first else 0, _HandedOver(self, node)
        collected = Collected(self._as_travelled if self._as_sent else None)
        while True:
            request = self._request(node, args, kwargs, retries, handed_over)
            request._emits = collected
            collected.begin()
            handed_over.request = request
            run = functools.partial(_in_a_batch, function, request) if task.batch_size else function
            body = functools.partial(_body, run, args, kwargs, self._headers_of(node.template).get("via", ""))
            with self._joins_denied():
                traced = trace(task, request, body)
            if not isinstance(traced.error, errors.Retry) or handed_over.replacement is not None:
                break
            retry = traced.error
            args = args if retry.call_args is None else list(retry.call_args)
            kwargs = kwargs if retry.call_kwargs is None else dict(retry.call_kwargs)
            retries += 1
        if handed_over.replacement is not None:
            return handed_over.replacement
        node.frame.ran.ends.append(self._end_of(node, traced, request))
        return None

    def _end_of(self, node: Node, traced: Traced, request: Context) -> End:
        """Return the end of a call; raises its error where that is wanted."""
        failed = traced.state in PROPAGATE_STATES
        if failed and self._throw and traced.error is not None:
            raise traced.error
        return End(
            traced.state,
            traced.value,
            traced.error if failed else None,
            request,
            "" if traced.error is None else node.id,
            hands_on=not node.template.ignore_result,
            date_done=datetime.now(UTC),
            items=request._emits.items,
        )

    def _as_travelled(self, value: Any) -> Any:
        """Return an item as a reader far away would get it."""
        content_type = codec.content_type(self._app.conf.result_serializer)
        return codec.decode(codec.encode(value, content_type, path="item"), content_type, accept=(content_type,))

    def _headers_of(self, template: TemplateSpec) -> Mapping[str, Any]:
        """Return what travels beside the arguments."""
        found = self._headers.get(template.headers)
        if found is None:
            read = codec.decode(template.headers, codec.JSON) if template.headers else {}
            found = self._headers[template.headers] = read
        return found

    def _joins_denied(self) -> AbstractContextManager[None]:
        return state.denied_join_result() if self._as_sent else nullcontext()

    def _request(
        self, node: Node, args: list[Any], kwargs: dict[str, Any], retries: int, handed_over: "_HandedOver"
    ) -> Context:
        """Return the request of one attempt."""
        template, place = node.template, node.standing()
        headers = self._headers_of(template)
        join = place.frame.joins.get(place.run.group)
        group = None if join is None else place.frame.id_of(join.first)
        return Context(
            id=node.id,
            task=template.task,
            args=args,
            kwargs=kwargs,
            root_id=template.root_id or node.frame.id_of(0),
            parent_id=template.parent_id or None,
            retries=retries,
            hostname=self._hostname,
            headers={name: value for name, value in headers.items() if name not in RESERVED_HEADERS},
            delivery_info={
                "is_eager": True,
                "exchange": "",
                "routing_key": template.queue,
                "queue": template.queue,
                "priority": template.priority,
                "redelivered": False,
            },
            ignore_result=template.ignore_result,
            called_directly=False,
            is_eager=True,
            group=group,
            group_index=place.run.group_index + place.index - place.run.first if group else None,
            chord=group if place.run.in_chord else None,
            replaced_task_nesting=template.replaced_nesting + node.frame.nesting,
            stamps=headers.get("stamps") or {},
            shadow=headers.get("shadow"),
            reply_to=headers.get("reply_to"),
            _hand_over=handed_over,
            **self._about,
        )


class _HandedOver:
    """What a running call hands over to run in its place, or as one more member of its group."""

    def __init__(self, evaluation: Evaluation, node: Node) -> None:
        self._evaluation = evaluation
        self._node = node
        self.request = Context()
        self.replacement: Frame | None = None

    def __call__(self, kind: str, canvas: "Signature") -> Any:
        """Take a canvas: ``replace`` runs it once the call has ended, ``member`` runs it now and returns its result."""
        request, node = self.request, self._node
        graph = self._evaluation.lower(canvas, request)
        if graph is None and kind == "member":
            return None  # nothing is submitted, and nothing is waited for
        if graph is None:
            raise errors.ImproperlyConfigured("an empty chain cannot run in the place of a task")
        ran = Ran(node.frame.ran.app, ids.mint_graph())
        if kind == "replace":
            self.replacement = Frame(ran, graph, (node, request))
            return None
        self._evaluation._drive(Frame(ran, graph))
        place = node.standing()
        place.frame.added.setdefault(place.run.group, []).append(ran.ends[graph.outcome.node])
        return ran.result_of(graph.outcome)


def _in_a_batch(function: Callable[..., Any], request: Context, /, *args: Any, **kwargs: Any) -> Any:
    """Call the function of a batch task with the one call that there is."""
    call = BatchCall(args=args, kwargs=kwargs, id=request.id or "", request=request)
    (end,) = each_end(completed(function([call])), 1)
    if isinstance(end, BaseException):
        raise end
    return end


def _body(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], via: str) -> Any:
    """Call a task, for each item of its one argument where it is mapped."""
    if via == "map":
        return [completed(function(item)) for item in args[0]]
    if via == "starmap":
        return [completed(function(*item)) for item in args[0]]
    return completed(function(*args, **kwargs))
