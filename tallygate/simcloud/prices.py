"""The pretend market as a source of prices: what it sells now as sheets, and its price paths as history.

It implements ``pricing.source.PriceSource`` and ``HistorySource`` for one dialect. Sheets carry the world's own time; history
reaches back to where the market's paths begin, a week before the world.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from threading import Lock

from ..errors import Unavailable
from ..money import Money
from ..pricing.offers import PurchaseOption
from ..pricing.source import Observation, Sheet
from .dialects import DIALECTS
from .market import Market, Pool
from .timeline import DAY, Timeline, instant, microseconds


class SimPrices:
    """The prices of one dialect, under the name ``sim-aws`` and so on unless given. Safe to be read from several threads."""

    def __init__(self, market: Market, timeline: Timeline, dialect: str, *, name: str | None = None) -> None:
        self._market = market
        self._timeline = timeline
        self._dialect = DIALECTS[dialect]
        self._name = name or f"sim-{dialect}"
        self._lock = Lock()  # pools work out their paths when asked

    @property
    def provider(self) -> str:
        return self._name

    def regions(self) -> Sequence[str]:
        return [region for region, _, _ in self._dialect.regions]

    def read(self, region: str) -> Sheet:
        self._check(region)
        with self._lock:
            offers = tuple(
                offer for offer in self._market.offers(self._dialect.name, name=self._name) if offer.region == region
            )
            return Sheet(
                provider=self._name,
                region=region,
                read_at=self._timeline.instant(),
                source=f"simcloud {self._dialect.name}",
                offers=offers,
            )

    def history(self, region: str, *, since: datetime) -> Iterator[Observation]:
        """Every spot price step of a region from ``since`` until now, the one in force at ``since`` first."""
        self._check(region)
        with self._lock:
            now = self._timeline.now
            start = max(microseconds(since), self._timeline.start - 7 * DAY)
            pools = [pool for pool in self._market.pools(self._dialect.name) if pool.region == region]
            steps = {pool: list(pool.steps(start, now)) for pool in pools}
        for pool, path in steps.items():
            for at, _, nanos in path:
                yield self._observation(pool, at, nanos)

    def _observation(self, pool: Pool, at: int, nanos: int) -> Observation:
        return Observation(
            provider=self._name,
            region=pool.region,
            zone=pool.zone,
            instance_type=pool.hardware.instance_type,
            purchase_option=PurchaseOption.SPOT,
            at=instant(at),
            hourly_price=Money(nanos),
        )

    def _check(self, region: str) -> None:
        if region not in self.regions():
            raise Unavailable(f"{self._name} has no region {region}")
