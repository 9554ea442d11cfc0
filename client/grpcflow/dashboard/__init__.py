"""`grpcflow dashboard`: the cluster in a browser. A client of the public rpcs, and nothing else.

What is known of the cluster (`link`, `history`, `pages`) knows nothing of HTTP; what answers browsers (`server` and
what it puts together) asks the coordinator through a link only. starlette and uvicorn are imported by what answers,
and nothing else of grpcflow may import any of this.
"""
