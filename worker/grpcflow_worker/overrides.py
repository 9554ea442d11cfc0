"""Time limits that a command changed while the worker runs: they hold for what it is given from then on.

It may NOT watch or stop anything: that is done by the executor, by what a call says.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from grpcflow_worker.app_commands import BadCommand
from grpcflow_worker.executor import CallRun


class Overrides:
    """The limits that were changed, by task.

    Args:
        tasks: names of the tasks that there are.
    """

    def __init__(self, tasks: Collection[str]) -> None:
        """Start with none."""
        self._tasks = tasks
        self._limits: dict[str, tuple[float | None, float | None]] = {}

    def command(self, arguments: Mapping[str, Any]) -> Any:
        """Carry out ``time_limit``: takes ``task_name``, ``soft`` and ``hard``; None is no limit.

        Raises:
            BadCommand: there is no such task, or what is given is no limit.
        """
        task, soft, hard = arguments.get("task_name"), arguments.get("soft"), arguments.get("hard")
        if not isinstance(task, str) or not _is_limit(soft) or not _is_limit(hard):
            text = 'time_limit takes {"task_name": NAME, "soft": SECONDS or null, "hard": SECONDS or null}, above 0'
            raise BadCommand(text)
        if task not in self._tasks:
            near = get_close_matches(task, self._tasks, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise BadCommand(f"no task {task[:255]!r} is registered here{hint}")
        if soft is not None and hard is not None and soft > hard:
            text = f"the soft limit ({soft:g} s) is above the hard one ({hard:g} s), so it would never be reached"
            raise BadCommand(text)
        self._limits[task] = hard, soft
        return {"ok": "time limits set successfully"}

    def apply(self, runs: Sequence[CallRun]) -> None:
        """Change the limits of attempts that just came, where there are others for their tasks."""
        if not self._limits:
            return
        for run in runs:
            if run.call.task in self._limits:
                hard, soft = self._limits[run.call.task]
                run.call = msgspec.structs.replace(run.call, time_limit=hard, soft_time_limit=soft)


def _is_limit(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf)
