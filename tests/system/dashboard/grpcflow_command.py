"""The command `grpcflow` as `python -m grpcflow_command`, for what starts modules."""

import sys

from grpcflow.cli import main

sys.exit(main(sys.argv[1:]))
