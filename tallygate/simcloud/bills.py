"""Bills from the truth: what was really used, told late and in pieces, and in the end exactly.

meter --> lines of an hour or a day --> known at the time of asking? --> FOCUS rows, or a cloud's native ones
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..billing.charge import Charge
from ..money import Money
from ..times import Period
from .dialects import DIALECTS
from .timeline import HOUR, instant
from .truth import Meter
from .world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line before it is written in anybody's words: what a meter came to between two instants."""

    meter: Meter
    start: int
    end: int
    nanos: int


class SimBill:
    """The bill of one account of one simulated cloud; it implements ``BillingSource``."""

    def __init__(self, world: World, dialect: str, *, account: str = "main", name: str | None = None) -> None:
        self._world = world
        self._dialect = DIALECTS[dialect]
        self._account = account
        self.name = name or f"sim-{dialect}"
        self.calls = 0
        self.call_price = self._dialect.bill_call_price

    def complete_through(self) -> datetime:
        return self._world.instant() - timedelta(hours=self._dialect.final_hours)

    def charges(self, period: Period) -> Iterator[Charge]:
        self.calls += 1
        known_to = self._world.now - self._dialect.first_bill_hours[0] * HOUR
        for meter in self._world.truth.of(self._dialect.name, self._account):
            for line in self._lines(meter, known_to):
                charged = Period(instant(line.start), instant(line.end))
                if charged.start in period and line.nanos:
                    yield self._charge(line, charged)

    def _lines(self, meter: Meter, known_to: int) -> Iterator[Line]:
        if meter.waived or meter.start >= known_to:
            return
        step = self._dialect.bill_hours * HOUR
        upto = meter.billed_to(known_to)
        start, before = meter.start, 0
        while start < upto:
            end = min(upto, (start // step + 1) * step)
            after = meter.nanos_to(end)
            yield Line(meter=meter, start=start, end=end, nanos=after - before)
            start, before = end, after

    def _charge(self, line: Line, charged: Period) -> Charge:
        meter, cost = line.meter, Money(line.nanos)
        return Charge(
            billing_account_id=meter.account,
            billing_period=Period.month(charged.start),
            charge_period=charged,
            charge_category="Usage",
            charge_description=f"{meter.kind} {meter.sku}",
            provider_name=self.name,
            service_name="Compute" if meter.kind == "machine" else "Network",
            service_category="Compute" if meter.kind == "machine" else "Networking",
            region_id=meter.region,
            availability_zone=meter.zone,
            resource_id=meter.resource_id,
            resource_type=meter.kind,
            sku_id=meter.sku,
            pricing_category="Dynamic" if meter.pool is not None else "Standard",
            list_cost=cost,
            contracted_cost=cost,
            effective_cost=cost,
            billed_cost=cost,
            tags=dict(meter.tags),
        )
