"""The benchmark: runs of published protocols, the store of their results, and the report."""
