"""The market: the catalogue and this machine side by side, searched as one; and what to relax when nothing fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

from ..money import Money
from .catalog import Catalog, Cost, Per
from .offers import Offer, PurchaseOption, ResourceRequest, rank

NANO_GIB = Decimal("0.000000001")
"""The finest difference in memory that a catalogue knows."""

MORE_MEMORY_FOR = Decimal("1.2")
"""What more memory may cost: this many times the best price per vCPU."""

OwnOffers = Callable[[ResourceRequest], Iterable[Offer]]
"""What is offered without a catalogue: this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
    """One bound of a request, and the nearest value of it with which ``offer`` fits. ``bound`` is the field's name."""

    bound: str
    value: object
    offer: Offer


class Market:
    """Everything that could be rented."""

    def __init__(self, catalog: Catalog, own_offers: OwnOffers) -> None:
        self.catalog = catalog
        self._own_offers = own_offers

    def cheapest(self, request: ResourceRequest, *, limit: int, per: Per = Per.HOUR) -> list[Offer]:
        """What ``Catalog.cheapest`` promises, this machine among it unless its price is in another currency."""
        own = rank(self._own(request), request)
        found = self.catalog.cheapest(request, limit=limit, per=per)
        return _merged(own, found, lambda offer: _share(offer, per), limit)

    def cheapest_to_finish(self, request: ResourceRequest, cost: Cost, *, hours: Decimal, limit: int) -> list[Offer]:
        """What ``Catalog.cheapest_to_finish`` promises, this machine among it."""
        own = rank(self._own(request), request)
        found = self.catalog.cheapest_to_finish(request, cost, hours=hours, limit=limit)
        return _merged(own, found, lambda offer: cost(offer).nanos, limit)

    def more_memory(self, request: ResourceRequest, best: Offer) -> Offer | None:
        """The offer with the most memory, above that of ``best``, for at most 1.2 times its price per vCPU."""
        most = _share(best, Per.VCPU) * Fraction(MORE_MEMORY_FOR)
        found: Offer | None = None
        while True:
            beyond = (found or best).memory_gib + NANO_GIB
            if request.memory_gib_max is not None and beyond > request.memory_gib_max:
                return found
            bigger = replace(request, memory_gib_min=max(request.memory_gib_min, beyond))
            offers = self.cheapest(bigger, limit=1, per=Per.VCPU)
            if not offers or _share(offers[0], Per.VCPU) > most:
                return found
            found = offers[0]

    def relaxations(self, request: ResourceRequest) -> list[Relaxation]:
        """For every bound that alone keeps offers out: the nearest value that lets one in, and the cheapest such offer."""
        return [found for bound in _SEARCHES for found in self._relaxed(request, bound)]

    def _relaxed(self, request: ResourceRequest, bound: str) -> Iterator[Relaxation]:
        if getattr(request, bound) == _UNBOUNDED[bound]:
            return
        found: Offer | None = None
        wider: ResourceRequest | None = replace(request, **{bound: _UNBOUNDED[bound]})
        # Of a size the nearest is wanted and not the cheapest: ask for nearer ones until there is none.
        while wider is not None:
            offers = self.cheapest(wider, limit=1)
            if not offers:
                break
            found = offers[0]
            wider = _SEARCHES[bound](wider, found)
        if found is not None:
            yield Relaxation(bound=bound, value=_value(found, bound), offer=found)

    def _own(self, request: ResourceRequest) -> list[Offer]:
        ceiling = request.hourly_price_max
        return [
            offer
            for offer in self._own_offers(request)
            if ceiling is None or offer.hourly_price.currency == ceiling.currency
        ]


def _share(offer: Offer, per: Per) -> Fraction:
    """The hourly price in nanos per what it is compared by."""
    by = {Per.HOUR: Fraction(1), Per.VCPU: Fraction(offer.vcpus), Per.GIB: Fraction(offer.memory_gib)}[per]
    return offer.hourly_price.nanos / by


def _merged(one: list[Offer], other: list[Offer], key: Callable[[Offer], Any], limit: int) -> list[Offer]:
    comparable = [offer for offer in one if not other or offer.hourly_price.currency == other[0].hourly_price.currency]
    if not comparable:
        return other
    everything = rank([*comparable, *other], ResourceRequest(vcpus_min=0))
    return sorted(everything, key=key)[:limit]


# --- bounds

Nearer = Callable[[ResourceRequest, Offer], ResourceRequest | None]
"""The request for something strictly nearer than an offer; None when there can be nothing nearer."""


def _only(request: ResourceRequest, found: Offer) -> None:
    """For a bound that is no size: the cheapest is the nearest."""


_SEARCHES: dict[str, Nearer] = {
    "hourly_price_max": _only,
    "vcpus_min": lambda request, found: replace(request, vcpus_min=found.vcpus + 1),
    "vcpus_max": lambda request, found: replace(request, vcpus_max=found.vcpus - 1),
    "memory_gib_min": lambda request, found: replace(request, memory_gib_min=found.memory_gib + NANO_GIB),
    "memory_gib_max": lambda request, found: replace(request, memory_gib_max=found.memory_gib - NANO_GIB),
    "gpus_min": lambda request, found: replace(request, gpus_min=found.gpus + 1),
    "gpu_model": _only,
    "architecture": _only,
    "purchase_options": _only,
    "provider": _only,
    "region": _only,
    "instance_type": _only,
}

_UNBOUNDED: dict[str, Any] = {
    "vcpus_min": 1,
    "memory_gib_min": Decimal(0),
    "gpus_min": 0,
    "purchase_options": frozenset(PurchaseOption),
    **dict.fromkeys(
        (
            "hourly_price_max",
            "vcpus_max",
            "memory_gib_max",
            "gpu_model",
            "architecture",
            "provider",
            "region",
            "instance_type",
        )
    ),
}


def _value(offer: Offer, bound: str) -> object:
    """What the bound must be for ``offer`` to fit."""
    values: dict[str, object] = {
        "hourly_price_max": offer.hourly_price,
        "vcpus_min": offer.vcpus,
        "vcpus_max": offer.vcpus,
        "memory_gib_min": offer.memory_gib,
        "memory_gib_max": offer.memory_gib,
        "gpus_min": offer.gpus,
        "purchase_options": offer.purchase_option,
    }
    return values[bound] if bound in values else getattr(offer, bound)


def budget_ceiling(budget: Money, hours: Decimal) -> Money:
    """The highest hourly price that ``budget`` pays for ``hours`` hours, exactly: prices are whole nanos."""
    return Money(int(Fraction(budget.nanos) / Fraction(hours)), budget.currency)
