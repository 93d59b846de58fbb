"""What finishing on an offer is expected to cost: the figure that offers are compared by.

A spot machine that is often taken back may be dearer than one that is not. Interruptions come at random with a rate of r an
hour. A job of T hours that starts over whenever it is interrupted is expected to run (e^(rT) - 1) / r hours; one that keeps a
checkpoint every c hours loses at most that much at a time and is expected to run T/c times (e^(rc) - 1) / r. Every interruption
brings another start of a machine.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from functools import lru_cache

from ..errors import PriceRefused
from ..money import NANOS_MAX, Money
from .interruptions import Band
from .offers import Offer, PurchaseOption
from .terms import HOURS_PER_MONTH, Terms

BOOT_SECONDS = 120
"""From the moment a cloud bills a machine to the moment it runs the job: boot, agent, inputs."""

TEARDOWN_SECONDS = 60
"""From the job's end to the end of billing: results, shutdown."""

ASSUMED = Band(low=Decimal("0.05"), high=Decimal("0.15"), hours=24)
"""For spot machines whose interruptions nobody publishes: the share that Google names for a day of its preemptible machines.
Unknown is not never."""

_RATE_TIMES_HOURS_MAX = 40
"""e^40 runs: a job that practically never finishes. Beyond it the cost is the largest amount there is."""


def expected_total(
    offer: Offer,
    terms: Terms,
    *,
    hours: Decimal,
    disk_gib: int,
    egress_gib: int,
    checkpoint_seconds: int | None = None,
) -> Money:
    """What a job of ``hours`` hours is expected to cost on ``offer``, with everything beside the machine.

    The machine's hours with expected rework and restarts, boot and teardown; disk and public address for as long; egress
    once. ``disk_gib`` 0 is the provider's usual disk. ``checkpoint_seconds`` None: an interrupted job starts over. Rounded up
    to nanos once, and never less than the hourly price times ``hours``. Raises ``PriceRefused`` when the offer and what is
    beside it are priced in different currencies.
    """
    is_spot = offer.purchase_option is PurchaseOption.SPOT
    life, beside = _life_and_beside(
        (offer.interruptions or ASSUMED) if is_spot else None,
        offer.provider != "local",
        terms,
        hours,
        disk_gib,
        egress_gib,
        checkpoint_seconds,
        offer.hourly_price.currency,
    )
    nanos = (offer.hourly_price.nanos * life + beside).to_integral_value(rounding=ROUND_CEILING)
    return Money(min(int(nanos), NANOS_MAX), offer.hourly_price.currency)


def expected_hours(hours: Decimal, interruptions: Band | None, *, checkpoint_seconds: int | None = None) -> Decimal:
    """Machine hours until a job of ``hours`` is done, starts aside. Without interruptions those hours."""
    return max(hours, _run_and_starts(hours, interruptions, checkpoint_seconds)[0])


def _run_and_starts(
    hours: Decimal, interruptions: Band | None, checkpoint_seconds: int | None
) -> tuple[Decimal, Decimal]:
    """Expected hours of running, and how many interruptions come on the way."""
    rate = interruptions.per_hour if interruptions is not None else Decimal(0)
    if not rate:
        return hours, Decimal(0)
    stretch = hours if checkpoint_seconds is None else min(hours, Decimal(checkpoint_seconds) / 3600)
    interrupted = min(rate * stretch, Decimal(_RATE_TIMES_HOURS_MAX)).exp() - 1
    stretches = hours / stretch
    return stretches * interrupted / rate, stretches * interrupted


@lru_cache(maxsize=4_096)  # thousands of offers share a provider and a band
def _life_and_beside(
    interruptions: Band | None,
    boots: bool,
    terms: Terms,
    hours: Decimal,
    disk_gib: int,
    egress_gib: int,
    checkpoint_seconds: int | None,
    currency: str,
) -> tuple[Decimal, Decimal]:
    """The machine's expected hours, and the nanos of everything beside it; the same for offers of any price."""
    run, starts = _run_and_starts(hours, interruptions, checkpoint_seconds)
    life = max(hours, run)
    if boots:
        life += (1 + starts) * BOOT_SECONDS / 3600 + Decimal(TEARDOWN_SECONDS) / 3600
    life = max(life, Decimal(terms.seconds_min) / 3600)
    beside = Decimal(0)
    disk = disk_gib or terms.disk_gib_default
    for price, quantity in (
        (terms.disk_gib_month, disk * life / HOURS_PER_MONTH),
        (terms.public_address_hour, life),
        (terms.egress_gib, Decimal(egress_gib)),
    ):
        if price is not None:
            if price.currency != currency:
                raise PriceRefused(f"Machines are priced in {currency}, and their disk, address and egress are not")
            beside += price.nanos * quantity
    return life, beside
