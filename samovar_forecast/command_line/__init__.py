"""The command line: commands in `app` and `benchmark`, their options, files, tables and errors in the others."""
