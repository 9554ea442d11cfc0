"""The client on event loops: what threads do by blocking is awaited here, on grpc.aio, without a thread for a call.

The session, the waits and the calls are those of the threads; the modules here say how a loop waits, and what a link is
on grpc.aio. Importing this is light; its modules import asyncio, and grpc where they talk to it.
"""
