"""Generated stubs of package grpcflow.v1; regenerate with scripts/gen_protos.py."""
