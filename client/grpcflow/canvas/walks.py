"""Walks over a whole canvas: copies, comparisons and texts of it, however deep it is.

Every walk has a stack of its own instead of Python's, so that no nesting meets the recursion limit. It may not import
grpc, protobuf or the codec.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from grpcflow.canvas.parts import CALLBACKS, complete, listed

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.canvas.signature import Signature

__all__ = ["app_in", "bare", "copied", "equal", "restored", "separated", "shown", "with_immutable"]

S = TypeVar("S", bound="Signature")

_new: Final = cast("Any", dict.__new__)
_COPIED: Final = (dict, list, set)


def bare(kind: "type[S]", app: "Grpcflow | None", parts: Mapping[str, Any]) -> S:
    """Return a signature of these parts; the short way, for it is made a thousand times over."""
    made: S = _new(kind)
    made._app, made._type = app, None
    made.update(parts)
    return made


def copied(sig: S) -> S:
    """Return a copy that shares nothing with ``sig`` but what is in its arguments."""
    whole: S = _copy_of(sig)
    _fill(whole, _copy_of)
    return whole


def restored(kinds: "Mapping[str | None, type[Signature]]", d: Mapping[str, Any], app: "Grpcflow | None") -> Any:
    """Return the signature that a dict describes, with those in it, each of its own class.

    Raises:
        ValueError: The dict, or one in it, describes no signature.
    """

    def make(item: Mapping[str, Any]) -> "Signature":
        parts = complete(item)
        found = kinds.get(parts["subtask_type"])
        if found is None:
            known = ", ".join(sorted(name for name in kinds if name))
            raise ValueError(f"there is no kind of canvas {parts['subtask_type']!r}; known are {known}")
        parts["kwargs"], parts["options"] = dict(parts["kwargs"]), dict(parts["options"])
        return bare(found, app, parts)

    whole = make(d)
    _fill(whole, lambda item: item if hasattr(item, "_app") else make(item), lambda item: hasattr(item, "_app"))
    return whole


def _fill(whole: "Signature", make: Callable[[Any], Any], done: Callable[[Any], bool] = lambda item: False) -> None:
    """Put what ``make`` makes of every signature in ``whole`` in its place, and so on in what it made."""
    waiting = [whole]
    while waiting:
        current = waiting.pop()
        for holder, name in _places(current):
            value = holder[name]
            if isinstance(value, Mapping):
                holder[name] = made = make(value)
                if not done(value):
                    waiting.append(made)
            else:
                holder[name] = members = [make(item) for item in value]
                waiting.extend(new for new, old in zip(members, value, strict=True) if not done(old))


def _places(sig: "Signature") -> Iterator[tuple[dict[str, Any], str]]:
    """Yield where a signature holds others: a dict and the name in it."""
    kwargs, options = sig["kwargs"], sig["options"]
    for name in sig.NESTED:
        if kwargs.get(name) is not None:
            yield kwargs, name
    if options:
        for name in CALLBACKS:
            if options.get(name) is not None:
                yield options, name


def _copy_of(sig: Any) -> Any:
    """Return a copy whose dicts are its own, and whose signatures are not yet."""
    if type(sig) is dict:
        return _as_signature(sig)
    made = _new(type(sig))
    made._app, made._type = sig._app, sig._type
    made.update(sig)
    made["kwargs"] = dict(sig["kwargs"])
    options = sig["options"]
    made["options"] = {
        # Never the values of other types: what cannot be copied may still be sent by pickle.
        name: copy.deepcopy(value) if isinstance(value, _COPIED) and name not in CALLBACKS else value
        for name, value in options.items()
    }
    return made


def _as_signature(value: Any) -> Any:
    from grpcflow.canvas.signature import as_signature

    return as_signature(value)


def separated(whole: "Signature") -> None:
    """Let each place in a canvas hold an object of its own: what stands in two places is copied."""
    seen = {id(whole)}
    waiting = [whole]
    while waiting:
        for holder, name in _places(waiting.pop()):
            value = holder[name]
            members: list[Any] = [value] if isinstance(value, Mapping) else list(value)
            own: list[Signature] = []
            for member in members:
                current = copied(member) if id(member) in seen else _as_signature(member)
                seen.add(id(current))
                own.append(current)
            waiting += own
            holder[name] = own[0] if isinstance(value, Mapping) else own


def equal(left: Any, right: Any) -> bool:
    """Return True where two canvases are equal as dicts."""
    pairs: list[tuple[Any, Any]] = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        if one is other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            if len(one) != len(other):
                return False
            for name, value in one.items():
                if name not in other:
                    return False
                pairs.append((value, other[name]))
        elif (isinstance(one, list) and isinstance(other, list)) or (
            isinstance(one, tuple) and isinstance(other, tuple)
        ):
            if len(one) != len(other):
                return False
            pairs.extend(zip(one, other, strict=True))
        elif one != other:
            return False
    return True


def shown(sig: "Signature") -> str:
    """Return a canvas as text for people."""
    text: list[str] = []
    waiting: list[Any] = [sig]
    while waiting:
        current = waiting.pop()
        if isinstance(current, str):
            text.append(current)
        else:
            waiting.extend(reversed(current._shown() if hasattr(current, "_shown") else [repr(current)]))
    return "".join(text)


def app_in(sig: "Signature") -> "Grpcflow | None":
    """Return the app of the first signature in a canvas that knows one."""
    waiting: list[Iterator[Signature]] = [iter((sig,))]
    while waiting:
        for current in waiting[-1]:
            if current._app is not None:
                return current._app
            if current._type is not None:
                return current._type.app
            waiting.append(iter(current._inner()))
            break
        else:
            waiting.pop()
    return None


def with_immutable(tasks: "Iterable[Signature]", immutable: bool) -> None:
    """Say of signatures whether they take something: of a group its members, of a chord those of its header."""
    waiting = list(tasks)
    while waiting:
        current = waiting.pop()
        if current["subtask_type"] in ("group", "chord"):
            waiting.extend(listed(current))
        else:
            current["immutable"] = immutable
