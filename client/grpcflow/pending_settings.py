"""Settings whose configuration is read at the first use of one of them, and not before.

Knows when to read and not from where. It may import nothing of grpcflow but its settings and errors.
"""

from collections.abc import Callable
from threading import RLock
from typing import Any, Final

from grpcflow.conf import Settings
from grpcflow.errors import ImproperlyConfigured

__all__ = ["PendingSettings"]

#: What writes settings, and so needs no configuration.
_WRITING: Final = frozenset({"update", "add_defaults", "replace_source"})


class PendingSettings(Settings):
    """Settings whose configuration is read when the first of them is.

    They may be written before. Once read they turn into plain ``Settings``, so that reading costs no more than an
    attribute, and every reference that somebody holds stays good.

    Args:
        load: Called once, at the first reading; where it fails the next reading calls it again. What it reads of
            these settings itself is what was set so far.
        loaded: Called after that.
    """

    def __init__(self, load: Callable[[], None], loaded: Callable[[], None]) -> None:
        super().__init__()
        self._load = load
        self._loaded = loaded
        self._lock = RLock()
        self._loading = False

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name not in _WRITING:
            self._settle()
        return object.__getattribute__(self, name)

    def _settle(self) -> None:
        """Read the configuration, in the one thread that came first."""
        with self._lock:
            if self._loading or type(self) is Settings:
                return
            self._loading = True
            try:
                self._load()
            except AttributeError as error:  # would look as if the setting did not exist
                message = f"reading the configuration failed: {error}"
                raise ImproperlyConfigured(message, code="BAD_CONFIGURATION") from error
            finally:
                self._loading = False
            object.__setattr__(self, "__class__", Settings)
            self._loaded()
