"""Who may do what: certificates, tokens, roles, and the log of what was done. It may not import rpc/ or the core."""
