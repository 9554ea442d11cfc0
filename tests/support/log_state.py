"""Loggers as they were: for tests of what sets them up. May not set up any itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

#: All whose level, handlers or way upwards one of our programs sets.
SET_BY_US = (None, "grpcflow", "grpcflow.task", "grpcflow.trace")


@contextmanager
def logs_put_back() -> Iterator[None]:
    """Have our loggers at the end as they were at the beginning, and what was opened meanwhile closed."""
    loggers = [logging.getLogger(name) for name in SET_BY_US]
    before = [(each, each.level, each.propagate, list(each.handlers)) for each in loggers]
    try:
        yield
    finally:
        for each, level, propagate, handlers in before:
            for made in set(each.handlers) - set(handlers):
                made.close()
            each.setLevel(level)
            each.propagate, each.handlers = propagate, handlers
