"""Single calls beside the stream, with deadlines and the session's retry policy.

No error that leaves this file refers to a gRPC object: an exception that a user keeps would keep grpc's core
alive with it, and then no fork could put it to rest.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc

from grpcflow import errors, statuses
from grpcflow.link import Link
from grpcflow.session import Session

__all__ = ["ANSWER_TIME", "Calls"]

#: Seconds that the coordinator has to answer a question that waits for nobody.
ANSWER_TIME: Final = 10.0

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class _Failed:
    """A try that failed, and whether another may not."""

    error: errors.GrpcflowError
    again: bool


class Calls:
    """Makes calls over the session's links.

    Args:
        session: Lends the links.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def ask(
        self, call: Callable[[grpc.Channel, float], _Answer], *, timeout: float = ANSWER_TIME, repeatable: bool = True
    ) -> _Answer:
        """Make a call, and make it again where the coordinator could not be reached.

        Args:
            call: Gets a channel and the seconds that are left; returns the whole answer.
            timeout: Seconds for all tries together.
            repeatable: False: not tried again once the coordinator may have got it.

        Raises:
            CoordinatorUnavailable: It could not be reached, by the session's retry policy.
            TimeoutError: It did not answer in time.
            GrpcflowError: It refused.
        """
        began = time.monotonic()
        deadline = began + timeout
        tries = 0
        while True:
            outcome = self._try(call, deadline, repeatable)
            if not isinstance(outcome, _Failed):
                return outcome
            tries += 1
            if not outcome.again or self._session.policy.is_over(tries, began) or time.monotonic() >= deadline:
                raise outcome.error
            threading.Event().wait(min(self._session.policy.delay(tries), max(0.0, deadline - time.monotonic())))

    def _try(
        self, call: Callable[[grpc.Channel, float], _Answer], deadline: float, repeatable: bool
    ) -> _Answer | _Failed:
        """Make a call once; return its answer, or its error and whether another try may help."""
        with self._session.borrow(deadline) as link:
            try:
                return call(link.channel, max(0.001, deadline - time.monotonic()))
            except grpc.RpcError as error:
                failed = self._judge(link, error)
                # On a link that was welcomed the coordinator may have got it.
                return failed if repeatable or link.welcome is None else _Failed(failed.error, again=False)
            except ValueError:
                # What grpc raises where the channel was closed between the loan and the call.
                if not link.is_closed:
                    raise
                return _Failed(self._session.unavailable(), again=True)

    def _judge(self, link: Link, error: grpc.RpcError) -> _Failed:
        """Return the error to raise for a failed call, and whether another try may help."""
        status = statuses.status_of(error)
        if status is grpc.StatusCode.UNAVAILABLE or (status is grpc.StatusCode.CANCELLED and link.is_closed):
            return _Failed(self._session.unavailable(), again=True)
        if status is grpc.StatusCode.DEADLINE_EXCEEDED:
            if link.welcome is None:
                return _Failed(self._session.unavailable(), again=False)
            message = f"the coordinator at {link.address} did not answer in time; try again with a longer timeout"
            return _Failed(errors.TimeoutError(message), again=False)
        return _Failed(statuses.error_of_call(error), again=False)
