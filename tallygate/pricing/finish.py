"""What finishing on an offer is expected to cost: the figure that offers are compared by.

A spot machine that is often taken back may be dearer than one that is not. The machine's time is the work, what interruptions
add to it (``rework.expected_seconds``), and boot and teardown; disk and address are there for as long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache

from ..errors import PriceRefused
from ..money import NANOS_MAX, Money
from ..times import HOURS_PER_MONTH
from .interruptions import Band
from .offers import Offer, PurchaseOption
from .rework import expected_seconds
from .terms import Terms

ASSUMED = Band(low=Decimal("0.05"), high=Decimal("0.15"), hours=24)
"""For spot machines whose interruptions nobody publishes: what Google names for a day of its preemptible machines. Unknown
is not never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """What is usual at a provider, where ``Terms`` has bounds that hold everywhere.

    ``boot_seconds``: billed until the job begins; ``teardown_seconds``: from its end until nothing bills any more. Disk
    and egress are the prices of a large region; None where the terms' own figure is the price. ``source`` says where
    the seconds are from.
    """

    boot_seconds: int
    teardown_seconds: int
    disk_gib_month: Money | None = None
    egress_gib: Money | None = None
    source: str = "assumed: about what such machines take; nothing was measured"

    @property
    def seconds(self) -> int:
        return self.boot_seconds + self.teardown_seconds

    def terms(self, terms: Terms) -> Terms:
        """The provider's terms at the usual prices, never above its own figures."""
        return replace(
            terms,
            disk_gib_month=_lower(terms.disk_gib_month, self.disk_gib_month),
            egress_gib=_lower(terms.egress_gib, self.egress_gib),
        )


USUAL: Mapping[str, Usual] = {
    "local": Usual(boot_seconds=0, teardown_seconds=0, source="this machine is already up"),
    "aws": Usual(
        boot_seconds=30,
        teardown_seconds=20,
        disk_gib_month=Money.of("0.088"),  # gp3 in eu-west-1; 0.08 in us-east-1
        egress_gib=Money.of("0.09"),
    ),
    "gcp": Usual(
        boot_seconds=25,
        teardown_seconds=15,
        disk_gib_month=Money.of("0.11"),  # balanced disk in europe-west1; 0.10 in us-central1
        egress_gib=Money.of("0.12"),
    ),
    "azure": Usual(
        boot_seconds=40,
        teardown_seconds=30,
        disk_gib_month=Money.of("0.08"),  # standard SSD of 32 GiB, 2.40 to 2.56 a month
        egress_gib=Money.of("0.087"),
    ),
}

_ELSEWHERE = Usual(boot_seconds=60, teardown_seconds=60)


def usual(provider: str) -> Usual:
    """What is assumed of a provider's machines."""
    return USUAL.get(provider, _ELSEWHERE)


def expected_total(
    offer: Offer,
    terms: Terms,
    *,
    hours: Decimal,
    disk_gib: int,
    egress_gib: int,
    checkpoint_seconds: int | None = None,
) -> Money:
    """What a job of ``hours`` hours is expected to cost on ``offer`` at today's price, with everything beside the machine.

    ``disk_gib`` 0 is the provider's usual disk. ``checkpoint_seconds`` None: an interrupted job starts over. Rounded up to
    nanos once, and never less than the hourly price times ``hours``; at most the largest amount there is, for a job that
    practically never finishes. Raises ``PriceRefused`` when the offer and what is beside it are priced in different currencies.
    """
    is_spot = offer.purchase_option is PurchaseOption.SPOT
    life, beside = _life_and_beside(
        (offer.interruptions or ASSUMED).per_hour if is_spot else Decimal(0),
        offer.provider,
        terms,
        hours,
        disk_gib,
        egress_gib,
        checkpoint_seconds,
        offer.hourly_price.currency,
    )
    nanos = (offer.hourly_price.nanos * life + beside).to_integral_value(rounding=ROUND_CEILING)
    return Money(min(int(nanos), NANOS_MAX), offer.hourly_price.currency)


@lru_cache(maxsize=4_096)  # thousands of offers share a provider and a band
def _life_and_beside(
    per_hour: Decimal,
    provider: str,
    terms: Terms,
    hours: Decimal,
    disk_gib: int,
    egress_gib: int,
    checkpoint_seconds: int | None,
    currency: str,
) -> tuple[Decimal, Decimal]:
    """The machine's expected hours, and the nanos of everything beside it; the same for offers of any price."""
    extra = usual(provider)
    terms = extra.terms(terms)
    worked = expected_seconds(hours * 3600, per_hour, checkpoint_seconds, extra.seconds)
    life = max(hours, (worked + extra.seconds) / 3600, Decimal(terms.seconds_min) / 3600)
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


def _lower(bound: Money | None, ordinary: Money | None) -> Money | None:
    return bound if bound is None or ordinary is None or ordinary.currency != bound.currency else min(bound, ordinary)
