"""How often the cloud takes a spot machine back, in the words in which clouds say it: a band of shares over a span of time."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ..times import HOURS_PER_MONTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Between ``low`` and ``high`` of such machines were taken back within ``hours``; shares from 0 to 1.

    ``high`` None: no upper end is published. AWS publishes bands over a month (Spot Instance Advisor), Azure over an hour
    (Resource Graph, ``evictionRate``), Google a single daily share (``preemptionRate``), which is a band without width.
    """

    low: Decimal
    high: Decimal | None
    hours: int

    @property
    def share(self) -> Decimal:
        """The share to reckon with: the upper end, because the lower one flatters; without one, twice the lower."""
        return self.high if self.high is not None else min(self.low * 2, Decimal("0.99"))

    @property
    def per_hour(self) -> Decimal:
        """The rate of a Poisson process that takes back ``share`` of the machines within ``hours``: -ln(1 - share) / hours."""
        return -(1 - min(self.share, Decimal("0.99"))).ln() / self.hours

    def __str__(self) -> str:
        def percent(share: Decimal) -> str:
            return f"{(share * 100).normalize():f}"

        span = {1: "an hour", 24: "a day", HOURS_PER_MONTH: "a month"}.get(self.hours, f"{self.hours} h")
        if self.high is None:
            return f">{percent(self.low)}% {span}"
        if self.low == self.high:
            return f"{percent(self.low)}% {span}"
        if not self.low:
            return f"<{percent(self.high)}% {span}"
        return f"{percent(self.low)}-{percent(self.high)}% {span}"
