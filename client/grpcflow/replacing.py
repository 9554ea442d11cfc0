"""A running task that puts other work in its own place, or adds work to the group that it is a member of.

Both submit a graph of its own, which names the running attempt; the coordinator ties it to the attempt's node. It may
not import grpc, protobuf or the codec; what sends does that.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from grpcflow import state
from grpcflow.canvas.compose import chain
from grpcflow.canvas.signature import Signature, as_signature
from grpcflow.errors import Ignore, ImproperlyConfigured

if TYPE_CHECKING:
    from grpcflow.context import Context
    from grpcflow.lower.model import Attachment
    from grpcflow.task import Task

__all__ = ["LateMember", "add_member", "replacement", "send_replacement"]


def replacement(task: "Task[..., Any]", sig: Mapping[str, Any]) -> Signature:
    """Return the signature that is to run in the place of the running call, with the call's stamps.

    Raises:
        ImproperlyConfigured: It is an empty chain, or claims a chord of its own.
        RuntimeError: The task was called in place.
    """
    request = _running(task, "replace()")
    made = as_signature(sig, task.app)
    if "chord" in made.options:
        raise ImproperlyConfigured(
            f"{task.name}: what replaces a task must not have the option 'chord': it takes the task's place in its "
            "own chord by itself. Leave the option out.",
            code="BAD_REPLACEMENT",
        )
    if isinstance(made, chain) and not made.tasks:
        raise _empty(task)
    if request.stamps:
        stamps: dict[str, Any] = dict(request.stamps)
        made = made.clone().stamp(append_stamps=True, **stamps)
    return made


def send_replacement(task: "Task[..., Any]", sig: Signature) -> Any:
    """Run ``sig`` in the place of the running call: submit it, or have it run here where the call is eager.

    Raises:
        Ignore: That is done; its end is the end of this call.
        ImproperlyConfigured: There is nothing to run in it.
    """
    request = _running(task, "replace()")
    if request._hand_over is not None:
        request._hand_over("replace", sig)
    elif request._later is not None:
        request._later(lambda: _submit_replacement(task, sig, request))
    else:
        _submit_replacement(task, sig, request)
    raise Ignore(f"{task.name}[{request.id}] is replaced by {sig.task}")


def _submit_replacement(task: "Task[..., Any]", sig: Signature, request: "Context") -> None:
    if request._emits is not None:
        request._emits.flush()  # afterwards the node is no longer this attempt's
    if task.app.submit(sig, attachment=_attachment(request, "replace")) is None:
        raise _empty(task)


def add_member(task: "Task[..., Any]", sig: Mapping[str, Any], lazy: bool) -> Any:
    """Add ``sig`` to the group that the running call is a member of; see ``Task.add_to_chord``."""
    request = _running(task, "add_to_chord()")
    if request.group is None:
        raise ValueError(f"{task.name}[{request.id}] cannot add to its chord: it is no member of a group or of a chord")
    member = as_signature(sig, task.app)
    if lazy:
        return LateMember(member, request)
    return _send_member(member, request, (), {}, {})


class LateMember(Signature):
    """A signature that is added to the group of the running task once it is sent, while that task runs.

    Args:
        member: What is added.
        request: The request of the running call.
    """

    def __init__(self, member: Signature, request: "Context") -> None:
        super().__init__(member, app=member.app)
        self._member = member
        self._request = request

    def apply_async(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Submit it as one more member of the group; parameters as for any signature.

        Raises:
            RuntimeError: The task that made it runs no longer here, so the group may have ended.
        """
        if state.current_request() is not self._request:
            raise RuntimeError(
                f"{self.task} was to be added to the chord of {self._request.task}[{self._request.id}], which does not "
                "run here any more: send it before the task returns, or call add_to_chord() without lazy=True"
            )
        self._member.update(self)
        return _send_member(self._member, self._request, tuple(args or ()), dict(kwargs or {}), options)

    def clone(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> "Self":
        """Return a copy with more arguments and options, which is added to the same group when it is sent."""
        self._member.update(self)
        return type(self)(self._member.clone(args, kwargs, **options), self._request)

    def __or__(self, other: Any) -> Any:
        """Refuse: what follows would not be a part of what was added."""
        raise TypeError("compose first and add then: self.add_to_chord(a | b, lazy=True)")


def _send_member(
    member: Signature, request: "Context", args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]
) -> Any:
    if request._hand_over is not None:
        return request._hand_over("member", member.clone(args, kwargs, **options))
    return member.app.submit(member, args, kwargs, options, attachment=_attachment(request, "member"))


def _attachment(request: "Context", kind: Any) -> "Attachment":
    """Return what ties a graph to the running attempt."""
    import uuid

    from grpcflow.lower.model import Attachment

    replaces = kind == "replace"
    return Attachment(
        kind=kind,
        node=request._node,
        token=request._token,
        group=b"" if request.group is None else uuid.UUID(request.group).bytes,
        group_index=(request.group_index or 0) if replaces else 0,
        in_chord=request.chord is not None,
        nesting=request.replaced_task_nesting + replaces,
    )


def _running(task: "Task[..., Any]", what: str) -> "Context":
    """Return the request of the running call.

    Raises:
        RuntimeError: The task was called in place.
    """
    request = task.request
    if request.called_directly and not request.is_eager:
        raise RuntimeError(
            f"{task.name} was called in place, where {what} has no call to act on: use delay() or apply()"
        )
    return request


def _empty(task: "Task[..., Any]") -> ImproperlyConfigured:
    message = (
        f"{task.name}: an empty chain cannot replace a task, for it has no value; replace it with a step that does"
    )
    return ImproperlyConfigured(message, code="BAD_REPLACEMENT")
