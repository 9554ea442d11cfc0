"""One example for each command, shown at the end of its help; a test types every one of them.

Data and one function over click's commands; it may not import anything of weight.
"""

from typing import Final

import click

__all__ = ["EXAMPLES", "give_examples"]

_ID: Final = "01890000-0000-7000-8000-000000000001"

#: By the path of the command below `grpcflow`; `inspect` and `control` are the same below `ctl`.
EXAMPLES: Final = {
    "beat": "grpcflow -A proj beat",
    "call": "grpcflow -A proj call proj.add --args '[2, 3]' --wait",
    "completion": 'eval "$(grpcflow completion bash)"',
    "control": "grpcflow ctl control add_consumer emails -d w1",
    "control add_consumer": "grpcflow ctl control add_consumer emails 3 -d w1",
    "control autoscale": "grpcflow ctl control autoscale 8 2 -d w1",
    "control cancel_consumer": "grpcflow ctl control cancel_consumer emails -d w1",
    "control disable_events": "grpcflow ctl control disable_events",
    "control enable_events": "grpcflow ctl control enable_events",
    "control heartbeat": "grpcflow ctl control heartbeat -d w1",
    "control pause": "grpcflow ctl control pause emails",
    "control pool_grow": "grpcflow ctl control pool_grow 2 -d w1",
    "control pool_restart": "grpcflow ctl control pool_restart --reload -d w1",
    "control pool_shrink": "grpcflow ctl control pool_shrink 2 -d w1",
    "control purge": "grpcflow ctl control purge emails --yes",
    "control rate_limit": "grpcflow ctl control rate_limit proj.add 10/s",
    "control resume": "grpcflow ctl control resume emails",
    "control revoke": f"grpcflow ctl control revoke {_ID} --terminate",
    "control revoke_by_stamped_headers": "grpcflow ctl control revoke_by_stamped_headers customer=17 --yes",
    "control revoke_matching": "grpcflow ctl control revoke_matching --task 'proj.mail.*' --yes",
    "control shutdown": "grpcflow ctl control shutdown -d w1",
    "control terminate": f"grpcflow ctl control terminate SIGKILL {_ID}",
    "control time_limit": "grpcflow ctl control time_limit proj.add 30 60 -d w1",
    "ctl": "grpcflow ctl inspect active -d w1",
    "dashboard": "grpcflow dashboard --listen 127.0.0.1:8551",
    "dev": "grpcflow dev -A proj",
    "erase": "grpcflow erase --stamp customer=17 --yes",
    "events": "grpcflow events --follow --since 10m --task 'proj.*'",
    "explain": f"grpcflow explain {_ID}",
    "failed": "grpcflow failed list --since 1h",
    "failed list": "grpcflow failed list --task 'proj.*' --since 1h",
    "failed purge": "grpcflow failed purge --all --since 7d --yes",
    "failed retry": "grpcflow failed retry --all --task proj.add --yes",
    "failed show": f"grpcflow failed show {_ID}",
    "graph": f"grpcflow graph {_ID} --watch",
    "graph cancel": f"grpcflow graph cancel {_ID} --terminate",
    "graph explain": f"grpcflow graph explain {_ID}",
    "graph list": "grpcflow graph list --state FAILURE --since 2h",
    "graph retry": f"grpcflow graph retry {_ID} --wait",
    "graph show": f"grpcflow graph show {_ID} --watch",
    "inspect": "grpcflow ctl inspect active -d w1",
    "inspect active": "grpcflow ctl inspect active -d w1",
    "inspect active_queues": "grpcflow ctl inspect active_queues --json",
    "inspect clock": "grpcflow ctl inspect clock -d w1",
    "inspect conf": "grpcflow ctl inspect conf -d w1",
    "inspect memsample": "grpcflow ctl inspect memsample --json",
    "inspect ping": "grpcflow ctl inspect ping --json",
    "inspect query_task": f"grpcflow ctl inspect query_task {_ID}",
    "inspect registered": "grpcflow ctl inspect registered -d w1",
    "inspect report": "grpcflow ctl inspect report -d w1",
    "inspect reserved": "grpcflow ctl inspect reserved -d w1",
    "inspect revoked": "grpcflow ctl inspect revoked --upcoming 10",
    "inspect scheduled": "grpcflow ctl inspect scheduled --json",
    "inspect stats": "grpcflow ctl inspect stats -d w1",
    "limit": "grpcflow limit list",
    "limit clear": "grpcflow limit clear task proj.add",
    "limit list": "grpcflow limit list",
    "limit set": "grpcflow limit set task proj.add --rate 10/s",
    "logs": f"grpcflow logs {_ID} --follow",
    "result": f"grpcflow result {_ID} --timeout 60",
    "retention": "grpcflow retention set task proj.add --results 10m",
    "retention clear": "grpcflow retention clear task proj.add",
    "retention list": "grpcflow retention list --json",
    "retention set": "grpcflow retention set task proj.add --results 10m --keep 1000",
    "schedule": "grpcflow schedule add hourly proj.add --every 1h --args '[2, 3]'",
    "schedule add": "grpcflow schedule add hourly proj.add --every 1h --args '[2, 3]'",
    "schedule list": "grpcflow schedule list 'nightly*'",
    "schedule pause": "grpcflow schedule pause hourly",
    "schedule remove": "grpcflow schedule remove hourly --yes",
    "schedule resume": "grpcflow schedule resume hourly",
    "schedule run": "grpcflow schedule run hourly",
    "schedule show": "grpcflow schedule show hourly --next 3",
    "schedule sync": "grpcflow -A proj schedule sync",
    "status": "grpcflow ctl status",
    "top": "grpcflow top --interval 2",
    "worker": "grpcflow -A proj worker -Q default,emails -c 4",
}


def give_examples(command: click.Command, path: str) -> None:
    """Put examples at the end of the help of a command and of those below it; what has an end of its own keeps it.

    Args:
        command: The command.
        path: Its name below `grpcflow`.
    """
    example = EXAMPLES.get(path)
    if example is not None and command.epilog is None:
        command.epilog = f"\b\nExample:\n  {example}"
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            give_examples(below, f"{path} {name}")
