#!/bin/sh
# What a machine starts when no --command is given.
command -v tallygate-budget >/dev/null && tallygate-budget
exec python3 volume.py "$@"
