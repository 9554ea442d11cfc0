"""Which commands of remote control there are: our own, and those that the apps of connected workers define.

Describes commands and finds the name nearest to a wrong one; it may NOT ask anybody.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from grpcflow_coordinator.core.presence import CommandFacts, Session
from grpcflow_protos.v1 import command_pb2, control_service_pb2


def _told(name: str, told: str, *arguments: tuple[str, str, bool], variadic: str = "") -> CommandFacts:
    return CommandFacts(name, False, told, arguments, variadic)


def _done(name: str, told: str, *arguments: tuple[str, str, bool], variadic: str = "") -> CommandFacts:
    return CommandFacts(name, True, told, arguments, variadic)


#: Our own commands, by name; arguments are (name, type, may be left out).
OWN: Final = {
    one.name: one
    for one in (
        _told("active", "Tasks that run now.", ("safe", "bool", True)),
        _told("active_queues", "Queues that each worker serves."),
        _told("clock", "How many messages each worker has sent."),
        _told("conf", "Settings of the app that each worker runs.", ("with_defaults", "bool", True)),
        _told("memsample", "Memory that each worker's supervisor takes."),
        _told("ping", "Who is there."),
        _told("query_task", "Where tasks are, if a worker holds them.", variadic="ids"),
        _told("registered", "Tasks that each worker can run, with what ATTRS say of them.", variadic="attrs"),
        _told("report", "Versions, and what each worker is."),
        _told("reserved", "Tasks that a worker has taken and not started, and those that it may be given next."),
        _told("revoked", "Tasks that were revoked lately."),
        _told("scheduled", "Tasks that wait for their time, and that a worker could be given then."),
        _told("stats", "Figures: uptime, pool, tasks done."),
        _done("add_consumer", "Serve a queue from now on.", ("queue", "str", False), ("weight", "int", True)),
        _done("autoscale", "Scale between these numbers of children.", ("max", "int", False), ("min", "int", True)),
        _done("cancel_consumer", "Stop serving a queue.", ("queue", "str", False)),
        _done("disable_events", "Nothing: events need no switch."),
        _done("enable_events", "Nothing: events need no switch."),
        _done("heartbeat", "Send a heartbeat now."),
        _done("pool_grow", "Run more tasks at once.", ("n", "int", True)),
        _done("pool_restart", "Replace child processes.", ("reload", "bool", True), variadic="modules"),
        _done("pool_shrink", "Run fewer tasks at once.", ("n", "int", True)),
        _done("shutdown", "Finish what runs, hand back the rest, and exit."),
        _done(
            "time_limit",
            "Change the time limits of a task at these workers.",
            ("task_name", "str", False),
            ("soft", "float", True),
            ("hard", "float", True),
        ),
    )
}

#: Names that Celery has besides.
ALIASES: Final = {
    "dump_active": "active",
    "dump_conf": "conf",
    "dump_reserved": "reserved",
    "dump_revoked": "revoked",
    "dump_schedule": "scheduled",
    "dump_tasks": "registered",
}

#: What is done by an rpc of its own, not by workers, with the name of that.
ELSEWHERE: Final = {
    "purge": "PurgeQueue",
    "rate_limit": "SetLimit",
    "revoke": "Revoke",
    "revoke_by_stamped_headers": "RevokeByStamp",
    "terminate": "Revoke",
}


def available(sessions: Iterable[Session]) -> list[control_service_pb2.AvailableCommand]:
    """Return all commands: our own, then those of apps, each by name, with the workers that have it."""
    theirs: dict[tuple[str, bool], tuple[CommandFacts, list[str]]] = {}
    for session in sorted(sessions, key=lambda one: one.name):
        for facts in session.facts.commands:
            if session.stream is not None:
                theirs.setdefault((facts.name, facts.control), (facts, []))[1].append(session.name)
    found = [control_service_pb2.AvailableCommand(command=message(OWN[name])) for name in sorted(OWN)]
    for _, (facts, workers) in sorted(theirs.items()):
        found.append(control_service_pb2.AvailableCommand(command=message(facts), workers=workers))
    return found


def message(facts: CommandFacts) -> command_pb2.CommandInfo:
    """Return what is told of a command."""
    return command_pb2.CommandInfo(
        name=facts.name,
        control=facts.control,
        help=facts.help,
        variadic=facts.variadic,
        default_timeout_ms=facts.default_timeout_ms,
        hidden=facts.hidden,
        arguments=[
            command_pb2.CommandArgument(name=name, type=kind, optional=optional)
            for name, kind, optional in facts.arguments
        ],
    )


def why_unknown(name: str, *, control: bool, sessions: Iterable[Session]) -> str:
    """Say of a name that is no command's what to use instead.

    Args:
        name: as it was asked for.
        control: True: a command was looked for; False: a question.
        sessions: the workers.
    """
    if name in ELSEWHERE:
        return f"{name!r} is not done by workers: the coordinator does it, by the rpc {ELSEWHERE[name]}"
    theirs = [facts for session in sessions for facts in session.facts.commands]
    every = {facts.name: facts.control for facts in (*theirs, *OWN.values())}
    if name in every:
        return f"{name!r} is a {'command: use control' if every[name] else 'question: use inspect'}"
    shown = {facts.name for facts in theirs if not facts.hidden} | set(OWN)
    names = sorted(one for one, changes in every.items() if changes is control and one in shown)
    what = f"no {'command' if control else 'question'} has the name {name[:80]!r}"
    near = get_close_matches(name, names, n=1)
    return f"{what}; did you mean {near[0]!r}?" if near else f"{what}; there are: {', '.join(names)}"
