"""What goes wrong: each kind an object that can be switched by name and draws from a stream of its own.

``Faults.swarm`` sets a run's rates as swarm testing asks: every kind is off in a quarter of the runs, so that no fault always
hides behind another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .chance import MILLION, Stream
from .dialects import Dialect
from .timeline import SECOND, Timeline


class Fault:
    """One kind of trouble.

    ``rate``: how often it strikes where it could, out of a million. ``seconds``: how long it then lasts, the least and the
    most. ``struck`` counts.
    """

    def __init__(self, name: str, timeline: Timeline, *, rate_max: int, seconds: tuple[int, int] = (0, 0)) -> None:
        self.name = name
        self.rate = 0
        self.rate_max = rate_max
        self.seconds = seconds
        self.struck = 0
        self._timeline = timeline
        self._chance = Stream(timeline.seed, f"fault/{name}")
        self._until: dict[str, int] = {}

    def strikes(self) -> bool:
        """Whether it happens this time. A fault that is switched off draws nothing."""
        if not self.rate or not self._chance.chance(self.rate):
            return False
        self.struck += 1
        self._timeline.record("fault", name=self.name)
        return True

    def lasts(self) -> int:
        """How many seconds it goes on this time."""
        low, high = self.seconds
        return self._chance.between(low, high) if low == 0 else self._chance.spread(low, high)

    def is_on(self, where: str = "") -> bool:
        """For trouble that stays a while in one place: whether it is going on now; it may begin with this question."""
        if self._timeline.now < self._until.get(where, 0):
            return True
        if not self.strikes():
            return False
        self._until[where] = self._timeline.now + self.lasts() * SECOND
        return True

    def pick(self, count: int) -> int:
        """One of ``count`` ways in which it can show."""
        return self._chance.below(count)

    def heal(self) -> None:
        """Over, now and for good."""
        self.rate = 0
        self._until.clear()


_WORST = 20
_WORST_MAX = 500_000
"""How many times as often as usual a kind strikes that is at its worst in a run, and how often at the most."""


class Faults:
    """Every kind of trouble of a world, by name. All are off until set."""

    def __init__(self, timeline: Timeline) -> None:
        def kind(name: str, rate_max: int, seconds: tuple[int, int] = (0, 0)) -> Fault:
            fault = Fault(name, timeline, rate_max=rate_max, seconds=seconds)
            self._all[name] = fault
            return fault

        self._all: dict[str, Fault] = {}
        # calls
        self.lost_request = kind("lost_request", 60_000)
        self.lost_reply = kind("lost_reply", 80_000)
        self.late_execution = kind("late_execution", 40_000, (5, 300))
        self.server_error = kind("server_error", 50_000)
        self.odd_body = kind("odd_body", 30_000)
        self.throttling = kind("throttling", 20_000, (30, 600))
        self.expired_credentials = kind("expired_credentials", 10_000, (60, 1800))
        self.outage = kind("outage", 5_000, (60, 7200))
        self.denied_terminate = kind("denied_terminate", 20_000)
        self.slow_call = kind("slow_call", 40_000, (5, 120))
        self.bill_outage = kind("bill_outage", 50_000, (600, 14_400))
        # listings
        self.partial_page = kind("partial_page", 80_000)
        self.repeated_row = kind("repeated_row", 40_000)
        self.unrecognised_state = kind("unrecognised_state", 20_000)
        self.delayed_visibility = kind("delayed_visibility", 150_000, (30, 600))
        # machines
        self.lying_terminate = kind("lying_terminate", 100_000)
        self.half_created = kind("half_created", 30_000)
        self.leftover = kind("leftover", 30_000)
        self.lost_report = kind("lost_report", 60_000)
        self.hung_job = kind("hung_job", 40_000)
        self.broken_timer = kind("broken_timer", 300_000)
        self.wrong_machine_clock = kind("wrong_machine_clock", 60_000)
        self.half_end = kind("half_end", 60_000)
        # processes; carried out by whoever runs them
        self.crash = kind("crash", 15_000, (1, 7200))
        self.pause = kind("pause", 10_000, (5, 3600))
        self.clock_step = kind("clock_step", 10_000, (1, 3600))
        self.disk_full = kind("disk_full", 10_000, (10, 600))
        self.database_locked = kind("database_locked", 10_000, (1, 90))

    def __getitem__(self, name: str) -> Fault:
        return self._all[name]

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._all.values())

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._all)

    def set(self, rates: Mapping[str, int]) -> None:
        """Switch faults by name; 0 is off."""
        for name, rate in rates.items():
            self._all[name].rate = rate

    def swarm(self, chance: Stream, *, without: frozenset[str] = frozenset()) -> None:
        """Rates for one run: a quarter of the kinds off, the others up to their most; in every other run one kind is at its
        worst, for what only shows when the same thing goes wrong again and again."""
        worst = chance.pick(self.names) if chance.below(2) else None
        for fault in self:
            off = chance.below(4) == 0
            rate = chance.between(1, fault.rate_max)
            if fault.name == worst:
                off, rate = False, min(_WORST_MAX, rate * _WORST)
            fault.rate = 0 if off or fault.name in without else rate

    def heal(self) -> None:
        """Everything works from now on. What is already broken stays as it is."""
        for fault in self:
            fault.heal()

    @property
    def struck(self) -> dict[str, int]:
        """How often each kind has struck; only those that did."""
        return {fault.name: fault.struck for fault in self if fault.struck}

    def visibility(self, dialect: Dialect, chance: Stream) -> int:
        """Seconds until a new machine shows in listings."""
        usual = chance.between(*dialect.visible_lag)
        return usual + (self.delayed_visibility.lasts() if self.delayed_visibility.strikes() else 0)


BREAKING_TIMERS = frozenset({"broken_timer", "wrong_machine_clock", "half_end", "leftover", "half_created"})
"""The kinds that can make true spend pass a hold. Without them it must not, at any instant."""

ALWAYS = MILLION
"""The rate at which a fault strikes every time."""

FAULTS = Faults(Timeline(0)).names
"""The name of every kind."""

SAYS: Mapping[str, str] = {
    "lost_request": "a call never reaches the cloud; the caller waits for nothing",
    "lost_reply": "a call has its effect and its answer is lost",
    "late_execution": "a create call is answered by nothing and carried out seconds to minutes later",
    "server_error": "the cloud answers with an error of its own, and a create call may have had its effect all the same",
    "odd_body": "the answer to a create call is something that is no answer",
    "throttling": "an account may make hardly any calls for a while",
    "expired_credentials": "an account's credentials are refused for a while",
    "outage": "an account's cloud does not answer for up to two hours",
    "denied_terminate": "the cloud does not allow a machine to be ended",
    "slow_call": "a call is on its way for up to two minutes",
    "bill_outage": "the bill cannot be had for hours",
    "partial_page": "a page of a listing does not come",
    "repeated_row": "a machine is on a page twice",
    "unrecognised_state": "a machine is in a state that nobody has heard of",
    "delayed_visibility": "a machine is not shown for up to ten minutes after it was made",
    "lying_terminate": "a terminate call says yes and does nothing, or less than it says",
    "half_created": "a create call is refused after some of what it makes was made, which bills",
    "leftover": "a disk or an address outlives its machine, and bills",
    "lost_report": "a machine's report of its end is lost",
    "hung_job": "a job comes to a standstill and never ends by itself",
    "broken_timer": "a machine's own timer does not end it",
    "wrong_machine_clock": "a machine's clock is wrong, so that it does not see its deadline",
    "half_end": "a machine that ends itself stops short of it, and may bill on",
    "crash": "a process dies between two acts or inside a transaction; on a store behind a network, while it commits",
    "pause": "a process stands still for seconds to an hour and goes on as if nothing had been",
    "clock_step": "the clock of a host is set forward or back by up to an hour",
    "disk_full": "a write inside a transaction finds the disk full",
    "database_locked": "a transaction cannot begin because another process holds the database",
}
"""What each kind is, for people."""
