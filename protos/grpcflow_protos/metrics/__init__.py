"""What coordinator and worker have in common where they tell figures to Prometheus. Imported only where they do.

`figures` holds what is counted, `exposition` writes it down, `listener` answers who asks for it. Nothing here knows
what the figures mean.
"""
