"""Tallygate: tally the bill, gate the launch.

Money is held before a machine is asked for, every machine carries its own end, and the real bill is later settled
against what was held. Start reading at ``app`` (the wiring), ``ledger`` (the money) and ``jobs`` (the launches).
"""

__version__ = "0.1.0"
