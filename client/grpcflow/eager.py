"""Calls in this process: ``apply()``, and every call where ``task_always_eager`` is set.

A canvas is lowered to a graph as ever, and the graph runs here instead of on a cluster; nothing is connected to. It may
not import grpc or protobuf.
"""

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

from grpcflow import state
from grpcflow.canvas.parts import CALLBACKS, as_list
from grpcflow.canvas.signature import Signature, as_signature, call_of
from grpcflow.evaluation import Evaluation

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.result.eager import EagerGroupResult, EagerResult
    from grpcflow.task import Task

__all__ = ["apply_canvas", "apply_task"]


def apply_task(
    task: "Task[..., Any]",
    args: Iterable[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    **options: Any,
) -> "EagerResult[Any]":
    """Run a call of a task in this process and return its result, which is at its end.

    Args:
        task: The task.
        args: Positional arguments.
        kwargs: Keyword arguments.
        **options: As for ``apply_canvas``.

    Raises:
        The errors of ``apply_canvas``.
    """
    call = call_of(task, tuple(args or ()), dict(kwargs or {}))
    return cast("EagerResult[Any]", apply_canvas(call, app=task.app, **options))


def apply_canvas(
    canvas: Signature,
    args: Iterable[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    app: "Grpcflow | None" = None,
    as_sent: bool = False,
    throw: bool | None = None,
    retries: int = 0,
    logfile: str | None = None,
    loglevel: int | None = None,
    **options: Any,
) -> "EagerResult[Any] | EagerGroupResult | None":
    """Run a canvas in this process, callbacks included, and return its result, which is at its end.

    Arguments and values stay the objects that they are. Countdowns and other times do not count: retries run at
    once.

    Args:
        canvas: What to run.
        args: Partial arguments for its first step.
        kwargs: Partial keyword arguments for its first step.
        app: The app that runs it; None: that of the canvas.
        as_sent: True: arguments are checked and go through the codec as if they were sent, and tasks may not wait for
            results; what ``task_always_eager`` wants.
        throw: True: raise what the first failing call raises, at once; what had not run does not run. None: as
            ``task_eager_propagates`` says.
        retries: How often the first call counts as retried already.
        logfile: For the tasks' own knowledge, in their requests.
        loglevel: The same.
        **options: Options as in ``Task.apply_async``.

    Returns:
        An EagerResult, an EagerGroupResult where the canvas ends in a group, None for an empty chain.

    Raises:
        NotRegistered: A task is not known to the app; nothing has run.
        TypeError: An option does not exist; with ``as_sent`` also: a task does not take its arguments.
        Exception: What the first failing call raised, with ``throw``.
    """
    app = app or canvas.app
    if throw is None:
        throw = app.conf.task_eager_propagates
    for name in CALLBACKS:
        if options.get(name):
            options[name] = [as_signature(callback, app) for callback in as_list(options[name])]
    about = {"logfile": logfile, "loglevel": loglevel or 0}
    evaluation = Evaluation(app, throw=throw, as_sent=as_sent, retries=retries, about=about)
    request = state.current_request()
    graph = evaluation.lower(canvas, request, args=tuple(args or ()), kwargs=kwargs, options=options)
    if graph is None:
        return None
    with nullcontext() if app._spans is None else app._spans.applying(canvas, graph):
        ran = evaluation.run(graph)
    result = ran.result_of(graph.outcome)
    if request is not None:
        request.children.append(result)
    return result
