"""The app of the pictures; `-A pictures` finds it."""

from grpcflow import Grpcflow

app = Grpcflow("pictures", include=["pictures.tasks"])
