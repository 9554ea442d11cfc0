"""`python -m grpcflow.dashboard`: `grpcflow dashboard` for who starts it as a part of his own, and ends with him.

Its standard input is the tie: when that ends, by whatever the other end died of, the dashboard ends in order. It may
not know who started it.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from typing import Final

from grpcflow.cli import main

#: Seconds after which it ends out of order: answers under way have had theirs.
_PATIENCE: Final = 15.0


def end_with_input() -> None:
    """End this process when its standard input has ended."""
    with contextlib.suppress(OSError):  # there was none at all
        while os.read(0, 4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_PATIENCE)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with_input, name="grpcflow-dashboard-tie", daemon=True).start()
    sys.exit(main(["dashboard", *sys.argv[1:]]))
