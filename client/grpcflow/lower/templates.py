"""Options of a call, of its task, its route and the settings, made into a template.

Pure: reads the app's settings and tasks, touches nothing. It may not import grpc or protobuf.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Self

from grpcflow import codec
from grpcflow.canvas.parts import merged_options
from grpcflow.errors import PayloadTooLarge
from grpcflow.limits import checked_count, checked_length, checked_names, parameters_of
from grpcflow.lower.keys import KeyPlan, literal_key
from grpcflow.lower.model import TemplateSpec
from grpcflow.lower.options import OPTIONS, checked_limits, checked_name, length_of, split_stamps, unknown_option
from grpcflow.routes import Route
from grpcflow_protos.limits import PAYLOAD_LIMIT

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.context import Context
    from grpcflow.task import Task

__all__ = ["Calls"]

#: Attributes of a task that are options of its calls, and those that routes by function are shown of these.
_SHOWN: Final = (
    *("queue", "priority", "expires", "ignore_result", "acks_late", "serializer", "track_started"),
    *("time_limit", "soft_time_limit", "max_deliveries"),
)
_OF_TASKS: Final = (
    *_SHOWN,
    *("concurrency_key", "concurrency_per_key", "fairness_key", "unique_for", "unique_on", "unique_stays"),
    *("result_expires", "result_failure_expires", "sensitive"),
)

#: All of them at once, since every call asks.
_options_of: Final = attrgetter(*_OF_TASKS)

#: Most templates that an app keeps for later calls.
_CACHED: Final = 10_000

_TOP_PRIORITY: Final = 9

#: Gives the value of an option by its name, or the setting that is its second argument.
_Choose = Callable[[str, Any], Any]
_NO_OPTIONS: Final[Mapping[str, Any]] = {}


class Calls:
    """Makes templates and payloads for the calls of one submission.

    Args:
        app: Whose settings, routes and tasks hold.
        parent_id: Id of the task that submits; empty outside of one.
        root_id: Id of the first task of the work that the submission belongs to; empty outside of one.
        priority: Priority of calls that have none of their own; None: the setting's.
    """

    def __init__(self, app: "Grpcflow", parent_id: str = "", root_id: str = "", priority: int | None = None) -> None:
        self._app = app
        self._parent_id = parent_id
        self._root_id = root_id
        self._priority = priority

    @classmethod
    def inside(cls, app: "Grpcflow", request: "Context | None") -> Self:
        """Return the same for calls that are made inside of the task that has this request; None: outside of any."""
        if request is None:
            return cls(app)
        inherited = request.delivery_info.get("priority") if app.conf.task_inherit_parent_priority else None
        return cls(app, request.id or "", request.root_id or "", inherited)

    def under(self, parent_id: str | None, root_id: str | None) -> Self:
        """Return the same for a submission that belongs to another parent, or root; None: to the same."""
        if not (parent_id or root_id):
            return self
        moved = copy(self)  # also of a class that is made from this one
        moved._parent_id, moved._root_id = parent_id or self._parent_id, root_id or self._root_id
        return moved

    @property
    def asks_for_routes(self) -> bool:
        """True where functions decide of routes, call by call."""
        return self._app.conf.router.asks

    def route(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Route:
        """Return the route of one call; see ``Router.route``. Functions see the options of call and task."""
        task = self._app.tasks.get(name)
        own = {} if task is None else {option: getattr(task, option) for option in _SHOWN}
        seen = {option: value for option, value in {**own, **options}.items() if value is not None}
        return self._app.conf.router.route(options.get("route_name") or name, args, kwargs, seen, task)

    def template(
        self, name: str, options: Mapping[str, Any] = _NO_OPTIONS, via: str = "", route: Route | None = None
    ) -> TemplateSpec:
        """Return the template of a call.

        An option of the call wins over one of the task, that over the route's, and that over the setting.

        Args:
            name: Name of the task.
            options: Options of the call.
            via: ``map`` or ``starmap`` where the task is applied to many items.
            route: Its route, where that is known already; None: it is found by the name.

        Raises:
            TypeError: There is no such option.
            ValueError: An option has a value that cannot be.
            QueueNotFound: Its queue is not declared, and no others can be used.
        """
        task = self._app.tasks.get(name)
        if options or self._root_id or route is not None:
            return self._made(name, task, options, via, route)
        # What the options of nearly all calls come to, until a setting or an attribute of the task changes.
        key = (name, via, self._app.conf.version, None if task is None else _options_of(task))
        cache = self._app.template_cache
        found = cache.get(key)
        if found is None:
            if len(cache) >= _CACHED:
                cache.clear()
            found = cache[key] = self._made(name, task, options, via)
        return found

    def _made(
        self,
        name: str,
        task: "Task[..., Any] | None",
        options: Mapping[str, Any],
        via: str,
        route: Route | None = None,
    ) -> TemplateSpec:
        """Return a new template; see ``template``."""
        conf = self._app.conf
        plain, stamps = split_stamps(name, options)
        if route is None:
            route = self.route(name, (), _NO_OPTIONS, plain)
        given = merged_options(route, plain) if route else plain
        if unknown := given.keys() - OPTIONS:
            raise unknown_option(name, min(unknown))

        def choose(option: str, setting: Any) -> Any:
            of_task = getattr(task, option, None)
            if of_task is not None and option not in plain:
                return of_task
            return given.get(option, setting)

        priority = choose("priority", conf.task_default_priority if self._priority is None else self._priority)
        if not isinstance(priority, int) or not 0 <= priority <= _TOP_PRIORITY:
            raise ValueError(f"{name}: the priority is {priority!r}; it must be a whole number from 0 to 9")
        countdown, eta = self._start(name, given.get("countdown"), given.get("eta"))
        expires_in, expires_at = self._end(choose("expires", None))
        time_limit, soft_time_limit = self._limits(name, choose)
        content = codec.content_type(
            choose("serializer", conf.task_serializer), choose("compression", conf.task_compression)
        )
        headers = _headers(name, given, via, stamps)
        queue, broadcast = conf.queues.find(choose("queue", conf.task_default_queue))
        return TemplateSpec(
            task=checked_name("name of the task", name),
            queue=checked_name("queue", queue),
            priority=priority,
            acks_early=not choose("acks_late", conf.task_acks_late),
            max_deliveries=choose("max_deliveries", conf.task_max_deliveries) or 0,
            ignore_result=bool(choose("ignore_result", conf.task_ignore_result)),
            content_type="" if content == codec.JSON else content,
            countdown=countdown,
            eta=eta,
            expires_in=expires_in,
            expires_at=expires_at,
            headers=codec.encode(headers, path="headers") if headers else b"",
            parent_id=given.get("parent_id", self._parent_id),
            root_id=given.get("root_id", self._root_id),
            track_started=bool(choose("track_started", conf.task_track_started)),
            sensitive=bool(choose("sensitive", None)),
            stamps=tuple((stamp, tuple(map(str, values))) for stamp, values in stamps.items()),
            replaced_nesting=given.get("replaced_task_nesting", 0),
            time_limit=time_limit,
            soft_time_limit=soft_time_limit,
            broadcast=broadcast,
            result_expires=_length(name, "result_expires", choose, conf.result_expires),
            failure_expires=_length(name, "result_failure_expires", choose, conf.result_failure_expires),
            **_limited(name, task, choose, given, via),
        )

    def payload(self, template: TemplateSpec, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """Return the encoded call.

        Raises:
            SerializationError: An argument cannot travel.
            PayloadTooLarge: The encoded arguments are over the limit.
        """
        data = codec.encode_call(args, kwargs, template.content_type)
        if len(data) > PAYLOAD_LIMIT:
            raise PayloadTooLarge(
                f"the arguments of {template.task} are {len(data):,} bytes when encoded; the limit is "
                f"{PAYLOAD_LIMIT:,}. Store them elsewhere and send where they are."
            )
        return data

    def checker(self, name: str) -> "Callable[[Sequence[Any], Mapping[str, Any], int], None] | None":
        """Return the check of a task's arguments, or None for a task that this app does not know."""
        task = self._app.tasks.get(name)
        return None if task is None else task.check_arguments

    def _start(self, name: str, countdown: Any, eta: Any) -> tuple[timedelta | None, datetime | None]:
        """Return when a call may start: after a length of time, or not before a time."""
        if countdown is not None and eta is not None:
            raise ValueError(f"{name}: countdown={countdown!r} and eta={eta!r} name two starts; give one of them")
        return length_of("countdown", countdown) or None, None if eta is None else self._time("eta", eta)

    def _limits(self, name: str, choose: _Choose) -> tuple[timedelta | None, timedelta | None]:
        """Return the time limits; a soft one that only a setting names never stands above the hard one."""
        conf = self._app.conf
        hard, soft = choose("time_limit", conf.task_time_limit), choose("soft_time_limit", None)
        limits = checked_limits(name, hard, soft)
        if soft is not None or conf.task_soft_time_limit is None:
            return limits
        general = length_of("soft_time_limit", conf.task_soft_time_limit)
        return (limits[0], general) if limits[0] is None or general is None or general <= limits[0] else limits

    def _end(self, expires: Any) -> tuple[timedelta | None, datetime | None]:
        """Return when a call that has not started is given up."""
        if expires is None:
            return None, None
        if isinstance(expires, (datetime, str)):
            return None, self._time("expires", expires)
        # Zero would mean "never" on the wire, and the caller means "at once".
        return max(length_of("expires", expires) or timedelta(0), timedelta(microseconds=1)), None

    def _time(self, option: str, value: Any) -> datetime:
        """Return a time as UTC; naive ones are read in the app's time zone."""
        moment = _moment(value)
        if moment is None:
            raise ValueError(f"{option} is {value!r}; it must be a datetime, or text such as '2030-01-31T12:00'")
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=self._app.conf.tzinfo)
        try:
            return aware.astimezone(UTC)
        except OverflowError:
            raise ValueError(f"{option} is {aware.isoformat()}, which is before or after all times in UTC") from None


def _moment(value: Any) -> datetime | None:
    """Return a time that was given as one or as ISO 8601; None: it is neither."""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return None
    return value if isinstance(value, datetime) else None


def _length(name: str, option: str, choose: _Choose, setting: Any = None) -> timedelta | None:
    """Return an option that is a length of time above 0; None where nobody says it."""
    return checked_length(f"{name}: {option}", choose(option, setting))


def _limited(
    name: str, task: "Task[..., Any] | None", choose: _Choose, given: Mapping[str, Any], via: str
) -> dict[str, Any]:
    """Return what is said of running once and of running at once: parts of a template."""
    per_key = checked_count(f"{name}: concurrency_per_key", choose("concurrency_per_key", 1))
    unique_for = _length(name, "unique_for", choose)
    if unique_for is None and (given.get("unique_on") or given.get("unique_stays")):
        raise ValueError(f"{name}: unique_on and unique_stays say nothing without unique_for: say for how long")
    unique = None if unique_for is None else checked_names(f"{name}: unique_on", choose("unique_on", None))
    # Of arguments, as the task says; or the key itself, as the route says.
    fairness, concurrency = (
        checked_names(option, getattr(task, option, None)) or literal_key(name, option, given.get(option))
        for option in ("fairness_key", "concurrency_key")
    )
    said: dict[str, Any] = {"unique_for": unique_for, "concurrency_per_key": 0 if per_key == 1 else per_key}
    if unique is not None:
        said["unique_stays"] = bool(choose("unique_stays", False))
    if fairness or concurrency or unique is not None:
        # What the batches of a task take says nothing of its calls.
        signature = None if task is None or task.batch_size else parameters_of(task.run)
        said["keys"] = KeyPlan(name, fairness, concurrency, unique, bool(via), signature)
    return said


def _headers(name: str, given: Mapping[str, Any], via: str, stamps: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Return what travels beside the arguments of a call: the user's headers, and what the worker is told."""
    headers = dict(given.get("headers", {}))
    if "via" in headers:
        raise ValueError(f"{name}: the header 'via' belongs to map and starmap; give yours another name")
    for option in ("shadow", "reply_to"):
        if option in given:
            headers[option] = checked_name(option, given[option])
    if stamps:
        headers["stamps"] = dict(stamps)
    if via:
        headers["via"] = via
    return headers
