"""What lies on disk: model files, tables, datasets, and how they are written."""
