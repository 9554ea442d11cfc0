"""The app of the census; `-A census` finds it."""

from grpcflow import Grpcflow

app = Grpcflow("census", include=["census.tasks"])
