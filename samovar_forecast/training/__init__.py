"""Windows, the one LightningModule and the engine that trains every network."""
