"""Which handler answers a call: services are gathered here as a server would take them, and found by their methods.

It may not decide who may call, nor where: `access` has done that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc

from grpcflow_coordinator.security.caller import caller


class Collector:
    """Stands in for a server where services are added to it.

    Attributes:
        handlers: ``/SERVICE/METHOD`` -> what answers it.
    """

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, _handlers: Any) -> None:
        """Take handlers in a shape that needs no second look: they come in the other one too."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Take the handlers of a service, by the names of its methods."""
        self.handlers |= {f"/{service}/{name}": handler for name, handler in handlers.items()}


class Switchboard(grpc.GenericRpcHandler):
    """Finds the handler of a call: that of the namespace which its caller acts in.

    Args:
        handlers: namespace -> ``/SERVICE/METHOD`` -> what answers it; may get more.
    """

    def __init__(self, handlers: Mapping[str, Mapping[str, Any]]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of a call; None: there is none here."""
        return self._handlers[caller().namespace].get(handler_call_details.method)
