"""What to use instead of the options of Celery's tasks that no task has here.

Plain data. It may import nothing.
"""

from collections.abc import Mapping
from typing import Final

__all__ = ["TASK_OPTIONS_ELSEWHERE"]

_NO_EXCHANGES: Final = "there are no exchanges: name the queue with queue=, or in the setting task_routes"
_OF_A_BROKER: Final = "a call waits in the coordinator until a worker takes it: leave it out"

#: What became of each; with the options of ours this is all that Celery 5.7 takes.
TASK_OPTIONS_ELSEWHERE: Final[Mapping[str, str]] = {
    "exchange": _NO_EXCHANGES,
    "routing_key": _NO_EXCHANGES,
    "delivery_mode": "every call is kept on disk before the submission returns, so there is nothing to choose",
    "immediate": _OF_A_BROKER,
    "mandatory": _OF_A_BROKER,
    "compression": "give it with the call, apply_async(compression=), or for all in the setting task_compression",
    "backend": "the coordinator keeps the results of all tasks; ignore_result=True keeps none",
    "Request": "a worker's part of a call cannot be replaced: use the handlers of a base= class, such as before_start",
    "Strategy": "how a worker takes calls cannot be replaced: use the handlers of a base= class, such as before_start",
    "send_events": "the coordinator knows of each step of every call, and nothing need be sent for that: leave it out",
    "store_eager_result": "the result of a call in place is the object that it returns: keep that",
}
