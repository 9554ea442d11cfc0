"""Single calls beside the stream, with deadlines and the session's retry policy.

No error that leaves this file refers to a gRPC object: an exception that a user keeps would keep grpc's core
alive with it, and then no fork could put it to rest.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import grpc

from grpcflow import errors, statuses
from grpcflow.link import Link
from grpcflow.session import Session

__all__ = ["ANSWER_TIME", "Calls"]

#: Seconds that the coordinator has to answer a question that waits for nobody.
ANSWER_TIME: Final = 10.0

_Answer = TypeVar("_Answer")


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
            answer, error, again = self._try(call, deadline)
            if error is None:
                return answer
            tries += 1
            if not again or self._session.policy.is_over(tries, began) or time.monotonic() >= deadline:
                raise error
            if not repeatable and not isinstance(error, errors.CoordinatorUnavailable):
                raise error
            threading.Event().wait(min(self._session.policy.delay(tries), max(0.0, deadline - time.monotonic())))

    def _try(
        self, call: Callable[[grpc.Channel, float], _Answer], deadline: float
    ) -> tuple[Any, errors.GrpcflowError | None, bool]:
        """Make a call once; return its answer or its error, and whether another try may help."""
        with self._session.borrow(deadline) as link:
            try:
                return call(link.channel, max(0.001, deadline - time.monotonic())), None, False
            except grpc.RpcError as error:
                return None, *self._judge(link, error)
            except ValueError:
                # What grpc raises where the channel was closed between the loan and the call.
                if not link.is_closed:
                    raise
                return None, self._session.unavailable(), True

    def _judge(self, link: Link, error: grpc.RpcError) -> tuple[errors.GrpcflowError, bool]:
        """Return the error to raise for a failed call, and whether another try may help."""
        status = error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN
        if status is grpc.StatusCode.UNAVAILABLE or (status is grpc.StatusCode.CANCELLED and link.is_closed):
            return self._session.unavailable(), True
        if status is grpc.StatusCode.DEADLINE_EXCEEDED:
            if link.welcome is None:
                return self._session.unavailable(), False
            message = f"the coordinator at {link.address} did not answer in time; try again with a longer timeout"
            return errors.TimeoutError(message), False
        return statuses.error_of_call(error), False
