"""A small shop with its tests: what `grpcflow.testing` is for. See docs/testing.md."""
