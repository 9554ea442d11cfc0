"""Limits and numbers of the wire that all sides share. Hand-written; imports nothing.

They stand here because this is the one package that client, worker and coordinator may all import: a
limit that two sides took from two places would one day differ.
"""

from typing import Final

#: The protocol revision that this tree speaks.
REVISION: Final = 1

#: Features of the protocol that this tree knows, beyond the revision itself.
FEATURES: Final[tuple[str, ...]] = ()

#: Largest payload of one call, one value or one failure, in bytes, unless the coordinator is told otherwise.
PAYLOAD_LIMIT: Final = 4 * 1024 * 1024

#: What a message may hold beside one payload of the largest size, in bytes.
MESSAGE_OVERHEAD: Final = 1024 * 1024

#: Largest gRPC message in bytes: the transport's own limit on every side.
MESSAGE_LIMIT: Final = PAYLOAD_LIMIT + MESSAGE_OVERHEAD

#: Bytes of payloads after which a sender cuts a batch, a chunk or a run.
BATCH_BYTES: Final = 1024 * 1024

#: Bytes that may be on their way on one connection before the receiver has taken them: what a line of 300 Mbit/s with
#: 100 ms there and back holds.
WINDOW: Final = 4 * 1024 * 1024

#: Nodes after which a sender cuts a run.
RUN_NODES: Final = 500

#: Runs after which a sender cuts a piece of a graph, and most that a coordinator takes in one: a piece is read and
#: written down in one go, and everybody else waits for as long.
CHUNK_RUNS: Final = 500
CHUNK_RUNS_MOST: Final = 2_000

#: Most edges, children and ranges of members in a piece of several runs. Those of one run may be in one piece, however
#: many nodes its graph has.
CHUNK_EDGES_MOST: Final = 100_000

#: Bytes after which a sender cuts a piece of a graph, for the same reason; one payload alone may be larger.
CHUNK_BYTES: Final = 256 * 1024

#: Most nodes in one graph.
NODE_LIMIT: Final = 200_000

#: Longest id, queue name, task name and worker name, in bytes of UTF-8.
NAME_LIMIT: Final = 255

#: Longest message of a failure, in characters.
FAILURE_MESSAGE_LIMIT: Final = 4_096

#: Longest traceback of a failure, in characters.
TRACEBACK_LIMIT: Final = 65_536

#: Longest text of one line of a log, and most lines of one attempt in one message, both in bytes.
LOG_LINE_BYTES: Final = 16 * 1024
LOG_PIECE_BYTES: Final = 256 * 1024

#: Serializers, as content types; "" on the wire means the first.
SERIALIZERS: Final = ("application/json", "application/msgpack", "application/x-python-pickle", "application/x-yaml")

#: Compressions, which a content type names behind a plus sign: "application/json+gzip".
COMPRESSIONS: Final = ("gzip", "bzip2", "zlib", "lzma", "brotli", "zstd")

#: Content types that every coordinator takes: each serializer, plain and with each compression.
CONTENT_TYPES: Final = (
    *SERIALIZERS,
    *(f"{serializer}+{compression}" for serializer in SERIALIZERS for compression in COMPRESSIONS),
)

#: States that end a node; no task gives itself one of them.
TERMINAL_STATES: Final = ("SUCCESS", "FAILURE", "REVOKED", "IGNORED", "REJECTED")

#: Most leaves of a value that travels in one message; a larger one is fetched in parts.
VALUE_LEAVES: Final = 2_000

#: Most bytes of the inputs of one call, however they travel.
INPUTS_LIMIT: Final = 1024 * 1024 * 1024

#: Bits of an attempt's token that hold its number; the epoch stands above them.
TOKEN_NUMBER_BITS: Final = 40

#: What the name of a namespace is, as a regular expression for all of it.
NAMESPACE: Final = "[a-z0-9-]{1,63}"

#: Key of the metadata by which a call names a namespace.
NAMESPACE_KEY: Final = "grpcflow-namespace"

#: What stands in the place of arguments that nobody is to be shown.
HIDDEN: Final = "(hidden)"
