"""The coordinator of grpcflow: one daemon that owns every graph. Imports neither the client nor the worker."""
