"""The groups `grpcflow control` and `grpcflow ctl`, put together from the modules beside this one.

`control` brings all its commands with it; `ctl` imports none before it is typed, so that a question to a worker
does not pay for what changes one.
"""

import click

from grpcflow.cli.control import control
from grpcflow.cli.limits import rate_limit
from grpcflow.cli.pool import autoscale, pool_grow, pool_restart, pool_shrink
from grpcflow.cli.queues import pause, purge, resume, revoke_matching

__all__ = ["control"]

_COMMANDS: tuple[click.Command, ...] = (
    autoscale,
    pause,
    pool_grow,
    pool_restart,
    pool_shrink,
    purge,
    rate_limit,
    resume,
    revoke_matching,
)

for _command in _COMMANDS:
    control.add_command(_command)
