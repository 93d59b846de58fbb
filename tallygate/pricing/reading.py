"""Reading markets from one source in threads of its own: fetched, guarded, and handed over through a bounded queue.

    lead    regions() --Listed--> which are due --> read each, with the other threads
    thread  read(region) --> guard --> past prices, if wanted --Past*, Read or Failed--> queue
    last    --Done--> queue

Nothing here writes. A thread that is told to stop sends nothing more and ends after the call it is in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from itertools import islice
from queue import Empty, Full, Queue
from threading import Event, Lock, Thread

from ..errors import TallygateError, Unavailable, UnknownRegion
from ..times import Clock
from . import guard
from .catalog import Part
from .source import HistorySource, Observation, PriceSource, Sheet

BACK_FILL = timedelta(days=90)
"""How far back clouds that tell past prices tell them."""

_CHUNK = 5_000
LOOK_MILLISECONDS = 100
"""How often a waiting thread looks whether to stop."""

Market = tuple[str, str]
"""A provider and one of its regions."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A source has said which regions it has; these are due, and these are fresh."""

    provider: str
    due: tuple[str, ...]
    fresh: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Past:
    """Some of a market's past prices; its ``Read`` comes later, or ``Failed``."""

    provider: str
    region: str
    observations: list[Observation]


@dataclass(frozen=True, slots=True)
class Read:
    """A market, whole and fit. ``since``: the past prices before it tell everything from then on."""

    sheet: Sheet
    since: datetime | None
    seconds: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A market that could not be read, or, without a region, a source that could not say which it has."""

    provider: str
    region: str
    error: Exception
    seconds: int


@dataclass(frozen=True, slots=True)
class Done:
    """A source's last thread has ended."""

    provider: str


Message = Listed | Past | Read | Failed | Done


class _Stopped(Exception):
    """The refresh ends; a reader goes home."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What readers go by: nothing here changes while they run."""

    region: str | None
    max_age: timedelta | None
    back_fill: bool | None
    accept_smaller: bool
    threads: int
    clock: Clock
    parts: Mapping[Market, Part]
    last_readings: Mapping[Market, datetime]
    outbox: Queue[Message]
    stopping: Event

    def send(self, message: Message) -> None:
        while not self.stopping.is_set():
            try:
                self.outbox.put(message, timeout=LOOK_MILLISECONDS / 1000)
            except Full:
                continue
            return
        raise _Stopped

    def is_due(self, market: Market) -> bool:
        """Whether a market was not both published and observed lately. Imported and shipped lists are never fresh."""
        part, last = self.parts.get(market), self.last_readings.get(market)
        if part is None or last is None or self.max_age is None:
            return True
        return self.clock.now() - min(part.read_at, last) > self.max_age

    def former_offers(self, market: Market) -> int:
        """How many offers the market had when its cloud was last asked; 0 when it never was."""
        part = self.parts.get(market)
        return 0 if part is None or market not in self.last_readings else part.offers


class Reader:
    """The threads of one source: the first lists the regions, then all of them read."""

    def __init__(self, source: PriceSource, terms: Terms) -> None:
        self._source = source
        self._terms = terms
        self._left: Queue[str] = Queue()
        self._running = 0
        self._lock = Lock()

    def start(self) -> None:
        # Daemons, because a call that hangs must not keep a program from ending that was told to.
        self._running = 1
        Thread(target=self._lead, name=f"prices {self._source.provider}", daemon=True).start()

    def _lead(self) -> None:
        try:
            due = self._list()
            for region in due:
                self._left.put(region)
            more = min(len(due), self._terms.threads) - 1
            with self._lock:
                self._running += max(more, 0)
            for _ in range(more):
                Thread(target=self._work, name=f"prices {self._source.provider}", daemon=True).start()
        except _Stopped:
            return
        self._work()

    def _list(self) -> list[str]:
        provider, terms, began = self._source.provider, self._terms, self._terms.clock.now()
        try:
            regions = list(self._source.regions())
            if terms.region is not None:
                regions = [_named(terms.region, regions, provider)]
        except Exception as error:  # noqa: BLE001 - the boundary of a thread: handed to the caller's
            terms.send(Failed(provider, terms.region or "", error, _since(began, terms.clock)))
            return []
        due = [region for region in regions if terms.is_due((provider, region))]
        fresh = [region for region in regions if region not in set(due)]
        terms.send(Listed(provider, tuple(due), tuple(fresh)))
        return due

    def _work(self) -> None:
        try:
            while not self._terms.stopping.is_set():
                try:
                    region = self._left.get_nowait()
                except Empty:
                    break
                self._read(region)
            with self._lock:
                self._running -= 1
                last = self._running == 0
            if last:
                self._terms.send(Done(self._source.provider))
        except _Stopped:
            return

    def _read(self, region: str) -> None:
        provider, terms, began = self._source.provider, self._terms, self._terms.clock.now()
        try:
            sheet = self._source.read(region)
            _check_is_of(sheet, provider, region)
            sheet = guard.inspect(
                sheet,
                now=terms.clock.now(),
                former=terms.former_offers((provider, region)),
                accept_smaller=terms.accept_smaller,
            )
            since, sheet = self._past(sheet)
        except _Stopped:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of a thread: handed to the caller's
            terms.send(Failed(provider, region, error, _since(began, terms.clock)))
            return
        terms.send(Read(sheet, since, _since(began, terms.clock)))

    def _past(self, sheet: Sheet) -> tuple[datetime | None, Sheet]:
        """Hand over past prices as far as they are wanted and told; since when they reach, and the sheet with what to note."""
        terms = self._terms
        last = terms.last_readings.get((sheet.provider, sheet.region))
        tell = _teller(self._source)
        wants = last is None if terms.back_fill is None else terms.back_fill
        if tell is None or not wants:
            return None, sheet
        reach = sheet.read_at - BACK_FILL
        since = reach if last is None else max(last, reach)
        refused: Counter[str] = Counter()
        try:
            fit = guard.fit_observations(
                tell.history(sheet.region, since=since),
                provider=sheet.provider,
                region=sheet.region,
                now=terms.clock.now(),
                refused=refused,
            )
            for chunk in _chunks(fit):
                terms.send(Past(sheet.provider, sheet.region, chunk))
        except TallygateError as error:
            # Today's prices are whole without the past ones; what came of those is dropped and said.
            return None, _noted(sheet, f"past prices could not be read: {error.message}")
        told = [f"{count:,} past prices left out: {reason}" for reason, count in sorted(refused.items())]
        return since, _noted(sheet, *told)


def _teller(source: object) -> HistorySource | None:
    """The source, if it also tells past prices: a capability that is absent is a method that is absent."""
    return source if callable(getattr(source, "history", None)) else None  # type: ignore[return-value]


def _named(region: str, regions: Sequence[str], provider: str) -> str:
    if region in regions:
        return region
    near = get_close_matches(region, regions, n=3)
    raise UnknownRegion(
        f"{provider} has no region {region!r}",
        cure=f"Did you mean {' or '.join(near)}?" if near else f"It has: {', '.join(regions[:40]) or 'none'}",
    )


def _check_is_of(sheet: Sheet, provider: str, region: str) -> None:
    if (sheet.provider, sheet.region) != (provider, region):
        raise Unavailable(
            f"{provider} answered with the prices of {sheet.provider} {sheet.region} when asked for {region}"
        )


def _noted(sheet: Sheet, *notes: str) -> Sheet:
    return replace(sheet, notes=(*sheet.notes, *notes)) if notes else sheet


def _chunks(observations: Iterable[Observation]) -> Iterator[list[Observation]]:
    left = iter(observations)
    while chunk := list(islice(left, _CHUNK)):
        yield chunk


def _since(began: datetime, clock: Clock) -> int:
    return max(0, (clock.now() - began) // timedelta(seconds=1))
