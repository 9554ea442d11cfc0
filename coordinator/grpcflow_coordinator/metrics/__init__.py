"""Figures about the coordinator for Prometheus. Imported only where `--metrics` is said; decides nothing.

`families` names every figure, `meter` counts what must be counted while it happens, `reading` reads all else where it
stands, `endpoint` answers who asks.
"""
