"""Parts of networks: torch only."""
