"""Costs over time, by the day of use: what bills confirm, and beside it, never in the same sum, what is only thought."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime

from ..errors import UsageError
from ..money import Money
from ..store.database import Database
from ..times import Period
from . import render
from .render import exact

DAYS_MAX = 3660
"""Ten years: more days than any report is read for, and a bound on its size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Costs of some jobs, apart by how sure they are. A job's cost is in exactly one of the four amounts.

    ``final`` and ``billed`` (which may still move) come from bills and together are ``confirmed``. ``metered`` and
    ``estimated`` are of jobs without a bill.
    """

    jobs: int
    confirmed_jobs: int
    billed: Money
    final: Money
    metered: Money
    estimated: Money

    @classmethod
    def none(cls, currency: str) -> Sums:
        zero = Money.zero(currency)
        return cls(jobs=0, confirmed_jobs=0, billed=zero, final=zero, metered=zero, estimated=zero)

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            jobs=self.jobs + other.jobs,
            confirmed_jobs=self.confirmed_jobs + other.confirmed_jobs,
            billed=self.billed + other.billed,
            final=self.final + other.final,
            metered=self.metered + other.metered,
            estimated=self.estimated + other.estimated,
        )

    @property
    def confirmed(self) -> Money | None:
        """What bills say. None, not zero, when there are jobs and no bill names any of them."""
        return None if self.jobs and not self.confirmed_jobs else self.billed + self.final

    @property
    def average(self) -> Money | None:
        """The confirmed cost per confirmed job."""
        if self.confirmed is None or not self.confirmed_jobs:
            return self.confirmed
        return Money.of(self.confirmed.decimal / self.confirmed_jobs, self.confirmed.currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCosts:
    """One day of one provider. Whether a day's bill is final is said of the whole period only, in its sums."""

    day: str
    provider: str
    sums: Sums

    def as_dict(self) -> dict[str, object]:
        return {
            "date": self.day,
            "provider": render.provider_name(self.provider),
            "job_count": self.sums.jobs,
            "total_cost": exact(self.sums.confirmed),
            "avg_cost": exact(self.sums.average),
            "confirmed_cost": exact(self.sums.confirmed),
            "estimated_cost": exact(self.sums.estimated),
            "metered_cost": exact(self.sums.metered),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Trends:
    """Costs of a stretch of days. ``other_currencies`` had costs in it too, which are in none of the sums."""

    first: date
    last: date
    days: int
    currency: str
    provider: str | None
    totals: Sums
    providers: Mapping[str, Sums]
    daily: tuple[DayCosts, ...]
    other_currencies: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """The documented keys; ``total_cost`` is what bills confirm, thoughts are beside it and not in it."""
        return {
            "period": {"start_date": self.first.isoformat(), "end_date": self.last.isoformat(), "days": self.days},
            "totals": {**_amounts(self.totals), "average_job_cost": exact(self.totals.average)},
            "provider_breakdown": {render.provider_name(name): _amounts(sums) for name, sums in self.providers.items()},
            "daily_costs": [day.as_dict() for day in self.daily],
            "currency": self.currency,
            "provider": None if self.provider is None else render.provider_name(self.provider),
            "other_currencies": list(self.other_currencies),
        }

    def csv(self) -> tuple[list[str], list[list[object]]]:
        """The daily costs as a header and rows."""
        keys = ["date", "provider", "job_count", "confirmed_cost", "metered_cost", "estimated_cost"]
        rows = [[day.as_dict()[key] for key in keys] for day in self.daily]
        return [*keys, "currency"], [[*row, self.currency] for row in rows]

    def as_text(self) -> str:
        which = "" if self.provider is None else f" on {render.provider_name(self.provider)}"
        sums = self.totals
        lines = [
            f"Costs by day of use, {self.first} to {self.last}{which}, in {self.currency}",
            "",
            f"Jobs       {sums.jobs}, {sums.confirmed_jobs} of them on a bill",
            f"Confirmed  {render.amount(sums.confirmed)}, of which {render.amount(sums.billed)} may still move",
            f"Metered    {render.amount(sums.metered)} for jobs that are not on a bill yet",
            f"Estimated  {render.amount(sums.estimated)} for jobs that have not ended",
            f"Average    {render.amount(sums.average)} per job on a bill",
        ]
        if self.other_currencies:
            lines.append(f"Not shown  costs in {', '.join(self.other_currencies)}")
        parts = ["\n".join(lines)]
        if self.providers:
            rows = [_row(render.provider_name(name), sums) for name, sums in self.providers.items()]
            parts.append(render.table(rows, ["provider", *_HEADERS]))
        if self.daily:
            days = [(each.day, *_row(render.provider_name(each.provider), each.sums)) for each in self.daily]
            parts.append(render.table(days, ["date", "provider", *_HEADERS]))
        return "\n\n".join(parts)


_HEADERS = ("jobs", "confirmed", "metered", "estimated")


def _row(name: str, sums: Sums) -> tuple[object, ...]:
    return name, sums.jobs, render.amount(sums.confirmed), sums.metered, sums.estimated


def _amounts(sums: Sums) -> dict[str, object]:
    return {
        "job_count": sums.jobs,
        "total_cost": exact(sums.confirmed),
        "confirmed_cost": exact(sums.confirmed),
        "estimated_cost": exact(sums.estimated),
        "metered_cost": exact(sums.metered),
        "billed_cost": exact(sums.billed),
        "final_cost": exact(sums.final),
        "confirmed_job_count": sums.confirmed_jobs,
    }


def cost_trends(
    database: Database, *, now: datetime, days: int = 30, provider: str | None = None, currency: str = "USD"
) -> Trends:
    """Costs of the last ``days`` UTC days, today included. ``provider`` in any case; None means all."""
    if not 1 <= days <= DAYS_MAX:
        raise UsageError(f"{days} days cannot be reported on", cure=f"Use a number from 1 to {DAYS_MAX}")
    period = Period.last_days(days, now=now)
    first, last = period.start.date(), period.end.date()
    name = provider.strip().lower() if provider else None
    which = {"provider": name, "currency": currency}
    dates = {"first_date": first, "last_date": last}
    none = Sums.none(currency)

    daily: dict[tuple[str, str], Sums] = {}
    for row in database.all("reports.confirmed_days", **dates, **which):
        # A day does not say which part of it is final; all of it stands under final until the totals tell them apart.
        daily[str(row["usage_date"]), str(row["provider"])] = _confirmed(none, row["jobs"], row["billed_nanos"])
    providers: dict[str, Sums] = {}
    for row in database.all("reports.confirmed_providers", **dates, **which):
        providers[str(row["provider"])] = _confirmed(none, row["jobs"], row["billed_nanos"])
    for row in database.all("reports.unfinal_providers", **dates, **which):
        sums = providers[str(row["provider"])]
        moving = _money(row["billed_nanos"], currency)
        providers[str(row["provider"])] = replace(sums, billed=moving, final=sums.final - moving)
    instants = {"since": period.start, "until": Period.day(last).end}
    for row in database.all("reports.unconfirmed_days", **instants, **which):
        thought, count = _money(row["thought_nanos"], currency), _int(row["jobs"])
        is_metered = row["cost_state"] == "metered"
        added = (
            replace(none, jobs=count, metered=thought) if is_metered else replace(none, jobs=count, estimated=thought)
        )
        where = str(row["usage_date"]), str(row["provider"])
        daily[where] = daily.get(where, none) + added
        providers[where[1]] = providers.get(where[1], none) + added
    return Trends(
        first=first,
        last=last,
        days=days,
        currency=currency,
        provider=name,
        totals=_sum(providers.values(), none),
        providers=dict(sorted(providers.items())),
        daily=tuple(DayCosts(day=day, provider=each, sums=sums) for (day, each), sums in sorted(daily.items())),
        other_currencies=tuple(
            str(row["currency"]) for row in database.all("reports.other_currencies", **dates, currency=currency)
        ),
    )


def _confirmed(none: Sums, jobs: object, nanos: object) -> Sums:
    count = _int(jobs)
    return replace(none, jobs=count, confirmed_jobs=count, final=_money(nanos, none.final.currency))


def _sum(all_sums: Iterable[Sums], none: Sums) -> Sums:
    result = none
    for each in all_sums:
        result = result + each
    return result


def _money(nanos: object, currency: str) -> Money:
    return Money(_int(nanos), currency)


def _int(value: object) -> int:
    return int(str(value))
