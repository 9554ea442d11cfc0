"""What a task may override to hear of its own calls.

Methods that do nothing; who calls them is in ``lifecycle``. It may import nothing of grpcflow at run time.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.einfo import ExceptionInfo

__all__ = ["Handlers"]


class Handlers:
    """Handlers of a task, which subclasses override.

    They run in the process that runs the task, with ``self.request`` set. What one raises is logged and changes
    nothing about how the task ended, except in ``before_start``: that counts as raised by the task.
    """

    def on_bound(self, app: "Grpcflow") -> None:
        """Called when the task is registered with ``app``."""

    def before_start(self, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Called before the task runs; also before each further attempt."""

    def on_success(self, retval: Any, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Called after the task returned ``retval``."""

    def on_failure(
        self,
        exc: BaseException,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        einfo: "ExceptionInfo",
    ) -> None:
        """Called after the task failed with ``exc``."""

    def on_retry(
        self,
        exc: BaseException,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        einfo: "ExceptionInfo",
    ) -> None:
        """Called after the task asked for another attempt, because of ``exc``."""

    def after_return(
        self,
        status: str,
        retval: Any,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        einfo: "ExceptionInfo | None",
    ) -> None:
        """Called last: ``status`` is SUCCESS, FAILURE or RETRY, and ``retval`` the value or the exception."""

    def shadow_name(self, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> str | None:
        """Return the name under which the logs show a call, or None for the task's own; called at ``apply_async``."""
