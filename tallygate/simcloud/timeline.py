"""Virtual time: one queue of events, one clock, one log.

Time is whole microseconds since 1970. It moves only when somebody moves it, and every event on the way is carried out at
its own instant. Events of the same instant come in the order in which they were planned.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from .chance import Stream

SECOND = 1_000_000
"""Microseconds."""

HOUR = 3600 * SECOND
DAY = 24 * HOUR

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
"""A Monday morning; simulated worlds begin here unless told otherwise."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class SimulationViolation(AssertionError):
    """Something was done that must never be done. Not a provider's error: nobody is meant to handle it."""


def microseconds(moment: datetime) -> int:
    """An instant as the world counts it."""
    return (moment - _EPOCH) // _MICROSECOND


def instant(at: int) -> datetime:
    """The other way round."""
    return _EPOCH + at * _MICROSECOND


class Event:
    """Something planned. ``cancel`` makes it not happen."""

    __slots__ = ("action", "at", "label")

    def __init__(self, at: int, label: str, action: Callable[[], None]) -> None:
        self.at = at
        self.label = label
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        self.action = None


class SimClock:
    """A clock over virtual time; it implements ``times.Clock``.

    ``skew`` is how far it is ahead of the truth, in microseconds; ``step`` moves it as a wall clock is moved. ``sleeping`` is
    what to do instead of moving the whole world, for processes that share it.
    """

    def __init__(self, timeline: Timeline, *, sleeping: Callable[[float], None] | None = None) -> None:
        self._timeline = timeline
        self._sleeping = timeline.advance if sleeping is None else sleeping
        self.skew = 0

    def now(self) -> datetime:
        return instant(self._timeline.now + self.skew)

    def sleep(self, seconds: float) -> None:
        self._sleeping(seconds)

    def step(self, seconds: int) -> None:
        self.skew += seconds * SECOND


class Timeline:
    """The queue of everything that will happen, and the log of what did.

    ``now`` is in microseconds. ``after_event`` are called after every event: a simulation checks its invariants there.
    ``keep_log`` keeps the log's lines; the digest is made of all of them either way.
    """

    def __init__(self, seed: int, *, start: datetime = START, keep_log: bool = False) -> None:
        self.seed = seed
        self.start = microseconds(start)
        self.now = self.start
        self.events_done = 0
        self.after_event: list[Callable[[], None]] = []
        self.log: list[str] = []
        self._keep_log = keep_log
        self._digest = sha256(f"{seed}".encode())
        self._queue: list[tuple[int, int, Event]] = []
        self._planned = 0
        self._streams: dict[str, Stream] = {}
        self.clock = SimClock(self)

    # --- randomness

    def stream(self, name: str) -> Stream:
        """The one stream of that name."""
        found = self._streams.get(name)
        if found is None:
            found = self._streams[name] = Stream(self.seed, name)
        return found

    def entropy(self, name: str) -> Stream:
        """A stream for code that asks for ``ids.Entropy``."""
        return self.stream(f"entropy/{name}")

    # --- time

    def new_clock(self, *, sleeping: Callable[[float], None] | None = None) -> SimClock:
        """Another clock over the same time, which can be set wrong on its own."""
        return SimClock(self, sleeping=sleeping)

    def instant(self) -> datetime:
        return instant(self.now)

    def at(self, when: datetime | int, action: Callable[[], None], label: str = "") -> Event:
        """Plan ``action`` for an instant. The past happens now."""
        wanted = when if isinstance(when, int) else microseconds(when)
        event = Event(max(wanted, self.now), label, action)
        self._planned += 1
        heapq.heappush(self._queue, (event.at, self._planned, event))
        return event

    def after(self, seconds: int, action: Callable[[], None], label: str = "") -> Event:
        return self.at(self.now + seconds * SECOND, action, label)

    def next_at(self) -> int | None:
        """When the next event is; None when nothing is planned."""
        while self._queue and self._queue[0][2].action is None:
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def step(self) -> bool:
        """Carry out the next event, moving time to it. False when nothing is planned."""
        if self.next_at() is None:
            return False
        at, _, event = heapq.heappop(self._queue)
        self.now = max(self.now, at)
        action = event.action
        assert action is not None  # next_at leaves only what was not cancelled
        event.action = None
        self.events_done += 1
        action()
        for check in self.after_event:
            check()
        return True

    def run_until(self, when: datetime | int) -> None:
        """Carry out everything up to and at an instant, and stand there."""
        wanted = when if isinstance(when, int) else microseconds(when)
        while (following := self.next_at()) is not None and following <= wanted:
            self.step()
        self.now = max(self.now, wanted)

    def advance(self, seconds: float) -> None:
        """Let time pass. Fractions of a microsecond are rounded up, so that a wait is never shorter than asked.

        A thousandth of one is no fraction: it is what a binary number makes of 0.254 seconds.
        """
        self.run_until(self.now - int((0.001 - seconds * SECOND) // 1))

    # --- the log

    def record(self, what: str, **details: object) -> None:
        """Write one line of what happened. Details must print the same in every run."""
        line = f"{self.now} {what}" + "".join(f" {name}={value}" for name, value in details.items())
        self._digest.update(line.encode())
        self._digest.update(b"\n")
        if self._keep_log:
            self.log.append(line)

    def digest(self) -> str:
        """What the whole log so far comes to."""
        return self._digest.hexdigest()
