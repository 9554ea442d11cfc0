"""Queues as an app declares them in ``task_queues``: their names, limits and weights, and what is a broadcast.

A queue needs no declaring to be used; declaring it says more of it. Objects of kombu are taken for what they say,
without importing it. Pure; may import nothing of grpcflow but its errors and limits.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from grpcflow.errors import ImproperlyConfigured, QueueNotFound
from grpcflow.limits import checked_count, parse_rate

__all__ = ["DIRECT", "Broadcast", "Queue", "Queues", "is_queue", "worker_direct"]

#: What the name of a queue that one worker alone serves ends with.
DIRECT: Final = ".dq"
_LONGEST_NAME: Final = 255
_TOP_WEIGHT: Final = 100

#: What kombu and brokers can be told of a queue that changes nothing here, since it is always so or means nothing
#: without a broker; x-max-priority too: every queue has the priorities 0 to 9, and a call with any other is refused.
_IGNORED: Final = frozenset(
    {
        *("durable", "queue_durable", "exchange_durable", "auto_delete", "queue_auto_delete", "exchange_auto_delete"),
        *("delivery_mode", "binding_key", "bindings", "binding_arguments", "consumer_arguments", "no_declare"),
        *("on_declared", "channel", "max_priority", "x-max-priority", "x-queue-type", "x-queue-mode"),
        *("x-queue-version", "x-quorum-initial-group-size", "x-queue-leader-locator", "x-queue-master-locator"),
    }
)

_TTL: Final = "give calls that may be too late expires=, in task_routes or on the task"
_FULL: Final = "no call is ever dropped, and nothing is refused because a queue is long: leave it out"
_GONE: Final = "a queue is there as long as something waits in it or is served: leave it out"
_DEAD: Final = "what failed for good is listed by 'grpcflow failed list': leave it out"
_ALONE: Final = "for one call at a time write concurrency_limit=1"
_SLOW: Final = "a lost worker is noticed without it; a task that takes too long is stopped by time_limit="

#: What would change how a queue works, and what to use for it.
_REFUSED: Final[Mapping[str, str]] = {
    "message_ttl": _TTL,
    "x-message-ttl": _TTL,
    "expires": _GONE,
    "x-expires": _GONE,
    "max_length": _FULL,
    "max_length_bytes": _FULL,
    "x-max-length": _FULL,
    "x-max-length-bytes": _FULL,
    "x-overflow": _FULL,
    "x-dead-letter-exchange": _DEAD,
    "x-dead-letter-routing-key": _DEAD,
    "x-dead-letter-strategy": _DEAD,
    "exclusive": _ALONE,
    "x-single-active-consumer": _ALONE,
    "x-consumer-timeout": _SLOW,
    "x-delivery-limit": "how many lost attempts a call may have is max_deliveries= of its task",
    "no_ack": "a call that is never handed out twice is that of a task with acks_late=False",
}

#: What is read of a queue of kombu's beside its name.
_OF_KOMBU: Final = ("message_ttl", "expires", "max_length", "max_length_bytes", "exclusive", "no_ack")


def is_name(value: object) -> bool:
    """Return True for what a queue can be called."""
    return isinstance(value, str) and 0 < len(value.encode()) <= _LONGEST_NAME


class Queue:
    """A queue, and what holds for it in the whole cluster.

    Args:
        name: Its name, at most 255 bytes.
        exchange: Taken for the sake of code written for Celery: a name, or an object with a ``type``; calls go to
            queues by name, so a direct or topic exchange changes nothing.
        routing_key: The same; a route must name the queue.
        rate_limit: Starts of its calls: ``"10/s"``, ``"100/m"``, ``"3/h"``, a number for so many a second; None or 0:
            no limit.
        concurrency_limit: How many of its calls run at once; None: no limit.
        weight: Its share of a worker that serves several queues, beside theirs: 1 to 100. Default 1.
        queue_arguments: What a broker would be told; what changes nothing here is ignored, all else refused.
        alias: Another name that calls and routes may use.
        **options: The rest of what kombu's ``Queue`` takes, dealt with as ``queue_arguments``.

    Raises:
        ValueError: A name, limit or weight cannot be.
        ImproperlyConfigured: It wants something of a broker that is not done here; the message says what to use.
    """

    #: True: each of its calls runs once on every worker that serves it.
    is_broadcast = False

    def __init__(
        self,
        name: str,
        exchange: Any = None,
        routing_key: str | None = "",
        *,
        rate_limit: str | float | None = None,
        concurrency_limit: int | None = None,
        weight: int = 1,
        queue_arguments: Mapping[str, Any] | None = None,
        alias: str | None = None,
        **options: Any,
    ) -> None:
        if not is_name(name):
            raise ValueError(f"the name of a queue is {name!r}; it must be text of at most {_LONGEST_NAME} bytes")
        if weight not in range(1, _TOP_WEIGHT + 1):
            raise ValueError(f"the queue {name}: weight is {weight!r}; it must be a whole number from 1 to 100")
        try:
            self.rate = parse_rate(rate_limit)
        except ValueError as error:
            raise ValueError(f"the queue {name}: {error}") from None
        checked_count(f"the queue {name}: concurrency_limit", concurrency_limit)
        _check_exchange(name, exchange, options.pop("exchange_type", None))
        _check_foreign(name, {**(queue_arguments or {}), **options})
        self.name = name
        self.routing_key = routing_key or ""
        self.rate_limit = rate_limit
        self.concurrency_limit = concurrency_limit
        self.weight = weight
        self.alias = alias

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class Broadcast(Queue):
    """A queue each of whose calls runs once on every worker that serves it when the call becomes ready.

    The value of a call is the list of theirs. Arguments and errors are those of ``Queue``.
    """

    is_broadcast = True


def worker_direct(name: str) -> str:
    """Return the name of the queue that one worker alone serves.

    Args:
        name: The worker's name, such as ``worker@host``.
    """
    return name + DIRECT


def is_queue(value: object) -> bool:
    """Return True for a queue, of ours or of kombu's: an object with the name of one."""
    return isinstance(value, Queue) or (isinstance(getattr(value, "name", None), str) and hasattr(value, "routing_key"))


class Queues(Mapping[str, Queue]):
    """The declared queues by name; without any, the default one.

    Args:
        declared: Queues, of ours or of kombu's; or a mapping of names to the arguments of ``Queue``, or to None.
        default: Name of the default queue.
        create_missing: False: no others can be used.

    Raises:
        ImproperlyConfigured: What is declared is no queue, or cannot be one here.
    """

    def __init__(self, declared: Any = None, default: str = "default", *, create_missing: bool = True) -> None:
        self._create_missing = create_missing
        self._queues = {queue.name: queue for queue in _declared(declared)} or {default: Queue(default)}
        self._aliases = {queue.alias: queue for queue in self._queues.values() if queue.alias}

    def __getitem__(self, name: str) -> Queue:
        found = self._queues.get(name) or self._aliases.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._queues)

    def __len__(self) -> int:
        return len(self._queues)

    def __repr__(self) -> str:
        return f"<Queues {', '.join(self._queues)}>"

    def find(self, wanted: Any) -> tuple[str, bool]:
        """Return the name of a queue, and whether it is a broadcast queue.

        Args:
            wanted: A name, an alias, or a queue itself, which need not be declared.

        Raises:
            QueueNotFound: None of this name is declared, and no others can be used.
            ValueError: It is neither.
        """
        if isinstance(wanted, str):
            found = self.get(wanted)
            if found is None:
                self._check_creation(wanted)
                return wanted, False
        elif is_queue(wanted):
            found = _one(wanted)
        else:
            raise ValueError(f"the queue is {wanted!r}; it must be the name of one, or a grpcflow.Queue")
        return found.name, found.is_broadcast

    def _check_creation(self, name: str) -> None:
        """Refuse a name that is not declared, where that matters; a worker's own queue is never declared."""
        if self._create_missing or name.endswith(DIRECT):
            return
        near = difflib.get_close_matches(name, [*self._queues, *self._aliases], n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(self._queues)}"
        raise QueueNotFound(
            f"the queue {name!r} is not in task_queues, and task_create_missing_queues is False: {hint}"
        )


def _declared(declared: Any) -> Iterable[Queue]:
    """Yield the queues that the setting ``task_queues`` declares."""
    if declared is None:
        return
    if isinstance(declared, Mapping):
        for name, options in declared.items():
            if options is not None and not isinstance(options, Mapping):
                raise ImproperlyConfigured(
                    f"task_queues: {name!r} is {options!r}; it must be a mapping of the arguments of Queue, or None"
                )
            yield _made(name, dict(options or {}))
        return
    if isinstance(declared, str) or not isinstance(declared, Iterable):
        raise ImproperlyConfigured(f"task_queues is {declared!r}; it must be a tuple of queues, or a mapping of names")
    for item in declared:
        yield _one(item)


def _one(item: Any) -> Queue:
    """Return one queue, of ours or of kombu's, or a name."""
    if isinstance(item, Queue):
        return item
    if isinstance(item, str):
        return _made(item, {})
    if not is_queue(item):
        raise ImproperlyConfigured(f"task_queues holds {item!r}; it must be a grpcflow.Queue, or the name of a queue")
    broadcast = any(base.__name__ == "Broadcast" for base in type(item).__mro__)
    options = {option: getattr(item, option, None) for option in _OF_KOMBU}
    options["queue_arguments"] = getattr(item, "queue_arguments", None)
    alias = getattr(item, "alias", None)
    if broadcast:
        # The name of kombu's is made up for each process; what people call it is its alias.
        return _made(alias or item.name, options, Broadcast)
    options.update(exchange=getattr(item, "exchange", None), routing_key=item.routing_key, alias=alias)
    return _made(item.name, options)


def _made(name: Any, options: dict[str, Any], kind: type[Queue] = Queue) -> Queue:
    """Return a queue of what a setting says."""
    try:
        return kind(name, **options)
    except (ValueError, TypeError) as error:
        raise ImproperlyConfigured(f"task_queues: {error}") from None


def _check_exchange(name: str, exchange: Any, kind: Any) -> None:
    """Refuse exchanges that would bring calls to other queues than the one that is named."""
    kind = getattr(exchange, "type", None) or kind or "direct"
    if kind == "fanout":
        cure = f"for a queue of whose calls every worker gets one write grpcflow.Broadcast({name!r})"
    elif kind not in ("direct", "topic"):
        cure = "name the queue in task_routes, which may hold a function that looks at the call"
    else:
        return
    raise ImproperlyConfigured(
        f"the queue {name} has an exchange of the type {kind!r}, and there are none here; {cure}"
    )


def _check_foreign(name: str, options: Mapping[str, Any]) -> None:
    """Refuse what only a broker does; a value that stands for "not so" says nothing."""
    for option, value in options.items():
        if option in _IGNORED or (option in _REFUSED and not value):
            continue
        cure = _REFUSED.get(option, "there is no such option: leave it out")
        raise ImproperlyConfigured(f"the queue {name} has {option}={value!r}; {cure}")
