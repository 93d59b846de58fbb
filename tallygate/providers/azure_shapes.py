"""What Azure says a machine is: its Resource SKUs, and our table of the GPUs that they only hint at in a name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ..errors import UsageError
from ..money import parse_decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One size in one region. ``zones`` are those the subscription may use; empty for a region without zones.

    ``vcpus``: those that can be used, which in sizes with constrained cores are fewer than those paid for.
    """

    name: str
    vcpus: int
    memory_gib: Decimal
    architecture: str | None
    gpus: int
    gpu_model: str | None
    gpu_memory_gib: Decimal | None
    zones: tuple[str, ...]
    has_spot: bool


class LeftOut(Exception):
    """A size cannot be offered; the message says why in a few words."""


@dataclass(frozen=True, slots=True)
class GpuSeries:
    """The GPU of the sizes whose name fits. ``whole_from``: how many of the name's cores come with one whole GPU.

    Sizes with fewer have a slice of it, with memory in proportion; None where Azure does not slice.
    """

    pattern: str
    model: str
    memory_gib: int
    whole_from: int | None = None


GPU_SERIES = (
    GpuSeries(r"NC\d+ads_A100_v4", "A100", 80),
    GpuSeries(r"NC\d+ads_A10_v4", "A10", 24, whole_from=32),
    GpuSeries(r"NC\d+as_T4_v3", "T4", 16),
    GpuSeries(r"NCC?\d+ad(?:s|is)_H100_v5", "H100", 94),
    GpuSeries(r"NC\d+r?s_v3", "V100", 16),
    GpuSeries(r"NC\d+r?s_v2", "P100", 16),
    GpuSeries(r"NC\d+r?", "K80", 12),
    GpuSeries(r"ND\d+am?sr_A100_v4", "A100", 80),
    GpuSeries(r"ND\d+asr_v4", "A100", 40),
    GpuSeries(r"ND\d+isr_H100_v5", "H100", 80),
    GpuSeries(r"ND\d+isr_H200_v5", "H200", 141),
    GpuSeries(r"ND\d+isr_MI300X_v5", "MI300X", 192),
    GpuSeries(r"ND\d+isr_GB200_v6", "GB200", 186),
    GpuSeries(r"ND\d+rs_v2", "V100", 32),
    GpuSeries(r"ND\d+r?s", "P40", 24),
    GpuSeries(r"NV\d+adm?s_A10_v5", "A10", 24, whole_from=36),
    GpuSeries(r"NV\d+as_v4", "MI25", 16, whole_from=32),
    GpuSeries(r"NV\d+s_v[23]", "M60", 8),
    GpuSeries(r"NV\d+", "M60", 8),
    GpuSeries(r"NG\d+adm?s_V620_v1", "V620", 32, whole_from=32),
)
"""By the size's name behind ``Standard_``, from Azure's pages on GPU sizes. The first that fits is meant."""

_ARCHITECTURES = {"x64": "x86_64", "arm64": "arm64"}


def shape_of(sku: Any, region: str) -> Shape | None:
    """The shape of a Resource SKU; None for what is no virtual machine or not in ``region``. Raises ``LeftOut``."""
    if (sku.resource_type or "").casefold() != "virtualmachines" or not sku.name:
        return None
    places = [place for place in sku.location_info or [] if (place.location or "").casefold() == region]
    if not places:
        return None
    told = {entry.name: entry.value for entry in sku.capabilities or [] if entry.name and entry.value}
    vcpus = _whole(told.get("vCPUsAvailable") or told.get("vCPUs"))
    memory = _number(told.get("MemoryGB"))
    if not vcpus or memory is None or memory <= 0:
        raise LeftOut("cores or memory are not stated")
    zones = sorted({zone for place in places for zone in place.zones or []})
    allowed = _allowed_zones(sku.restrictions or [], region, zones)
    count = _number(told.get("GPUs", "0"))
    if count is None or count < 0:
        raise LeftOut("GPUs are not stated")
    gpus, model, gpu_memory = _gpus(sku.name, count)
    return Shape(
        name=sku.name,
        vcpus=vcpus,
        memory_gib=memory,
        architecture=_ARCHITECTURES.get(told.get("CpuArchitectureType", "").casefold()),
        gpus=gpus,
        gpu_model=model,
        gpu_memory_gib=gpu_memory,
        zones=allowed,
        has_spot=told.get("LowPriorityCapable", "").casefold() == "true",
    )


def _allowed_zones(restrictions: Iterable[Any], region: str, zones: list[str]) -> tuple[str, ...]:
    barred: set[str] = set()
    for restriction in restrictions:
        info = restriction.restriction_info
        where = [*(restriction.values_property or []), *((info.locations or []) if info else [])]
        if where and region not in {place.casefold() for place in where}:
            continue
        if _word(restriction.type) == "zone":
            barred |= set((info.zones or []) if info else [])
        else:
            raise LeftOut(_REASONS.get(_word(restriction.reason_code), "not available to the subscription"))
    allowed = tuple(zone for zone in zones if zone not in barred)
    if zones and not allowed:
        raise LeftOut("no zone is available to the subscription")
    return allowed


_REASONS = {
    "notavailableforsubscription": "not available to the subscription",
    "quotaid": "not available to this kind of subscription",
}


def _word(value: object) -> str:
    """The text of a code that the SDK gives as an enumeration or as text."""
    return str(getattr(value, "value", value)).casefold()


def _gpus(name: str, count: Decimal) -> tuple[int, str | None, Decimal | None]:
    """How many GPUs, which, and the memory of each. A slice is one GPU with less memory."""
    if not count:
        return 0, None, None
    body = name.removeprefix("Standard_")
    series = next((series for series in GPU_SERIES if re.fullmatch(series.pattern, body)), None)
    whole = int(count) if count >= 1 else 1
    if count > 1 and count != whole:
        raise LeftOut("GPUs are not stated")
    if series is None:
        return whole, None, None
    memory = Decimal(series.memory_gib)
    if count < 1:
        return 1, series.model, (memory * count).quantize(Decimal("0.1")).normalize()
    cores = re.search(r"\d+", body)
    if series.whole_from is not None and cores is not None and int(cores[0]) < series.whole_from:
        return 1, series.model, memory * int(cores[0]) / series.whole_from
    return whole, series.model, memory


def _number(text: str | None) -> Decimal | None:
    try:
        return parse_decimal(text) if text else None
    except UsageError:
        return None


def _whole(text: str | None) -> int | None:
    number = _number(text)
    return int(number) if number is not None and number >= 1 and number == int(number) else None
