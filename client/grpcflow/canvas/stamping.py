"""Stamps: marks on every call of a canvas, that reach the running task and by which calls can be revoked.

A signature keeps its stamps among its options, as Celery does: the value under the stamp's name, and the names of all
stamps under ``stamped_headers``. It may not import grpc, protobuf or the codec.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

from grpcflow.canvas.parts import CALLBACKS, OPTIONS, STAMPED, as_list, listed, values_of

if TYPE_CHECKING:
    from grpcflow.canvas.compose import chain, chord, group
    from grpcflow.canvas.signature import Signature

__all__ = ["StampingVisitor", "stamp", "stamp_links"]

_Headers = dict[str, Any]
#: Asks for a signature in a canvas to be stamped with what is handed down to it.
_Stamping = Generator["tuple[Signature, _Headers]", None, None]


class StampingVisitor(ABC):
    """Says with which stamps ``Signature.stamp`` marks each part of a canvas.

    Each method is called with the part and with what has been handed down to it as keywords, and returns what to add:
    every key is a stamp, unless the key ``stamped_headers`` lists the names of those that are. Of the others those
    that name options are set as options, and the rest travels as headers. Values are what the codec can write.
    """

    @abstractmethod
    def on_signature(self, sig: "Signature", **headers: Any) -> Mapping[str, Any] | None:
        """Return what to add to one call."""

    def on_group_start(self, group: "group", **headers: Any) -> Mapping[str, Any] | None:
        """Return what to add to the members of a group, before they are visited."""
        return {}

    def on_group_end(self, group: "group", **headers: Any) -> None:  # noqa: B027 - there need not be one
        """Take note that the members of a group have been visited."""

    def on_chain_start(self, chain: "chain", **headers: Any) -> Mapping[str, Any] | None:
        """Return what to add to the steps of a chain, before they are visited."""
        return {}

    def on_chain_end(self, chain: "chain", **headers: Any) -> None:  # noqa: B027 - there need not be one
        """Take note that the steps of a chain have been visited."""

    def on_chord_header_start(self, sig: "chord", **header: Any) -> Mapping[str, Any] | None:
        """Return what to add to the header and the body of a chord; by default that of a group."""
        return self.on_group_start(sig.header, **header)

    def on_chord_header_end(self, sig: "chord", **header: Any) -> None:
        """Take note that the header of a chord has been visited; by default as of a group."""
        self.on_group_end(sig.header, **header)

    def on_chord_body(self, sig: "chord", **header: Any) -> Mapping[str, Any] | None:
        """Return what to add to the body of a chord."""
        return {}

    def on_callback(self, callback: "Signature", **header: Any) -> Mapping[str, Any] | None:
        """Return what to add to what is linked to a call."""
        return {}

    def on_errback(self, errback: "Signature", **header: Any) -> Mapping[str, Any] | None:
        """Return what to add to an errback."""
        return {}


def stamp(sig: "Signature", visitor: StampingVisitor | None, append: bool, headers: Mapping[str, Any]) -> None:
    """Stamp a canvas; see ``Signature.stamp``."""
    _run(_part(sig, visitor, append, dict(headers)), visitor, append)


def stamp_links(sig: "Signature", visitor: StampingVisitor | None, append: bool, headers: Mapping[str, Any]) -> None:
    """Stamp what is linked to a canvas; see ``Signature.stamp_links``."""
    _run(_links(sig, visitor, append, dict(headers)), visitor, append)


def _run(first: _Stamping, visitor: StampingVisitor | None, append: bool) -> None:
    """Stamp one part and all that it asks for, with a stack of our own instead of Python's."""
    stack = [first]
    while stack:
        try:
            sig, headers = next(stack[-1])
        except StopIteration:
            stack.pop()
        else:
            stack.append(_part(sig, visitor, append, headers))


def _part(sig: "Signature", visitor: StampingVisitor | None, append: bool, headers: _Headers) -> _Stamping:
    """Return the stamping of one part, by its kind."""
    kind = sig.subtask_type
    if kind == "chain" or kind == "group":
        return _composed(sig, visitor, append, headers)
    return (_chord if kind == "chord" else _call)(sig, visitor, append, headers)


def _call(sig: "Signature", visitor: StampingVisitor | None, append: bool, headers: _Headers) -> _Stamping:
    yield from _links(sig, visitor, append, headers)
    added = None if visitor is None else visitor.on_signature(sig, **headers)
    _set(sig, _together(sig, headers, added, append))


def _composed(sig: Any, visitor: StampingVisitor | None, append: bool, headers: _Headers) -> _Stamping:
    is_chain = sig.subtask_type == "chain"
    added = None
    if visitor is not None:
        added = visitor.on_chain_start(sig, **headers) if is_chain else visitor.on_group_start(sig, **headers)
    headers = _together(sig, headers, added, append)
    yield from _links(sig, visitor, append, headers)
    for task in listed(sig):
        yield task, headers
    if visitor is not None:
        (visitor.on_chain_end if is_chain else visitor.on_group_end)(sig, **headers)


def _chord(sig: Any, visitor: StampingVisitor | None, append: bool, headers: _Headers) -> _Stamping:
    added = None if visitor is None else visitor.on_chord_header_start(sig, **headers)
    headers = _together(sig, headers, added, append)
    yield from _links(sig, visitor, append, headers)
    for task in listed(sig):
        yield task, headers
    if visitor is not None:
        visitor.on_chord_header_end(sig, **headers)
    if sig.body is not None:
        added = None if visitor is None else visitor.on_chord_body(sig, **headers)
        yield sig.body, _together(sig, headers, added, append)


def _links(sig: "Signature", visitor: StampingVisitor | None, append: bool, headers: _Headers) -> _Stamping:
    """Stamp the callbacks and errbacks of a signature; they do not get its own stamps."""
    from grpcflow.canvas.signature import as_signature

    for option in CALLBACKS:
        if sig.options.get(option) is None:
            continue
        # Those that were given as dicts become signatures, so that the stamps stay with them.
        linked = sig.options[option] = [as_signature(item, sig._app) for item in as_list(sig.options[option])]
        for callback in linked:
            added = None
            if visitor is not None:
                visit = visitor.on_callback if option == "link" else visitor.on_errback
                added = visit(callback, **headers)
            yield callback, _together(None, headers, added, append)


def _together(
    sig: "Signature | None", headers: _Headers, added: Mapping[str, Any] | None, append: bool
) -> dict[str, Any]:
    """Return what a part gets: what is handed down, what its visitor adds, and the stamps it has.

    Where two have a stamp of one name, the visitor wins, then what is handed down; with ``append`` it gets all values.

    Raises:
        ValueError: A stamp has the name of an option.
    """
    has = {} if sig is None else sig.options
    own = {name: has[name] for name in has.get(STAMPED) or () if name in has}
    sources = [headers, dict(added or {}), own]
    names: dict[str, None] = {}
    for source in sources:
        names.update(dict.fromkeys(source.get(STAMPED, source)))
    if wrong := names.keys() & OPTIONS:
        raise ValueError(
            f"a stamp cannot be called {min(wrong)!r}, for that is an option; choose another name, or list the names "
            f"of the stamps in {STAMPED}"
        )
    together: dict[str, Any] = {**own, **headers, **(added or {})}
    if append:
        for name in names:
            given = [source[name] for source in sources if name in source]
            if len(given) > 1:
                together[name] = _united(given)
    together[STAMPED] = list(names)
    return together


def _united(given: list[Any]) -> list[Any]:
    """Return the values of several stamps of one name, each once."""
    united: list[Any] = []
    for stamped in given:
        united.extend(value for value in values_of(stamped) if value not in united)
    return united


def _set(sig: "Signature", headers: _Headers) -> None:
    """Give stamps and options to a signature; what is neither travels in its headers."""
    names = headers[STAMPED]
    if not names and len(headers) == 1 and STAMPED not in sig.options:
        return
    plain = {name: value for name, value in headers.items() if name not in names and name not in OPTIONS}
    sig.options.update((name, value) for name, value in headers.items() if name not in plain)
    if plain:
        sig.options["headers"] = {**(sig.options.get("headers") or {}), **plain}
