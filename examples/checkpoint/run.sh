#!/bin/sh
# What a machine starts when no --command is given. `exec`, so that the signal to stop reaches Python itself.
exec python3 pi.py "$@"
