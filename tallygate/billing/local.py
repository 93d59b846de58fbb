"""The bill of provider ``local``: what its machines' meters come to.

    meter: 22:00, 5 h at $0.36  -->  one line per machine and UTC day: $0.72 for today, $1.08 for tomorrow

It behaves as a cloud's bill does, so that everything above is exercised without an account: it can be late by a set
time, what is not there yet is not zero, and a line once past ``complete_through`` does not move again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Protocol

from ..money import SECONDS_PER_HOUR, Money
from ..times import Clock, Period
from .charge import Charge

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_NANO_HOUR = Decimal("0.000000001")


class MeterReading(Protocol):
    """What a machine's meter says: whole ``seconds`` so far at ``hourly_price``; ``ended_at`` is None while it runs."""

    @property
    def machine_id(self) -> str: ...
    @property
    def token(self) -> str: ...
    @property
    def tags(self) -> Mapping[str, str]: ...
    @property
    def instance_type(self) -> str: ...
    @property
    def started_at(self) -> datetime: ...
    @property
    def ended_at(self) -> datetime | None: ...
    @property
    def seconds(self) -> int: ...
    @property
    def hourly_price(self) -> Money: ...


class LocalBill:
    """A ``BillingSource`` over the meters of this computer's machines. Asking it costs nothing."""

    name = "local"
    call_price = Money.zero()

    def __init__(
        self,
        meters: Callable[[], Iterable[MeterReading]],
        *,
        clock: Clock,
        delay: timedelta = timedelta(0),
        account: str = "this-computer",
    ) -> None:
        """``delay``: usage of this last stretch of time is not on the bill yet, as it would be in a cloud."""
        self._meters = meters
        self._clock = clock
        self._delay = delay
        self._account = account
        self.calls = 0

    def complete_through(self) -> datetime:
        return self._clock.now() - self._delay

    def charges(self, period: Period) -> Iterator[Charge]:
        self.calls += 1
        known_to = self.complete_through()
        for meter in sorted(self._meters(), key=lambda each: (each.started_at, each.machine_id)):
            for span, seconds, cost in _days(meter, _known_seconds(meter, known_to)):
                if span.start in period:
                    yield self._charge(meter, span, seconds, cost)

    def _charge(self, meter: MeterReading, span: Period, seconds: int, cost: Money) -> Charge:
        return Charge(
            billing_account_id=self._account,
            billing_period=Period.month(span.start),
            charge_period=span,
            charge_category="Usage",
            charge_description=f"{meter.instance_type} on this computer at ${meter.hourly_price.shown(4)} an hour",
            provider_name=self.name,
            publisher_name=self.name,
            invoice_issuer_name=self.name,
            service_name="Local Machine",
            service_category="Compute",
            region_id="local",
            resource_id=meter.machine_id,
            resource_name=meter.token,
            resource_type="Machine",
            sku_id=meter.instance_type,
            pricing_category="Standard",
            pricing_quantity=(Decimal(seconds) / SECONDS_PER_HOUR).quantize(_NANO_HOUR),
            pricing_unit="Hours",
            consumed_quantity=Decimal(seconds),
            consumed_unit="Seconds",
            list_unit_price=meter.hourly_price.decimal,
            contracted_unit_price=meter.hourly_price.decimal,
            list_cost=cost,
            contracted_cost=cost,
            effective_cost=cost,
            billed_cost=cost,
            tags=dict(meter.tags),
        )


def _known_seconds(meter: MeterReading, known_to: datetime) -> int | None:
    """How much of a meter is on the bill by now; None when nothing is, which is not the same as zero."""
    if meter.ended_at is not None and meter.ended_at <= known_to:
        return meter.seconds
    seconds = min(meter.seconds, (known_to - meter.started_at) // _SECOND)
    return seconds if seconds > 0 else None


def _days(meter: MeterReading, seconds: int | None) -> Iterator[tuple[Period, int, Money]]:
    """The time, the seconds and the cost of every UTC day that a meter ran in.

    A day costs what the meter stood at when it ended less what it stood at when it began. The days add up to the
    whole exactly, and unlike a split of the whole, the cost of a past day never moves while the machine runs on.
    """
    if seconds is None:
        return
    end = meter.started_at + timedelta(seconds=seconds)
    start, before = meter.started_at, 0
    while True:
        midnight = start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + _DAY
        upto = min(midnight, end)
        after = seconds if upto == end else -((meter.started_at - upto) // _SECOND)
        cost = meter.hourly_price.for_seconds(after) - meter.hourly_price.for_seconds(before)
        yield Period(start, upto), after - before, cost
        if upto == end:
            return
        start, before = upto, after
