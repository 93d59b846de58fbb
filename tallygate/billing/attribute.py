"""From charge to job: by resource and time, then by tag, else nobody's, with the reason.

    line  --resource id known?-->  who had it then?  --one-->   all of it
                                                     --two-->   split by time, nothing lost
          --tag tallygate-job?-->  a job of ours?    --yes-->   all of it
          ------------------------------------------------->    unattributed

Nothing is spread over jobs that it does not name, and every line is counted exactly once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from ..money import Money
from ..times import Period
from .charge import Charge

JOB_TAG = "tallygate-job"

GRACE = timedelta(hours=1)
"""How long after its observed end a machine's lines may still begin: bills round times up, and some to the hour."""

RESOURCES_KEPT_MAX = 50
"""How many resource ids a cost row remembers; a job with more has the rest in the bill itself."""

_MICROSECOND = timedelta(microseconds=1)

_TYPE_BY_SERVICE = {"Compute": "compute", "Storage": "storage", "Networking": "network"}
_TYPE_BY_CATEGORY = {"Tax": "tax", "Credit": "credit", "Adjustment": "adjustment", "Purchase": "purchase"}


@dataclass(frozen=True, slots=True)
class Life:
    """The time in which one attempt of a job had these resources. ``currency`` is the job's."""

    job_id: str
    currency: str
    resource_ids: tuple[str, ...]
    span: Period


@dataclass(frozen=True, slots=True)
class Part:
    """What one job bears of one charge, and when it was used. ``by_tag``: its resource did not say so."""

    job_id: str
    span: Period
    billed: Money
    effective: Money
    listed: Money
    by_tag: bool = False


class Registry:
    """Who had which resource when."""

    def __init__(self, lives: Iterable[Life], job_currency: Callable[[str], str | None]) -> None:
        """``job_currency`` answers the currency of a job, or None when there is no such job here."""
        self._lives: dict[str, list[Life]] = defaultdict(list)
        for life in lives:
            for key in names_of(life.resource_ids):
                self._lives[key].append(life)
        self._job_currency = job_currency

    def attribute(self, charge: Charge) -> list[Part] | str:
        """The parts of ``charge``, which add up to it exactly, or the reason why nobody bears it."""
        having, known = self._having(charge)
        if having:
            foreign = [life for life in having if life.currency != charge.billed_cost.currency]
            if foreign:
                return _other_currency(charge, foreign[0].currency)
            return _shared(charge, having)
        job_id = tagged_job(charge)
        if job_id is not None:
            currency = self._job_currency(job_id)
            if currency is None:
                return f"its tag names job {job_id[:40]}, which is not known here"
            if currency != charge.billed_cost.currency:
                return _other_currency(charge, currency)
            costs = (charge.billed_cost, charge.effective_cost, charge.list_cost)
            return [Part(job_id, charge.charge_period, *costs, by_tag=True)]
        if charge.resource_id is None:
            return "it names neither a resource nor a job"
        return "its resource ran no job at that time" if known else "its resource is none of ours and has no job tag"

    def _having(self, charge: Charge) -> tuple[list[Life], bool]:
        """The lives that the charge's resource and time fall into, and whether the resource is known at all."""
        if charge.resource_id is None:
            return [], False
        known: list[Life] = []
        for key in _names(charge.resource_id):
            known = known or self._lives.get(key, [])
        return [life for life in known if _meets(charge.charge_period, life.span)], bool(known)


def tagged_job(charge: Charge) -> str | None:
    """The job that the charge's tags name. Sources change the case of keys and put ``user:`` in front."""
    for key, value in charge.tags.items():
        if key.lower().removeprefix("user:").removeprefix("user_").replace("_", "-") == JOB_TAG and value:
            return value.lower()
    return None


def names_of(resource_ids: Iterable[str]) -> frozenset[str]:
    """Everything that bills may call these resources."""
    return frozenset(name for resource_id in resource_ids for name in _names(resource_id))


def _names(resource_id: str) -> tuple[str, ...]:
    """A resource as bills name it: its whole path or ARN, or the last part of that; case does not matter."""
    whole = resource_id.lower()
    last = whole.rpartition("/")[2]
    return (whole, last) if last and last != whole else (whole,)


def _meets(charged: Period, life: Period) -> bool:
    if charged.start == charged.end:
        return life.start <= charged.start <= life.end + GRACE
    return charged.start < life.end + GRACE and life.start < charged.end


def _shared(charge: Charge, having: Sequence[Life]) -> list[Part]:
    if len(having) == 1:
        span = charge.charge_period.overlap(having[0].span) or charge.charge_period
        return [Part(having[0].job_id, span, charge.billed_cost, charge.effective_cost, charge.list_cost)]
    overlaps = [charge.charge_period.overlap(life.span) for life in having]
    weights = [(each.end - each.start) // _MICROSECOND if each else 0 for each in overlaps]
    if not any(weights):  # all before or after the observed lives: it belongs to the last one that had begun
        last = max(range(len(having)), key=lambda i: (having[i].span.start, having[i].job_id))
        weights[last] = 1
    columns = (charge.billed_cost.split(weights), charge.effective_cost.split(weights), charge.list_cost.split(weights))
    return [
        Part(life.job_id, overlap or charge.charge_period, *costs)
        for life, overlap, weight, *costs in zip(having, overlaps, weights, *columns, strict=True)
        if weight
    ]


def _other_currency(charge: Charge, currency: str) -> str:
    return f"it is billed in {charge.billed_cost.currency} and the job is kept in {currency}"


def by_day(span: Period, amount: Money) -> Iterator[tuple[date, Money]]:
    """``amount`` over the UTC days of ``span`` by time; the parts add up to it exactly."""
    days: list[Period] = []
    start = span.start.astimezone(UTC)
    if start.date() == span.end.astimezone(UTC).date():
        yield start.date(), amount
        return
    while True:
        end = min(Period.day(start.date()).end, span.end)
        days.append(Period(start, end))
        if end >= span.end:
            break
        start = end
    if len(days) == 1:
        yield days[0].start.date(), amount
        return
    weights = [(day.end - day.start) // _MICROSECOND for day in days]
    for day, part in zip(days, amount.split(weights), strict=True):
        yield day.start.date(), part


def cost_type(charge: Charge) -> str:
    """The kind of cost in the documented words: ``spot_compute``, ``compute``, ``storage``, ``network``, ``credit``..."""
    if charge.charge_category in _TYPE_BY_CATEGORY:
        return _TYPE_BY_CATEGORY[charge.charge_category]
    kind = _TYPE_BY_SERVICE.get(charge.service_category)
    if kind == "compute" and charge.pricing_category == "Dynamic":
        return "spot_compute"
    return kind or charge.service_category.lower().replace(" ", "_")


# --- a whole bill


@dataclass(slots=True)
class JobCost:
    """What one job bears of one bill for one kind of cost, in whole nanos."""

    currency: str
    billed: int = 0
    effective: int = 0
    listed: int = 0
    lines: int = 0
    tagged_lines: int = 0
    services: set[str] = field(default_factory=set)
    resources: set[str] = field(default_factory=set)
    first: datetime | None = None
    last: datetime | None = None

    def add(self, charge: Charge, part: Part) -> None:
        self.billed += part.billed.nanos
        self.effective += part.effective.nanos
        self.listed += part.listed.nanos
        self.lines += 1
        self.tagged_lines += part.by_tag
        self.services.add(charge.service_name)
        if charge.resource_id is not None and len(self.resources) < RESOURCES_KEPT_MAX:
            self.resources.add(charge.resource_id)
        self.first = min(self.first or part.span.start, part.span.start)
        self.last = max(self.last or part.span.end, part.span.end)


@dataclass(slots=True)
class Nobodys:
    """Lines without a job that are alike: ``line`` is the first of them, counted from 1."""

    line: int
    lines: int = 0
    nanos: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """One bill added up: by job and kind, by job and day, by what nobody bears, and by account and service."""

    jobs: dict[tuple[str, str], JobCost] = field(default_factory=dict)
    days: dict[tuple[str, date, str], int] = field(default_factory=lambda: defaultdict(int))
    nobodys: dict[tuple[date, str, str, str | None, str], Nobodys] = field(default_factory=dict)
    accounts: dict[tuple[str, str, str, date, str], int] = field(default_factory=lambda: defaultdict(int))

    def totals(self) -> dict[str, int]:
        """What was given to jobs and what was not, together, by currency. Equals the bill, or a line was lost."""
        found: dict[str, int] = defaultdict(int)
        for cost in self.jobs.values():
            found[cost.currency] += cost.billed
        for (_, currency, *_), nobodys in self.nobodys.items():
            found[currency] += nobodys.nanos
        return dict(found)


def tally(charges: Iterable[Charge], registry: Registry) -> Tally:
    """Attribute and add up a bill in one pass; memory grows with jobs and resources, not with lines."""
    result = Tally()
    for line, charge in enumerate(charges, start=1):
        day = charge.charge_period.start.astimezone(UTC).date()
        currency = charge.billed_cost.currency
        where = (charge.billing_account_id, charge.service_name, charge.region_id or "", day, currency)
        result.accounts[where] += charge.billed_cost.nanos
        found = registry.attribute(charge)
        if isinstance(found, str):
            alike = (day, currency, charge.service_name, charge.resource_id, found)
            nobodys = result.nobodys.get(alike)
            if nobodys is None:
                nobodys = result.nobodys[alike] = Nobodys(line)
            nobodys.lines += 1
            nobodys.nanos += charge.billed_cost.nanos
            continue
        kind = cost_type(charge)
        for part in found:
            cost = result.jobs.get((part.job_id, kind))
            if cost is None:
                cost = result.jobs[part.job_id, kind] = JobCost(currency)
            cost.add(charge, part)
            for usage_day, amount in by_day(part.span, part.billed):
                result.days[part.job_id, usage_day, currency] += amount.nanos
    return result
