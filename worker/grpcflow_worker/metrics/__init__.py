"""Figures about a worker for Prometheus. Imported only where `--metrics` is said; decides nothing.

`families` names every figure, `meter` counts what must be counted while it happens and reads all else where it stands,
`endpoint` answers who asks.
"""
