"""The app of the nightly work; `-A nightly` finds it. What runs when is in schedule.py."""

from grpcflow import Grpcflow

app = Grpcflow("nightly", include=["nightly.tasks", "nightly.schedule"])
app.conf.timezone = "Europe/Paris"
