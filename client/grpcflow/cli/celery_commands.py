"""Commands that Celery has and that stand elsewhere here, or are not needed: what to use instead. Runs nothing."""

from typing import Final

__all__ = ["ELSEWHERE"]

#: By Celery's name: what a user of it types or does here.
ELSEWHERE: Final = {
    "amqp": "there is no broker: `grpcflow ctl inspect` shows queues and what waits in them",
    "list": "nothing is bound, for there is no broker: `grpcflow ctl inspect active_queues` says who serves what",
    "logtool": "logs are lines of text, and what failed is listed by `grpcflow failed list`",
    "migrate": "there is no broker to move tasks from: let its workers finish what Celery has queued",
    "multi": "start each worker as a service of its own (systemd, supervisord, a container): see docs/workers.md",
    "purge": "use `grpcflow control purge QUEUE...` or `grpcflow control purge --all`",
    "report": "use `grpcflow ctl inspect report`; in Python `app.bugreport()`",
    "shell": "use `python -i -c 'from proj import app'`",
    "upgrade": "settings have Celery's lower-case names: docs/settings-compared.md lists them all",
}
