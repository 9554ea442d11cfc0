"""Storage: records over an ordered key-value contract, and the stores that keep the contract."""
