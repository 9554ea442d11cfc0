"""What the peers' tasks do: next to nothing, and the same for all of them. Imports nothing."""

from __future__ import annotations


def add(x: int, y: int) -> int:
    """Add two numbers."""
    return x + y


def total(numbers: list[int]) -> int:
    """Add many numbers."""
    return sum(numbers)


def echo(text: str) -> str:
    """Return what came."""
    return text
