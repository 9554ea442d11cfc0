"""Two states of this tree in one cluster: what a rolling upgrade and its rollback go through."""
