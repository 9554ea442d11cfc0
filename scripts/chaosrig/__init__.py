"""Chaos on real processes: a cluster under load, faults, a history of all of it, and a checker that proves from it.

May NOT be imported by the product. The checker knows nothing of how the rig works: all that it reads is the history.
"""
