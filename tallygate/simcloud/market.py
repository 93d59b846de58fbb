"""What machines cost and whether they can be had: one pool per dialect, zone and instance type.

    pool   price path      0.031 ----.     .--- 0.034         steps that drift, now and then a jump
                                      '---'
           capacity        ######......#########              stretches in which nothing is to be had

Each pool draws from streams of its own and is worked out only as far as somebody asks, so a large market costs nothing and
the order of questions changes no answer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from ..money import Money
from ..pricing.offers import Offer, PurchaseOption
from .chance import MILLION, Stream
from .dialects import DIALECTS, Dialect, Hardware
from .timeline import DAY, HOUR, SECOND, Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Climate:
    """How the markets behave. Chances are out of a million.

    ``jump``: that a price step is a jump, to between ``jump_percent`` of where the price stood. ``drift_percent``: the most an
    ordinary step moves. ``empty``: that a stretch of six hours in a pool has an hour or so without capacity. ``interrupt``:
    that a spot machine is taken back some time in its life for no reason of price. ``quota_vcpus``: the most an account of
    a cloud may use at a time.
    """

    drift_percent: int = 6
    jump: int = 60_000
    jump_percent: tuple[int, int] = (130, 1000)
    empty: int = 150_000
    empty_seconds: tuple[int, int] = (300, 7200)
    interrupt: int = 200_000
    quota_vcpus: int = 1000


CALM = Climate(drift_percent=0, jump=0, empty=0, interrupt=0)
"""Prices that stand still and machines that are never taken back."""

_SPOT_PERCENT = (22, 60)
"""Where spot prices begin, in percent of the on-demand price."""

_EMPTY_STRETCH = 6 * HOUR


class Pool:
    """One instance type in one zone. Prices are nanos an hour; instants are the world's microseconds."""

    def __init__(
        self,
        dialect: Dialect,
        region: str,
        zone: str,
        hardware: Hardware,
        on_demand: int,
        timeline: Timeline,
        climate: Climate,
    ) -> None:
        self.dialect = dialect
        self.region = region
        self.zone = zone
        self.hardware = hardware
        self.on_demand = on_demand
        self._climate = climate
        self._start = timeline.start - 7 * DAY
        key = f"{dialect.name}/{zone}/{hardware.instance_type}"
        self._prices = Stream(timeline.seed, f"price/{key}")
        self._capacity = Stream(timeline.seed, f"capacity/{key}")
        self._usual = on_demand * self._prices.between(*_SPOT_PERCENT) // 100
        self._times = [self._start]
        self._nanos = [self._usual]
        self._gaps: list[tuple[int, int]] = []
        self._gaps_to = self._start

    def __str__(self) -> str:
        return f"{self.hardware.instance_type}@{self.zone}"

    # --- price

    def price_at(self, at: int) -> int:
        """The spot price at an instant."""
        self._work_out(at)
        return self._nanos[bisect_right(self._times, at) - 1]

    def steps(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """The spot price path between two instants: ``(from, to, nanos)``, without gap or overlap."""
        self._work_out(end)
        index = bisect_right(self._times, start) - 1
        while start < end:
            upto = self._times[index + 1] if index + 1 < len(self._times) else end
            upto = min(upto, end)
            yield start, upto, self._nanos[index]
            start, index = upto, index + 1

    def first_above(self, ceiling: int, start: int, end: int) -> int | None:
        """When the spot price first passes ``ceiling`` between two instants."""
        return next((at for at, _, nanos in self.steps(start, end) if nanos > ceiling), None)

    def set_price(self, at: int, nanos: int) -> None:
        """From ``at`` on the path goes on from here. Where machines may run already, use ``Fleet.reprice``."""
        self._work_out(at)
        keep = bisect_right(self._times, at)
        self._times[keep:] = [at]
        self._nanos[keep:] = [nanos]

    def _work_out(self, at: int) -> None:
        while self._times[-1] <= at:
            self._times.append(self._next_step(self._times[-1]))
            self._nanos.append(self._next_price(self._nanos[-1]))

    def _next_step(self, last: int) -> int:
        if self.dialect.at_midnight is not None:
            offset = self.dialect.at_midnight * HOUR
            return ((last - offset) // DAY + 1) * DAY + offset
        low, high = self.dialect.step_hours
        return (last // SECOND + self._prices.between(low * 3600, high * 3600)) * SECOND

    def _next_price(self, last: int) -> int:
        climate = self._climate
        jumps = self._prices.chance(climate.jump)
        size = self._prices.below(MILLION)
        if jumps:
            low, high = climate.jump_percent
            price = last * (low * MILLION + (high - low) * size) // (100 * MILLION)
        else:
            # Drift around the usual price: what jumped comes back by a quarter of the way each step.
            swing = climate.drift_percent * (2 * size - MILLION)
            price = last * (100 * MILLION + swing) // (100 * MILLION)
            price += (self._usual - last) // 4
        highest = self.on_demand * 3 if self.dialect.price_spikes else self.on_demand
        unit = 10_000  # price lists have five decimals or so
        return max(unit, min(price, highest) // unit * unit)

    # --- capacity

    def empty_at(self, at: int) -> bool:
        """Whether no machine is to be had at an instant."""
        self._work_out_gaps(at)
        return any(start <= at < end for start, end in self._gaps)

    def first_empty(self, start: int, end: int) -> int | None:
        """When the pool next runs dry between two instants."""
        self._work_out_gaps(end)
        return min((since for since, _ in self._gaps if start <= since < end), default=None)

    def _work_out_gaps(self, at: int) -> None:
        while self._gaps_to <= at:
            begins = self._capacity.chance(self._climate.empty)
            offset = self._capacity.below(_EMPTY_STRETCH // SECOND) * SECOND
            length = self._capacity.spread(*self._climate.empty_seconds) * SECOND
            if begins:
                self._gaps.append((self._gaps_to + offset, self._gaps_to + offset + length))
            self._gaps_to += _EMPTY_STRETCH

    def set_empty(self, start: int, end: int) -> None:
        """Nothing is to be had between two instants: for scenarios."""
        self._work_out_gaps(end)
        self._gaps.append((start, end))


class Market:
    """All pools of all dialects."""

    def __init__(self, timeline: Timeline, climate: Climate | None = None) -> None:
        self._timeline = timeline
        self.climate = climate or Climate()
        self._pools: dict[tuple[str, str, str], Pool] = {}

    def pool(self, dialect: str, zone: str, instance_type: str) -> Pool | None:
        """The pool of that place and type; None when the cloud sells no such thing."""
        key = (dialect, zone, instance_type)
        found = self._pools.get(key)
        if found is None:
            made = self._make(*key)
            if made is None:
                return None
            found = self._pools[key] = made
        return found

    def pools(self, dialect: str) -> Iterator[Pool]:
        """Every pool of a dialect, in the order of its price list."""
        cloud = DIALECTS[dialect]
        for _, zones, _ in cloud.regions:
            for zone in zones:
                for hardware in cloud.hardware:
                    found = self.pool(dialect, zone, hardware.instance_type)
                    assert found is not None  # it comes from the dialect's own list
                    yield found

    def offers(self, dialect: str, *, name: str) -> Iterator[Offer]:
        """Everything that is for sale now, spot and on demand, under the provider's ``name``."""
        now = self._timeline.now
        priced_at = self._timeline.instant()
        for pool in self.pools(dialect):
            on_demand = Money(pool.on_demand)
            for option in (PurchaseOption.SPOT, PurchaseOption.ON_DEMAND):
                price = Money(pool.price_at(now)) if option is PurchaseOption.SPOT else on_demand
                yield Offer(
                    provider=name,
                    region=pool.region,
                    zone=pool.zone,
                    instance_type=pool.hardware.instance_type,
                    purchase_option=option,
                    vcpus=pool.hardware.vcpus,
                    memory_gib=Decimal(pool.hardware.memory_gib),
                    gpus=pool.hardware.gpus,
                    gpu_model=pool.hardware.gpu_model,
                    hourly_price=price,
                    on_demand_price=on_demand,
                    priced_at=priced_at,
                    price_source=f"simcloud {dialect}",
                )

    def _make(self, dialect: str, zone: str, instance_type: str) -> Pool | None:
        cloud = DIALECTS[dialect]
        hardware = next((each for each in cloud.hardware if each.instance_type == instance_type), None)
        for region, zones, percent in cloud.regions:
            if hardware is not None and zone in zones:
                on_demand = hardware.nanos * percent // 100
                return Pool(cloud, region, zone, hardware, on_demand, self._timeline, self.climate)
        return None
