"""Providers side by side, over finished jobs, by what a core-hour really cost.

A provider is recommended only when there is somebody to compare it with and both have enough finished jobs to say so. The
reason is part of the answer, also when the answer is nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ..errors import UsageError
from ..money import SECONDS_PER_HOUR, Money
from ..store.database import Database, Row
from ..times import Period
from . import render
from .render import exact
from .trends import DAYS_MAX

SAMPLE_MIN = 5
"""Fewer finished jobs than this are an anecdote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderStats:
    """One provider's finished jobs. Costs are over those on a bill; ``core_seconds`` are theirs too.

    ``stopped`` jobs were terminated by somebody and count neither as success nor as failure.
    """

    provider: str
    jobs: int
    completed: int
    failed: int
    stopped: int
    billed_jobs: int
    billed: Money
    least: Money | None
    most: Money | None
    core_seconds: int
    average_price: Money

    @property
    def average(self) -> Money | None:
        return _divided(self.billed, self.billed_jobs)

    @property
    def per_core_hour(self) -> Money | None:
        """What an hour of one core cost, all parts of the bill included."""
        if not self.core_seconds or not self.billed_jobs:
            return None
        return Money.of(self.billed.decimal * SECONDS_PER_HOUR / self.core_seconds, self.billed.currency)

    @property
    def success_percent(self) -> Decimal | None:
        judged = self.completed + self.failed
        return None if not judged else (Decimal(self.completed) * 100 / judged).quantize(Decimal("0.1"))

    def as_dict(self) -> dict[str, object]:
        """The documented keys, then ours."""
        known = self.billed_jobs > 0
        return {
            "provider": render.provider_name(self.provider),
            "job_count": self.jobs,
            "avg_cost": exact(self.average),
            "min_cost": exact(self.least),
            "max_cost": exact(self.most),
            "total_cost": exact(self.billed) if known else None,
            "avg_price_per_hour": exact(self.average_price),
            "completed_jobs": self.completed,
            "failed_jobs": self.failed,
            "success_rate": self.success_percent,
            "terminated_jobs": self.stopped,
            "jobs_with_known_cost": self.billed_jobs,
            "core_hours": (Decimal(self.core_seconds) / SECONDS_PER_HOUR).quantize(Decimal("0.001")),
            "cost_per_core_hour": exact(self.per_core_hour),
            "currency": self.billed.currency,
        }


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A provider's name, or None, and why."""

    provider: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All providers with jobs that ended in the window, in one currency."""

    window: Period
    days: int
    currency: str
    sample_min: int
    stats: tuple[ProviderStats, ...]
    cheapest: Recommendation
    most_reliable: Recommendation
    most_used: Recommendation
    other_currencies: tuple[str, ...]

    def _recommendations(self) -> Mapping[str, Recommendation]:
        return {
            "cheapest_provider": self.cheapest,
            "most_reliable_provider": self.most_reliable,
            "most_used_provider": self.most_used,
        }

    def as_dict(self) -> dict[str, object]:
        return {
            "period": {
                "start_date": self.window.start.date().isoformat(),
                "end_date": self.window.end.date().isoformat(),
                "days": self.days,
            },
            "provider_stats": [stats.as_dict() for stats in self.stats],
            "recommendations": {
                name: None if each.provider is None else render.provider_name(each.provider)
                for name, each in self._recommendations().items()
            },
            "reasons": {name: each.reason for name, each in self._recommendations().items()},
            "minimum_sample": self.sample_min,
            "currency": self.currency,
            "other_currencies": list(self.other_currencies),
        }

    def csv(self) -> tuple[list[str], list[list[object]]]:
        """The providers as a header and rows."""
        if not self.stats:
            return ["provider"], []
        return list(self.stats[0].as_dict()), [list(stats.as_dict().values()) for stats in self.stats]

    def as_text(self) -> str:
        title = f"Finished jobs, {self.window.start.date()} to {self.window.end.date()}, in {self.currency}"
        rows = [
            (
                render.provider_name(s.provider),
                s.jobs,
                s.billed_jobs,
                render.amount(s.per_core_hour),
                render.amount(s.average),
                render.amount(s.least),
                render.amount(s.most),
                "unknown" if s.success_percent is None else f"{s.success_percent} %",
            )
            for s in self.stats
        ]
        headers = ["provider", "jobs", "on a bill", "per core-hour", "average", "least", "most", "success"]
        words = {
            "cheapest_provider": "Cheapest",
            "most_reliable_provider": "Most reliable",
            "most_used_provider": "Most used",
        }
        advice = [
            f"{words[name].ljust(13)}  {'-' if each.provider is None else render.provider_name(each.provider)}: {each.reason}"
            for name, each in self._recommendations().items()
        ]
        return "\n\n".join([title, *([render.table(rows, headers)] if rows else []), "\n".join(advice)])


def provider_comparison(
    database: Database, *, now: datetime, days: int = 30, currency: str = "USD", sample_min: int = SAMPLE_MIN
) -> Comparison:
    """Providers by the jobs that ended in the last ``days`` UTC days, today included."""
    if not 1 <= days <= DAYS_MAX:
        raise UsageError(f"{days} days cannot be reported on", cure=f"Use a number from 1 to {DAYS_MAX}")
    window = Period.last_days(days, now=now)
    instants = {"since": window.start, "until": Period.day(window.end.date()).end}
    cores = {
        (str(row["provider"]), str(row["currency"])): int(str(row["core_seconds"]))
        for row in database.all("reports.provider_core_seconds", **instants)
    }
    rows = database.all("reports.provider_jobs", **instants)
    stats = tuple(_stats(row, cores, currency) for row in rows if row["currency"] == currency)
    return Comparison(
        window=window,
        days=days,
        currency=currency,
        sample_min=sample_min,
        stats=stats,
        cheapest=_cheapest(stats, sample_min),
        most_reliable=_most_reliable(stats, sample_min),
        most_used=_most_used(stats, sample_min),
        other_currencies=tuple(sorted({str(row["currency"]) for row in rows} - {currency})),
    )


def _stats(row: Row, cores: Mapping[tuple[str, str], int], currency: str) -> ProviderStats:
    def money(column: str) -> Money | None:
        return None if row[column] is None else Money(int(str(row[column])), currency)

    jobs, provider = int(str(row["jobs"])), str(row["provider"])
    prices = _divided(Money(int(str(row["prices_nanos"])), currency), jobs)
    assert prices is not None  # a row has at least one job
    return ProviderStats(
        provider=provider,
        jobs=jobs,
        completed=int(str(row["completed"])),
        failed=int(str(row["failed"])),
        stopped=int(str(row["stopped"])),
        billed_jobs=int(str(row["billed"])),
        billed=Money(int(str(row["billed_nanos"] or 0)), currency),
        least=money("least_nanos"),
        most=money("most_nanos"),
        core_seconds=cores.get((provider, currency), 0),
        average_price=prices,
    )


def _cheapest(stats: Sequence[ProviderStats], sample_min: int) -> Recommendation:
    known = {s.provider: s.per_core_hour for s in stats if s.billed_jobs >= sample_min and s.per_core_hour is not None}
    if len(known) < 2:
        return Recommendation(None, _too_few(known, f"finished jobs on a bill (at least {sample_min})"))
    least = min(known.values(), key=lambda price: price.nanos)
    best = sorted(provider for provider, price in known.items() if price == least)
    if len(best) > 1:
        return Recommendation(None, f"{_names(best)} cost the same, {render.amount(least)} per core-hour")
    second = min((price for provider, price in known.items() if provider != best[0]), key=lambda price: price.nanos)
    return Recommendation(best[0], f"{render.amount(least)} per core-hour; the next costs {render.amount(second)}")


def _most_reliable(stats: Sequence[ProviderStats], sample_min: int) -> Recommendation:
    known = {
        s.provider: s.success_percent
        for s in stats
        if s.completed + s.failed >= sample_min and s.success_percent is not None
    }
    if len(known) < 2:
        return Recommendation(None, _too_few(known, f"completed or failed jobs (at least {sample_min})"))
    most = max(known.values())
    best = sorted(provider for provider, percent in known.items() if percent == most)
    if len(best) > 1:
        return Recommendation(None, f"{_names(best)} did equally well, {most} percent completed")
    second = max(percent for provider, percent in known.items() if provider != best[0])
    return Recommendation(best[0], f"{most} percent completed; the next has {second}")


def _most_used(stats: Sequence[ProviderStats], sample_min: int) -> Recommendation:
    known = {s.provider: s.jobs for s in stats}
    jobs = sum(known.values())
    if jobs < sample_min:
        return Recommendation(None, f"finished jobs so far: {jobs}; it takes {sample_min}")
    most = max(known.values())
    best = sorted(provider for provider, count in known.items() if count == most)
    if len(best) > 1:
        return Recommendation(None, f"{_names(best)} ran the same number of jobs, {most}")
    return Recommendation(best[0], f"{most} of {jobs} finished jobs")


def _too_few(known: Mapping[str, object], what: str) -> str:
    if not known:
        return f"no provider has enough {what}"
    return f"only {_names(sorted(known))} has enough {what}"


def _names(providers: Sequence[str]) -> str:
    return " and ".join(render.provider_name(provider) for provider in providers)


def _divided(amount: Money, count: int) -> Money | None:
    return None if not count else Money.of(amount.decimal / count, amount.currency)
