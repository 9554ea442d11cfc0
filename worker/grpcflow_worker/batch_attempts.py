"""Runs a batch whose function is a coroutine, on an event loop that others share.

As `attempt` does with a single call. It may NOT know the loop's thread, the supervisor or sockets.
"""

from typing import Any

from grpcflow import errors
from grpcflow.task import Task
from grpcflow_worker.attempt import Attempt, CoroutineRun, current
from grpcflow_worker.batch_runs import OpenBatch, members_of, packed
from grpcflow_worker.executor import CallRun, Ended
from grpcflow_worker.invoke import Invoker


class BatchCoroutineRun(CoroutineRun):
    """The batches of one run of an `async def` batch task."""

    __slots__ = ("_batches",)

    def __init__(self, invoker: Invoker, task: Task[..., Any], run: CallRun) -> None:
        """Prepare what the batches share."""
        super().__init__(invoker, task, run)
        self._batches: dict[int, OpenBatch] = {}

    def open(self, attempt: Attempt) -> bool:
        """See `CoroutineRun.open`."""
        current.set(attempt)
        batch = OpenBatch(self.invoker, self.task, members_of(self.run, attempt.offset))
        self._batches[attempt.offset] = batch
        attempt.args = [batch.open()]
        if batch.begun:
            attempt.request = batch.first
        return batch.begun

    def finish(self, attempt: Attempt) -> bytes | Ended:
        """See `CoroutineRun.finish`."""
        error = self._error(attempt)
        if isinstance(error, errors.TaskRevokedError) and error is attempt.steering.verdict:
            error = errors.Ignore("the batch was stopped")  # the executor says how its calls ended
        ends = self._batches.pop(attempt.offset).settle(attempt.value, error)
        return packed(attempt.token, ends)
