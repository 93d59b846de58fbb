"""What a small team asks for in a simulated run: budgets, jobs, second thoughts. Drawn from the seed, known to nobody else.

budgets   lab, lab/physics, lab/physics/anna ...    nested, some renewing, now and then a soft one
asks      who, when, what, with which estimate and key; what the work truly takes; terminated or extended later
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ..ledger.holds import BudgetPeriod
from ..money import Money
from .chance import Stream
from .work import Work

ASK_TAG = "ask"
"""The tag by which a machine's work is found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPlan:
    """A budget that the run sets up before anything else."""

    name: str
    limit: Money
    period: BudgetPeriod = BudgetPeriod.NONE
    zone: str = "UTC"
    hard: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One wish of one user. Seconds; ``at`` from the start of the run.

    ``hours`` is the estimate, ``work`` what it truly takes. ``impatient``: the user sends the same request again while the
    first is on its way. ``terminate_after``, ``extend_after``: second thoughts, that long after asking.
    """

    number: int
    user: str
    at: int
    provider: str | None
    vcpus_min: int
    hours: Decimal
    run_seconds_max: int | None
    budget: Money | None
    charge_to: str | None
    disk_gib: int
    on_demand: bool
    work: Work
    key: str
    impatient: bool = False
    terminate_after: int | None = None
    extend_after: int | None = None
    extend_hours: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChange:
    """Somebody lowers, raises or tops up a budget. ``percent`` of its first limit."""

    at: int
    budget: str
    percent: int
    top_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Everything that people want of one run."""

    budgets: tuple[BudgetPlan, ...]
    asks: tuple[Ask, ...]
    limit_changes: tuple[LimitChange, ...]


_USERS = ("anna", "ben", "chloe", "dmitri", "esra")
_ZONES = ("UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Kolkata")


def draw(chance: Stream, *, jobs: int, seconds: int, longest: int) -> Workload:
    """A workload of about ``jobs`` jobs within ``seconds``, none estimated at more than ``longest`` seconds."""
    budgets = _budgets(chance)
    names = [each.name for each in budgets]
    asks = tuple(
        _ask(chance, number, names, seconds, longest) for number in range(chance.between(max(1, jobs // 2), jobs))
    )
    changes = tuple(
        LimitChange(
            at=chance.below(seconds),
            budget=chance.pick(names),
            percent=chance.pick((10, 50, 120, 200)),
            top_up=chance.chance(500_000),
        )
        for _ in range(chance.below(3) if names else 0)
    )
    return Workload(budgets=budgets, asks=asks, limit_changes=changes)


def _budgets(chance: Stream) -> tuple[BudgetPlan, ...]:
    """A lab, a group in it, a user in that: each there or not, each tight or ample."""
    period = chance.pick((BudgetPeriod.NONE, BudgetPeriod.NONE, BudgetPeriod.DAY, BudgetPeriod.MONTH))
    zone = chance.pick(_ZONES)
    soft = chance.chance(60_000)
    wanted = [("lab", period, zone)]
    if chance.chance(700_000):
        wanted.append(("lab/physics", BudgetPeriod.NONE, "UTC"))
    if chance.chance(400_000):
        wanted.append((f"lab/physics/{_USERS[0]}", BudgetPeriod.DAY, chance.pick(_ZONES)))
    if chance.chance(200_000):
        wanted.append(("other", BudgetPeriod.NONE, "UTC"))
    return tuple(
        BudgetPlan(
            name=name,
            limit=Money(chance.spread(500, 40_000) * 1_000_000),
            period=each,
            zone=where,
            hard=not (soft and name == "lab"),
        )
        for name, each, where in wanted
    )


def _ask(chance: Stream, number: int, budgets: list[str], seconds: int, longest: int) -> Ask:
    user = chance.pick(_USERS)
    estimated = chance.spread(min(300, longest), longest)
    charge_to = chance.pick(budgets) if chance.chance(850_000) else None
    return Ask(
        number=number,
        user=user,
        at=chance.below(max(1, seconds * 6 // 10)),
        provider=chance.pick(("aws", "gcp", "azure", None)),
        vcpus_min=chance.pick((1, 2, 4, 16)),
        hours=Decimal(estimated) / 3600,
        run_seconds_max=chance.spread(600, 4 * 3600) if chance.chance(200_000) else None,
        budget=Money(chance.spread(20, 4000) * 1_000_000) if chance.chance(300_000) else None,
        charge_to=charge_to,
        disk_gib=chance.pick((0, 0, 0, 10, 200)),
        on_demand=chance.chance(150_000),
        work=_work(chance, estimated),
        key=f"ask-{number}",
        impatient=chance.chance(150_000),
        terminate_after=chance.spread(60, 2 * estimated + 120) if chance.chance(150_000) else None,
        extend_after=chance.spread(60, estimated + 120) if chance.chance(250_000) else None,
        extend_hours=Decimal(chance.pick((1, 2, 4))) / 2,
    )


def _work(chance: Stream, estimated: int) -> Work:
    """What the job truly takes: estimates are off by up to a factor of three either way."""
    percent = chance.pick((30, 60, 80, 95, 100, 105, 130, 200, 300))
    return Work(
        seconds=max(30, estimated * percent // 100),
        exit_status=1 if chance.chance(100_000) else 0,
        checkpoint_seconds=chance.pick((0, 60, 300)),
    )
