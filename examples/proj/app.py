"""The app, and where its tasks go."""

from grpcflow import Grpcflow

app = Grpcflow("proj", include=["proj.tasks", "proj.bank"])
app.conf.update(task_routes={"proj.tasks.urgent": {"queue": "hipri"}})
