"""What a simulated worker does with one attempt: the tasks of functions.py, with all that they do besides returning.

It gives back what the worker is to report, and what it is to submit before.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from tests.support import functions as names
from tests.support.canvases import app, build
from tests.support.reference import (
    EMPTY_REPLACEMENT,
    FAILED_ERROR,
    FAILED_ID,
    FAILED_TRACE,
    Functions,
    call_function,
    describe_call,
)

from grpcflow import codec
from grpcflow.lower import Attachment, Calls, lower, to_chunks
from grpcflow_protos.v1 import graph_pb2, value_pb2, worker_service_pb2

#: How long after a first attempt of AGAIN the next one may begin, where it is not at once.
AGAIN_MS: Final = 5_000


@dataclass(slots=True)
class Attempt:
    """One attempt that a worker was given."""

    token: int
    node: bytes
    template: graph_pb2.Template
    payload: bytes
    inputs: list[value_pb2.Value]
    retries: int = 0
    in_chord: bool = False


@dataclass(slots=True)
class Finished:
    """An attempt that ended, with its report; kept until the report is durable."""

    node: bytes
    token: int
    value: bytes | None = None
    report: worker_service_pb2.Report | None = None
    #: Number of the message that carried it on the present stream; 0: not sent on it yet.
    sequence: int = 0


@dataclass(slots=True)
class Done:
    """What came of an attempt.

    Attributes:
        ending: What is to be reported.
        graph: What is to be submitted, and accepted, before that; None: nothing.
        told: What is to be reported besides, and is no end.
    """

    ending: Finished
    graph: Sequence[graph_pb2.GraphChunk] | None = None
    told: worker_service_pb2.Report | None = None


class Actor:
    """Runs attempts.

    Args:
        functions: The tasks by name.
        calls: Counts every call that ran.
        mint: Gives the ids of new graphs.
    """

    def __init__(self, functions: Functions, calls: Counter[str], mint: Callable[[], bytes]) -> None:
        self.functions = functions
        self.calls = calls
        self.mint = mint
        #: The nodes that asked once to be handed out again.
        self.requeued: set[bytes] = set()

    def run(self, attempt: Attempt) -> Done:
        """Runs one attempt to its end."""
        task = attempt.template.task
        if task == names.AGAIN and not attempt.retries:
            countdown = AGAIN_MS * (len(attempt.payload) % 2 == 0)
            return _reported(attempt, retry=_retry("not yet", countdown))
        if task == names.REQUEUE and attempt.node not in self.requeued:
            self.requeued.add(attempt.node)
            return _reported(attempt, rejected=worker_service_pb2.Rejected(requeue=True))
        args, kwargs = codec.decode(attempt.payload, codec.JSON)
        for value in attempt.inputs:
            args = [plain(value), *args]
        if task == names.SORRY and args[:1] == [FAILED_ID]:
            args = [FAILED_ID, FAILED_ERROR, FAILED_TRACE, *args[1:]]
        headers = codec.decode(attempt.template.headers, codec.JSON) if attempt.template.headers else {}
        via = headers.get("via", "")
        self.calls[describe_call(task, args, kwargs, via)] += 1
        return self._performed(attempt, args, kwargs, via)

    def _performed(self, attempt: Attempt, args: list[Any], kwargs: dict[str, Any], via: str) -> Done:
        match attempt.template.task:
            case names.FLAKY if attempt.retries < args[-2]:
                return _flaky(attempt, args, kwargs)
            case names.IGNORE:
                return _reported(attempt, ignored=worker_service_pb2.Ignored())
            case names.REJECT:
                failure = value_pb2.Failure(type_name="Reject", module="grpcflow.errors", message=str(args[-1]))
                return _reported(attempt, rejected=worker_service_pb2.Rejected(failure=failure))
            case names.BECOMES:
                return self._replaced(attempt, args[-1])
            case names.GROWS:
                return self._grown(attempt, args, kwargs)
        return self._called(attempt, args, kwargs, via)

    def _called(self, attempt: Attempt, args: list[Any], kwargs: dict[str, Any], via: str) -> Done:
        task = attempt.template.task
        try:
            value = call_function(self.functions, task, args, kwargs, via)
        except Exception as error:
            failure = value_pb2.Failure(type_name=type(error).__name__, module="builtins", message=str(error))
            return _reported(attempt, failure=failure)
        done = Done(Finished(attempt.node, attempt.token, value=json.dumps(value).encode()))
        if task == names.TELLS:
            meta = value_pb2.Value(data=b'{"done":50}')
            told = worker_service_pb2.Progressed(state="HALFWAY", meta=meta)
            done.told = worker_service_pb2.Report(token=attempt.token, progressed=told)
        return done

    def _replaced(self, attempt: Attempt, canvas: dict[str, Any]) -> Done:
        done = _reported(attempt, ignored=worker_service_pb2.Ignored())
        done.graph = self._attached("replace", attempt, canvas)
        if done.graph is None:
            refused = EMPTY_REPLACEMENT
            failure = value_pb2.Failure(type_name=refused.type_name, module="grpcflow.errors", message=refused.message)
            return _reported(attempt, failure=failure)
        return done

    def _grown(self, attempt: Attempt, args: list[Any], kwargs: dict[str, Any]) -> Done:
        assert attempt.in_chord, "a task that wants to grow its chord was not told that it is in one"
        done = self._called(attempt, args, kwargs, "")
        done.graph = self._attached("member", attempt, args[-1])
        return done

    def _attached(
        self, kind: Literal["replace", "member"], attempt: Attempt, canvas: dict[str, Any]
    ) -> list[graph_pb2.GraphChunk] | None:
        """Returns the pieces of a graph that belongs to an attempt; None for a canvas that is nothing."""
        lowered = lower(build(canvas), Calls(app))
        if lowered is None:
            return None
        attachment = Attachment(kind, attempt.node, attempt.token, in_chord=attempt.in_chord)
        return to_chunks(lowered, self.mint(), attachment)


def _reported(attempt: Attempt, **outcome: Any) -> Done:
    report = worker_service_pb2.Report(token=attempt.token, **outcome)
    return Done(Finished(attempt.node, attempt.token, report=report))


def _flaky(attempt: Attempt, args: list[Any], kwargs: dict[str, Any]) -> Done:
    """Returns the wish of an attempt to be tried again, in one of three ways, or its failure for good."""
    fails, limit = args[-2:]
    if attempt.retries >= limit:
        return _reported(attempt, failure=value_pb2.Failure(type_name="ValueError", module="builtins", message="flaky"))
    match (fails + attempt.retries) % 3:
        case 0:
            return _reported(attempt, retry=_retry("at once", 0))
        case 1:
            return _reported(attempt, retry=_retry("later", 700))
        case _:
            # The same arguments, said anew: the inputs are among them and must not come again.
            payload = codec.encode_call(args, kwargs, codec.JSON)
            return _reported(attempt, retry=_retry("with its arguments", 0, payload))


def _retry(why: str, countdown_ms: int, payload: bytes = b"") -> worker_service_pb2.Retry:
    failure = value_pb2.Failure(type_name="RetryAsked", message=why)
    return worker_service_pb2.Retry(countdown_ms=countdown_ms, failure=failure, payload=payload)


def plain(value: value_pb2.Value) -> Any:
    """Returns an input as a task gets it; a failed node as the word that the reference evaluator uses."""
    which = value.WhichOneof("kind")
    if which == "failed":
        assert value.failed.failure.type_name or value.failed.failure.reason, "an errback is not told why"
        return FAILED_ID
    if which == "list":
        return [plain(item) for item in value.list.values]
    return codec.decode(value.data, value.content_type or codec.JSON)
