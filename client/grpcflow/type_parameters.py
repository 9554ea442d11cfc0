"""The type parameters that tasks, canvases and results share; each name means the same in all of them.

All have a default, so that a bare ``Signature`` in somebody's annotation is ``Signature[Any]``. Python knows defaults
from 3.13 on; checkers know them in any version, so only they are told, and nothing is imported for it. May hold nothing
but these.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import ParamSpec, TypeVar

    from grpcflow.result.single import AsyncResult  # noqa: F401 - named in a default below
else:
    import typing

    def ParamSpec(name, default=None):  # noqa: N802 - stands for the class
        """Make a parameter without its default."""
        return typing.ParamSpec(name)

    def TypeVar(name, default=None, **options):  # noqa: N802 - stands for the class
        """Make a parameter without its default."""
        return typing.TypeVar(name, **options)


__all__ = ["Given", "Given_co", "Method", "P", "R", "R_co", "T"]

#: What a task takes.
P = ParamSpec("P", default=...)
#: The same within one method, where the task is seen more closely than its class says.
Method = ParamSpec("Method", default=...)

#: What a call gives, in what can be changed or holds a list of such values.
R = TypeVar("R", default=Any)
#: What a call gives, in what only hands it out.
R_co = TypeVar("R_co", default=Any, covariant=True)
#: What a call gives, within one method.
T = TypeVar("T", default=Any)

#: What submitting a canvas gives: an ``AsyncResult``, or the ``GroupResult`` of one that ends in a group.
Given = TypeVar("Given", default=Any)
Given_co = TypeVar("Given_co", default="AsyncResult[R_co]", covariant=True)
