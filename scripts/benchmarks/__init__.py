"""What scripts/bench runs: the floor and grpcflow, side by side."""
