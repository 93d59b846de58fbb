"""The command line: flags, rendering, exit codes."""
