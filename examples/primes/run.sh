#!/bin/sh
# What a machine starts when no --command is given.
exec python3 primes.py "$@"
