"""How Google words the prices of its machines: one row per machine series, one per GPU.

Google prices no machine. It prices hours of a core, of a GiB of memory, of a GPU and of local disk, each under a
description such as ``N2 Instance Core running in Americas``. A description is matched whole, up to the place: ``N2 Custom
Instance Core`` is another thing than ``N2 Instance Core``. A wording that is wrong or missing here can therefore only leave
a machine without a price, never give it a wrong one.

Sources: the Cloud Billing Catalog's own descriptions as quoted in public price tools, and the machine families'
documentation. The place in a description is a marketing name and is never read; the regions of a SKU are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

LOCAL_SSD = "SSD backed Local Storage"
"""Local disk of every series that has no wording of its own; per GiB and month."""

LOCAL_SSD_PARTITION_GIB = 375


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The wording of one machine series.

    ``core`` and ``ram``: descriptions whose prices add up. ``gpu_slice``: instead of both, the description of one GPU with its
    share of everything else in the machine. ``has_local_ssd``: whether every type of the series comes with local disk,
    so that a type that does not say how much has no price. ``architecture``: for types that do not say it themselves.
    """

    core: tuple[str, ...] = ()
    ram: tuple[str, ...] = ()
    gpu_slice: str | None = None
    local_ssd: str = LOCAL_SSD
    partition_gib: int = LOCAL_SSD_PARTITION_GIB
    has_local_ssd: bool = False
    architecture: str = "x86_64"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """The wording of one GPU's price, its short name, and its memory.

    ``is_slice``: the price is that of a GPU with its share of the whole machine, so that nothing is added to it.
    """

    wording: str
    model: str
    memory_gib: int
    is_slice: bool = False


def _named(name: str, *, local_ssd: str = LOCAL_SSD, arm: bool = False, has_local_ssd: bool = False) -> Series:
    """A series whose descriptions are its name and ``Instance Core`` or ``Instance Ram``."""
    return Series(
        core=(f"{name} Instance Core",),
        ram=(f"{name} Instance Ram",),
        local_ssd=local_ssd,
        has_local_ssd=has_local_ssd,
        architecture="arm64" if arm else "x86_64",
    )


_M1_CORE, _M1_RAM = "Memory-optimized Instance Core", "Memory-optimized Instance Ram"
_M2_PREMIUM = "Memory Optimized Upgrade Premium for"

SERIES: Mapping[str, Series] = {
    # general purpose
    "e2": _named("E2"),
    "n1": _named("N1 Predefined"),
    "n2": _named("N2"),
    "n2d": _named("N2D AMD"),
    "n4": _named("N4"),
    "n4a": _named("N4A", arm=True),
    "n4d": _named("N4D"),
    "t2a": _named("T2A Arm", arm=True),
    "t2d": _named("T2D AMD"),
    # compute optimized
    "c2": Series(core=("Compute optimized Core",), ram=("Compute optimized Ram",)),
    "c2d": _named("C2D AMD"),
    "c3": _named("C3"),
    "c3d": _named("C3D"),
    "c4": _named("C4", local_ssd="C4 Instance Local SSD"),
    "c4a": _named("C4A Arm", local_ssd="C4A Instance Local SSD", arm=True),
    "c4d": _named("C4D", local_ssd="C4D Instance Local SSD"),
    "c4n": _named("C4N"),
    "h3": _named("H3"),
    "h4d": _named("H4D", local_ssd="H4D Instance Local SSD"),
    # memory optimized: an M2 is an M1 and a premium, on cores and memory alike
    "m1": Series(core=(_M1_CORE,), ram=(_M1_RAM,)),
    "m2": Series(core=(_M1_CORE, f"{_M2_PREMIUM} {_M1_CORE}"), ram=(_M1_RAM, f"{_M2_PREMIUM} {_M1_RAM}")),
    "m3": _named("M3 Memory-optimized"),
    "m4": _named("M4"),
    "m4n": _named("M4N"),
    # storage optimized: has a local disk price of its own in the list, and is billed the general one all the same
    "z3": Series(core=("Z3 Instance Core",), ram=("Z3 Instance Ram",), partition_gib=3_000, has_local_ssd=True),
    # with GPUs: cores, memory, local disk and GPUs are four prices, except for A4, which is sold by the slice
    "a2": _named("A2"),
    "a2-ultragpu": _named("A2", has_local_ssd=True),
    "a3": _named("A3", has_local_ssd=True),
    "a3-megagpu": _named("A3Plus", has_local_ssd=True),
    "a3-ultragpu": _named("A3Ultra", has_local_ssd=True),
    "a4": Series(gpu_slice="A4 Nvidia B200 (1 gpu slice)"),
    "a4x": Series(gpu_slice="A4X Nvidia GB200 (1 gpu slice)", architecture="arm64"),
    "g2": _named("G2"),
    "g4": _named("G4", local_ssd="G4 Instance Local SSD"),
}
"""By the beginning of a machine type's name; the longest that fits is meant."""

WHOLE_MACHINES: Mapping[str, str] = {
    "f1-micro": "Micro Instance with burstable CPU",
    "g1-small": "Small Instance with 1 VCPU",
}
"""The two types with a price of their own, memory included."""

BILLED_CORES: Mapping[str, Decimal] = {
    "e2-micro": Decimal("0.25"),
    "e2-small": Decimal("0.5"),
    "e2-medium": Decimal(1),
}
"""What part of a core the shared-core types are billed, and get for long; for moments they may use two."""

SPOT_ONLY = frozenset({"a3-highgpu-1g", "a3-highgpu-2g", "a3-highgpu-4g"})
"""Types that Google does not sell on demand, although all of their parts have a price there."""

NOT_COMPOSED = ("n1-megamem", "n1-ultramem", "m2-ultramem2x", "m2-ultramemx", "m4-ultramem-224")
"""Beginnings of types whose parts do not add up to what Google publishes: N1 names that are billed as memory-optimized,
M2 types that Google does not document, and one M4 whose sum comes out 6 % low. They have no price here."""

GPUS: Mapping[str, Gpu] = {
    "nvidia-tesla-k80": Gpu(wording="Nvidia Tesla K80 GPU", model="K80", memory_gib=12),
    "nvidia-tesla-p4": Gpu(wording="Nvidia Tesla P4 GPU", model="P4", memory_gib=8),
    "nvidia-tesla-p100": Gpu(wording="Nvidia Tesla P100 GPU", model="P100", memory_gib=16),
    "nvidia-tesla-v100": Gpu(wording="Nvidia Tesla V100 GPU", model="V100", memory_gib=16),
    "nvidia-tesla-t4": Gpu(wording="Nvidia Tesla T4 GPU", model="T4", memory_gib=16),
    "nvidia-l4": Gpu(wording="Nvidia L4 GPU", model="L4", memory_gib=24),
    "nvidia-tesla-a100": Gpu(wording="Nvidia Tesla A100 GPU", model="A100", memory_gib=40),
    "nvidia-a100-80gb": Gpu(wording="Nvidia Tesla A100 80GB GPU", model="A100", memory_gib=80),
    "nvidia-h100-80gb": Gpu(wording="Nvidia H100 80GB GPU", model="H100", memory_gib=80),
    "nvidia-h100-mega-80gb": Gpu(wording="Nvidia H100 80GB Mega GPU", model="H100", memory_gib=80),
    "nvidia-h200-141gb": Gpu(wording="H200 141GB GPU", model="H200", memory_gib=141),
    "nvidia-b200": Gpu(wording="A4 Nvidia B200 (1 gpu slice)", model="B200", memory_gib=180, is_slice=True),
    "nvidia-gb200": Gpu(wording="A4X Nvidia GB200 (1 gpu slice)", model="GB200", memory_gib=186, is_slice=True),
    "nvidia-rtx-pro-6000": Gpu(wording="RTX 6000 96GB", model="RTX PRO 6000", memory_gib=96),
}
"""By the name of the accelerator type in the Compute API."""

OTHER_WORDINGS: Mapping[str, str] = {
    "Compute optimized Instance Core": "Compute optimized Core",
    "Compute optimized Instance Ram": "Compute optimized Ram",
    "C3D AMD Instance Core": "C3D Instance Core",
    "C3D AMD Instance Ram": "C3D Instance Ram",
    "Nvidia H100 Mega 80GB GPU": "Nvidia H100 80GB Mega GPU",
    "Nvidia H100 80GB Plus GPU": "Nvidia H100 80GB Mega GPU",
    "Nvidia H200 141GB GPU": "H200 141GB GPU",
}
"""Descriptions that have been seen for the same thing, and the one it is kept under. Two that disagree are no price."""

NOT_MEANT = ("Custom", "Sole Tenancy", "Reserved", "Premium", "Commitment", "Suspended", "DWS")
"""Words that make a description another product, wherever they stand outside a wording of this table."""


def series_of(machine_type: str) -> Series | None:
    """The series of a machine type by the longest beginning of its name that the table knows; None when it knows none."""
    words = machine_type.split("-")
    for count in range(len(words), 0, -1):
        found = SERIES.get("-".join(words[:count]))
        if found is not None:
            return found
    return None


def wordings() -> frozenset[str]:
    """Every description that some price is made of."""
    found = {*WHOLE_MACHINES.values(), *(gpu.wording for gpu in GPUS.values())}
    for series in SERIES.values():
        found |= {*series.core, *series.ram, series.local_ssd}
        if series.gpu_slice is not None:
            found.add(series.gpu_slice)
    return frozenset(found)
