"""Makes inputs out of chance: bytes, bytes changed here and there, and messages of any type that are nearly right.

What a field is called says what would fit there, so that most of a message leads somewhere and one part of it is wrong.
It may not know any door, and what it makes comes from its generator alone: one seed is one input.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

#: Numbers at which something ends.
EDGES: Final = (0, 1, 2, 3, 7, 9, 10, 127, 128, 255, 256, 500, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)

#: Texts that somebody did not think of.
TEXTS: Final = (
    *(
        "",
        " ",
        "\0",
        "a",
        "-",
        "--",
        ".",
        "..",
        "*",
        "%s",
        "%n",
        "%",
        "{}",
        "[",
        "(",
        "(a+)+$",
        "\\",
        "\n",
        "\x7f",
        "''",
    ),
    *("é", "\u202e", "\ufeff", "💣" * 3, "\ud7ff", "null", "None", "nan", "inf", "1e400", "-1", "0", "0x", "1_0", "٣"),
    *("n" * 255, "n" * 256, "é" * 128, "x" * 5_000, "default", "t", "SUCCESS", "00000000-0000-7000-8000-000000000000"),
)

_LEAST: Final = {
    **dict.fromkeys((FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_ENUM), -(2**31)),
    FieldDescriptor.CPPTYPE_INT64: -(2**63),
}
_MOST: Final = {
    **dict.fromkeys((FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_ENUM), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: 2**32 - 1,
    FieldDescriptor.CPPTYPE_INT64: 2**63 - 1,
    FieldDescriptor.CPPTYPE_UINT64: 2**64 - 1,
}

#: Messages in one message, at most, before some of them are repeated.
MESSAGES: Final = 300

#: What fits a field, by its name; each gets the generator.
Fitting = Callable[[random.Random], Any]


def text(rng: random.Random) -> str:
    """Returns a text: one of the awkward ones, or any."""
    if rng.random() < 0.7:
        return rng.choice(TEXTS)
    return "".join(chr(rng.choice((rng.randrange(128), rng.randrange(0xD800)))) for _ in range(rng.randrange(12)))


def number(rng: random.Random, least: int = -(2**63), most: int = 2**64 - 1) -> int:
    """Returns a number, mostly a small one or one at an edge."""
    found = rng.choice((rng.choice(EDGES), rng.randrange(5), rng.getrandbits(rng.randrange(1, 65))))
    return min(max(rng.choice((found, found, found, -found, least, most)), least), most)


def junk(rng: random.Random) -> bytes:
    """Returns any bytes."""
    return rng.randbytes(rng.choice((0, 1, 2, 3, 8, 12, 16, 40, 300)))


def bent(rng: random.Random, data: bytes, other: bytes = b"") -> bytes:
    """Returns bytes that differ from these in some places.

    Args:
        rng: the chance.
        data: the bytes.
        other: bytes of which a part may be put into them.
    """
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(found) + 1)
        match rng.randrange(7):
            case 0 if at < len(found):
                found[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(found):
                found[at] = rng.choice((0, 1, 0x7F, 0x80, 0xC1, 0xDD, 0xDF, 0xFF))
            case 2:
                del found[at : at + rng.choice((1, 1, 2, 4, 1 << 16))]
            case 3:
                found[at:at] = junk(rng)
            case 4:
                found[at:at] = found[at : at + rng.randrange(1, 40)] * rng.choice((1, 2, 50))
            case 5 if other:
                start = rng.randrange(len(other))
                found[at:at] = other[start : start + rng.randrange(1, 40)]
            case _:
                found[at : at + 4] = rng.choice(
                    (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f")
                )
    return bytes(found)


class Maker:
    """Makes messages.

    Args:
        rng: the chance.
        fitting: what fits fields, by their names.
        wild: share of fields that get what does not fit, from 0 to 1.
    """

    def __init__(self, rng: random.Random, fitting: dict[str, Fitting], wild: float = 0.12) -> None:
        self.rng, self._fitting, self._wild = rng, fitting, wild
        self._left = MESSAGES

    def message(self, descriptor: Descriptor, depth: int = 0) -> Message:
        """Returns a message of this type."""
        made: Message = GetMessageClass(descriptor)()
        self._left = MESSAGES if depth == 0 else self._left - 1
        if self._left <= 0:
            return made
        chosen = {group.name: self.rng.choice(group.fields).name for group in descriptor.oneofs}
        for field in descriptor.fields:
            group = field.containing_oneof
            if group is not None and len(group.fields) > 1 and chosen[group.name] != field.name:
                continue
            if self.rng.random() < (0.75 if depth < 4 else 0.15):
                self._fill(made, field, depth)
        return made

    def changed(self, message: Message, depth: int = 0) -> None:
        """Changes one part of a message, somewhere in it."""
        fields = message.ListFields()
        inside = [one for field, value in fields for one in _messages(field, value)]
        if inside and self.rng.random() < 0.7:
            self.changed(self.rng.choice(inside), depth + 1)
            return
        possible: list[Any] = list(message.DESCRIPTOR.fields)
        if not possible:
            return
        field = self.rng.choice(possible)
        if field.is_repeated and self.rng.random() < 0.6:
            self._shuffle(getattr(message, field.name))
            return
        message.ClearField(field.name)
        if self.rng.random() < 0.85:
            self._fill(message, field, depth)

    def _shuffle(self, values: Any) -> None:
        """Takes one out of a repeated field, or has one twice."""
        if not len(values):
            return
        at = self.rng.randrange(len(values))
        if self.rng.random() < 0.5:
            del values[at]
        else:
            values.append(values[at])

    def _fill(self, message: Message, field: FieldDescriptor, depth: int) -> None:
        if not field.is_repeated:
            if field.message_type is not None:
                inner = getattr(message, field.name)
                inner.SetInParent()
                if depth < 7:
                    inner.CopyFrom(self.message(field.message_type, depth + 1))
            else:
                setattr(message, field.name, self._scalar(field))
            return
        count = self.rng.choice((0, 1, 1, 1, 2, 2, 3, 5))
        values = getattr(message, field.name)
        for _ in range(count if depth < 7 else 0):
            values.append(
                self._scalar(field) if field.message_type is None else self.message(field.message_type, depth + 1)
            )
        if count and depth < 3 and self.rng.random() < 0.004:  # very many of one kind
            size = values[0].ByteSize() if field.message_type is not None else 20
            values.extend([values[0]] * min(3_000, 1_000_000 // (size + 1)))

    def _scalar(self, field: FieldDescriptor) -> Any:
        """Returns a value of a field: mostly one that fits."""
        wild = self.rng.random() < self._wild
        if not wild and field.name in self._fitting:
            made = self._fitting[field.name](self.rng)
            if _takes(field, made):
                return made
        if field.enum_type is not None and not wild:
            return self.rng.choice(field.enum_type.values).number
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING:
                return junk(self.rng) if field.type == FieldDescriptor.TYPE_BYTES else text(self.rng)
            case FieldDescriptor.CPPTYPE_BOOL:
                return self.rng.random() < 0.5
            case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
                return self.rng.choice((0.0, -1.0, 1e308, float("nan"), float("inf"), 52.5))
            case kind:
                least, most = _LEAST.get(kind, 0), _MOST[kind]
                return number(self.rng, least, most) if wild else min(self.rng.choice(EDGES[:9]), most)


def _messages(field: FieldDescriptor, value: Any) -> Sequence[Message]:
    if field.message_type is None or field.message_type.GetOptions().map_entry:
        return ()
    return list(value) if field.is_repeated else (value,)


def _takes(field: FieldDescriptor, value: Any) -> bool:
    """Tells whether a value is of the field's type."""
    if field.type == FieldDescriptor.TYPE_BYTES:
        return isinstance(value, bytes)
    if field.type == FieldDescriptor.TYPE_STRING:
        return isinstance(value, str)
    least, most = _LEAST.get(field.cpp_type, 0), _MOST.get(field.cpp_type, -1)
    return isinstance(value, int) and least <= value <= most
