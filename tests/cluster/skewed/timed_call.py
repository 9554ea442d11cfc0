"""A client of one call: its note, its countdown and its expiry are the arguments, the last two in seconds."""

import importlib
import sys

if __name__ == "__main__":
    cluster_tasks = importlib.import_module("cluster_tasks")
    note, countdown, expires = sys.argv[1:]
    cluster_tasks.noted.apply_async((note,), countdown=float(countdown), expires=float(expires))
    cluster_tasks.app.connection.close()
