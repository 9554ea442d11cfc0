"""What to use instead of the options of Celery's worker command that this one has not.

Plain data. It may import nothing of grpcflow.
"""

from collections.abc import Mapping
from typing import Final

__all__ = ["OPTIONS_ELSEWHERE", "POOLS_ELSEWHERE"]

_SETTINGS: Final = "the app reads its settings itself: app.config_from_object()"
_ADAPTS: Final = "there is nothing to set: how much a worker holds adapts to how long its tasks take"
_NO_EVENTS: Final = "events need no switch: leave it out"
_NO_TALK: Final = "workers speak to the coordinator only, which knows all of them: leave it out"
_NO_BEAT: Final = "no process for schedules is needed: leave it out"
_BY_SERVICE: Final = "leave it to what starts the worker: a systemd unit, a container, a process supervisor"

_COROUTINES: Final = "write -P asyncio for tasks that are async def, or -P threads for others that wait"

#: What to use instead of a pool of Celery's.
POOLS_ELSEWHERE: Final[Mapping[str, str]] = {
    "gevent": _COROUTINES,
    "eventlet": _COROUTINES,
    "processes": "write -P prefork",
    "custom": "executors of one's own cannot be plugged in",
}

#: What to use instead, by each spelling of an option.
OPTIONS_ELSEWHERE: Final[Mapping[str, str]] = {
    "-b": "there is no broker; name the coordinator with --coordinator",
    "--broker": "there is no broker; name the coordinator with --coordinator",
    "--result-backend": "the coordinator keeps the results; name it with --coordinator",
    "--loader": _SETTINGS,
    "--config": _SETTINGS,
    "--version": "say grpcflow --version",
    "--skip-checks": "no framework is asked for checks: leave it out",
    "-D": _BY_SERVICE,
    "--detach": _BY_SERVICE,
    "--uid": _BY_SERVICE,
    "--gid": _BY_SERVICE,
    "--umask": _BY_SERVICE,
    "--executable": _BY_SERVICE,
    "-S": "the coordinator keeps what was revoked, for good: leave it out",
    "--statedb": "the coordinator keeps what was revoked, for good: leave it out",
    "-O": _ADAPTS,
    "--optimization": _ADAPTS,
    "--prefetch-multiplier": _ADAPTS,
    "--disable-prefetch": _ADAPTS,
    "-E": _NO_EVENTS,
    "--events": _NO_EVENTS,
    "--task-events": _NO_EVENTS,
    "--pool-start-method": "children are forked from a process of their own that never runs tasks: leave it out",
    "--purge": "say grpcflow control purge QUEUE before the worker starts",
    "--discard": "say grpcflow control purge QUEUE before the worker starts",
    "--without-gossip": _NO_TALK,
    "--without-mingle": _NO_TALK,
    "--without-heartbeat": "write --heartbeat-interval 0; signs of life without a load cannot be switched off",
    "-B": _NO_BEAT,
    "--beat": _NO_BEAT,
    "-s": _NO_BEAT,
    "--schedule": _NO_BEAT,
    "--schedule-filename": _NO_BEAT,
    "--scheduler": _NO_BEAT,
}
