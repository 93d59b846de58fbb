"""The cast of the demonstration: a small lab, its budgets, and what everybody wants of a month.

Only wishes and troubles are written down here. What comes of them is up to the world of the seed: prices, where a job
lands, what it costs, what the bills say and when.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from ..ledger.holds import BudgetPeriod
from ..money import Money
from .workload import BudgetPlan

DAYS = 29
"""How many days the month has. The last job ends soon enough for every bill to be final within it."""

LAB, IMAGING, GENOMICS, NIGHTLY = "lab", "lab/imaging", "lab/genomics", "lab/nightly"

BUDGETS = (
    BudgetPlan(name=LAB, limit=Money.of("40.00")),
    BudgetPlan(name=IMAGING, limit=Money.of("24.00")),
    BudgetPlan(name=GENOMICS, limit=Money.of("9.00")),
    BudgetPlan(name=NIGHTLY, limit=Money.of("5.00"), period=BudgetPeriod.DAY),
)


class Trouble(StrEnum):
    """What the world does to one job, by its own switches."""

    TAKEN_BACK = "taken_back"
    """The cloud wants the spot machine back."""
    PRICE_JUMP = "price_jump"
    """The spot price passes the ceiling that was sent with the launch."""
    NO_CAPACITY = "no_capacity"
    """The pool runs dry between the offer and the launch."""
    LAUNCHER_DIES = "launcher_dies"
    """The launching process ends after the cloud has answered and before the answer is on record."""
    LOST_REPLY = "lost_reply"
    """The cloud makes the machine, and its answer never arrives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One wish of one person. ``at`` is a time of ``day`` in UTC.

    ``hours`` is the estimate and ``minutes`` what the work truly takes. ``again``: the same request is sent twice.
    ``trouble`` strikes ``after`` so many minutes of running where it needs a running machine; ``stop_after`` and
    ``extend_after`` are second thoughts, that many minutes after asking.
    """

    day: int
    at: str
    who: str
    job: str
    charge_to: str
    hours: str
    minutes: int
    provider: str | None = None
    vcpus: int = 2
    gpus: int = 0
    budget: str | None = None
    on_demand: bool = False
    exit_status: int = 0
    hangs: bool = False
    again: bool = False
    trouble: Trouble | None = None
    after: int = 0
    stop_after: int | None = None
    extend_after: int | None = None
    extend_hours: Decimal = Decimal(1)

    @property
    def seconds(self) -> int:
        """Seconds from the first midnight until it is asked."""
        hours, minutes = self.at.split(":")
        return (self.day * 24 + int(hours)) * 3600 + int(minutes) * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUp:
    """Somebody gives a budget more."""

    day: int
    at: str
    who: str
    budget: str
    amount: Money
    reason: str


WISHES = (
    # week 1: how it goes when nothing is wrong, and what a budget refuses
    Wish(day=0, at="09:05", who="anna", job="segment-1", charge_to=IMAGING, hours="2", minutes=96, provider="aws"),
    Wish(
        day=0, at="10:20", who="ben", job="align-1", charge_to=GENOMICS, hours="3", minutes=150, provider="gcp", vcpus=4
    ),
    Wish(day=1, at="09:10", who="chloe", job="train-1", budget="8", charge_to=IMAGING, hours="4", minutes=205, gpus=1),
    Wish(
        day=1,
        at="14:00",
        who="ben",
        job="assemble-1",
        charge_to=GENOMICS,
        hours="40",
        minutes=300,
        vcpus=16,
        budget="5",
    ),
    Wish(
        day=1, at="14:06", who="ben", job="assemble-1", charge_to=GENOMICS, hours="6", minutes=340, vcpus=16, budget="5"
    ),
    Wish(
        day=3,
        at="21:00",
        who="dmitri",
        job="nightly-1",
        budget="4",
        charge_to=NIGHTLY,
        hours="2",
        minutes=110,
        vcpus=16,
        provider="gcp",
    ),
    Wish(
        day=3,
        at="21:10",
        who="dmitri",
        job="nightly-2",
        budget="4",
        charge_to=NIGHTLY,
        hours="2",
        minutes=118,
        vcpus=16,
        provider="gcp",
    ),
    Wish(
        day=4,
        at="21:00",
        who="dmitri",
        job="nightly-2",
        budget="4",
        charge_to=NIGHTLY,
        hours="2",
        minutes=118,
        vcpus=16,
        provider="gcp",
    ),
    Wish(
        day=5,
        at="09:00",
        who="chloe",
        job="train-2",
        budget="8",
        charge_to=IMAGING,
        hours="5",
        minutes=280,
        provider="aws",
        gpus=1,
        trouble=Trouble.TAKEN_BACK,
        after=130,
    ),
    Wish(day=6, at="11:30", who="anna", job="segment-2", charge_to=IMAGING, hours="2", minutes=130, provider="azure"),
    # week 2: no capacity, a price jump, a launcher that dies, a reply that is lost
    Wish(
        day=7,
        at="09:00",
        who="ben",
        job="align-2",
        budget="1.50",
        charge_to=GENOMICS,
        hours="3",
        minutes=165,
        provider="gcp",
        vcpus=4,
        trouble=Trouble.NO_CAPACITY,
    ),
    Wish(
        day=8,
        at="10:00",
        who="anna",
        job="render-1",
        charge_to=IMAGING,
        hours="6",
        minutes=330,
        provider="aws",
        vcpus=16,
        budget="6",
        trouble=Trouble.PRICE_JUMP,
        after=95,
    ),
    Wish(
        day=8,
        at="13:00",
        who="anna",
        job="render-2",
        charge_to=IMAGING,
        hours="6",
        minutes=200,
        provider="azure",
        vcpus=4,
        budget="2",
    ),
    Wish(
        day=9,
        at="11:00",
        who="chloe",
        job="train-3",
        budget="8",
        charge_to=IMAGING,
        hours="3",
        minutes=170,
        provider="azure",
        gpus=1,
        trouble=Trouble.LAUNCHER_DIES,
    ),
    Wish(
        day=10,
        at="21:00",
        who="dmitri",
        job="nightly-3",
        budget="4",
        charge_to=NIGHTLY,
        hours="1.5",
        minutes=80,
        vcpus=16,
        provider="aws",
        trouble=Trouble.LOST_REPLY,
    ),
    Wish(
        day=11,
        at="09:40",
        who="ben",
        job="align-3",
        budget="1.50",
        charge_to=GENOMICS,
        hours="2",
        minutes=100,
        provider="azure",
        vcpus=4,
        again=True,
    ),
    Wish(
        day=12,
        at="10:00",
        who="chloe",
        job="train-4",
        budget="8",
        charge_to=IMAGING,
        hours="4",
        minutes=220,
        provider="gcp",
        gpus=1,
        stop_after=75,
    ),
    Wish(day=13, at="15:00", who="anna", job="segment-3", charge_to=IMAGING, hours="2", minutes=90, provider="aws"),
    # week 3: a night without the scheduler, a budget that is full, a bill that does not come
    Wish(
        day=14,
        at="19:30",
        who="chloe",
        job="train-5",
        budget="8",
        charge_to=IMAGING,
        hours="4",
        minutes=230,
        provider="aws",
        gpus=1,
    ),
    Wish(
        day=14,
        at="21:00",
        who="anna",
        job="segment-4",
        charge_to=IMAGING,
        hours="3",
        minutes=150,
        provider="azure",
        hangs=True,
    ),
    Wish(
        day=16,
        at="09:15",
        who="ben",
        job="assemble-2",
        charge_to=GENOMICS,
        hours="6",
        minutes=310,
        vcpus=16,
        provider="aws",
    ),
    Wish(
        day=16,
        at="11:00",
        who="ben",
        job="assemble-2",
        charge_to=GENOMICS,
        hours="6",
        minutes=310,
        vcpus=16,
        provider="aws",
    ),
    Wish(
        day=17,
        at="09:30",
        who="anna",
        job="segment-5",
        charge_to=IMAGING,
        hours="1",
        minutes=140,
        provider="azure",
        extend_after=50,
    ),
    Wish(
        day=18,
        at="21:00",
        who="dmitri",
        job="nightly-4",
        budget="4",
        charge_to=NIGHTLY,
        hours="2",
        minutes=100,
        provider="azure",
        vcpus=16,
    ),
    Wish(
        day=19,
        at="10:00",
        who="ben",
        job="align-4",
        charge_to=GENOMICS,
        hours="2",
        minutes=45,
        provider="gcp",
        vcpus=4,
        exit_status=1,
    ),
    Wish(
        day=19,
        at="13:30",
        who="ben",
        job="align-5",
        budget="1.50",
        charge_to=GENOMICS,
        hours="2",
        minutes=95,
        provider="gcp",
        vcpus=4,
    ),
    Wish(
        day=20,
        at="10:10",
        who="chloe",
        job="eval-1",
        budget="2",
        charge_to=IMAGING,
        hours="1",
        minutes=50,
        provider="gcp",
        gpus=1,
    ),
    # week 4: the last jobs; then only bills come in
    Wish(day=21, at="10:00", who="anna", job="segment-6", charge_to=IMAGING, hours="2", minutes=112, provider="gcp"),
    Wish(day=22, at="14:20", who="anna", job="segment-7", charge_to=IMAGING, hours="2", minutes=105, provider="azure"),
    Wish(
        day=23,
        at="10:45",
        who="chloe",
        job="eval-2",
        budget="2",
        charge_to=IMAGING,
        hours="1",
        minutes=55,
        provider="aws",
        gpus=1,
    ),
    Wish(
        day=24,
        at="09:00",
        who="ben",
        job="align-6",
        charge_to=GENOMICS,
        hours="2",
        minutes=90,
        provider="aws",
        vcpus=4,
        on_demand=True,
    ),
)

TOP_UPS = (
    TopUp(
        day=16,
        at="10:40",
        who="esra",
        budget=GENOMICS,
        amount=Money.of("8.00"),
        reason="the second genome was approved",
    ),
)

SCHEDULER_DOWN = ((14, "22:10"), (15, "07:30"))
"""The night without the scheduler: from when to when nothing of ours runs anywhere but on the machines."""

BILLS_MISSING = 18
"""The day on which no bill can be had."""
