"""The tasks of the random canvases as plain functions: total where they are not meant to fail, and sensitive to shape.

Tasks that do more than to return or raise (retry, replace themselves, grow their chord) have a name here, too. What
they do besides stands in their last arguments; both the reference evaluator and the simulated worker read it there.

May NOT import grpcflow. Each takes any JSON value, so that a random canvas fails only where it says so.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any, Final

#: Longest JSON text of a value that `tag` gives back whole; a longer one becomes a digest, lest values explode.
LONGEST_VALUE: Final = 400

#: Asks for another attempt before its first one does anything.
AGAIN: Final = "canvases.again"
#: Last arguments (fails, limit): fails so often before it succeeds, and is retried at most *limit* times.
FLAKY: Final = "canvases.flaky"
#: Raises Ignore.
IGNORE: Final = "canvases.ignore"
#: Raises Reject(reason), the reason being its last argument.
REJECT: Final = "canvases.reject"
#: Raises Reject(requeue=True) at its first hand-out.
REQUEUE: Final = "canvases.requeue"
#: Replaces itself by its last argument, a canvas as written.
BECOMES: Final = "canvases.becomes"
#: Adds its last argument, a canvas as written, to the chord that it is a header member of.
GROWS: Final = "canvases.grows"
#: Gives itself a state of its own before it ends.
TELLS: Final = "canvases.tells"
#: An errback of the style (request, exc, traceback).
SORRY: Final = "canvases.sorry"


def number(value: Any) -> int:
    """Returns an integer for any JSON value: numbers add up, everything else counts by its length."""
    if isinstance(value, bool | int | float):
        return int(value)
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        value = list(value.values())
    return sum(number(item) for item in value) if value is not None else 0


def add(*args: Any, **_kwargs: Any) -> int:
    """Returns the sum of its arguments."""
    return number(list(args))


def mul(*args: Any, **_kwargs: Any) -> int:
    """Returns a product that stays small."""
    product = 1
    for arg in args:
        product = product * number(arg) % 10_007
    return product


def xsum(*args: Any, **_kwargs: Any) -> int:
    """Returns the sum of a list, at any depth; one more than that where it got anything else besides."""
    return number(list(args)) + len(args) - 1


def tag(*args: Any, **kwargs: Any) -> Any:
    """Returns what it was called with, so that a wrong shape or order shows in the value."""
    seen = [*args, dict(sorted(kwargs.items()))] if kwargs else [*args]
    text = json.dumps(seen, sort_keys=True)
    return seen if len(text) <= LONGEST_VALUE else hashlib.sha256(text.encode()).hexdigest()[:16]


def noop(*_args: Any, **_kwargs: Any) -> None:
    """Takes anything and returns None."""


def fail(*args: Any, **_kwargs: Any) -> None:
    """Raises ValueError with its last argument as the message.

    Raises:
        ValueError: Always.
    """
    raise ValueError(str(args[-1]) if args else "fail")


def again(*args: Any, **_kwargs: Any) -> str:
    """Returns a text; a simulated worker asks for another attempt before it calls this."""
    return f"done {list(args)}"


def flaky(*args: Any, **kwargs: Any) -> Any:
    """Returns what it was called with; how often it fails before is not its own business."""
    return tag(*args, **kwargs)


def sorry(_request: Any, error: Any, traceback: Any, *args: Any, **kwargs: Any) -> Any:
    """Returns what it was called with; an errback that wants three arguments."""
    return tag(error, traceback, *args, **kwargs)


def grows(*args: Any, **kwargs: Any) -> Any:
    """Returns what it was called with but for the canvas that it adds."""
    return tag(*args[:-1], **kwargs)


def never(*_args: Any, **_kwargs: Any) -> None:
    """Stands for a task that never returns.

    Raises:
        AssertionError: Always.
    """
    raise AssertionError("a task that ends in a way of its own was called as a function")


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "canvases.add": add,
    "canvases.mul": mul,
    "canvases.xsum": xsum,
    "canvases.tag": tag,
    "canvases.noop": noop,
    "canvases.fail": fail,
    AGAIN: again,
    FLAKY: flaky,
    IGNORE: never,
    REJECT: never,
    REQUEUE: tag,
    BECOMES: never,
    GROWS: grows,
    TELLS: tag,
    SORRY: sorry,
}
