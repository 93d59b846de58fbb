"""A pretend market to refresh from, and a catalogue in memory to refresh into."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from threading import Event, Lock

from tallygate.pricing.catalog import Part, Version
from tallygate.pricing.source import Observation, Sheet
from tallygate.simcloud.market import Climate, Market
from tallygate.simcloud.prices import SimPrices
from tallygate.simcloud.timeline import START, Timeline

RESTLESS = Climate(jump=100_000)


class Stall:
    """A pretend market, its time, and one source a dialect."""

    def __init__(self, seed: int = 1, *, climate: Climate = RESTLESS, start: datetime = START) -> None:
        self.timeline = Timeline(seed, start=start)
        self.market = Market(self.timeline, climate)
        self.clock = self.timeline.clock

    def source(self, dialect: str = "aws") -> SimPrices:
        return SimPrices(self.market, self.timeline, dialect)


class MemoryCatalog:
    """It implements ``CatalogWriter`` without a file. ``published`` remembers the markets of every publication."""

    def __init__(self) -> None:
        self.by_market: dict[tuple[str, str], Sheet] = {}
        self.published: list[list[str]] = []

    def parts(self) -> Sequence[Part]:
        return [
            Part(
                provider=sheet.provider,
                region=sheet.region,
                read_at=sheet.read_at,
                source=sheet.source,
                offers=len(sheet.offers),
                refused=sum(sheet.refused.values()),
            )
            for _, sheet in sorted(self.by_market.items())
        ]

    def version(self) -> Version | None:
        if not self.by_market:
            return None
        words = repr([sheet.offers for _, sheet in sorted(self.by_market.items())])
        return Version(
            id=sha256(words.encode()).hexdigest()[:16],
            made_at=max(sheet.read_at for sheet in self.by_market.values()),
            offers=sum(len(sheet.offers) for sheet in self.by_market.values()),
        )

    def sheets(self, provider: str) -> list[Sheet]:
        return [sheet for (name, _), sheet in sorted(self.by_market.items()) if name == provider]

    def reference_offers(self) -> dict[tuple[str, str], int]:
        return {
            market: count
            for market, sheet in self.by_market.items()
            if (count := sum(offer.is_reference for offer in sheet.offers))
        }

    def publish(self, sheets: Sequence[Sheet]) -> Version:
        for sheet in sheets:
            self.by_market[sheet.provider, sheet.region] = sheet
        self.published.append([f"{sheet.provider} {sheet.region}" for sheet in sheets])
        found = self.version()
        assert found is not None
        return found


class Between:
    """A source with something between it and the reader: ``before`` is called with every region, ``after`` changes its sheet.

    ``busy`` and ``busiest`` count the reads that are under way at a time. ``history`` is there only when the source tells.
    """

    def __init__(
        self,
        source: SimPrices,
        *,
        before: Callable[[str], None] = lambda region: None,
        after: Callable[[Sheet], Sheet] = lambda sheet: sheet,
        tells: bool = True,
    ) -> None:
        self._source = source
        self._before = before
        self._after = after
        self._lock = Lock()
        self.busy = self.busiest = 0
        self.reads: list[str] = []
        self.history_since: list[datetime] = []
        if tells:
            self.history = self._history

    @property
    def provider(self) -> str:
        return self._source.provider

    def regions(self) -> Sequence[str]:
        return self._source.regions()

    def read(self, region: str) -> Sheet:
        with self._lock:
            self.reads.append(region)
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
        try:
            self._before(region)
            return self._after(self._source.read(region))
        finally:
            with self._lock:
                self.busy -= 1

    def _history(self, region: str, *, since: datetime) -> Iterator[Observation]:
        self.history_since.append(since)
        return self._source.history(region, since=since)


class Gate:
    """A region whose answer waits until it is let go."""

    def __init__(self, region: str) -> None:
        self.region = region
        self.reached = Event()
        self.open = Event()

    def __call__(self, region: str) -> None:
        if region == self.region:
            self.reached.set()
            assert self.open.wait(30)
