"""Plain data as YAML text and back, with the safe loader and no aliases.

The one module that knows PyYAML, which is imported at first use. Never the unsafe loader, which runs code; never the
one that is written in C, whose recursion on a stranger's data would end the process.
"""

from types import ModuleType
from typing import TYPE_CHECKING, Any

from grpcflow.errors import ImproperlyConfigured, SerializationError

if TYPE_CHECKING:
    import yaml

__all__ = ["load_package", "read", "write"]

_made: "tuple[type[yaml.SafeDumper], type[yaml.SafeLoader]] | None" = None


def load_package() -> ModuleType:
    """Return PyYAML.

    Raises:
        ImproperlyConfigured: It is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        message = "the serializer yaml needs the package PyYAML: pip install 'grpcflow[yaml]'"
        raise ImproperlyConfigured(message, code="MISSING_EXTRA") from error
    return yaml


def write(value: Any) -> bytes:
    """Return plain data as YAML.

    Args:
        value: What JSON knows, too.

    Raises:
        ImproperlyConfigured: PyYAML is not installed.
    """
    yaml, (dumper, _) = load_package(), _classes()
    data: bytes = yaml.dump(value, Dumper=dumper, encoding="utf-8", sort_keys=False)
    return data


def read(data: bytes) -> Any:
    """Return what YAML stands for.

    Args:
        data: The text, from whomever.

    Raises:
        ImproperlyConfigured: PyYAML is not installed.
        SerializationError: It has an alias: a few of them could stand for more than memory holds.
        Exception: It is no YAML, or holds what the safe loader does not know.
    """
    yaml, (_, loader) = load_package(), _classes()
    return yaml.load(data, Loader=loader)


def _classes() -> "tuple[type[yaml.SafeDumper], type[yaml.SafeLoader]]":
    """Return the classes that write and read."""
    global _made
    if _made is None:
        _made = _make_classes()
    return _made


def _make_classes() -> "tuple[type[yaml.SafeDumper], type[yaml.SafeLoader]]":
    """Make the classes, which can only be named once PyYAML is there."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes what stands at two places twice."""

        def ignore_aliases(self, data: Any) -> bool:
            """Return True."""
            return True

    class Loader(yaml.SafeLoader):
        """Refuses what stands for another place."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            """Return the node that comes next."""
            if self.check_event(yaml.AliasEvent):
                raise SerializationError("the YAML data has an alias, and none is read here: write the value twice")
            return super().compose_node(parent, index)

    return Dumper, Loader
