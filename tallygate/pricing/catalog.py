"""The catalogue: every offer that was read last, searched without loading it.

A version never changes. Refreshing makes the next one beside it and puts it in its place in one step, so that whoever is
searching goes on in the version that was there, and a refresh that dies leaves the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Protocol

from ..money import Money
from .offers import Offer, ResourceRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One provider's region in a version: how many offers, read when and where, and what was left out and why.

    ``refused`` rows were left out, ``reasons`` counts them by reason, and ``notes`` say what else was missing, as in ``Sheet``.
    """

    provider: str
    region: str
    read_at: datetime
    source: str
    offers: int
    refused: int
    reasons: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """``id``: the first 16 hexadecimal digits of the SHA-256 over every offer, so that equal contents are the same version."""

    id: str
    made_at: datetime
    offers: int


class Per(Enum):
    """What prices are compared by: a machine's hour, or that hour's share of one vCPU or one GiB of memory."""

    HOUR = "hour"
    VCPU = "vcpu"
    GIB = "gib"


Cost = Callable[[Offer], Money]
"""What finishing on an offer is expected to cost. Never less than the hourly price for the estimated hours."""


class Catalog(Protocol):
    """One version, open for reading."""

    @property
    def version(self) -> Version: ...

    def parts(self) -> Sequence[Part]:
        """What the version is made of, by provider and region."""
        ...

    def cheapest(self, request: ResourceRequest, *, limit: int, per: Per = Per.HOUR) -> list[Offer]:
        """The first ``limit`` of what ``rank`` would answer over all offers of the version.

        With another ``per``, those with the lowest hourly price per vCPU or GiB, compared exactly; equal ones in the order of
        ``rank``. Raises ``UsageError`` when the request's highest price is in another currency than the version.
        """
        ...

    def cheapest_to_finish(self, request: ResourceRequest, cost: Cost, *, hours: Decimal, limit: int) -> list[Offer]:
        """The ``limit`` offers that match and cost least by ``cost``; equal costs in the order of ``rank``.

        Exact: an offer is left unlooked at only when its hourly price times ``hours`` is already dearer than the last one kept.
        """
        ...

    def close(self) -> None: ...
