"""Keys of calls: whose turn it is, what must not run at once, and what must not run twice.

The coordinator never looks into arguments, so the keys are made of them here. Equal arguments give equal keys in every
process. Pure; may not import grpc or protobuf.
"""

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, NamedTuple

from grpcflow import tags
from grpcflow_protos.limits import NAME_LIMIT

__all__ = ["IDEMPOTENT_FOR", "KEY_OPTIONS", "NO_KEYS", "KeyPlan", "Keys", "idempotent", "literal_key", "literal_keys"]

#: Options of a call that are keys themselves. Each call has its own, so they are no part of a template.
KEY_OPTIONS: Final = frozenset({"concurrency_key", "fairness_key", "idempotency_key"})

#: How long an idempotency key is remembered.
IDEMPOTENT_FOR: Final = timedelta(days=3652)

#: Types whose text is as good as the value.
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})
#: Bytes of a digest.
_DIGEST: Final = 16
#: Tagged values whose members have no order that every process would agree on.
_UNORDERED: Final = frozenset({"set", "frozenset", "dict"})


class Keys(NamedTuple):
    """The keys of one call; see NodeRun in graph.proto. Empty: none."""

    fairness: str = ""
    concurrency: str = ""
    unique: str = ""


#: Those of nearly all calls; compared by identity where it counts.
NO_KEYS: Final = Keys()


class _Unknown:
    """Stands for a value that is not there before something else has run."""


_UNKNOWN: Final = _Unknown()


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """How the keys of the calls of one template are made.

    Attributes:
        task: Name of the task.
        fairness: Names of the arguments that make the key; text: the key itself; empty: there is none.
        concurrency: The same for the concurrency key.
        unique: The same for the unique key, where no names stand for all arguments; None: there is none.
        mapped: True for ``map`` and ``starmap``, where each item has arguments of its own.
        signature: What the function takes; None where that is not known.
    """

    task: str
    fairness: str | tuple[str, ...] = ()
    concurrency: str | tuple[str, ...] = ()
    unique: tuple[str, ...] | None = None
    mapped: bool = False
    signature: inspect.Signature | None = field(default=None, compare=False)

    def made(self, args: Sequence[Any], kwargs: Mapping[str, Any], inputs: int | None, given: Keys) -> Keys:
        """Return the keys of one call.

        Args:
            args: Its positional arguments.
            kwargs: Its keyword arguments.
            inputs: How many values will be put in front of ``args`` later; None: that is not known.
            given: Keys that the call itself has; these win.

        Raises:
            ValueError: A key is to be made of an argument that the call does not have, or not yet.
        """
        known: dict[str, Any] | None = None
        fairness, concurrency, unique = given
        if not fairness and self.fairness:
            if isinstance(self.fairness, str):
                fairness = self.fairness
            else:
                known = self._known(args, kwargs, inputs)
                fairness = _shortened(_text_of(self._chosen("fairness_key", self.fairness, known)))
        if not concurrency and self.concurrency:
            if isinstance(self.concurrency, str):
                concurrency = self.concurrency
            else:
                known = self._known(args, kwargs, inputs) if known is None else known
                text = _shortened(_text_of(self._chosen("concurrency_key", self.concurrency, known)))
                concurrency = _shortened(f"{self.task}:{text}")
        if not unique and self.unique is not None:
            known = self._known(args, kwargs, inputs) if known is None else known
            unique = self._unique_key(self.unique, known, args, inputs)
        return Keys(fairness, concurrency, unique)

    def _unique_key(
        self, names: tuple[str, ...], known: Mapping[str, Any], args: Sequence[Any], inputs: int | None
    ) -> str:
        """Return the key of what runs once: the task's name with these arguments, or with all."""
        values: Any
        if names:
            values = self._chosen("unique_on", names, known)
        elif inputs == 0:
            values = [list(args), known] if self.signature is None else known
        else:
            raise ValueError(
                f"{self.task} is unique by all of its arguments, and some come from what runs before it: name those of "
                "the call's own with unique_on=, or make the signature immutable with .si()"
            )
        return f"{_shortened(self.task)[: NAME_LIMIT // 2]}:{_digest([self.task, values])}"

    def _known(self, args: Sequence[Any], kwargs: Mapping[str, Any], inputs: int | None) -> dict[str, Any]:
        """Return the arguments of a call by name, those with default values included."""
        if self.mapped:
            return {"it": list(args[0])} if args else {}
        if self.signature is None or inputs is None:
            return dict(kwargs)
        try:
            bound = self.signature.bind_partial(*(_UNKNOWN,) * inputs, *args, **kwargs)
        except TypeError as error:
            raise ValueError(f"{self.task}{self.signature}: no key can be made of these arguments: {error}") from None
        bound.apply_defaults()
        named = dict(bound.arguments)
        for parameter in self.signature.parameters.values():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                named.update(named.pop(parameter.name, {}))
        return named

    def _chosen(self, option: str, names: tuple[str, ...], known: Mapping[str, Any]) -> Any:
        """Return the value of the one argument that makes a key, or the list of several."""
        if self.mapped:
            raise ValueError(
                f"{self.task} takes its {option} from {', '.join(names)}, which each item of a map has for itself: "
                f"call it with a group, or give the call a key of its own"
            )
        values = [known.get(name, _UNKNOWN) for name in names]
        for name, value in zip(names, values, strict=True):
            if value is _UNKNOWN or (isinstance(value, tuple) and any(item is _UNKNOWN for item in value)):
                raise ValueError(
                    f"{self.task} takes its {option} from the argument {name!r}, which this call does not have: it is "
                    "missing, or it comes from what runs before; pass it by its name, or give the call a key of its own"
                )
        return values[0] if len(values) == 1 else values


def literal_keys(task: str, options: Mapping[str, Any], idempotency: Any) -> tuple[dict[str, Any], Keys, str]:
    """Return the options of a call without those that are keys, these keys, and the idempotency key.

    Args:
        task: Name of the task.
        options: Options of the call.
        idempotency: Idempotency key of what the call is in; None: there is none.

    Raises:
        ValueError: A key is neither text nor a whole number.
    """
    rest = {option: value for option, value in options.items() if option not in KEY_OPTIONS}
    own = options.get("idempotency_key")
    fairness = literal_key(task, "fairness_key", options.get("fairness_key"))
    concurrency = literal_key(task, "concurrency_key", options.get("concurrency_key"))
    key = literal_key(task, "idempotency_key", idempotency if own is None else own)
    return rest, Keys(fairness, concurrency), key


def literal_key(task: str, option: str, value: Any) -> str:
    """Return a key that was given as itself; empty for None.

    Raises:
        ValueError: It is neither text nor a whole number.
    """
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{task}: {option} is {value!r}; it must be text, which is the key itself")
    return _shortened(value)


def idempotent(key: str, place: int) -> str:
    """Return the unique key of the call in this place, from 0, among those with one idempotency key."""
    return _shortened(f"idempotency:{key}:{place}")


def _text_of(value: Any) -> str:
    """Return a value as text: a plain one as it is, any other as a digest."""
    return str(value) if type(value) in _PLAIN else _digest(value)


def _shortened(text: str) -> str:
    """Return a key that may travel: what is too long as its digest."""
    try:
        fits = len(text) <= NAME_LIMIT if text.isascii() else len(text.encode()) <= NAME_LIMIT
    except UnicodeEncodeError:  # half of a surrogate pair, which no message can hold
        fits = False
    return text if fits else _digest(text)


def _digest(value: Any) -> str:
    """Return what stands for a value: the same for equal values in every process."""
    plain = _ordered(tags.tagged(value, "key", native_bytes=False))
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return "#" + hashlib.blake2b(text.encode(), digest_size=_DIGEST).hexdigest()


def _ordered(value: Any) -> Any:
    """Return plain data in which what has no order is sorted."""
    if isinstance(value, (list, tuple)):
        return [_ordered(item) for item in value]
    if not isinstance(value, dict):
        return value
    ordered = {name: _ordered(item) for name, item in value.items()}
    tag = ordered.get(tags.TAG)
    if isinstance(tag, list) and tag[0] in _UNORDERED:
        tag[1] = sorted(tag[1], key=lambda item: json.dumps(item, sort_keys=True))
    return ordered
