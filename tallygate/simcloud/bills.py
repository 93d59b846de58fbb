"""Bills from the truth: told late and in pieces, restated for days, and in the end exactly what was used.

    SimBill.charges(period)    FOCUS rows, as the product's other sources give them
    SimBill.native(period)     the same lines in the cloud's own columns
    SimBill.final_at()         from then on the bill is the truth, to the nano

Asked twice at the same moment a bill shows the same rows in the same order; asked later, possibly others in another order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from ..billing.charge import Charge
from ..errors import CredentialsMissing, Unavailable
from ..money import Money
from ..times import Period
from .chance import Stream
from .deliveries import Fate, Habits, Line, Shown, cut, fate_of, shown
from .dialects import DIALECTS
from .native import native_row
from .timeline import HOUR, instant, microseconds
from .truth import Meter
from .words import WORDS, BillWords, words_of
from .world import World

ROWS_PER_CALL = 1000

INVOICED_AFTER = timedelta(days=5)
"""How long after the end of a month its invoice is written."""

_NANO = Decimal("0.000000001")


class SimBill:
    """The bill of one account of one simulated cloud; it implements ``BillingSource``.

    ``currency``: what the account is billed in. Another one than USD is converted at the rate of the day of use, which
    ``rate`` tells. ``habits`` say how badly it is delivered.
    """

    def __init__(
        self,
        world: World,
        dialect: str,
        *,
        account: str = "main",
        name: str | None = None,
        currency: str = "USD",
        habits: Habits | None = None,
    ) -> None:
        self._world = world
        self._dialect = DIALECTS[dialect]
        self._account = account
        self._place = f"{dialect}/{account}"
        self._currency = currency
        self._habits = habits or Habits()
        self._cut: dict[Meter, tuple[tuple[Line, Fate], ...]] = {}
        self._final: dict[Meter, Sequence[tuple[Shown, Period]]] = {}
        self._rates: dict[date, Decimal] = {}
        self._texts: dict[Meter, tuple[BillWords, dict[str, str]]] = {}
        self._months: dict[date, Period] = {}
        self._name = name or f"sim-{dialect}"
        self._calls = 0

    @property
    def name(self) -> str:
        return self._name

    @property
    def calls(self) -> int:
        return self._calls

    @property
    def call_price(self) -> Money:
        return self._dialect.bill_call_price

    def complete_through(self) -> datetime:
        """Lines that ended before this moment no longer move; so neither do those that began a line's length before it."""
        return self._world.instant() - timedelta(hours=self._dialect.final_hours + self._dialect.bill_hours)

    def final_at(self) -> datetime:
        """When everything that was used so far will be on the bill and will no longer move."""
        ends = [meter.end if meter.end is not None else self._world.now for meter in self._meters()]
        last = max(ends, default=self._world.now) + HOUR * (self._dialect.final_hours + self._dialect.bill_hours)
        return instant(last)

    def rate(self, day: date) -> Decimal:
        """What one US dollar used on ``day`` is billed as."""
        if self._currency == "USD":
            return Decimal(1)
        found = self._rates.get(day)
        if found is None:
            usual = Stream(self._world.seed, f"rate/{self._currency}").between(500_000, 1_500_000)
            moved = Stream(self._world.seed, f"rate/{self._currency}/{day}").between(-20_000, 20_000)
            found = self._rates[day] = Decimal(usual + usual * moved // 1_000_000).scaleb(-6)
        return found

    # --- asking

    def charges(self, period: Period) -> Iterator[Charge]:
        rows = self._ask(period)  # asked now, and not when the first row is taken
        return (self._charge(row, charged) for row, charged in rows)

    def native(self, period: Period) -> list[dict[str, object]]:
        """The lines of ``period`` in the cloud's own columns: CUR 2.0, detailed usage export, or cost details."""
        now = self._world.instant()
        found = []
        for number, (row, charged) in enumerate(self._ask(period)):
            rate = self.rate(_day(charged.start))
            found.append(native_row(row, charged, self._currency, rate, now=now, number=number))
        return found

    def _ask(self, period: Period) -> list[tuple[Shown, Period]]:
        """What a delivery of this moment shows of a period. Raises when the bill cannot be had."""
        self._calls += 1
        if self._world.faults.bill_outage.is_on(self._place):
            raise Unavailable(f"The bill of {self._name} cannot be had now")
        if self._world.faults.expired_credentials.is_on(self._place):
            raise CredentialsMissing(f"{self._name}: the credentials have expired")
        since, until = microseconds(period.start), microseconds(period.end)
        rows = [each for meter in self._meters() for each in self._rows(meter) if since <= each[0].line.start < until]
        self._calls += max(0, len(rows) - 1) // ROWS_PER_CALL
        order = Stream(self._world.seed, f"order/{self._name}/{self._world.now // HOUR}")
        for last in range(len(rows) - 1, 0, -1):
            other = order.below(last + 1)
            rows[last], rows[other] = rows[other], rows[last]
        self._world.record("bill", of=self._name, rows=len(rows))
        return rows

    def _meters(self) -> Iterator[Meter]:
        return self._world.truth.of(self._dialect.name, self._account)

    def _rows(self, meter: Meter) -> Sequence[tuple[Shown, Period]]:
        """What a delivery of this moment shows of a meter; kept once nothing of it will change any more."""
        found = self._final.get(meter)
        if found is not None:
            return found
        now, lines = self._world.now, self._lines(meter)
        rows = [
            (row, charged)
            for line, fate in lines
            if now >= fate.first_at
            for charged in [Period(instant(line.start), instant(line.end))]
            for row in shown(line, fate, now)
        ]
        if meter in self._cut and all(now >= _stands_from(fate) for _, fate in lines):
            self._final[meter] = rows
        return rows

    def _lines(self, meter: Meter) -> tuple[tuple[Line, Fate], ...]:
        """The lines of a meter with their fates; one that still grows ends now, and so is not on the bill yet.

        Those of a meter that stands are kept.
        """
        found = self._cut.get(meter)
        if found is not None:
            return found
        now, step = self._world.now, self._dialect.bill_hours * HOUR
        upto = meter.billed_to(now)
        over = meter.end is not None and upto <= now
        lines = () if meter.waived else (self._in_currency(line) for line in cut(meter, upto, step) if line.nanos)
        made = tuple((line, fate_of(line, self._world.seed, self._habits)) for line in lines)
        if over:
            self._cut[meter] = made
        return made

    def _in_currency(self, line: Line) -> Line:
        """The line at its day's rate, rounded once."""
        if self._currency == "USD":
            return line
        rate = self.rate(_day(instant(line.start)))
        return replace(
            line, nanos=Money(line.nanos).times(rate).nanos, list_nanos=Money(line.list_nanos).times(rate).nanos
        )

    # --- one row

    def _charge(self, row: Shown, charged: Period) -> Charge:
        meter = row.line.meter
        words, tags = self._texts_of(meter)
        cost, listed = Money(row.nanos, self._currency), Money(row.list_nanos, self._currency)
        quantity = Decimal((row.line.end - row.line.start) * row.part) / (HOUR * row.parts)
        hours = None if row.correction else quantity.quantize(_NANO)
        month = self._month(charged.start)
        closed = self._world.instant() >= month.end + INVOICED_AFTER
        list_price = Decimal(meter.list_rate).scaleb(-9) * self.rate(_day(charged.start))
        return Charge(
            billing_account_id=WORDS[self._dialect.name].payer,
            billing_account_name=f"simcloud {self._dialect.name}",
            sub_account_id=meter.account,
            billing_period=month,
            charge_period=charged,
            charge_category="Usage",
            charge_class="Correction" if row.correction and closed else None,
            charge_description=words.description,
            provider_name=self._dialect.title,
            publisher_name=self._dialect.title,
            invoice_issuer_name=self._dialect.title,
            service_name=words.service,
            service_category=words.category,
            region_id=meter.region,
            availability_zone=meter.zone,
            resource_id=meter.resource_id if row.named else None,
            resource_name=meter.tags.get("tallygate-token") if row.named else None,
            resource_type=words.resource_type if row.named else None,
            sku_id=words.sku,
            sku_price_id=None if row.correction else f"{words.sku}/1",
            pricing_category="Dynamic" if meter.pool is not None else "Standard",
            pricing_quantity=hours,
            pricing_unit=None if hours is None else "Hours",
            consumed_quantity=hours,
            consumed_unit=None if hours is None else "Hours",
            list_unit_price=None if row.correction else list_price,
            contracted_unit_price=None if row.correction else list_price,
            list_cost=listed,
            contracted_cost=listed,
            effective_cost=cost,
            billed_cost=cost,
            invoice_id=f"{self._dialect.name}-{month.start:%Y%m}" if closed else None,
            tags=tags if row.tagged else {},
        )

    def _texts_of(self, meter: Meter) -> tuple[BillWords, dict[str, str]]:
        found = self._texts.get(meter)
        if found is None:
            prefix = WORDS[self._dialect.name].tag_prefix
            tags = {f"{prefix}{key}": value for key, value in meter.tags.items()}
            found = self._texts[meter] = words_of(meter), tags
        return found

    def _month(self, moment: datetime) -> Period:
        day = _day(moment)
        found = self._months.get(day)
        if found is None:
            found = self._months[day] = Period.month(moment)
        return found


def _stands_from(fate: Fate) -> int:
    """From when on a line is shown as it will always be."""
    return max(fate.first_at, fate.settled_at, fate.tagged_at or 0)


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()
