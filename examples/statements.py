"""What both seeds say their statements with: each names itself, is compared, and is counted."""

import time
from collections.abc import Callable
from typing import Any

#: Seconds that any statement may take.
PATIENCE = 20.0


class Statements:
    """Checks statements one after the other and stops at the first that does not hold."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.count = 0

    def holds(self, what: str, got: Any, wanted: Any) -> None:
        """Prints the statement when both are equal, else ends the program with exit code 1 and both values."""
        if got != wanted:
            raise SystemExit(f"FAILED {self.title}: {what}: got {got!r}, wanted {wanted!r}")
        self.count += 1
        print(f"ok {self.count:2d} {what}")

    def eventually(self, what: str, question: Callable[[], Any]) -> Any:
        """Asks until the answer is true and returns it; ends the program when that takes longer than PATIENCE."""
        deadline = time.monotonic() + PATIENCE
        while not (answer := question()):
            if time.monotonic() > deadline:
                raise SystemExit(f"FAILED {self.title}: {what}: not within {PATIENCE:.0f} s")
            time.sleep(0.05)
        return answer

    def all_hold(self) -> None:
        """Prints the closing line."""
        print(f"all {self.count} statements hold: {self.title}")
