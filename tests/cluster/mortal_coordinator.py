"""A coordinator that kills itself with -9 right after a commit and before all that it would have told.

MORTAL_COMMITS says after which commit of its life. All else is the real command; nothing of this is in the product.
"""

import os
import signal

from grpcflow_coordinator import realm
from grpcflow_coordinator.__main__ import main
from grpcflow_coordinator.storage.contract import Batch
from grpcflow_coordinator.storage.lmdb import LmdbStore


class MortalStore(LmdbStore):
    """The store on disk, whose process does not outlive a certain commit."""

    left = int(os.environ["MORTAL_COMMITS"])

    def commit(self, batch: Batch) -> None:
        super().commit(batch)
        MortalStore.left -= 1
        if MortalStore.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    vars(realm)["LmdbStore"] = MortalStore
    main()
