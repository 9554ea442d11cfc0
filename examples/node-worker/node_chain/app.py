"""The app of the Python half; `-A node_chain` finds it."""

from grpcflow import Grpcflow

app = Grpcflow("node_chain", include=["node_chain.tasks"])
#: The tasks of Node have no code here: they are called by name, and their names say where they go.
app.conf.update(task_routes={"intl.*": {"queue": "node"}})
