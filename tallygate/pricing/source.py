"""Where prices are read: one protocol, one adapter a cloud.

    PriceSource.read(region) --> Sheet --> catalogue (what is sold now, searched) and history (what was ever seen)

A sheet is whole or it is not there: a source that could not read its last page raises, because a market with a part missing
looks like one in which nothing is cheap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from ..money import Money
from .offers import Offer, PurchaseOption


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One price of one pool, in force from ``at`` until the next observation of the pool."""

    provider: str
    region: str
    zone: str | None
    instance_type: str
    purchase_option: PurchaseOption
    at: datetime
    hourly_price: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Everything that one provider sells in one region, read at one time.

    ``source`` says where it was read. ``refused`` counts the rows that were left out, by the reason in a few words, such as
    ``price is zero``: they are shown, never silently dropped, and never taken for free machines. ``notes`` say what else was
    missing, such as interruption rates that could not be read; prices are never among it.
    """

    provider: str
    region: str
    read_at: datetime
    source: str
    offers: tuple[Offer, ...]
    refused: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class PriceSource(Protocol):
    """One cloud's prices. Safe to be read from several threads."""

    @property
    def provider(self) -> str: ...

    def regions(self) -> Sequence[str]:
        """Every region that can be read, in order. Raises ``Unavailable`` or ``CredentialsMissing``."""
        ...

    def read(self, region: str) -> Sheet:
        """The whole sheet of a region, both purchase options. Raises ``Unavailable`` when any part could not be read."""
        ...


class HistorySource(Protocol):
    """A source that also tells past prices."""

    def history(self, region: str, *, since: datetime) -> Iterator[Observation]:
        """Every price change of a region since then, and the price in force at that moment. Raises ``Unavailable``."""
        ...
