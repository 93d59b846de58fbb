"""The ledger: three jars, holds, and an append-only journal."""
