"""`grpcflow top`: a live view of a cluster in the terminal.

What is gathered (`gather`, `rates`, `watch`) knows nothing of drawing, and what draws (`screen`, `pane`, ...) asks
nobody. textual is imported by what draws, and nothing else of grpcflow may import any of this.
"""
