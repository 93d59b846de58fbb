"""What many runs come to together, and how it is shown. Sums are exact; only what is printed is rounded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tallygate.money import Money

from .judge import Score

MICROSECONDS_PER_HOUR = 3_600_000_000


@dataclass(slots=True)
class Total:
    """The scores of one policy over some runs."""

    runs: int = 0
    over_runs: int = 0
    overshoot: int = 0
    overshoot_max: int = 0
    leaked: int = 0
    leaked_runs: int = 0
    asked: int = 0
    done: int = 0
    refused: int = 0
    false_refusals: int = 0
    wasted: int = 0
    spent: int = 0
    errors: list[int] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, scores: Iterable[Score]) -> Total:
        found = cls()
        for score in scores:
            found.add(score)
        return found

    def add(self, score: Score) -> None:
        self.runs += 1
        self.over_runs += score.overshoot > 0
        self.overshoot += score.overshoot
        self.overshoot_max = max(self.overshoot_max, score.overshoot)
        self.leaked += score.leaked
        self.leaked_runs += score.leaked > 0
        self.asked += score.asked
        self.done += score.done
        self.refused += score.refused
        self.false_refusals += score.false_refusals
        self.wasted += score.wasted
        self.spent += score.spent
        self.errors += score.errors
        self.broken += score.broken

    @property
    def error(self) -> int:
        """The mean estimate error in hundredths of a percent."""
        return sum(self.errors) // len(self.errors) if self.errors else 0

    def document(self) -> dict[str, object]:
        """Everything, amounts as exact decimal text."""
        return {
            "runs": self.runs,
            "runs_over_limit": self.over_runs,
            "overshoot_usd": str(Money(self.overshoot)),
            "overshoot_usd_max": str(Money(self.overshoot_max)),
            "runs_with_leaks": self.leaked_runs,
            "leaked_machine_seconds": self.leaked // 1_000_000,
            "asked": self.asked,
            "done": self.done,
            "refused": self.refused,
            "false_refusals": self.false_refusals,
            "wasted_usd": str(Money(self.wasted)),
            "spent_usd": str(Money(self.spent)),
            "estimate_error_percent": f"{self.error // 100}.{self.error % 100:02}" if self.errors else None,
            "broken": self.broken,
        }


HEADER = (
    "Policy",
    "Runs over a limit",
    "Overshoot, mean",
    "Overshoot, most",
    "Leaked machine-hours",
    "Jobs done",
    "False refusals",
    "Money wasted",
    "Estimate error",
)
"""Means are per run; jobs and refusals in percent of what was asked, wasted money in percent of what was spent."""

NARROW = ("", "over", "mean", "most", "leaked", "done", "false no", "wasted", "est. error")
"""The same columns on a terminal."""


def row(name: str, total: Total) -> tuple[str, ...]:
    """One policy as the table shows it."""
    return (
        name,
        f"{_percent(total.over_runs, total.runs)} %",
        _dollars(total.overshoot, total.runs),
        _dollars(total.overshoot_max, 1),
        _hours(total.leaked, total.runs),
        f"{_percent(total.done, total.asked)} %",
        f"{_percent(total.false_refusals, total.asked)} %",
        f"{_percent(total.wasted, total.spent)} %",
        f"{_percent(total.error, 10_000)} %" if total.errors else "-",
    )


def plain(rows: Sequence[Sequence[str]], header: Sequence[str] = NARROW) -> str:
    """A table for a terminal."""
    widths = [max(len(each[place]) for each in (header, *rows)) for place in range(len(header))]
    ruled = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(
            [each[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(each[1:], widths[1:], strict=True))]
        ).rstrip()
        for each in ruled
    )


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """The same for a document."""
    lines = [HEADER, ["---", *["---:"] * (len(HEADER) - 1)], *rows]
    return "\n".join("| " + " | ".join(each) + " |" for each in lines)


def _percent(part: int, whole: int) -> int:
    """Rounded to the nearest, but something is never shown as nothing nor less than all as all."""
    if not part or not whole:
        return 0
    rounded = (part * 200 + whole) // (whole * 2)
    return min(max(rounded, 1), 99) if part < whole else rounded


def _dollars(nanos: int, runs: int) -> str:
    """A mean in cents, rounded up, so that something is never shown as nothing."""
    return f"${Money(-(-nanos // (runs * 10_000_000)) * 10_000_000):.2f}"


def _hours(microseconds: int, runs: int) -> str:
    tenths = -(-microseconds * 10 // (MICROSECONDS_PER_HOUR * runs))
    return f"{tenths // 10}.{tenths % 10}"
