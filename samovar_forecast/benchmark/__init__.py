"""The benchmark: published protocols rerun by one command, a results store, and the report made from it."""
