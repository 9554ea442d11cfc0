"""The canvas: signatures and what composes them.

Describes work; sends nothing. It may not import grpc, protobuf or the codec.
"""

from grpcflow.canvas.compose import chain, chord, group
from grpcflow.canvas.mapping import chunks, xmap, xstarmap
from grpcflow.canvas.signature import Signature, maybe_signature, signature, subtask
from grpcflow.canvas.stamping import StampingVisitor

__all__ = [
    "Signature",
    "StampingVisitor",
    "chain",
    "chord",
    "chunks",
    "group",
    "maybe_signature",
    "signature",
    "subtask",
    "xmap",
    "xstarmap",
]
