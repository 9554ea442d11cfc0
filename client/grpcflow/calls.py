"""Single calls beside the stream, with deadlines and the session's retry policy.

Written once for threads and for event loops, as coroutines; see ``blocking``. What differs is in three short methods.
No error that leaves this file refers to a gRPC object: an exception that a user keeps would keep grpc's core
alive with it, and then no fork could put it to rest.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc

from grpcflow import errors, statuses
from grpcflow.blocking import run_here
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
    #: Seconds after which the coordinator asks for it again, having done nothing; None: it does not ask.
    later: float | None = None


class Calls:
    """Makes calls over the session's links, from threads.

    Args:
        session: Lends the links.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def ask(
        self, call: Callable[[grpc.Channel, float], _Answer], *, timeout: float = ANSWER_TIME, repeatable: bool = True
    ) -> _Answer:
        """Make a call here and now, from a thread; arguments and errors are those of ``request``."""
        return run_here(self.request(call, timeout=timeout, repeatable=repeatable))

    async def request(
        self, call: Callable[[grpc.Channel, float], _Answer], *, timeout: float = ANSWER_TIME, repeatable: bool = True
    ) -> _Answer:
        """Make a call, and make it again where the coordinator could not be reached.

        Args:
            call: Gets a channel and the seconds that are left; returns the answer, on an event loop what is awaited
                for it.
            timeout: Seconds for all tries together.
            repeatable: False: not tried again once the coordinator may have got it.

        Raises:
            CoordinatorUnavailable: It could not be reached, by the session's retry policy.
            TimeoutError: It did not answer in time.
            GrpcflowError: It refused.
        """
        answer: _Answer = await self._repeat(call, timeout, repeatable, self._one)
        return answer

    async def request_all(
        self,
        call: Callable[[grpc.Channel, float], Iterable[_Answer]],
        *,
        timeout: float = ANSWER_TIME,
        repeatable: bool = True,
    ) -> list[_Answer]:
        """Make a call that is answered by a stream, and return all messages; the rest as in ``request``."""
        answers: list[_Answer] = await self._repeat(call, timeout, repeatable, self._all)
        return answers

    async def _repeat(
        self,
        call: Callable[[grpc.Channel, float], Any],
        timeout: float,
        repeatable: bool,
        take: Callable[[Callable[[], Any]], Any],
    ) -> Any:
        """Make a call until it is answered, or the time or the tries are over."""
        began = time.monotonic()
        deadline = began + timeout
        tries = 0
        while True:
            outcome = await self._try(call, deadline, repeatable, take)
            if not isinstance(outcome, _Failed):
                return outcome
            tries += 1
            if not outcome.again or self._session.policy.is_over(tries, began) or time.monotonic() >= deadline:
                raise outcome.error
            policy = self._session.policy
            delay = policy.delay(tries) if outcome.later is None else policy.spread(outcome.later)
            await self._pause(min(delay, max(0.0, deadline - time.monotonic())))

    async def _try(
        self,
        call: Callable[[grpc.Channel, float], Any],
        deadline: float,
        repeatable: bool,
        take: Callable[[Callable[[], Any]], Any],
    ) -> Any:
        """Make a call once; return its answer, or its error and whether another try may help."""
        async with self._session.lend(deadline) as link:
            try:
                return await take(lambda: call(link.channel, max(0.001, deadline - time.monotonic())))
            except grpc.RpcError as error:
                failed = self._judge(link, error)
                # On a link that was welcomed the coordinator may have got it.
                safe = repeatable or link.welcome is None or failed.later is not None
                return failed if safe else _Failed(failed.error, again=False)
            except ValueError:
                # What grpc raises where the channel was closed between the loan and the call.
                if not link.is_closed:
                    raise
                return _Failed(self._session.unavailable(), again=True)

    async def pause(self, seconds: float) -> None:
        """Wait between two calls, as callers of this kind do."""
        await self._pause(seconds)

    # --- what a thread does by blocking -------------------------------------------------------------------

    async def _pause(self, seconds: float) -> None:
        threading.Event().wait(seconds)

    async def _one(self, call: Callable[[], Any]) -> Any:
        return call()

    async def _all(self, call: Callable[[], Any]) -> list[Any]:
        return list(call())

    # --- what went wrong ----------------------------------------------------------------------------------

    def _judge(self, link: Link, error: grpc.RpcError) -> _Failed:
        """Return the error to raise for a failed call, and whether another try may help."""
        status = statuses.status_of(error)
        if status is grpc.StatusCode.UNAVAILABLE:
            return _Failed(self._session.unavailable(), again=True)
        # None of ours cancels a call but by closing its link; a coordinator that stops cancels what it has not begun.
        if status is grpc.StatusCode.CANCELLED:
            lost = self._session.lost()
            return _Failed(lost, again=isinstance(lost, errors.CoordinatorUnavailable))
        if status is grpc.StatusCode.DEADLINE_EXCEEDED:
            if link.welcome is None:
                return _Failed(self._session.unavailable(), again=False)
            message = f"the coordinator at {link.address} did not answer in time; try again with a longer timeout"
            return _Failed(errors.TimeoutError(message), again=False)
        later = statuses.retry_after(error)
        return _Failed(statuses.error_of_call(error), again=later is not None, later=later)
