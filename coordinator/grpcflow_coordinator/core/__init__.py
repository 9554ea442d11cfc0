"""The pure core: what happens to graphs, nodes, attempts and sessions.

Nothing in this package reads a clock, does I/O, uses randomness, or knows gRPC, protobuf, LMDB or asyncio.
`machine.Machine.step(event, loaded, now)` is the door.
"""
