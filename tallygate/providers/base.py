"""What a provider of machines does, whoever it is.

    request --> offers    --> Offer, Offer, ...
    order   --> launch    --> Launch       the same token again: the same machine
    ids     --> describe  --> Listing      no ids: everything that carries our installation's tags
    id      --> terminate --> nothing      of something already gone: also nothing

A provider translates and never decides: it does not filter, rank, retry on another offer or judge a price. Pages,
units and vendor codes end inside it. Its errors are ours: a subclass of ``LaunchRefused`` only when it is certain
that no machine was made, ``OutcomeUnknown`` whenever it is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from ..money import Money
from ..pricing.offers import Offer, ResourceRequest
from ..pricing.terms import Terms


class MachineState(StrEnum):
    """What a provider says about a machine, in our words. Only ``ENDED`` means that it no longer bills."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ENDED = "ended"
    UNRECOGNISED = "unrecognised"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOrder:
    """Everything a provider needs to start one machine, and nothing it may decide.

    ``tags`` carry at least install, job, attempt, token and deadline, and travel inside the create call. The machine
    runs ``agent_script`` with ``agent_document``. It ends itself after ``run_seconds_max`` of its own time and at
    ``not_after`` by the clock, whichever comes first, even if nobody is left to ask it to.
    """

    token: str
    offer: Offer
    price_max: Money
    tags: Mapping[str, str]
    agent_script: str
    agent_document: str
    run_seconds_max: int
    not_after: datetime
    disk_gib: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A machine as a provider describes it.

    ``id`` is the provider's own resource id: what its bill will name. ``ended_at`` is set once the end was observed
    and ``end_source`` says by what (``meter``, ``provider``, ``last_seen``); an ``end_reason`` of ``deadline`` is
    the machine's own end. ``exit_status`` is the command's, when the machine reported one.
    """

    id: str
    provider: str
    token: str
    state: MachineState
    region: str
    zone: str | None
    instance_type: str
    tags: Mapping[str, str] = field(default_factory=dict)
    resource_ids: tuple[str, ...] = ()
    public_address: str | None = None
    launched_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    end_source: str | None = None
    end_reason: str | None = None
    exit_status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a provider showed, and how far that may be trusted.

    ``began_at`` is when the listing was started, by the provider's own clock: this machine's may have been set wrong, and
    what a provider says of its machines is dated by its own. ``complete`` is True only when every page of every region
    came. From an incomplete listing nothing may be concluded about what is *not* in it; ``problem`` says what went wrong.
    """

    provider: str
    began_at: datetime
    complete: bool
    launches: tuple[Launch, ...]
    problem: str | None = None

    def by_token(self) -> dict[str, list[Launch]]:
        found: dict[str, list[Launch]] = {}
        for launch in self.launches:
            found.setdefault(launch.token, []).append(launch)
        return found


class Provider(Protocol):
    """A cloud that rents machines. See the module's picture."""

    @property
    def name(self) -> str: ...
    @property
    def terms(self) -> Terms: ...

    def offers(self, request: ResourceRequest) -> Iterator[Offer]:
        """What can be rented. ``request`` may be used to save calls; every offer is matched again above."""
        ...

    def launch(self, order: LaunchOrder) -> Launch:
        """Make one machine. Repeating a token answers with the machine that the token already made.

        Raises a ``LaunchRefused`` when certainly nothing was made, else ``OutcomeUnknown``.
        """
        ...

    def describe(self, ids: Sequence[str] | None = None) -> Listing:
        """Our machines, or those named. Never raises for a failed page: the listing is then marked incomplete."""
        ...

    def terminate(self, machine_id: str) -> None:
        """Ask for the end of one machine. Success means the request was taken, not that the machine is gone."""
        ...


@runtime_checkable
class SupportsExtension(Protocol):
    """A provider that can move a running machine's own end."""

    def extend(self, machine_id: str, *, not_after: datetime, run_seconds_max: int) -> None:
        """Set a later end. Repeating it changes nothing; a machine already gone is ``Unavailable``."""
        ...


@runtime_checkable
class SupportsCheckpointRequest(Protocol):
    """A provider that can ask the job on a machine to save its work and go on."""

    def request_checkpoint(self, machine_id: str) -> None: ...


AGENT_TAGS = ("tallygate-install", "tallygate-job", "tallygate-attempt", "tallygate-token", "tallygate-not-after")
"""The tags every machine of ours carries from the moment it exists."""
