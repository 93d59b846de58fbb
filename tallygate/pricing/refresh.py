"""Bringing the catalogue and the history up to date: which markets are due, read in parallel, written by one.

    source A   regions --due--> read, guard --\\
               (threads of its own, bounded)    >--> history --> catalogue
    source B   regions --due--> read, guard --/     (the caller's thread, one market at a time)

A market is one provider's region. Each is published whole or not at all: one that could not be read keeps its earlier part, with
its age. What is finished is published every few seconds, so that a refresh that is ended goes on where it was: what is fresh
is not read again. A slow source keeps no other waiting, because every source has its own threads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from queue import Empty, Queue
from threading import Event
from typing import Protocol

from .. import times
from ..errors import CredentialsMissing, TallygateError, UnknownProvider, UnknownRegion, UsageError
from ..times import Clock
from .catalog import Part, Version
from .reading import LOOK_MILLISECONDS, Done, Failed, Listed, Market, Message, Past, Read, Reader, Terms
from .source import Observation, PriceSource, Sheet

MAX_AGE = timedelta(hours=1)
"""Markets read more recently are fresh."""

THREADS_PER_SOURCE = 8
PUBLISH_EVERY = timedelta(seconds=10)
"""How much reading a refresh that is killed may lose, at the least."""

PUBLISH_SHARE = 5
"""A version is written as a whole: between two of them pass so many times as long as the last one took."""

TELL_PAST_EVERY = 100_000
_QUEUE_MAX = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """What a sheet changed: pools whose price went up or down, appeared, or are gone, and past observations recorded."""

    up: int = 0
    down: int = 0
    appeared: int = 0
    gone: int = 0
    past: int = 0


class CatalogWriter(Protocol):
    """Where sheets become the next version of the catalogue."""

    def parts(self) -> Sequence[Part]:
        """What the version in place is made of; empty when there is none yet."""
        ...

    def publish(self, sheets: Sequence[Sheet]) -> Version:
        """Put the next version in place in one step: these sheets instead of their markets' parts, every other part as it was."""
        ...


class HistoryWriter(Protocol):
    """Where observations are kept."""

    def last_readings(self) -> Mapping[Market, datetime]:
        """When each market was last read, as far as it is on record."""
        ...

    def stage(self, provider: str, region: str, observations: Sequence[Observation]) -> None:
        """Lay past prices by until their sheet is kept."""
        ...

    def discard(self, provider: str, region: str) -> None:
        """Forget what is staged for a market."""
        ...

    def keep(self, sheet: Sheet, *, since: datetime | None = None) -> Moves | None:
        """Record what changed; with ``since``, what is staged first. None when a newer reading is on record."""
        ...


class Outcome(StrEnum):
    """What became of a market."""

    READ = "read"
    FRESH = "fresh"
    FAILED = "failed"
    NOT_SET_UP = "not set up"
    NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketReport:
    """One market. ``region`` is empty when a provider's regions could not even be listed.

    ``reason`` and ``cure`` say why it failed, or what is missing to ask; ``old_read_at`` is the age of the part that stays in
    the catalogue then, or of the newest when it is about all regions.
    """

    provider: str
    region: str
    outcome: Outcome
    offers: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: int = 0
    moves: Moves | None = None
    reason: str = ""
    cure: str = ""
    old_read_at: datetime | None = None

    def __str__(self) -> str:
        return f"{self.provider} {self.region}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A whole refresh. ``version`` is what is in place now; None when nothing was published."""

    markets: tuple[MarketReport, ...]
    version: Version | None
    interrupted: bool

    def of(self, outcome: Outcome) -> list[MarketReport]:
        return [each for each in self.markets if each.outcome is outcome]

    @property
    def exit_code(self) -> int:
        """3 when a market could not be read, as when a cloud does not answer, or when nobody could be asked; else 0."""
        asked = self.of(Outcome.READ) or self.of(Outcome.FRESH)
        return 3 if self.of(Outcome.FAILED) or not asked else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to refresh, and how.

    ``providers`` and ``region`` None: all there are. ``max_age`` None: however fresh. ``back_fill`` None: the past prices of a
    market that has none on record yet; True: also those since the last reading of the others; False: none.
    """

    providers: frozenset[str] | None = None
    region: str | None = None
    max_age: timedelta | None = MAX_AGE
    back_fill: bool | None = None
    accept_smaller: bool = False
    threads_per_source: int = THREADS_PER_SOURCE


def refresh(
    sources: Sequence[PriceSource],
    catalog: CatalogWriter,
    history: HistoryWriter,
    *,
    wanted: Wanted,
    clock: Clock,
    say: Callable[[str], None],
    stop: Callable[[], bool],
) -> Report:
    """Read what is due and publish it; what became of every market.

    ``say`` gets one line a market, ``stop`` is asked several times a second: once it says so, what is whole is published and the
    rest is reported as not reached. Both are called on the calling thread only, and so are the writers. Raises ``UsageError``
    when what is wanted does not exist, a ``StoreError`` of the writers, and whatever a source raises that is no error of ours,
    after publishing what is whole.
    """
    return _Refresh(_chosen(sources, wanted), catalog, history, wanted, clock, say, stop).run()


def _chosen(sources: Sequence[PriceSource], wanted: Wanted) -> list[PriceSource]:
    known = sorted(source.provider for source in sources)
    unknown = sorted((wanted.providers or frozenset()) - set(known))
    if unknown:
        raise UnknownProvider(
            f"No prices are read from {', '.join(unknown)}",
            cure=f"Those that are set up: {', '.join(known) or 'none'}",
        )
    if not sources:
        raise UsageError("No price source is set up", cure="Install one, for example: pip install 'tallygate[aws]'")
    return [source for source in sources if wanted.providers is None or source.provider in wanted.providers]


# --- the one who writes


class _Refresh:
    """One run, on the calling thread."""

    def __init__(
        self,
        sources: Sequence[PriceSource],
        catalog: CatalogWriter,
        history: HistoryWriter,
        wanted: Wanted,
        clock: Clock,
        say: Callable[[str], None],
        stop: Callable[[], bool],
    ) -> None:
        self._sources = sources
        self._named = wanted.providers is not None
        self._catalog = catalog
        self._history = history
        self._clock = clock
        self._say = say
        self._stop = stop
        parts = {(part.provider, part.region): part for part in catalog.parts()}
        self._parts = parts
        self._waiting: dict[Market, Sheet] = {}
        self._unreached: dict[Market, None] = {}
        self._found: dict[Market, MarketReport] = {}
        self._past: Counter[Market] = Counter()
        self._unlisted = {source.provider for source in sources}
        self._version: Version | None = None
        self._bug: Exception | None = None
        self._running = {source.provider for source in sources}
        self._is_anywhere = False  # a region that was asked for
        self._without_region: list[MarketReport] = []
        self._published_at = clock.now()
        self._took = timedelta(0)
        self._terms = Terms(
            region=wanted.region,
            max_age=wanted.max_age,
            back_fill=wanted.back_fill,
            accept_smaller=wanted.accept_smaller,
            threads=wanted.threads_per_source,
            clock=clock,
            parts=parts,
            last_readings=dict(history.last_readings()),
            outbox=Queue(_QUEUE_MAX),
            stopping=Event(),
        )

    def run(self) -> Report:
        try:
            for source in self._sources:
                Reader(source, self._terms).start()
            while self._running and not self._stop():
                try:
                    message = self._terms.outbox.get(timeout=LOOK_MILLISECONDS / 1000)
                except Empty:
                    self._publish_if_time()
                    continue
                self._take(message)
                self._publish_if_time()
            self._terms.stopping.set()
            self._take_what_is_there()
        finally:
            self._terms.stopping.set()
            self._publish()
        if self._bug is not None:
            raise self._bug
        return self._report(interrupted=bool(self._running))

    def _take_what_is_there(self) -> None:
        """What was read in full before everything stopped is kept."""
        while True:
            try:
                self._take(self._terms.outbox.get_nowait())
            except Empty:
                return

    def _take(self, message: Message) -> None:
        match message:
            case Done(provider):
                self._running.discard(provider)
            case Listed(provider, due, fresh):
                self._is_anywhere = True
                self._unlisted.discard(provider)
                self._unreached.update(((provider, region), None) for region in due)
                for region in fresh:
                    self._settle(MarketReport(provider=provider, region=region, outcome=Outcome.FRESH))
            case Past(provider, region, observations):
                self._history.stage(provider, region, observations)
                self._tell_past(provider, region, len(observations))
            case Read(sheet, since, seconds):
                self._keep(sheet, since, seconds)
            case Failed(provider, region, error, seconds):
                could_list = provider not in self._unlisted
                self._unlisted.discard(provider)
                self._history.discard(provider, region)
                if not isinstance(error, TallygateError):
                    self._bug = self._bug or error
                self._fail(provider, region, error, seconds, could_list=could_list)

    def _tell_past(self, provider: str, region: str, count: int) -> None:
        """A large region tells of millions of past prices; somebody may be waiting."""
        before = self._past[provider, region]
        self._past[provider, region] = now = before + count
        if now // TELL_PAST_EVERY > before // TELL_PAST_EVERY:
            self._say(f"{provider} {region}: {now:,} past prices so far")

    def _keep(self, sheet: Sheet, since: datetime | None, seconds: int) -> None:
        if since is None:
            self._history.discard(sheet.provider, sheet.region)
        moves = self._history.keep(sheet, since=since)
        self._waiting[sheet.provider, sheet.region] = sheet
        self._settle(
            MarketReport(
                provider=sheet.provider,
                region=sheet.region,
                outcome=Outcome.READ,
                offers=len(sheet.offers),
                refused=sheet.refused,
                notes=sheet.notes,
                seconds=seconds,
                moves=moves,
            )
        )

    def _fail(self, provider: str, region: str, error: Exception, seconds: int, *, could_list: bool) -> None:
        ours = error if isinstance(error, TallygateError) else None
        # Who has no account with a cloud, and did not ask for it by name, has not failed to read it.
        passed_over = isinstance(error, CredentialsMissing) and not could_list and not self._named
        found = MarketReport(
            provider=provider,
            region=region,
            outcome=Outcome.NOT_SET_UP if passed_over else Outcome.FAILED,
            seconds=seconds,
            reason=ours.message if ours else f"{type(error).__name__} in the source",
            cure=ours.cure if ours else "",
            old_read_at=self._old_read_at(provider, region),
        )
        if isinstance(error, UnknownRegion) and not self._named:
            self._without_region.append(found)
        else:
            self._settle(found)

    def _settle(self, found: MarketReport) -> None:
        market = (found.provider, found.region)
        self._unreached.pop(market, None)
        self._found[market] = found
        untold = (Outcome.FRESH, Outcome.NOT_SET_UP)
        if found.outcome not in untold:
            done = sum(each.outcome not in untold for each in self._found.values())
            self._say(f"{done}/{done + len(self._unreached)} {told(found)}")

    # --- publishing

    def _publish_if_time(self) -> None:
        if self._waiting and self._clock.now() - self._published_at >= max(PUBLISH_EVERY, PUBLISH_SHARE * self._took):
            self._publish()

    def _publish(self) -> None:
        if self._waiting:
            began = self._clock.now()
            self._version = self._catalog.publish(list(self._waiting.values()))
            self._waiting.clear()
            self._published_at = self._clock.now()
            self._took = self._published_at - began

    def _report(self, *, interrupted: bool) -> Report:
        if not self._is_anywhere:
            for found in self._without_region:
                self._settle(found)
        for provider, region in self._unreached:
            self._missing(provider, region)
        if interrupted:
            for provider in sorted(self._unlisted):
                self._missing(provider, self._terms.region or "")
        markets = sorted(self._found.values(), key=lambda each: (each.provider, each.region))
        return Report(markets=tuple(markets), version=self._version, interrupted=interrupted)

    def _missing(self, provider: str, region: str) -> None:
        self._found[provider, region] = MarketReport(
            provider=provider,
            region=region,
            outcome=Outcome.NOT_REACHED,
            old_read_at=self._old_read_at(provider, region),
        )

    def _old_read_at(self, provider: str, region: str) -> datetime | None:
        found = [
            part.read_at for (whose, where), part in self._parts.items() if whose == provider and region in ("", where)
        ]
        return max(found, default=None)


# --- in words


def told(found: MarketReport) -> str:
    """One line about a market."""
    if found.outcome is Outcome.READ:
        line = f"{found}: {found.offers:,} offers in {times.duration(found.seconds)}"
        left_out = sum(found.refused.values())
        if left_out:
            line += f", {left_out:,} refused"
        moves = found.moves
        if moves is not None and (moves.up or moves.down):
            line += f", {moves.up:,} up, {moves.down:,} down"
        if moves is not None and moves.past:
            line += f", {moves.past:,} past prices"
        return line
    return f"{found}: {found.outcome.value}" + (f": {found.reason}" if found.reason else "")
