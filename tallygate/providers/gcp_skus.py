"""Google's price list in memory, and the price of a machine put together from it.

    SKU (description, regions, dated prices) --> Rates (one price per thing, way of buying and region)
    machine (cores, memory, GPUs, local disk) --> parts --> sum of part x rate, or the reason why there is none

A part without a price leaves the machine without one. It is never taken for free.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from ..errors import UsageError
from ..money import Money
from ..pricing.offers import PurchaseOption
from ..times import HOURS_PER_MONTH
from . import gcp_families as families

NANOS = Decimal(1_000_000_000)

_DESCRIPTION = re.compile(
    r"(?P<spot>Spot Preemptible )?(?P<thing>.+?)(?P<attached> attached to Spot Preemptible VMs)?"
    r"(?: (?:running )?in (?P<place>.+))?"
)

_USAGE = {"OnDemand": PurchaseOption.ON_DEMAND, "Preemptible": PurchaseOption.SPOT}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPrice:
    """One step of a price: ``units`` and ``nanos`` of ``currency``, as on the wire; absent numbers are zero there."""

    currency: str
    units: int
    nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dated:
    """A price from a moment on, per ``unit``, with its steps by amount used."""

    effective: datetime
    unit: str
    steps: tuple[UnitPrice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sku:
    """What one entry of the price list says."""

    id: str
    description: str
    usage: str
    regions: tuple[str, ...]
    prices: tuple[Dated, ...]


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of one unit of one thing; ``fault`` says why it cannot be used."""

    effective: datetime
    unit: str = ""
    nanos: int = 0
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine type as the Compute API describes it. ``gpu``: name of the accelerator type."""

    name: str
    vcpus: int
    memory_gib: Decimal
    architecture: str | None
    gpu: str | None = None
    gpus: int = 0
    local_ssd_partitions: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """So much of a thing. ``name`` is the word for people."""

    name: str
    wording: str
    quantity: Decimal


class Unpriced(Exception):
    """A machine has no price; the message says why in a few words."""


class Rates:
    """One price per thing, way of buying and region: the newest in force at ``now``."""

    def __init__(self, skus: Iterable[Sku], *, now: datetime) -> None:
        self._rates: dict[tuple[str, PurchaseOption, str], Rate] = {}
        self._wanted = families.wordings()
        self.read = 0
        self.used = 0
        for sku in skus:
            self._add(sku, now)

    def _add(self, sku: Sku, now: datetime) -> None:
        self.read += 1
        what = self._meant(sku)
        if what is None:
            return
        in_force = [dated for dated in sku.prices if dated.effective <= now]
        if not in_force:
            return
        newest = max(dated.effective for dated in in_force)
        found = [_rate(dated) for dated in in_force if dated.effective == newest]
        rate = found[0] if len(set(found)) == 1 else Rate(newest, fault="two prices")
        self.used += 1
        for region in sku.regions:
            known = self._rates.get((*what, region))
            if known is None or rate.effective > known.effective:
                self._rates[(*what, region)] = rate
            elif rate.effective == known.effective and rate != known:
                self._rates[(*what, region)] = Rate(newest, fault="two prices")

    def _meant(self, sku: Sku) -> tuple[str, PurchaseOption] | None:
        """The thing of our tables that the SKU prices and how it is bought; None for anything else.

        A SKU filed as spot whose words do not say so is nothing that we know.
        """
        option = _USAGE.get(sku.usage)
        parsed = _DESCRIPTION.fullmatch(sku.description)
        if option is None or parsed is None:
            return None
        thing = families.OTHER_WORDINGS.get(parsed["thing"], parsed["thing"])
        if thing not in self._wanted:
            return None
        rest = sku.description.replace(parsed["thing"], "", 1)
        if any(word.casefold() in rest.casefold() for word in families.NOT_MEANT):
            return None
        if parsed["spot"] is not None or parsed["attached"] is not None:
            return thing, PurchaseOption.SPOT  # some spot prices are filed as on demand; their words are right
        return None if option is PurchaseOption.SPOT else (thing, option)

    def price(self, machine: Machine, region: str, option: PurchaseOption) -> Money:
        """The hourly price of ``machine``. Raises ``Unpriced``."""
        total = Decimal(0)
        for part in parts(machine):
            total += part.quantity * self._hourly_nanos(part, region, option)
        try:
            return Money.of(total / NANOS)
        except UsageError:
            raise Unpriced("price is absurd") from None

    def _hourly_nanos(self, part: Part, region: str, option: PurchaseOption) -> Decimal:
        kind = "spot price" if option is PurchaseOption.SPOT else "price"
        rate = self._rates.get((part.wording, option, region))
        if rate is None:
            raise Unpriced(f"no {kind} for {part.name}")
        if rate.fault:
            raise Unpriced(f"{kind} of {part.name}: {rate.fault}")
        per_hour = {"memory": "GiBy.h", "local disk": "GiBy.h"}.get(part.name, "h")
        if rate.unit == per_hour:
            return Decimal(rate.nanos)
        if rate.unit == "GiBy.mo" and part.name == "local disk":
            return Decimal(rate.nanos) / HOURS_PER_MONTH
        raise Unpriced(f"{kind} of {part.name}: unknown unit")


def _rate(dated: Dated) -> Rate:
    """The dearest step, because a free first amount belongs to the whole billing account and may be used up."""
    if not dated.steps:
        return Rate(dated.effective, fault="none stated")
    if {step.currency for step in dated.steps} != {"USD"}:
        return Rate(dated.effective, fault="not in USD")
    if any(step.units < 0 or step.nanos < 0 for step in dated.steps):
        return Rate(dated.effective, fault="below zero")
    nanos = max(step.units * int(NANOS) + step.nanos for step in dated.steps)
    if nanos == 0:
        return Rate(dated.effective, fault="zero")
    return Rate(dated.effective, dated.unit, nanos)


def parts(machine: Machine) -> list[Part]:
    """What a machine is billed for by the hour. Raises ``Unpriced`` for a machine that our tables do not know."""
    whole = families.WHOLE_MACHINES.get(machine.name)
    if whole is not None:
        return [Part("machine", whole, Decimal(1))]
    if machine.name.startswith(families.NOT_COMPOSED):
        raise Unpriced("not the sum of its parts")
    series = families.series_of(machine.name)
    if series is None:
        raise Unpriced("unknown machine series")
    gpu = families.GPUS.get(machine.gpu) if machine.gpu is not None else None
    if machine.gpu is not None and gpu is None:
        raise Unpriced("unknown GPU")
    if series.gpu_slice is not None:
        if gpu is None or gpu.wording != series.gpu_slice or machine.gpus < 1:
            raise Unpriced("unknown GPU")
        return [Part("GPU slice", series.gpu_slice, Decimal(machine.gpus))]
    if gpu is not None and gpu.is_slice:
        raise Unpriced("unknown GPU")
    cores = families.BILLED_CORES.get(machine.name, Decimal(machine.vcpus))
    found = [Part("core", wording, cores) for wording in series.core]
    found += [Part("memory", wording, machine.memory_gib) for wording in series.ram]
    if gpu is not None:
        found.append(Part("GPU", gpu.wording, Decimal(machine.gpus)))
    partitions = machine.local_ssd_partitions
    if partitions is None and (series.has_local_ssd or machine.name.endswith("lssd")):
        raise Unpriced("size of local disk is not stated")
    if partitions:
        found.append(Part("local disk", series.local_ssd, Decimal(partitions * series.partition_gib)))
    return found


def sustained_vcpus(machine: Machine) -> int:
    """The cores that a job can count on: of a shared-core machine one, although it shows two."""
    if machine.name in families.WHOLE_MACHINES or machine.name in families.BILLED_CORES:
        return 1
    return machine.vcpus


OLDEST = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for the date of a price that names none: any dated price is newer."""
