"""The command line: `app` holds the commands, the other files what they share."""
