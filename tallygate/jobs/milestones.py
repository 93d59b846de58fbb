"""The named moments of a launch and a finish at which a process may die.

Every place where the protocol has just made something true, or is just about to, passes its milestone. In production
passing one does nothing. Tests end the process there, for real, and look at what the next reconcile makes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Milestone(StrEnum):
    """In the order in which a job passes them."""

    STAGED = "staged"
    INTENT_WRITTEN = "intent_written"
    INTENT_COMMITTED = "intent_committed"
    CREATE_CALLED = "create_called"
    CREATE_ANSWERED = "create_answered"
    LIVE_WRITTEN = "live_written"
    LIVE_COMMITTED = "live_committed"
    REFUSAL_WRITTEN = "refusal_written"
    REFUSAL_COMMITTED = "refusal_committed"
    UNKNOWN_COMMITTED = "unknown_committed"
    STOP_COMMITTED = "stop_committed"
    TERMINATE_CALLED = "terminate_called"
    TERMINATE_ANSWERED = "terminate_answered"
    END_OBSERVED = "end_observed"
    END_WRITTEN = "end_written"
    SETTLEMENT_WRITTEN = "settlement_written"
    END_COMMITTED = "end_committed"


Passing = Callable[[Milestone], None]


def pass_by(milestone: Milestone) -> None:
    """What production does at a milestone: go on."""
