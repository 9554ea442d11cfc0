"""The protocol as Python: generated stubs in v1, and the limits that all sides share in limits."""
