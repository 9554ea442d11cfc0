"""Have the C library keep freed memory for what comes next, as far as it is large blocks.

A payload of a mebibyte is copied some fifty times on its way through the daemons. By default glibc takes each block of
that size from the system and gives it back at once, and the system clears every page of it: half of all the time that
such a payload took. It imports nothing but the standard library, and stands here because coordinator and worker both
need it.
"""

from __future__ import annotations

from typing import Final

__all__ = ["keep_freed_memory"]

#: Numbers of glibc's mallopt(3), each with what it is set to. Blocks below the first come from the heap. Where its free
#: end is longer than the second, all but the third goes back to the system; with a short third everything would go at
#: once, to be asked for again by the next payload. The heap also grows by the third, which is address space alone.
_OPTIONS: Final = (
    (-3, 32 << 20),  # M_MMAP_THRESHOLD
    (-1, 64 << 20),  # M_TRIM_THRESHOLD
    (-2, 64 << 20),  # M_TOP_PAD
)


def keep_freed_memory() -> bool:
    """Keep up to 64 MiB of freed memory in this process; False where the C library has no such setting.

    A daemon's first act: it holds for blocks that are made later, and for processes that are forked.
    """
    try:
        import ctypes

        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc: musl, macOS, Windows
        return False
    except (ImportError, MemoryError):  # a Python without it, or no memory may be made executable
        return False
    return all(mallopt(number, value) for number, value in _OPTIONS)
