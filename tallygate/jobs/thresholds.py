"""What to do as a job's money runs down: tell, admit no further attempt, ask for a checkpoint, stop.

The machine's own deadline stands behind all of these; they only make sure that it is rarely needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ..money import Money


class Action(StrEnum):
    """In rising order."""

    TELL = "tell"
    NO_NEW_ATTEMPT = "no_new_attempt"
    CHECKPOINT = "checkpoint"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Threshold:
    """``action`` is due once ``percent`` of the hold has been metered."""

    percent: int
    action: Action


def graduated(percents: Sequence[int]) -> tuple[Threshold, ...]:
    """Thresholds at these percents: the highest stops, below it a checkpoint is asked for, below that no further
    attempt
    is admitted, and all lower ones tell."""
    actions = [Action.STOP, Action.CHECKPOINT, Action.NO_NEW_ATTEMPT]
    falling = sorted(set(percents), reverse=True)
    named = [Threshold(percent, action) for percent, action in zip(falling, actions, strict=False)]
    return tuple(named) + tuple(Threshold(percent, Action.TELL) for percent in falling[len(actions) :])


DEFAULT = graduated((50, 80, 90, 100))


def due(thresholds: Sequence[Threshold], *, metered: Money, hold: Money, done_percent: int) -> list[Threshold]:
    """The thresholds reached by now and not yet acted on, lowest first."""
    return [
        threshold
        for threshold in sorted(thresholds, key=lambda each: each.percent)
        if threshold.percent > done_percent and metered.nanos * 100 >= hold.nanos * threshold.percent
    ]


def admits_another_attempt(thresholds: Sequence[Threshold], *, metered: Money, hold: Money) -> bool:
    """Whether so little has been metered that an interrupted job may be launched again."""
    limits = [each.percent for each in thresholds if each.action is Action.NO_NEW_ATTEMPT]
    return not limits or metered.nanos * 100 < hold.nanos * min(limits)
