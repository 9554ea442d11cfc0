"""What an app has for schedules: declaring them in code, and the ones that the coordinator keeps.

It may not import grpc, protobuf or the codec.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from grpcflow.canvas.signature import Signature
from grpcflow.schedule_entries import TIMING, read_entry

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.schedule_control import ScheduleControl

__all__ = ["ScheduledApp"]

_log = logging.getLogger("grpcflow")


class ScheduledApp:
    """The app's schedules: ``add_periodic_task`` in its code, ``schedules`` for those that are kept."""

    _schedule_control: "ScheduleControl | None" = None

    @property
    def _whole(self) -> "Grpcflow":
        return cast("Grpcflow", self)  # of which this is a part

    @property
    def schedules(self) -> "ScheduleControl":
        """The schedules that the coordinator keeps: list, add, pause, resume, run, remove."""
        if self._schedule_control is None:
            from grpcflow.schedule_control import ScheduleControl

            self._schedule_control = ScheduleControl(self._whole)
        return self._schedule_control

    def add_periodic_task(
        self,
        schedule: Any,
        sig: Any,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        **opts: Any,
    ) -> str:
        """Declare a schedule, as an entry of ``beat_schedule``; for handlers of ``on_after_configure`` and the like.

        Nothing is sent: a worker of the app puts it when it starts, or ``grpcflow schedule sync``.

        Args:
            schedule: Seconds, a timedelta, ``crontab(...)``, ``solar(...)`` or ``once(...)``.
            sig: A signature, any canvas, or a task.
            args: Arguments for it, put before its own.
            kwargs: Keyword arguments for it.
            name: Name of the schedule; None: the text of the call, such as ``proj.add(2, 2)``.
            **opts: ``relative``, ``overlap``, ``catch_up``, ``catch_up_all``, ``jitter``, ``time_zone`` as in an entry;
                all others are options of the call, such as ``expires`` or ``queue``.

        Returns:
            The name.

        Raises:
            ImproperlyConfigured: It cannot be; says what to write.
        """
        key, entry = _entry(self._whole, schedule, sig, args, kwargs, name, opts)
        read_entry(key, entry)
        if self._whole.configured:
            self._declare(key, entry, named=name is not None)
        else:

            def declare(sender: Any, **_more: Any) -> None:
                self._declare(key, entry, named=name is not None)

            self._whole.on_after_configure.connect(declare, weak=False)
        return key

    def _declare(self, key: str, entry: Mapping[str, Any], *, named: bool) -> None:
        """Add an entry to the settings."""
        conf = self._whole.conf
        if not named and key in conf.beat_schedule:
            _log.warning("the schedule %r is declared twice, and the last one holds: give each of them a name=", key)
        conf.beat_schedule = {**conf.beat_schedule, key: entry}


def _entry(
    app: "Grpcflow",
    schedule: Any,
    sig: Any,
    args: Iterable[Any],
    kwargs: Mapping[str, Any] | None,
    name: str | None,
    opts: Mapping[str, Any],
) -> tuple[str, dict[str, Any]]:
    """Return an entry and its name."""
    if not isinstance(sig, Signature):
        sig = app.signature(getattr(sig, "name", sig))
    sig = sig.clone(tuple(args), dict(kwargs or {}))
    timing = {option: value for option, value in opts.items() if option in TIMING}
    options = {option: value for option, value in opts.items() if option not in TIMING}
    entry = {"schedule": schedule, **timing}
    if sig.subtask_type is None and not sig.immutable:
        # In the words that Celery's entries have, for who looks at app.conf.beat_schedule.
        entry |= {"task": sig.task, "args": sig.args, "kwargs": sig.kwargs, "options": {**sig.options, **options}}
    else:
        entry |= {"signature": sig, "options": options}
    return name or repr(sig), entry
