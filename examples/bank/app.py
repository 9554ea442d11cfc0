"""The app of the bank; `-A bank` finds it."""

from grpcflow import Grpcflow

app = Grpcflow("bank", include=["bank.tasks"])
