"""AWS's machine types, from ``DescribeInstanceTypes``: what each is, in no vendor's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,49}")


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine type. ``architecture`` is None for what is neither ``x86_64`` nor ``arm64``."""

    name: str
    vcpus: int
    memory_gib: Decimal
    architecture: str | None
    gpus: int
    gpu_model: str | None
    gpu_memory_gib: Decimal | None
    is_sold_as_spot: bool


def machine(row: Mapping[str, Any]) -> Machine | None:
    """The machine type of one row; None when it has no name, no vCPUs or no memory."""
    name = row.get("InstanceType", "")
    vcpus = row.get("VCpuInfo", {}).get("DefaultVCpus")
    memory = row.get("MemoryInfo", {}).get("SizeInMiB")
    if not _NAME.fullmatch(name) or not vcpus or vcpus < 1 or not memory or memory < 1:
        return None
    architectures = row.get("ProcessorInfo", {}).get("SupportedArchitectures", [])
    gpus, gpu_model, gpu_memory = _gpus(row.get("GpuInfo", {}))
    return Machine(
        name=name,
        vcpus=vcpus,
        memory_gib=_gib(memory),
        architecture=next((known for known in ("x86_64", "arm64") if known in architectures), None),
        gpus=gpus,
        gpu_model=gpu_model,
        gpu_memory_gib=gpu_memory,
        is_sold_as_spot="spot" in row.get("SupportedUsageClasses", []),
    )


def _gpus(info: Mapping[str, Any]) -> tuple[int, str | None, Decimal | None]:
    """How many GPUs, of which model, with how much memory each. Where a GPU is sliced, each slice counts as one."""
    devices = info.get("Gpus", [])
    count = sum(max(device.get("Count") or 0, device.get("LogicalGpuCount") or 0) for device in devices)
    if not count:
        return 0, None, None
    models = {device.get("Name") for device in devices}
    memories = {device.get("MemoryInfo", {}).get("SizeInMiB") for device in devices}
    model = models.pop() if len(models) == 1 else None
    memory = memories.pop() if len(memories) == 1 else None
    whole = info.get("TotalGpuMemoryInMiB")
    if memory and whole and whole < memory * count:
        memory = whole // count  # the figure of the whole device, of which a machine has a slice
    return count, model, _gib(memory) if memory else None


def _gib(mib: int) -> Decimal:
    return Decimal(mib) / 1024
