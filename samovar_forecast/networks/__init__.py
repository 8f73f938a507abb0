"""The networks, one per file, and the contract they keep."""
