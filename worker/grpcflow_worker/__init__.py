"""The worker of grpcflow: takes tasks from a coordinator, runs them, and reports how they ended.

The package is two halves. The *supervisor* (``supervisor``, ``session``, ``stream``, ``control``) talks to the
coordinator and never runs user code; an *executor* (``executor`` and ``executors/``) runs the tasks. This file
imports nothing, so that a child of an executor starts light.
"""
