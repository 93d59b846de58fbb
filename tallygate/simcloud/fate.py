"""What happens to simulated processes at their points, by the faults of the world.

    crash             dies, between two acts or inside a transaction
    pause             stands still for seconds to an hour, as a suspended machine does
    database_locked   cannot begin a transaction
    disk_full         a write inside a transaction fails; nothing of it is stored
    lost commit       on a store behind a network the answer to the commit is lost

Milestones and provider calls are where the protocol makes something true, so most happens there; verbs of the database
are many and are struck more rarely.
"""

from __future__ import annotations

from .chance import Stream
from .faults import Faults
from .processes import GO_ON, Mishap, Process, Turn
from .timeline import SECOND

_VERBS_LOOKED_AT = 60_000
"""How many of the database's verbs, out of a million, are a point at all. Milestones and calls always are."""

_GIVES_WAY = 350_000
_GIVES_WAY_MICROSECONDS_MAX = 3 * SECOND


class Fate:
    """Draws from streams of its own: what befalls processes shifts nothing in the clouds."""

    def __init__(self, faults: Faults, chance: Stream, *, networked: bool) -> None:
        self._faults = faults
        self._chance = chance
        self._networked = networked
        self.calm = False
        """After healing: everything goes straight on."""

    def at(self, process: Process, point: str) -> Turn:
        if self.calm:
            return GO_ON
        verb = "." in point or point == "begin"
        if verb and not self._chance.chance(_VERBS_LOOKED_AT):
            return GO_ON
        if self._faults.crash.strikes():
            return Turn(mishap=Mishap.DIES)
        if point == "begin" and self._faults.database_locked.is_on():
            return Turn(microseconds=self._faults.database_locked.lasts() * SECOND, mishap=Mishap.BUSY)
        if self._faults.pause.strikes():
            return Turn(microseconds=self._faults.pause.lasts() * SECOND)
        if self._chance.chance(_GIVES_WAY):
            return Turn(microseconds=1 + self._chance.below(_GIVES_WAY_MICROSECONDS_MAX))
        return GO_ON

    def inside(self, process: Process, point: str) -> Mishap | None:
        if self.calm or not self._chance.chance(_VERBS_LOOKED_AT):
            return None
        if self._faults.crash.strikes():
            return Mishap.DIES
        if self._faults.disk_full.is_on():
            return Mishap.FULL
        if point == "commit" and self._networked and self._faults.crash.strikes():
            return Mishap.UNSURE
        return None
