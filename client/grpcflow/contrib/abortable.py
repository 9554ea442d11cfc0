"""Tasks that can be asked to stop and look for that themselves.

Aborting is a state of the call, ABORTED, which anybody may set while it has not ended; the task asks for it now and
then. Built on public names; it may not import grpc, protobuf or the codec.
"""

from typing import Any, Final, ParamSpec, TypeVar

from grpcflow.result import AsyncResult
from grpcflow.task import Task

__all__ = ["ABORTED", "AbortableAsyncResult", "AbortableTask"]

P = ParamSpec("P")
R = TypeVar("R")

#: State of a call that was asked to stop.
ABORTED: Final = "ABORTED"


class AbortableAsyncResult(AsyncResult[R]):
    """The result of a call of an ``AbortableTask``."""

    def is_aborted(self) -> bool:
        """Return True where the call was asked to stop and has not ended yet.

        Raises:
            CoordinatorUnavailable: The coordinator could not be reached.
        """
        return self.state == ABORTED

    def abort(self) -> None:
        """Ask the call to stop; it does so where its task asks ``is_aborted()``. A call that has ended is left alone.

        Raises:
            CoordinatorUnavailable: The coordinator could not be reached.
        """
        from grpcflow import codec

        content_type = codec.content_type(self.app.conf.result_serializer)
        self.app.connection.update_state(self.id, ABORTED, codec.encode(None, content_type), content_type)


class AbortableTask(Task[P, R]):
    """A task that can be asked to stop; the base for ``@app.task(base=AbortableTask, bind=True)``."""

    def AsyncResult(self, task_id: str) -> AbortableAsyncResult[R]:  # noqa: N802 - Celery's name
        """Return the result of the call with this id, which can be aborted."""
        return AbortableAsyncResult(task_id, app=self.app)

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AbortableAsyncResult[R]:
        """Submit a call; as ``Task.delay``, with a result that can be aborted."""
        return self.AsyncResult(super().delay(*args, **kwargs).id)

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> AbortableAsyncResult[R]:
        """Submit a call; as ``Task.apply_async``, with a result that can be aborted."""
        return self.AsyncResult(super().apply_async(args, kwargs, **options).id)

    def is_aborted(self, task_id: str | None = None) -> bool:
        """Return True where the running call was asked to stop: clean up and return then.

        Args:
            task_id: Id of another call; None: the one that runs.

        Raises:
            CoordinatorUnavailable: The coordinator could not be reached.
        """
        chosen = task_id or self.request.id
        return chosen is not None and not self.request.is_eager and self.AsyncResult(chosen).is_aborted()
