"""Every legal transition of a node, in one table. Anything that is not in it raises.

This file may not act: it says what is legal, and the modules beside it do it.
"""

from __future__ import annotations

from enum import Enum

from grpcflow_coordinator.core.model import NodeState


class Trigger(Enum):
    """What can move a node."""

    DELAYED = "delayed"  # released, with a time before which it may not run
    RELEASED = "released"  # all it waited for is there
    DUE = "due"  # its time has come
    HANDED_OUT = "handed out"
    STARTED = "started"
    RETURNED = "returned"  # handed back or never received: it did not start
    LOST = "lost"  # its attempt may have started and will not report
    RETRIED = "retried"
    REQUEUED = "requeued"  # it raised Reject(requeue=True)
    REPLACED = "replaced"  # another graph runs in its place
    COLLECTED = "collected"  # a join: all members succeeded
    VALUE = "value"
    RAISED = "raised"
    GIVEN_UP = "given up"  # lost too often, or not to be run twice
    UPSTREAM = "upstream"  # a parent failed
    SPARED = "spared"  # an errback whose parents did not fail
    REVOKED = "revoked"
    EXPIRED = "expired"
    IGNORED = "ignored"
    REJECTED = "rejected"


_S = NodeState
_T = Trigger

#: (state, trigger) -> new state.
TRANSITIONS: dict[tuple[NodeState, Trigger], NodeState] = {
    (_S.WAITING, _T.RELEASED): _S.QUEUED,
    (_S.WAITING, _T.DELAYED): _S.SCHEDULED,
    (_S.WAITING, _T.COLLECTED): _S.SUCCESS,
    (_S.WAITING, _T.UPSTREAM): _S.FAILURE,
    (_S.WAITING, _T.SPARED): _S.IGNORED,
    (_S.WAITING, _T.IGNORED): _S.IGNORED,
    (_S.WAITING, _T.REVOKED): _S.REVOKED,
    (_S.WAITING, _T.EXPIRED): _S.REVOKED,
    (_S.WAITING, _T.REJECTED): _S.REJECTED,
    (_S.SCHEDULED, _T.DUE): _S.QUEUED,
    (_S.SCHEDULED, _T.REVOKED): _S.REVOKED,
    (_S.SCHEDULED, _T.EXPIRED): _S.REVOKED,
    (_S.QUEUED, _T.HANDED_OUT): _S.HANDED_OUT,
    (_S.QUEUED, _T.REVOKED): _S.REVOKED,
    (_S.QUEUED, _T.EXPIRED): _S.REVOKED,
    (_S.QUEUED, _T.GIVEN_UP): _S.FAILURE,
}
for _running in (_S.HANDED_OUT, _S.STARTED):
    TRANSITIONS |= {
        (_running, _T.STARTED): _S.STARTED,
        (_running, _T.RETURNED): _S.QUEUED,
        (_running, _T.LOST): _S.QUEUED,
        (_running, _T.REQUEUED): _S.QUEUED,
        (_running, _T.RETRIED): _S.SCHEDULED,
        (_running, _T.REPLACED): _S.WAITING,
        (_running, _T.VALUE): _S.SUCCESS,
        (_running, _T.RAISED): _S.FAILURE,
        (_running, _T.GIVEN_UP): _S.FAILURE,
        (_running, _T.REVOKED): _S.REVOKED,
        (_running, _T.IGNORED): _S.IGNORED,
        (_running, _T.REJECTED): _S.REJECTED,
    }

#: States that a node never leaves.
TERMINAL = frozenset({_S.SUCCESS, _S.FAILURE, _S.REVOKED, _S.IGNORED, _S.REJECTED})

#: Terminal states that fail what depends on the node.
FAILED = frozenset({_S.FAILURE, _S.REVOKED, _S.REJECTED})


class IllegalTransition(AssertionError):
    """A node was about to move in a way that the table does not know: a defect of the core, never of a peer."""

    def __init__(self, state: NodeState, trigger: Trigger, story: str) -> None:
        super().__init__(f"no transition from {state.name} by '{trigger.value}'; the node's story: {story or 'none'}")


def transition(state: NodeState, trigger: Trigger, story: str = "") -> NodeState:
    """Return the state that `trigger` leads to from `state`.

    Raises:
        IllegalTransition: the table has no such step.
    """
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise IllegalTransition(state, trigger, story) from None
