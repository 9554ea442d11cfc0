"""How often and how fast a coordinator is tried that cannot be reached. Pure but for the clock and chance."""

import time
from dataclasses import dataclass

__all__ = ["RetryPolicy"]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how fast a coordinator is tried that cannot be reached.

    Attributes:
        tries: Tries after which an operation gives up.
        window: Seconds after which it gives up, even if fewer tries were made.
        first_delay: Seconds before the second try; each later delay is ``factor`` times as long.
        factor: Growth of the delay.
        max_delay: Longest delay in seconds; waits for results go on with this one.
    """

    tries: int = 4
    window: float = 3.0
    first_delay: float = 0.2
    factor: float = 2.5
    max_delay: float = 2.0

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after so many failures, up to a fifth more or less, so that clients spread."""
        import random  # for who has failed; who has not need not load it

        # A cap on the exponent: an outage of days must not overflow.
        seconds = self.first_delay * self.factor ** min(max(failures - 1, 0), 20)
        return min(seconds, self.max_delay) * random.uniform(0.8, 1.2)

    @staticmethod
    def spread(seconds: float) -> float:
        """Return how long to wait where the coordinator asks for so many seconds: up to as many more, by chance."""
        import random  # as above

        return seconds * random.uniform(1.0, 2.0)

    def is_over(self, tries: int, since: float) -> bool:
        """Return whether an operation that began at monotonic time ``since`` has tried enough."""
        return tries >= self.tries or (tries >= 1 and time.monotonic() - since >= self.window)
