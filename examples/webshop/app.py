"""The app of the shop; `-A webshop` finds it."""

from grpcflow import Grpcflow

app = Grpcflow("webshop", include=["webshop.tasks"])
