"""Check the arguments of a call where it is made, before anything is sent.

Pure; imports nothing of grpcflow.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

__all__ = ["ArgumentCheck"]

_WITHOUT_LIMIT: Final = 1 << 30
_BY_POSITION: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class ArgumentCheck:
    """Knows how many arguments a function takes; a call that is right by count costs a comparison.

    Args:
        name: Name of the task, for messages.
        function: What will be called. One without a readable signature (written in C) is not checked.
    """

    __slots__ = ("_least", "_most", "_name", "_signature")

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._name = name
        self._signature: inspect.Signature | None
        try:
            self._signature = inspect.signature(function)
        except (TypeError, ValueError):
            self._signature = None
        self._least, self._most = self._counts()

    def _counts(self) -> tuple[int, int]:
        """Return the least and the most positional arguments of a call without keywords."""
        if self._signature is None:
            return 0, _WITHOUT_LIMIT
        least = most = 0
        for parameter in self._signature.parameters.values():
            required = parameter.default is inspect.Parameter.empty
            if parameter.kind in _BY_POSITION:
                most += 1
                least += required
            elif parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                most = _WITHOUT_LIMIT
            elif parameter.kind is inspect.Parameter.KEYWORD_ONLY and required:
                return 1, 0  # no count is right without that keyword
        return least, most

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any], inputs: int = 0) -> None:
        """Raise TypeError where the function cannot take these arguments.

        Args:
            args: The positional arguments.
            kwargs: The keyword arguments.
            inputs: How many values will be put in front of ``args`` later.

        Raises:
            TypeError: An argument is missing, unknown or too many; the message names the task and it.
        """
        if not kwargs and self._least <= len(args) + inputs <= self._most:
            return
        if self._signature is None:
            return
        try:
            self._signature.bind(*(None,) * inputs, *args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self._name}{self._signature}: {error}") from None
