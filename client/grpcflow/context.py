"""What one running call knows about itself: ``self.request``, under Celery's names.

Holds data and nothing else: it may not import grpc, protobuf or the codec. A worker makes one for each attempt, so
what is the same for many attempts is shared, and what is seldom asked for is computed when it is.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property, partial
from typing import Any, Final, Self, cast

from grpcflow_protos.limits import HIDDEN

__all__ = ["RESERVED_HEADERS", "Context"]

#: Headers that grpcflow itself sends; a request shows them as fields of their own and not among its headers.
RESERVED_HEADERS: Final = frozenset({"via", "stamps", "shadow", "origin", "reply_to"})

_new: Final = cast("Any", object.__new__)


class Context:
    """What one running call knows about itself (``self.request``), under Celery's names.

    Args:
        **fields: Values of the attributes below; what is left out has its default.

    Raises:
        TypeError: There is no such field.

    Attributes:
        id: Id of the call as users know it; None where the function was called in place.
        task: Name of the task.
        args: Positional arguments.
        kwargs: Keyword arguments.
        root_id: Id of the first call of the work that this one belongs to.
        parent_id: Id of the call that submitted this one; None outside of a task.
        group: Id of the join that it is a member of; None: of none.
        group_index: Its place in that join's list; None: in none.
        chord: The same id where that join is the header of a chord.
        chain: Always None: what follows is known to the coordinator, not to the task.
        callbacks: Always None, for the same reason.
        errbacks: Always None, for the same reason.
        retries: How often it was retried.
        losses: How many attempts of it were lost with their worker.
        eta: When it was to start; None: at once.
        expires: When it would have been given up; None: never.
        time_limit: Seconds after which it is stopped; None: never.
        soft_time_limit: Seconds after which ``SoftTimeLimitExceeded`` is raised in it; None: never.
        hostname: Name of the worker.
        delivery_info: Where it came from: ``queue``, ``priority`` and ``redelivered``.
        headers: Headers that travelled with the call.
        properties: Always empty: there is no broker message that had any.
        reply_to: What the caller gave as ``reply_to``; results go to the coordinator all the same.
        origin: Name of the process that sent it, where known.
        shadow: Another name for logs; None: the task's.
        called_directly: True where the function was called in place, not by a worker.
        is_eager: True where it runs in the caller's process by ``apply()``.
        ignore_result: True where its value is not kept.
        sensitive: True where nobody is to be shown its arguments.
        replaced_task_nesting: How many replacements lie above it.
        stamps: Its stamps: a list of values by name.
        utc: Always True: times travel as UTC.
        logfile: Always None: a worker logs where it was told to, for all tasks alike.
        loglevel: Always None.
        children: Results of the calls that it submitted, in their order.
    """

    id: str | None = None
    task: str = ""
    args: Sequence[Any] = ()
    root_id: str | None = None
    parent_id: str | None = None
    group: str | None = None
    group_index: int | None = None
    chord: str | None = None
    chain: Sequence[Any] | None = None
    callbacks: Sequence[Any] | None = None
    errbacks: Sequence[Any] | None = None
    retries: int = 0
    losses: int = 0
    eta: datetime | None = None
    expires: datetime | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    hostname: str | None = None
    reply_to: str | None = None
    origin: str | None = None
    shadow: str | None = None
    called_directly: bool = True
    is_eager: bool = False
    ignore_result: bool = False
    sensitive: bool = False
    replaced_task_nesting: int = 0
    utc: bool = True
    logfile: str | None = None
    loglevel: int | None = None

    #: The 16 bytes of the running node, and the token of its attempt; empty and 0 outside of a worker.
    _node: bytes = b""
    _token: int = 0
    #: Token of its last attempt whose end the coordinator was told; 0: none.
    _after: int = 0
    #: Takes token, state, encoded meta and its content type of any attempt of this worker.
    _report: Callable[[int, str, bytes, str], None] | None = None
    #: Takes the token of any attempt of this worker and a line that it logged; None: nobody keeps it.
    _log: Any = None
    #: Takes "replace" or "member" and a canvas, in an eager call: runs it in the place of the call, or in its group.
    _hand_over: Callable[[str, Any], Any] | None = None
    #: Takes what submits the replacement of the call, to be called once its body has ended; None: it is called at once.
    _later: Callable[[Callable[[], Any]], None] | None = None
    #: Takes what the call emits (``emitting.Emits``); None: it has emitted nothing yet.
    _emits: Any = None
    #: The ids of the trace and of the span of this attempt, as text; None: it is not traced.
    _trace: tuple[str, str] | None = None
    #: The limit that ``retry(max_retries=...)`` set for this call.
    _max_retries: int | None = None

    def __init__(self, **fields: Any) -> None:
        if unknown := fields.keys() - _FIELDS:
            raise TypeError(f"a request has no field {min(unknown)!r}; it has {', '.join(sorted(_FIELDS))}")
        self.__dict__.update(fields)

    @classmethod
    def of_fields(cls, fields: dict[str, Any]) -> Self:
        """Return a request that takes this very mapping as its fields, unchecked; for workers."""
        made: Self = _new(cls)
        made.__dict__ = fields
        return made

    @cached_property
    def children(self) -> list[Any]:
        """Results of the calls that it submitted, in their order."""
        return []

    @cached_property
    def kwargs(self) -> Mapping[str, Any]:
        """Keyword arguments."""
        return {}

    @cached_property
    def delivery_info(self) -> Mapping[str, Any]:
        """Where it came from: ``queue``, ``priority`` and ``redelivered``."""
        return {}

    @cached_property
    def headers(self) -> Mapping[str, Any]:
        """Headers that travelled with the call."""
        return {}

    @cached_property
    def properties(self) -> Mapping[str, Any]:
        """Always empty: there is no broker message that had any."""
        return {}

    @cached_property
    def stamps(self) -> Mapping[str, Sequence[Any]]:
        """Its stamps: a list of values by name."""
        return {}

    @cached_property
    def _progress(self) -> Callable[[str, bytes, str], None] | None:
        """Says how far this attempt is: takes a state, the encoded meta and its content type; None: nobody hears."""
        return None if self._report is None else partial(self._report, self._token)

    @property
    def correlation_id(self) -> str | None:
        """The same as ``id``."""
        return self.id

    @property
    def timelimit(self) -> list[float | None]:
        """The two limits as Celery sends them: ``[time_limit, soft_time_limit]``."""
        return [self.time_limit, self.soft_time_limit]

    @property
    def stamped_headers(self) -> list[str]:
        """The names of its stamps."""
        return list(self.stamps)

    @property
    def argsrepr(self) -> str:
        """The positional arguments as text; of a sensitive call only that they are hidden."""
        return HIDDEN if self.sensitive else repr(tuple(self.args))

    @property
    def kwargsrepr(self) -> str:
        """The keyword arguments as text; of a sensitive call only that they are hidden."""
        return HIDDEN if self.sensitive else repr(dict(self.kwargs))

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field by its name, or ``default`` where there is no such field."""
        return getattr(self, name, default)

    def update(self, **fields: Any) -> None:
        """Change some fields.

        Raises:
            TypeError: There is no such field.
        """
        self.__dict__.update(type(self)(**fields).__dict__)

    def as_execution_options(self) -> dict[str, Any]:
        """Return the options with which the same call could be sent again, under the same id."""
        options = {
            "task_id": self.id,
            "queue": self.delivery_info.get("queue"),
            "priority": self.delivery_info.get("priority"),
            "expires": self.expires,
            "time_limit": self.time_limit,
            "soft_time_limit": self.soft_time_limit,
            "ignore_result": self.ignore_result or None,
            "headers": dict(self.headers) or None,
        }
        return {name: value for name, value in options.items() if value is not None}

    def __repr__(self) -> str:
        shown = {name: value for name, value in self.__dict__.items() if not name.startswith("_")}
        return f"Context({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


#: Every field that a request can be made with.
_FIELDS: Final = frozenset(Context.__annotations__).union(
    name for name, value in vars(Context).items() if isinstance(value, cached_property)
)
