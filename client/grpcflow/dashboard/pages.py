"""What each live page shows, as plain data for JSON: made of what a link knows. Asks nobody, and knows no HTTP."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from grpcflow.cli.top.model import Listing, View
from grpcflow.dashboard.link import Link

__all__ = ["LIVE", "RANGES", "page"]

#: Ranges of time by the names that pages give them, in seconds.
RANGES: Final = {"5m": 300, "15m": 900, "1h": 3_600, "6h": 21_600, "24h": 86_400}
#: Lines of a kind that the overview shows.
_FEW: Final = 8
#: Points of curves that come with each news: those that may have changed since the last one.
_TAIL: Final = 3


def page(name: str, link: Link, said: Mapping[str, str]) -> dict[str, Any]:
    """Return what a page shows now.

    Args:
        name: One of ``LIVE``.
        link: What is known.
        said: What the page asks for: ``filter``, ``range``.

    Raises:
        KeyError: There is no such page.
    """
    view = link.view(said.get("filter", ""))
    head = {"at": time.time(), "fault": view.fault, "asked": view.asked, "summary": plain(view.summary)}
    return {**head, **LIVE[name](link, view, said)}


def _overview(link: Link, view: View, said: Mapping[str, str]) -> dict[str, Any]:
    length, now = RANGES.get(said.get("range", ""), RANGES["15m"]), time.time()
    queues = [line for line in view.queues.lines if not line.is_lane]
    return {
        "rates": {name: getattr(view, name).per_second for name in ("submitted", "finished", "failed")},
        "missed": view.missed,
        "whole": link.has_read,
        "latency": link.history.digests(now, length),
        "tail": link.history.series(now, length, _TAIL),
        "queues": plain(queues[:_FEW]),
        "more_queues": len(queues) - _FEW if len(queues) > _FEW else view.queues.left_out,
        "workers": plain(view.workers.lines[:_FEW]),
        "more_workers": max(0, len(view.workers.lines) - _FEW) + view.workers.left_out,
        "failures": plain(view.failures.lines[:_FEW]),
    }


def _head(_link: Link, _view: View, _said: Mapping[str, str]) -> dict[str, Any]:
    return {}


def _queues(_link: Link, view: View, _said: Mapping[str, str]) -> dict[str, Any]:
    return {"queues": _listing(view.queues), "scheduled": view.summary.scheduled}


def _workers(_link: Link, view: View, _said: Mapping[str, str]) -> dict[str, Any]:
    return {"workers": _listing(view.workers), "running": _listing(view.running)}


#: The pages that are told of news.
LIVE: Final[dict[str, Callable[[Link, View, Mapping[str, str]], dict[str, Any]]]] = {
    # Of pages that ask for what they show themselves: whether it is fresh.
    "head": _head,
    "overview": _overview,
    "queues": _queues,
    "workers": _workers,
}


def _listing(found: "Listing[Any]") -> dict[str, Any]:
    return {"lines": plain(found.lines), "left_out": found.left_out, "at_least": found.at_least}


def plain(value: Any) -> Any:
    """Return dataclasses, and what is in them, as JSON has it; moments as Unix time."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(one) for one in value]
    return value
