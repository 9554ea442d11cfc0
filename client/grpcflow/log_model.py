"""Lines that tasks printed and logged, as users see them. Pure; it may not import grpc or protobuf."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = ["LogLine"]


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line, or one record of several lines such as a traceback, that an attempt printed or logged.

    Attributes:
        id: Id of the task.
        task: Its registered name.
        attempt: Token of the attempt; a later attempt of the same task has a higher one.
        number: Its place among the lines of the attempt, from 0. Numbers that lack are of lines that are not kept.
        time: When, UTC.
        level: Name of its level, for example ``"INFO"``.
        logger: Name of the logger; empty: it was printed.
        text: What it says, without an end of line.
    """

    id: str
    task: str
    attempt: int
    number: int
    time: datetime
    level: str
    logger: str
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, the time as ISO 8601."""
        return {
            "id": self.id,
            "task": self.task,
            "attempt": self.attempt,
            "number": self.number,
            "time": self.time.isoformat(),
            "level": self.level,
            "logger": self.logger,
            "text": self.text,
        }
