"""How long a job will take, from the runs that are behind it.

19 runs or more     the range lies between runs that were seen: the next run falls between two neighbours in rank as
                    often as between any other two
2 to 18 runs        a bell curve over the logarithms of the run times, with Student's wider tails for how few they are
1 run, or a number  that number; how far it may be off is not known from one number
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Self

from ..errors import RuntimeUnknown
from .offers import Offer
from .spread import Spread
from .student import student

RUNS_MAX = 200
"""Only so many of the newest runs are looked at: what a job took years ago says little."""

RUNS_ENOUGH = 3
"""With so many runs on the same instance type, or the same number of virtual CPUs, runs on other machines are left out."""

_RANKED_FROM = 19
_POINTS = 100
_LONGEST = 10**10


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run of a job, on what its last attempt ran.

    ``seconds`` is the machine time of all its ``attempts``, ``last_seconds`` that of the last one, which finished the work.
    """

    seconds: int
    last_seconds: int
    attempts: int
    provider: str
    instance_type: str
    vcpus: int


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The finished runs of a job name, newest first, and how many other ends it had, which say nothing of its run time."""

    name: str
    runs: tuple[Run, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Runtimes:
    """The run time that is reckoned with: ``seconds`` of work, without boot and teardown, in ascending order.

    ``says`` is what it is based on, for people. ``is_seen``: from finished runs, and not a number that somebody gave.
    """

    seconds: tuple[int, ...]
    says: str
    is_seen: bool = False

    @classmethod
    def stated(cls, seconds: int, says: str) -> Self:
        return cls((max(1, seconds),), says)

    @property
    def runs(self) -> int:
        """How many finished runs are behind it; 0 for a number that somebody gave."""
        return len(self.seconds) if self.is_seen else 0

    @property
    def has_spread(self) -> bool:
        """Whether anything is known about how far it may be off."""
        return self.is_seen and len(self.seconds) > 1

    @property
    def mean(self) -> Decimal:
        return Decimal(sum(self.seconds)) / len(self.seconds)

    def quantile(self, share: Decimal) -> int:
        """So many seconds or fewer the next run takes with a chance of ``share`` (above 0, below 1). Rounded up."""
        count = len(self.seconds)
        if not self.has_spread or self.seconds[0] == self.seconds[-1]:
            return self.seconds[-1]
        if count >= _RANKED_FROM:
            place = min(max(share * (count + 1), Decimal(1)), Decimal(count)) - 1
            below = int(place)
            above = min(below + 1, count - 1)
            found = self.seconds[below] + (self.seconds[above] - self.seconds[below]) * (place - below)
        else:
            middle, wide = _bell(self.seconds)
            found = min(middle + wide * student(share, count - 1), Decimal(_LONGEST).ln()).exp()
        return int(found.to_integral_value(ROUND_CEILING))

    def spread(self) -> Spread:
        """The next run's time as equally likely values."""
        if not self.has_spread:
            return Spread.certain(self.seconds[-1])
        return Spread.of((self.quantile((Decimal(i) + Decimal("0.5")) / _POINTS), 1) for i in range(_POINTS))


def from_history(
    history: History, offer: Offer | None = None, *, overhead_seconds: int = 0, checkpoint_seconds: int | None = None
) -> Runtimes:
    """The run times of a job's earlier runs, those on machines like ``offer`` where there are enough of them.

    What was done twice is taken off, as far as it can be known: a job that saves its work every ``checkpoint_seconds``
    lost half of them at each interruption, one that does not did everything in its last attempt. So are
    ``overhead_seconds`` of boot and teardown of every attempt. Raises ``RuntimeUnknown`` without a run.
    """
    if not history.runs:
        left_out = f"; {history.left_out} that ended otherwise say nothing of it" if history.left_out else ""
        raise RuntimeUnknown(f"A run time has nothing to base it on: no finished run of {history.name}{left_out}")
    chosen, where = _like(history.runs, offer)
    seconds = tuple(sorted(_useful(run, overhead_seconds, checkpoint_seconds) for run in chosen))
    again = sum(run.attempts > 1 for run in chosen)
    says = f"{_counted(len(chosen), 'finished run')} of {history.name} {where}"
    if again:
        says += f", {again} of them interrupted, less what they did twice"
    if history.left_out:
        says += f"; {history.left_out} that ended otherwise are left out"
    return Runtimes(seconds, says, True)


def _useful(run: Run, overhead_seconds: int, checkpoint_seconds: int | None) -> int:
    if run.attempts == 1 or checkpoint_seconds is None:
        return max(1, run.last_seconds - overhead_seconds)
    twice = (run.attempts - 1) * checkpoint_seconds // 2
    return max(1, run.last_seconds - overhead_seconds, run.seconds - run.attempts * overhead_seconds - twice)


def _like(runs: Sequence[Run], offer: Offer | None) -> tuple[Sequence[Run], str]:
    if offer is not None:
        same = [run for run in runs if (run.provider, run.instance_type) == (offer.provider, offer.instance_type)]
        if len(same) >= RUNS_ENOUGH or len(same) == len(runs):
            return same, f"on {offer.instance_type}"
        alike = [run for run in runs if run.vcpus == offer.vcpus]
        if len(alike) >= RUNS_ENOUGH or len(alike) == len(runs):
            return alike, f"on machines of {offer.vcpus} vCPU"
    return runs, "on any machine"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


@lru_cache(maxsize=16)
def _bell(seconds: tuple[int, ...]) -> tuple[Decimal, Decimal]:
    """The middle of the logarithms, and how wide the next one's deviation from it is taken to be."""
    count = len(seconds)
    logs = [Decimal(each).ln() for each in seconds]
    middle = sum(logs, Decimal(0)) / count
    variance = sum(((each - middle) ** 2 for each in logs), Decimal(0)) / (count - 1)
    return middle, (variance * (1 + Decimal(1) / count)).sqrt()
