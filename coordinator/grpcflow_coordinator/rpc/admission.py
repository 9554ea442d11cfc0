"""What a caller may submit and serve: the role, the queues and the limits of its token, asked once for each piece.

It may not know where tokens come from.
"""

from __future__ import annotations

from collections.abc import Iterable

from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.security.caller import caller
from grpcflow_coordinator.security.token_file import Role
from grpcflow_coordinator.security.tokens import EVERYONE
from grpcflow_protos.v1 import graph_pb2


def admitted(piece: graph_pb2.GraphChunk, payload_limit: int, node_limit: int) -> tuple[int, int]:
    """Return the largest payload and the most nodes that the caller may submit a piece of a graph with.

    Args:
        piece: the piece, as it came.
        payload_limit: in bytes, of the coordinator.
        node_limit: of the coordinator.

    Raises:
        Refusal: ROLE_FORBIDDEN, QUEUE_FORBIDDEN.
    """
    identity = caller()
    if identity is EVERYONE:
        return payload_limit, node_limit
    if not identity.may(Role.SUBMIT):
        raise Refusal("ROLE_FORBIDDEN", f"the token {identity.name!r} may not submit: use one with the role submit")
    check_queues(template.queue for template in piece.templates)
    return (
        min(payload_limit, identity.payload_limit or payload_limit),
        min(node_limit, identity.node_limit or node_limit),
    )


def check_reading() -> None:
    """Let a caller pass that may read results.

    Raises:
        Refusal: ROLE_FORBIDDEN.
    """
    identity = caller()
    if identity is not EVERYONE and not (identity.may(Role.SUBMIT) or identity.may(Role.INSPECT)):
        raise Refusal("ROLE_FORBIDDEN", f"the token {identity.name!r} may not read results: use one with inspect")


def check_queues(queues: Iterable[str]) -> None:
    """Let queues pass that the caller may use, be it to submit to them or to work for them.

    Raises:
        Refusal: QUEUE_FORBIDDEN.
    """
    identity = caller()
    if identity.queues:
        for queue in queues:
            identity.check_queue(queue)
