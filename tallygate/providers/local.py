"""The provider ``local``: machines that are processes of this one, at an assumed price.

    machines/<token>/        one folder per machine, made whole by one rename; its name is the machine's id
    machines/.launching      a lock: one launch at a time

Nothing here is simulated. A machine runs the agent and the job, meters itself, ends itself at its deadline, and goes on
when the process that launched it is gone; see ``local_machine``. Only Linux has what that takes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Any

from ..errors import (
    InsufficientCapacity,
    InvalidOrder,
    LaunchRefused,
    OutcomeUnknown,
    Throttled,
    Unavailable,
    UsageError,
)
from ..money import Money
from ..pricing.offers import Offer, PurchaseOption, ResourceRequest
from ..pricing.terms import Terms
from ..times import Clock, Period, instant
from . import local_machine as machine
from .base import Launch, LaunchOrder, Listing, MachineState

NAME = "local"
REGION = "local"

KILL_SECONDS = 5
"""The keeper acts within a tenth of a second after the deadline and kills for three seconds; the guard, should the keeper
be gone, a second and a half later."""

START_SECONDS_MAX = 20
"""How long a launch waits for its machine to say that it runs, and for other launches to be done."""

ENDED_SHOWN_SECONDS = 86_400
"""How long an ended machine stays in listings that name no ids. By its id it is found for ever."""

_TOKEN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

_PASSED_ON = re.compile(r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_[A-Z]+|TZ|TMPDIR")
"""What a machine inherits of the launcher's environment. Credentials are not among it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A share of this machine."""

    name: str
    cpus: int
    memory_mib: int
    is_whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one machine's meter says: ``seconds`` since ``started_at``, rounded up, at ``hourly_price``."""

    machine_id: str
    token: str
    tags: Mapping[str, str]
    instance_type: str
    started_at: datetime
    ended_at: datetime | None
    seconds: int
    hourly_price: Money


class LocalProvider:
    """Machines on this machine. ``root`` is where they live; nothing is made there before the first launch.

    ``install_id`` answers with this installation's id, ``hourly_price`` is the assumed price of the whole machine, and
    ``machines_max`` how many may run at once. ``clock`` must be the wall clock: the machines themselves go by it.
    """

    def __init__(
        self, root: Path, *, install_id: Callable[[], str], hourly_price: Money, clock: Clock, machines_max: int = 8
    ) -> None:
        self._root = root
        self._install_id = install_id
        self._hourly_price = hourly_price
        self._clock = clock
        self._machines_max = machines_max

    @property
    def name(self) -> str:
        return NAME

    @property
    def terms(self) -> Terms:
        return Terms(
            kill_seconds=KILL_SECONDS,
            has_price_ceiling=True,
            seconds_min=1,
            seconds_step=1,
            token_lasts=True,
            disk_gib_month=None,
            disk_gib_default=0,
            public_address_hour=None,
            egress_gib=None,
            source="this machine meters itself by the second; its price is a setting and does not move",
            remembers_ended=True,
        )

    # --- what there is

    def offers(self, request: ResourceRequest) -> Iterator[Offer]:
        """One offer per shape: 1, 2, 4 ... processors up to all of them, memory and price in proportion."""
        now = self._clock.now()
        shapes = self._shapes()
        for shape in shapes:
            price = self._price(shape, shapes[-1].cpus)
            yield Offer(
                provider=NAME,
                region=REGION,
                zone=None,
                instance_type=shape.name,
                purchase_option=PurchaseOption.ON_DEMAND,
                vcpus=shape.cpus,
                memory_gib=(Decimal(shape.memory_mib) / 1024).quantize(Decimal("0.01"), rounding=ROUND_DOWN),
                hourly_price=price,
                on_demand_price=price,
                priced_at=now,
                price_source="config",
            )

    def _shapes(self) -> list[Shape]:
        if sys.platform != "linux":
            raise Unavailable(
                "The provider local runs on Linux only", cure="Submit from a Linux machine, or use a cloud"
            )
        cpus, memory_mib = len(os.sched_getaffinity(0)), _memory_mib()
        sizes = [2**power for power in range(cpus.bit_length()) if 2**power < cpus] + [cpus]
        return [Shape(f"local-{size}", size, memory_mib * size // cpus, size == cpus) for size in sizes]

    def _price(self, shape: Shape, cpus: int) -> Money:
        """The shape's share of the whole machine's price, rounded up so that it is never nothing."""
        return Money(-(-self._hourly_price.nanos * shape.cpus // cpus), self._hourly_price.currency)

    # --- launching

    def launch(self, order: LaunchOrder) -> Launch:
        """Start a machine, or answer with the one this token has already made.

        A repeat finishes what a launcher that died began, as long as ``not_after`` lies ahead. The same token with other
        parameters is ``OutcomeUnknown``: a machine exists, but not the one that was ordered.
        """
        shape = self._check(order)
        place = self._root / order.token
        with self._launching(place):
            if place.exists():
                self._compare(place, order)
            else:
                self._admit(order)
                self._make(place, order, shape)
            self._start(place)
        found = self._launch_of(place)
        if found is None:
            raise OutcomeUnknown(f"The machine {order.token} belongs to another installation")
        return found

    def _check(self, order: LaunchOrder) -> Shape:
        if not _TOKEN.fullmatch(order.token):
            raise InvalidOrder(f"{order.token[:80]!r} cannot be a launch token")
        try:
            shapes = {shape.name: shape for shape in self._shapes()}
        except Unavailable as error:
            raise InvalidOrder(error.message, cure=error.cure) from None
        if order.offer.provider != NAME or order.offer.instance_type not in shapes:
            raise InvalidOrder(
                f"This machine offers {', '.join(shapes)}, not {order.offer.provider} {order.offer.instance_type}"
            )
        return shapes[order.offer.instance_type]

    @contextmanager
    def _launching(self, place: Path) -> Iterator[None]:
        """One launch at a time, so that machines are counted right and each folder is made once."""
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._root / ".launching", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LaunchRefused(f"{self._root} cannot be written: {error.strerror}") from error
        try:
            patience = time.monotonic() + START_SECONDS_MAX
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > patience:
                        what = "Other launches on this machine take too long"
                        raise (OutcomeUnknown(what) if place.exists() else Throttled(what)) from None
                    time.sleep(0.01)
            yield
        finally:
            os.close(lock)

    def _admit(self, order: LaunchOrder) -> None:
        if self._clock.now() >= order.not_after:
            raise InvalidOrder("The machine would have to be gone before it could start")
        running = sum(1 for place in self._places() if _is_running(place))
        if running >= self._machines_max:
            raise InsufficientCapacity(
                f"{running} machines run here already, and {self._machines_max} is the most",
                cure="Wait until one of them ends, or raise local.machines_max",
            )

    def _make(self, place: Path, order: LaunchOrder, shape: Shape) -> None:
        """The machine's folder, complete the moment it appears."""
        fresh = self._root / f".{order.token}.{secrets.token_hex(6)}"
        try:
            fresh.mkdir(mode=0o700)
            for name, content in ((machine.SCRIPT, order.agent_script), (machine.DOCUMENT, order.agent_document)):
                with open(os.open(fresh / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            machine.write_json(
                fresh / machine.ORDER,
                {
                    "token": order.token,
                    "tags": dict(order.tags),
                    "instance_type": order.offer.instance_type,
                    "region": order.offer.region,
                    "hourly_price_nanos": order.offer.hourly_price.nanos,
                    "currency": order.offer.hourly_price.currency,
                    "digest": _digest(order),
                    "launched_at": self._clock.now().isoformat(),
                    "launched_epoch": int(self._clock.now().timestamp()),
                    "run_seconds_max": order.run_seconds_max,
                    "not_after_epoch": int(order.not_after.timestamp()),
                    "memory_mib": shape.memory_mib,
                    "whole_machine": shape.is_whole,
                    "cpus": self._least_used(shape.cpus),
                },
            )
            fresh.rename(place)
            machine.flush_folder(self._root)
        except OSError as error:
            shutil.rmtree(fresh, ignore_errors=True)
            if place.exists():
                raise OutcomeUnknown(f"The machine's folder may not be durable: {error.strerror}") from error
            raise InsufficientCapacity(f"No folder could be made for the machine: {error.strerror}") from error

    def _least_used(self, count: int) -> list[int]:
        """The processors that the fewest running machines were given."""
        use = dict.fromkeys(sorted(os.sched_getaffinity(0)), 0)
        for place in self._places():
            if _is_running(place):
                for cpu in (_order_of(place) or {}).get("cpus", ()):
                    if cpu in use:
                        use[cpu] += 1
        return sorted(sorted(use, key=lambda cpu: (use[cpu], cpu))[:count])

    def _compare(self, place: Path, order: LaunchOrder) -> None:
        known = _order_of(place)
        if known is None or known.get("digest") != _digest(order):
            raise OutcomeUnknown(
                f"The token {order.token} has already made a machine, from a different order",
                cure="Two orders must never share a token. Look at the machine before anything else is launched",
            )

    def _start(self, place: Path) -> None:
        if machine.is_locked(place) or _has_lived(place):
            return
        if (place / machine.STOP).exists():
            raise InvalidOrder("The machine was told to end before it had started")
        words = [sys.executable, "-I", machine.__file__, str(place)]
        passed_on = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
        quiet = subprocess.DEVNULL
        try:
            starting = subprocess.Popen(
                words, env=passed_on, cwd=place, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
            )
        except OSError as error:
            raise OutcomeUnknown(f"The machine's process could not be started: {error.strerror}") from error
        try:
            outcome = starting.wait(timeout=START_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            starting.kill()
            starting.wait()
            raise OutcomeUnknown(f"The machine did not say within {START_SECONDS_MAX} s that it runs") from None
        if outcome == machine.OVER and not _has_lived(place):
            raise InvalidOrder("The machine's time was over before it could start")
        if outcome not in (machine.STARTED, machine.OVER):
            raise OutcomeUnknown("The machine's process ended before it said that it runs")

    # --- looking

    def describe(self, ids: Sequence[str] | None = None) -> Listing:
        """Our machines. One that was begun but never started is not among them unless it is asked for by id."""
        began_at = self._clock.now()
        launches: list[Launch] = []
        problems: list[str] = []
        try:
            named = None if ids is None else {name for name in ids if _TOKEN.fullmatch(name)}
            for place in self._places():
                if named is not None and place.name not in named:
                    continue
                try:
                    found = self._launch_of(place, by_id=named is not None)
                except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
                    problems.append(f"{place.name}: {error}")
                    continue
                if found is not None:
                    launches.append(found)
        except OSError as error:
            problems.append(f"{self._root}: {error.strerror}")
        return Listing(
            provider=NAME,
            began_at=began_at,
            complete=not problems,
            launches=tuple(launches),
            problem="; ".join(problems[:5]) or None,
        )

    def _places(self) -> Iterator[Path]:
        try:
            with os.scandir(self._root) as entries:
                names = sorted(entry.name for entry in entries if _TOKEN.fullmatch(entry.name))
        except FileNotFoundError:
            return
        for name in names:
            if (self._root / name).is_dir():
                yield self._root / name

    def _launch_of(self, place: Path, *, by_id: bool = True) -> Launch | None:
        """The machine in a folder; None when it is not ours to show."""
        if not by_id and _ended_long_ago(place):
            return None
        order = _order_of(place)
        if order is None:
            raise ValueError("it has no order")
        if order["tags"].get("tallygate-install") != self._install_id():
            return None
        # In this order: an end that is written after the look at the lock is then seen as one.
        alive = machine.is_locked(place)
        started = machine.read_json(place / machine.MACHINE)
        meter = machine.read_json(place / machine.METER)
        launched_at = instant(order["launched_at"])
        started_at = None if started is None else instant(started["started_at"])
        end: dict[str, Any] = {}
        if meter is not None:
            state = MachineState.ENDED
            end = {"ended_at": instant(meter["ended_at"]), "end_source": "meter", "end_reason": meter["reason"]}
            end["exit_status"] = meter["exit_status"]
        elif alive:
            stopping = (place / machine.STOP).exists()
            running = MachineState.PENDING if started is None else MachineState.RUNNING
            state = MachineState.STOPPING if stopping else running
        elif started_at is not None:
            state = MachineState.ENDED
            seen = datetime.fromtimestamp((place / machine.HEARTBEAT).stat().st_mtime, UTC)
            end = {"ended_at": max(seen, started_at), "end_source": "last_seen", "end_reason": "it vanished"}
        elif not by_id:
            return None
        elif self._may_still_start(place, order):
            state = MachineState.PENDING
        else:
            state = MachineState.ENDED
            end = {"ended_at": launched_at, "end_source": "provider", "end_reason": "it was never started"}
        return Launch(
            id=place.name,
            provider=NAME,
            token=place.name,
            state=state,
            region=order["region"],
            zone=None,
            instance_type=order["instance_type"],
            tags=order["tags"],
            resource_ids=(place.name,),
            launched_at=started_at or launched_at,
            started_at=started_at,
            **end,
        )

    def _may_still_start(self, place: Path, order: dict[str, Any]) -> bool:
        return not (place / machine.STOP).exists() and self._clock.now().timestamp() < order["not_after_epoch"]

    # --- what they have used

    def meters(self) -> Iterator[Reading]:
        """What every machine of ours that ever started has used so far. A folder that cannot be read raises."""
        for place in self._places():
            found = self._launch_of(place)
            order = _order_of(place)
            if found is None or found.started_at is None or order is None:
                continue
            until = found.ended_at or self._clock.now()
            yield Reading(
                machine_id=found.id,
                token=found.token,
                tags=found.tags,
                instance_type=found.instance_type,
                started_at=found.started_at,
                ended_at=found.ended_at,
                seconds=Period(found.started_at, max(until, found.started_at)).seconds,
                hourly_price=Money(order["hourly_price_nanos"], order["currency"]),
            )

    # --- words to a machine

    def terminate(self, machine_id: str) -> None:
        """Ask a machine to end; it gives its job the grace first. One that is gone, or never was, needs nothing."""
        place = self._ours(machine_id)
        if place is None or (place / machine.METER).exists():
            return
        try:
            with open(os.open(place / machine.STOP, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "w") as file:
                os.fsync(file.fileno())
            machine.flush_folder(place)
        except OSError as error:
            raise Unavailable(f"The machine {machine_id} cannot be told to end: {error.strerror}") from error

    def extend(self, machine_id: str, *, not_after: datetime, run_seconds_max: int) -> None:
        """Give a running machine a later end. The agent hears of it too. An earlier end changes nothing."""
        said = {"not_after_epoch": int(not_after.timestamp()), "run_seconds_max": run_seconds_max}
        self._say(machine_id, lambda known: {name: max(value, known.get(name, 0)) for name, value in said.items()})

    def request_checkpoint(self, machine_id: str) -> None:
        """Ask the job to save its work and go on."""
        self._say(machine_id, lambda known: {"checkpoint": known.get("checkpoint", 0) + 1})

    def _say(self, machine_id: str, change: Callable[[dict[str, int]], dict[str, int]]) -> None:
        place = self._ours(machine_id)
        if place is None or not machine.is_locked(place):
            raise Unavailable(f"There is no machine {machine_id} that runs")
        with self._launching(place):
            try:
                known = machine.read_json(place / machine.CONTROL) or {}
                machine.write_json(place / machine.CONTROL, {**known, **change(known)})
            except (OSError, ValueError) as error:
                raise Unavailable(f"The machine {machine_id} cannot be told anything: {error}") from error

    def _ours(self, machine_id: str) -> Path | None:
        if not _TOKEN.fullmatch(machine_id):
            raise UsageError(f"{machine_id[:80]!r} is not the id of a machine here")
        place = self._root / machine_id
        try:
            order = _order_of(place)
        except (OSError, ValueError) as error:
            raise Unavailable(f"The machine {machine_id} cannot be looked at: {error}") from error
        return place if order and order["tags"].get("tallygate-install") == self._install_id() else None


# --- inside


def _memory_mib() -> int:
    """The memory that programs here may use: the system's, or less where a control group says so."""
    amounts = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            amounts.append(int(Path(path).read_text()))
        except (OSError, ValueError):
            continue
    return max(1, min(amounts) // (1024 * 1024))


def _digest(order: LaunchOrder) -> str:
    """What must be equal for two orders to be the same. The agent's script may be newer after an upgrade."""
    parts = {
        "instance_type": order.offer.instance_type,
        "region": order.offer.region,
        "price_max": order.price_max.nanos,
        "currency": order.price_max.currency,
        "run_seconds_max": order.run_seconds_max,
        "not_after": order.not_after.timestamp(),
        "disk_gib": order.disk_gib,
        "tags": dict(order.tags),
        "document": order.agent_document,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _order_of(place: Path) -> dict[str, Any] | None:
    return machine.read_json(place / machine.ORDER)


def _is_running(place: Path) -> bool:
    """Whether a machine runs here. Its process outlives its meter by a moment."""
    return machine.is_locked(place) and not (place / machine.METER).exists()


def _has_lived(place: Path) -> bool:
    return (place / machine.METER).exists() or (place / machine.MACHINE).exists()


def _ended_long_ago(place: Path) -> bool:
    try:
        ended = (place / machine.METER).stat().st_mtime
    except FileNotFoundError:
        return False
    return ended < time.time() - ENDED_SHOWN_SECONDS
