"""200,000 zone-level offers that follow from a seed, for ``search``. Prices are shaped like list prices, and not real ones.

Three clouds with their numbers of regions and zones, families of types with 1 to 8 GiB a processor, GPU types, a spot price in
most zones scattered around its region's discount. Some zones have no spot price, in some it equals the on-demand price.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

ROWS = 200_000
SEED = 20_261_121

CLOUDS = {"aws": (33, "abc"), "gcp": (40, "abc"), "azure": (54, "123")}
"""Regions, and what their zones are called."""

SIZES = {
    "aws": (1, 2, 4, 8, 12, 16, 24, 32, 36, 48, 64, 72, 96, 128, 192),
    "gcp": (1, 2, 4, 8, 16, 22, 30, 32, 44, 60, 80, 88, 96, 176, 224),
    "azure": (2, 4, 8, 16, 20, 32, 40, 48, 64, 72, 80, 96, 104, 112, 128),
}
GIB = {"h": 1, "c": 2, "m": 4, "r": 8, "x": 16}
"""Processors of a type; GiB of memory beside each, of which Google's odd generations have a sixteenth less."""

GPUS = {
    # model: GiB, nanos an hour, processors and GiB beside one of them
    "T4": (16, 350_000_000, 8, 30),
    "L4": (24, 560_000_000, 8, 32),
    "V100": (16, 2_480_000_000, 8, 61),
    "A100": (40, 2_930_000_000, 12, 85),
    "A100-80GB": (80, 3_930_000_000, 12, 170),
    "H100": (80, 6_900_000_000, 24, 240),
}


class Row(NamedTuple):
    """One type in one zone. Prices in nanos an hour; ``spot`` None where there is none."""

    provider: str
    region: str
    zone: str
    type: str
    architecture: str
    vcpus: int
    memory_mib: int
    gpu_model: str
    gpus: int
    gpu_memory_gib: int
    on_demand: int
    spot: int | None


def rows(count: int = ROWS, seed: int = SEED) -> list[Row]:
    """``count`` rows in a fixed order. GPU types are all there, of the others as many as fit."""
    chance = random.Random(seed)
    everything = list(_everything(chance))
    gpu = [row for row in everything if row.gpus]
    other = [row for row in everything if not row.gpus]
    chosen = gpu + chance.sample(other, count - len(gpu))
    chosen.sort()
    return chosen


def _everything(chance: random.Random) -> Iterator[Row]:
    for provider, (regions, zones) in CLOUDS.items():
        types = list(_types(provider))
        for number in range(regions):
            region = f"{provider}-region-{number + 1}"
            dearness = chance.randint(1000, 1550)
            for name, architecture, vcpus, memory, model, gpus, gpu_memory, nanos in types:
                if chance.random() > (0.3 if gpus else 0.75):
                    continue
                on_demand = nanos * dearness // 1000
                left = chance.uniform(0.08, 0.7)  # of the price, when bought as spot
                for zone in zones:
                    if chance.random() < 0.15:
                        continue
                    fate = chance.random()
                    spot = None if fate < 0.025 else on_demand
                    if fate >= 0.075:
                        spot = max(int(on_demand * left * chance.uniform(0.9, 1.1)) // 100_000 * 100_000, 100_000)
                    yield Row(
                        provider, region, f"{region}{zone}", name, architecture, vcpus, memory, model, gpus, gpu_memory,
                        on_demand, spot,
                    )  # fmt: skip


def _types(provider: str) -> Iterator[tuple[str, str, int, int, str, int, int, int]]:
    for kind, gib in GIB.items():
        for generation in range(3, 9):
            for suffix in ("", "a", "g", "d"):
                for vcpus in SIZES[provider]:
                    memory = vcpus * gib * (960 if provider == "gcp" and generation % 2 else 1024)
                    nanos = vcpus * 28_500_000 + memory * 4_000 + generation * 100_000
                    architecture = "arm64" if suffix == "g" else "x86_64"
                    name = _name(provider, kind, generation, suffix, vcpus)
                    yield name, architecture, vcpus, memory, "", 0, 0, nanos
    for model, (gpu_memory, price, vcpus, memory) in GPUS.items():
        for gpus in (1, 2, 4, 8):
            nanos = gpus * (price + vcpus * 28_500_000 + memory * 4_100_000)
            name = {"azure": "Standard_NC{}s_{}_v4", "gcp": "g2-{}-{}", "aws": "g5.{}-{}"}[provider]
            yield (
                name.format(gpus * vcpus, model.replace("-", "")),
                "x86_64",
                gpus * vcpus,
                gpus * memory * 1024,
                model,
                gpus,
                gpu_memory,
                nanos,
            )


def _name(provider: str, kind: str, generation: int, suffix: str, vcpus: int) -> str:
    """As the cloud would call it: SkyPilot looks for certain families by name."""
    if provider == "aws":
        return f"{kind}{generation}{'i' if suffix in ('', 'd') else ''}{suffix}.{vcpus}"
    if provider == "azure":
        letter = {"h": "H", "c": "F", "m": "D", "r": "E", "x": "M"}[kind]
        return f"Standard_{letter}{vcpus}{suffix}s_v{generation}"
    sort = {"h": "highcpu", "c": "compute", "m": "standard", "r": "highmem", "x": "ultramem"}[kind]
    return f"n{generation - 1}{suffix}-{sort}-{vcpus}"
