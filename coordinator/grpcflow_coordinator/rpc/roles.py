"""Who may call what: one table of every rpc. It decides nothing; `access` holds to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from grpcflow_coordinator.security.token_file import Role

_SUBMIT, _WORK, _INSPECT, _CONTROL, _ADMIN = Role.SUBMIT, Role.WORK, Role.INSPECT, Role.CONTROL, Role.ADMIN


class Rule(msgspec.Struct, frozen=True):
    """Who may call an rpc."""

    #: One of these is needed; none: anybody may, without a token too.
    roles: tuple[Role, ...]
    #: True: the call changes what others depend on, and is written to the audit log.
    audited: bool = False


_ANYBODY: Final = Rule(())
_READS_RESULTS: Final = Rule((_SUBMIT, _INSPECT))
_LOOKS: Final = Rule((_INSPECT,))
_STEERS: Final = Rule((_CONTROL,), audited=True)

#: Service -> method -> who may. What is in no row is for ADMIN alone.
ROLES: Final[Mapping[str, Mapping[str, Rule]]] = {
    "grpcflow.v1.ClientService": {
        # The stream every client holds, whatever it asks beside it; to submit on it takes SUBMIT, see `ClientService`.
        "Session": Rule((_SUBMIT, _WORK, _INSPECT)),
        "Submit": Rule((_SUBMIT,)),
        "Watch": _READS_RESULTS,
        "GetResults": _READS_RESULTS,
        "FetchValue": _READS_RESULTS,
        "ReadItems": _READS_RESULTS,
        "ReadLogs": _READS_RESULTS,
        "RestoreGroup": _READS_RESULTS,
        "UpdateState": Rule((_SUBMIT, _WORK)),
        "Emit": Rule((_WORK,)),
        "Forget": Rule((_SUBMIT,), audited=True),
        "SaveGroup": Rule((_SUBMIT,)),
        "DeleteGroup": Rule((_SUBMIT,), audited=True),
    },
    "grpcflow.v1.WorkerService": {"Work": Rule((_WORK,)), "Inputs": Rule((_WORK,))},
    "grpcflow.v1.ControlService": {
        "Inspect": _LOOKS,
        "ListLimits": _LOOKS,
        "ListRetention": _LOOKS,
        "ListCommands": _LOOKS,
        "ListWorkers": _LOOKS,
        "ListQueues": _LOOKS,
        "Control": _STEERS,
        "Revoke": _STEERS,
        "RevokeByStamp": _STEERS,
        "RevokeMatching": _STEERS,
        "PurgeQueue": _STEERS,
        "PauseQueue": _STEERS,
        "ResumeQueue": _STEERS,
        "SetLimit": _STEERS,
        "Erase": Rule((_ADMIN,), audited=True),
        "SetRetention": Rule((_ADMIN,), audited=True),
    },
    "grpcflow.v1.GraphService": {
        "ListGraphs": _LOOKS,
        "GetGraph": _LOOKS,
        "Explain": _LOOKS,
        "ListFailed": _LOOKS,
        "CancelGraph": _STEERS,
        "RetryGraph": _STEERS,
        "PurgeFailed": _STEERS,
    },
    "grpcflow.v1.EventService": {"ReadEvents": _LOOKS, "PublishEvent": Rule((_SUBMIT, _WORK))},
    "grpcflow.v1.ScheduleService": {
        "ListSchedules": _LOOKS,
        # A schedule is a standing submission.
        "PutSchedules": Rule((_SUBMIT,), audited=True),
        "RunSchedule": Rule((_SUBMIT,), audited=True),
        "PauseSchedules": _STEERS,
        "RemoveSchedules": _STEERS,
    },
    "grpc.health.v1.Health": {"Check": _ANYBODY, "Watch": _ANYBODY, "List": _ANYBODY},
    "grpc.reflection.v1alpha.ServerReflection": {"ServerReflectionInfo": _LOOKS},
}

_BY_METHOD: Final = {
    f"/{service}/{method}": rule for service, methods in ROLES.items() for method, rule in methods.items()
}
_UNKNOWN: Final = Rule((_ADMIN,), audited=True)


def rule_of(method: str) -> Rule:
    """Return who may call ``/SERVICE/METHOD``."""
    return _BY_METHOD.get(method, _UNKNOWN)
