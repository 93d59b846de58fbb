"""One account of one cloud, from the inside: what a create call comes to, what a listing holds, how calls are counted.

``provider`` stands outside and only hears answers; here is what really happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import InsufficientCapacity, InvalidOrder, LaunchRefused, QuotaExceeded
from .dialects import DIALECTS, Naming
from .machines import Build, Machine, Remains
from .timeline import SECOND

if TYPE_CHECKING:
    from .world import World

_BUCKET_TOKENS = 100
_REFILL = SECOND // 20
_STORM_TOKENS = 2
_STORM_REFILL = 60 * SECOND
"""Calls that an account may make at once, and the time for one more; and the same while calls are being throttled."""


class Bucket:
    """A token bucket over virtual time."""

    def __init__(self) -> None:
        self._tokens = _BUCKET_TOKENS
        self._at = 0

    def take(self, now: int, *, storm: bool) -> bool:
        """Use one token up. False when there is none."""
        most, refill = (_STORM_TOKENS, _STORM_REFILL) if storm else (_BUCKET_TOKENS, _REFILL)
        gained = (now - self._at) // refill
        self._at += gained * refill
        self._tokens = min(most, self._tokens + gained)
        if not self._tokens:
            return False
        self._tokens -= 1
        return True


class Cloud:
    """An account: its machines, the requests it has seen, its quota."""

    def __init__(self, world: World, dialect: str, account: str) -> None:
        self._world = world
        self.dialect = DIALECTS[dialect]
        self.account = account
        self.bucket = Bucket()
        self._requests: dict[str, str] = {}
        self._recent: list[Machine] = []
        self._taken_over = 0

    # --- creating

    def same_request(self, token: str, fingerprint: str) -> bool:
        """Whether ``token`` was never used, or for exactly this."""
        return self._requests.setdefault(token, fingerprint) == fingerprint

    def create(self, build: Build) -> Machine | LaunchRefused:
        """Carry out a create call: the machine, made now or before, or why there certainly is none."""
        made_before = self._made_before(build)
        if made_before is not None:
            return made_before
        refusal = self._refusal(build)
        if refusal is not None:
            self._world.record("refused", token=build.token, why=type(refusal).__name__)
            return refusal
        if self._world.faults.half_created.strikes():
            count = 1 + self._world.faults.half_created.pick(3)
            fleet = self._world.fleet
            fleet.leave(build, fleet.make_sides(build, None, count=count))
            return InsufficientCapacity(f"{build.pool} failed after {count} of its resources had been made")
        return self._world.fleet.create(build)

    def _made_before(self, build: Build) -> Machine | None:
        """The machine that the same create call made earlier, as far as this cloud remembers it."""
        now = self._world.now
        for machine in self._world.fleet.with_token(self.dialect.name, self.account, build.token):
            same_zone = machine.build.pool.zone == build.pool.zone
            if self.dialect.naming is Naming.BY_ZONE:
                known = same_zone and (machine.ended_at is None or now <= machine.ended_at + 3600 * SECOND)
            elif self.dialect.naming is Naming.BY_NAME:
                known = same_zone and machine.ended_at is None
            else:
                known = machine.ended_at is None
            if known:
                return machine
        return None

    def _refusal(self, build: Build) -> LaunchRefused | None:
        now, pool = self._world.now, build.pool
        if build.spot and pool.empty_at(now):
            return InsufficientCapacity(f"There is no {pool} to be had right now ({self._word_for_empty()})")
        if build.ceiling is not None and pool.price_at(now) > build.ceiling:
            return InvalidOrder(f"The price of {pool} is above the ceiling sent with the launch")
        if self.dialect.limit_lag is not None and now >= build.not_after:
            return InvalidOrder(f"The end asked for {build.token} has already passed")
        used = sum(each.build.pool.hardware.vcpus for each in self._recently() if each.ended_at is None)
        if used + pool.hardware.vcpus > self._world.market.climate.quota_vcpus:
            return QuotaExceeded(f"{used} vCPUs are in use and {pool} would pass the quota")
        return None

    def _word_for_empty(self) -> str:
        return {
            Naming.BY_ZONE: "InsufficientInstanceCapacity",
            Naming.BY_NAME: "ZONE_RESOURCE_POOL_EXHAUSTED",
            Naming.BY_PATH: "AllocationFailed",
        }[self.dialect.naming]

    # --- looking

    def machine(self, machine_id: str) -> Machine | None:
        found = self._world.machines.get(machine_id)
        return found if found is not None and found.build.account == self.account else None

    def remains(self, remains_id: str) -> Remains | None:
        found = self._world.fleet.remains.get(remains_id)
        return found if found is not None and found.build.account == self.account else None

    def rows(self, install_id: str) -> list[Machine | Remains]:
        """Everything a listing of the account's machines with that install tag holds now, oldest first."""
        rows: list[Machine | Remains] = [
            machine
            for machine in self._recently()
            if machine.build.tags.get("tallygate-install") == install_id and self.is_visible(machine)
        ]
        for remains in self._world.remains:
            build = remains.build
            ours = build.dialect is self.dialect and build.account == self.account
            if ours and build.tags.get("tallygate-install") == install_id:
                rows.append(remains)
        return rows

    def by_id(self, ids: Sequence[str]) -> list[Machine | Remains]:
        """What is still known of these, whoever made them."""
        found: list[Machine | Remains] = []
        for each in ids:
            machine, remains = self.machine(each), self.remains(each)
            if machine is not None and self._is_known(machine):
                found.append(machine)
            elif remains is not None and remains.exist:
                found.append(remains)
        return found

    def is_visible(self, machine: Machine) -> bool:
        return self._world.now >= machine.visible_from

    def _recently(self) -> list[Machine]:
        """Every machine but those whose end is too long ago to be shown, oldest first."""
        every = self._world.fleet.of(self.dialect.name, self.account)
        ended_after = self._world.now - self.dialect.shown_after_end * SECOND
        self._recent = [
            machine
            for machine in (*self._recent, *every[self._taken_over :])
            if machine.ended_at is None or machine.ended_at > ended_after
        ]
        self._taken_over = len(every)
        return self._recent

    def _is_known(self, machine: Machine) -> bool:
        kept = self.dialect.known_after_end * SECOND
        return self.is_visible(machine) and (machine.ended_at is None or self._world.now < machine.ended_at + kept)
