"""An exception as handlers and signals get it: with its traceback as text.

Imports nothing beyond the standard library.
"""

import traceback
from functools import cached_property
from types import TracebackType

__all__ = ["ExceptionInfo"]


class ExceptionInfo:
    """An exception with its type and its traceback; ``str()`` is the traceback.

    Args:
        exception: The exception; it must have been raised for its traceback to say anything.

    Attributes:
        exception: The exception.
        type: Its class.
        tb: Its traceback as an object; None where it was not raised.
    """

    def __init__(self, exception: BaseException) -> None:
        self.exception = exception
        self.type: type[BaseException] = type(exception)
        self.tb: TracebackType | None = exception.__traceback__

    @cached_property
    def traceback(self) -> str:
        """The formatted traceback; made when it is first asked for."""
        try:
            return "".join(traceback.format_exception(self.exception))
        except BaseException as error:  # noqa: BLE001 - the exception's own code is the user's, and may itself fail
            return f"{self.type.__qualname__} (its traceback could not be made: that raised {type(error).__name__})"

    def __str__(self) -> str:
        return self.traceback

    def __repr__(self) -> str:
        return f"<ExceptionInfo of {self.type.__qualname__}>"
