"""What a task printed and logged, as its result gives it to a reader. Nothing polls."""

from collections.abc import AsyncGenerator, Iterator

from grpcflow import state
from grpcflow.blocking import each_here
from grpcflow.log_model import LogLine
from grpcflow.result.base import Result

__all__ = ["Logs"]


class Logs(Result):
    """The part of ``AsyncResult`` about what the task logs."""

    def logs(self, *, follow: bool = False, tail: int | None = None) -> Iterator[LogLine]:
        """Yield what the task has printed and logged, attempt by attempt, each line once.

        Kept are the last lines of each attempt, as many bytes as the coordinator's ``--task-logs`` says, and of the
        last ten attempts; for as long as the result is.

        Args:
            follow: True: go on as lines come, and end with the call.
            tail: Only so many lines, the last that there are now; None: all.

        Raises:
            NotFound: The coordinator does not know the call, or no longer.
            RuntimeError: This is called inside a task, with ``follow``.
            ValueError: ``tail`` is below 1.
            CoordinatorUnavailable: The coordinator could not be reached, or the connection was closed.
        """
        return each_here(self._logged(follow, tail, on_loop=False))

    def alogs(self, *, follow: bool = False, tail: int | None = None) -> AsyncGenerator[LogLine, None]:
        """Yield on the running event loop what ``logs`` does; parameters and errors are the same."""
        return self._logged(follow, tail, on_loop=True)

    def _logged(self, follow: bool, tail: int | None, *, on_loop: bool) -> AsyncGenerator[LogLine, None]:
        if follow:
            state.check_join_allowed()
        if tail is not None and tail < 1:
            raise ValueError(f"tail is {tail}: ask for 1 line or more, or leave it out for all of them")
        return self._exchange(on_loop).aread_logs(self._key, follow=follow, tail=tail or 0)
