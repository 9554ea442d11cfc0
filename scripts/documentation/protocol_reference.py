"""The reference of the wire, written from the comments of the `.proto` files: a page for each file.

buf compiles them, so what stands here is what the compiler understood. May not say anything that the files do not.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

from documentation.pages import ROOT

__all__ = ["protocol_pages"]

_OURS: Final = "grpcflow/v1/"
_Path = tuple[int, ...]


def protocol_pages() -> dict[str, str]:
    """Returns the pages by their places in the site."""
    files = [file for file in _compiled().file if file.name.startswith(_OURS)]
    places = {name: f"{_stem(file)}.md#{_anchor(name)}" for file in files for name in _names(file)}
    made = {f"reference/wire/{_stem(file)}.md": _FilePage(file, places).text() for file in files}
    rows = [f"| [{_stem(file)}](wire/{_stem(file)}.md) | {_first(_Comments(file).of((12,)))} |" for file in files]
    head = (
        "# The wire, message by message\n\nEvery service, message and field, from the comments of the `.proto` files "
        "in `protos/grpcflow/v1`. What they mean together is the [protocol](protocol.md)."
    )
    made["reference/wire.md"] = "\n".join([head, "", "| file | holds |", "| --- | --- |", *rows]) + "\n"
    return made


def _compiled() -> FileDescriptorSet:
    """Returns the files as buf understood them, with their comments."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "protos.binpb"
        buf = Path(sys.executable).with_name("buf")
        subprocess.run([buf, "build", str(ROOT / "protos"), "--output", str(out)], check=True, timeout=60, cwd=ROOT)
        return FileDescriptorSet.FromString(out.read_bytes())


def _stem(file: FileDescriptorProto) -> str:
    return file.name.removeprefix(_OURS).removesuffix(".proto")


def _anchor(name: str) -> str:
    return name.lower().replace(".", "")


def _first(text: str) -> str:
    return re.split(r"(?<=\.)\s", " ".join(text.split()), maxsplit=1)[0]


def _names(file: FileDescriptorProto) -> Iterator[str]:
    """Yields the messages and enumerations of a file, by the names that fields have for them within the package."""

    def below(message: DescriptorProto, above: str) -> Iterator[str]:
        name = f"{above}{message.name}"
        yield name
        yield from (f"{name}.{each.name}" for each in message.enum_type)
        for inner in message.nested_type:
            if not inner.options.map_entry:
                yield from below(inner, f"{name}.")

    for message in file.message_type:
        yield from below(message, "")
    yield from (each.name for each in file.enum_type)


class _Comments:
    """The comments of a file, by the path of what they stand at."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self._texts = {tuple(each.path): each for each in file.source_code_info.location}

    def of(self, path: _Path) -> str:
        """Returns the comment in front of something; of the file, that in front of its package."""
        location = self._texts.get((2,) if path == (12,) else path)
        if location is None:
            return ""
        text = location.leading_comments or location.trailing_comments
        return "\n".join(line.removeprefix(" ") for line in text.splitlines()).strip()


class _FilePage:
    """The page of one file."""

    def __init__(self, file: FileDescriptorProto, places: dict[str, str]) -> None:
        self._file = file
        self._comments = _Comments(file)
        self._places = places

    def text(self) -> str:
        """Returns the page."""
        parts = [f"# {_stem(self._file)}.proto", self._comments.of((12,))]
        for number, service in enumerate(self._file.service):
            parts += [f"## {service.name}", self._comments.of((6, number))]
            for at, method in enumerate(service.method):
                parts += [
                    f"### {service.name}.{method.name}",
                    self._call(method),
                    self._comments.of((6, number, 2, at)),
                ]
        for number, message in enumerate(self._file.message_type):
            parts += self._message(message, (4, number), "")
        for number, enum in enumerate(self._file.enum_type):
            parts += self._enum(enum, (5, number), "")
        return "\n\n".join(filter(None, parts)) + "\n"

    def _call(self, method: MethodDescriptorProto) -> str:
        takes = f"{'stream of ' if method.client_streaming else ''}{self._linked(method.input_type)}"
        gives = f"{'stream of ' if method.server_streaming else ''}{self._linked(method.output_type)}"
        return f"Takes {takes}, gives {gives}."

    def _message(self, message: DescriptorProto, path: _Path, above: str) -> Iterator[str]:
        name = f"{above}{message.name}"
        yield f"## {name}"
        yield self._comments.of(path)
        rows = [self._field(message, each, (*path, 2, at)) for at, each in enumerate(message.field)]
        if rows:
            yield "\n".join(["| field | type | number | meaning |", "| --- | --- | --- | --- |", *rows])
        else:
            yield "It has no fields."
        for at, inner in enumerate(message.nested_type):
            if not inner.options.map_entry:
                yield from self._message(inner, (*path, 3, at), f"{name}.")
        for at, enum in enumerate(message.enum_type):
            yield from self._enum(enum, (*path, 4, at), f"{name}.")

    def _field(self, message: DescriptorProto, field: FieldDescriptorProto, path: _Path) -> str:
        said = self._comments.of(path).replace("\n", " ").replace("|", "\\|")
        one = field.HasField("oneof_index") and not field.proto3_optional
        among = f" One of `{message.oneof_decl[field.oneof_index].name}`." if one else ""
        return f"| `{field.name}` | {self._type(message, field)} | {field.number} | {said}{among} |"

    def _type(self, message: DescriptorProto, field: FieldDescriptorProto) -> str:
        inner = next(
            (each for each in message.nested_type if field.type_name.endswith(f".{message.name}.{each.name}")), None
        )
        if inner is not None and inner.options.map_entry:
            return f"map of {self._plain(inner.field[0])} to {self._plain(inner.field[1])}"
        several = "repeated " if field.label == FieldDescriptorProto.LABEL_REPEATED else ""
        return f"{several}{'optional ' if field.proto3_optional else ''}{self._plain(field)}"

    def _plain(self, field: FieldDescriptorProto) -> str:
        if field.type_name:
            return self._linked(field.type_name)
        return f"`{FieldDescriptorProto.Type.Name(field.type).removeprefix('TYPE_').lower()}`"

    def _linked(self, name: str) -> str:
        ours = name.removeprefix(".grpcflow.v1.")
        return f"[{ours}]({self._places[ours]})" if ours in self._places else f"`{name.removeprefix('.')}`"

    def _enum(self, enum: EnumDescriptorProto, path: _Path, above: str) -> Iterator[str]:
        yield f"## {above}{enum.name}"
        yield self._comments.of(path)
        rows = [
            f"| `{value.name}` | {value.number} | {self._comments.of((*path, 2, at)).replace(chr(10), ' ')} |"
            for at, value in enumerate(enum.value)
        ]
        yield "\n".join(["| value | number | meaning |", "| --- | --- | --- |", *rows])
