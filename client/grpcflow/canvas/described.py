"""What a signature is made of: the parts of its dict as attributes, its text, and when two are equal.

It may not import grpc, protobuf or the codec.
"""

from collections.abc import Sequence
from typing import Any, cast

from grpcflow.canvas import walks

__all__ = ["Described"]


class Described(dict[str, Any]):
    """A dict of a signature's parts."""

    __slots__ = ()

    @property
    def task(self) -> str:
        """Name of the task."""
        return cast("str", self["task"])

    @property
    def args(self) -> Sequence[Any]:
        """Positional arguments."""
        return cast("Sequence[Any]", self["args"])

    @args.setter
    def args(self, value: Sequence[Any]) -> None:
        self["args"] = value

    @property
    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments."""
        return cast("dict[str, Any]", self["kwargs"])

    @kwargs.setter
    def kwargs(self, value: dict[str, Any]) -> None:
        self["kwargs"] = value

    @property
    def options(self) -> dict[str, Any]:
        """Options as in ``Task.apply_async``."""
        return cast("dict[str, Any]", self["options"])

    @options.setter
    def options(self, value: dict[str, Any]) -> None:
        self["options"] = value

    @property
    def subtask_type(self) -> str | None:
        """The kind of canvas, such as ``group``; None for a plain call."""
        return cast("str | None", self["subtask_type"])

    @property
    def immutable(self) -> bool:
        """True where it takes nothing from what ran before it."""
        return cast("bool", self["immutable"])

    @immutable.setter
    def immutable(self, value: bool) -> None:
        self["immutable"] = value

    @property
    def id(self) -> str | None:
        """The id that its call will have, where one was set or ``freeze`` gave one."""
        return self.options.get("task_id")

    @property
    def name(self) -> str:
        """The task's name, as Celery also calls it."""
        return self.task

    @property
    def root_id(self) -> str | None:
        """The id of the first call of the work that it belongs to, where one was set."""
        return self.options.get("root_id")

    @property
    def parent_id(self) -> str | None:
        """The id of the call that submits it, where one was set."""
        return self.options.get("parent_id")

    def __eq__(self, other: object) -> bool:
        """Return True for a mapping of the same parts, whatever its class."""
        return walks.equal(self, other) if isinstance(other, dict) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not walks.equal(self, other) if isinstance(other, dict) else NotImplemented

    __hash__ = None  # as every dict

    def __repr__(self) -> str:
        return walks.shown(cast("Any", self))

    def _shown(self) -> list[Any]:
        """Return the parts of its text: texts and signatures."""
        shown = [repr(value) for value in self.args] + [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return [f"{self.task}({', '.join(shown)})"]
