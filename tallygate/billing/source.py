"""Where charges come from."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Protocol

from ..money import Money
from ..times import Period
from .charge import Charge


class BillingSource(Protocol):
    """A place that knows what was charged. Reading it changes nothing there."""

    @property
    def name(self) -> str:
        """The provider whose bill this is."""
        ...

    @property
    def calls(self) -> int:
        """How many requests this object has made so far, pages and repeats included."""
        ...

    @property
    def call_price(self) -> Money:
        """What the provider takes for one of them."""
        ...

    def charges(self, period: Period) -> Iterator[Charge]:
        """Every charge whose charge period starts inside ``period``, as known now, in any order.

        Raises ``Unavailable`` or ``CredentialsMissing`` when it cannot be asked. An empty answer means that nothing was
        charged *as far as the source knows*; whether that can still change is what ``complete_through`` says.
        """
        ...

    def complete_through(self) -> datetime:
        """Before this moment the figures should no longer move."""
        ...
