"""What a report of a bug should tell of an app and its machine.

It may not import grpc or protobuf: their versions are read from the installation.
"""

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow

__all__ = ["bugreport"]

_LIBRARIES: Final = ("grpcflow", "grpcio", "protobuf", "lmdb", "msgspec")


def bugreport(app: "Grpcflow") -> str:
    """Return versions, machine and settings as text.

    Args:
        app: Whose settings are told.
    """
    versions = " ".join(f"{library}:{version(library)}" for library in _LIBRARIES)
    machine = f"{platform.system()} {platform.release()} {platform.machine()}"
    python = f"{platform.python_implementation()}:{platform.python_version()}"
    lines = [f"software -> {versions} {python}", f"platform -> {machine}", f"tasks -> {len(app.tasks)}"]
    return "\n".join([*lines, app.conf.humanize()])
