"""What scripts/soak runs: a mixed load, and whether memory grows."""
