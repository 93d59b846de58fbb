"""What the three clouds call things on their bills."""

from __future__ import annotations

from dataclasses import dataclass

from .truth import Meter


@dataclass(frozen=True, slots=True, kw_only=True)
class BillWords:
    """One kind of resource on one cloud's bill; FOCUS asks that a service has one category only."""

    service: str
    category: str
    description: str
    resource_type: str
    sku: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudWords:
    """``payer``: the account that is invoiced. ``tag_prefix``: what the bill puts before a user's tag."""

    payer: str
    tag_prefix: str
    services: dict[str, tuple[str, str, str]]


WORDS = {
    "aws": CloudWords(
        payer="111122223333",
        tag_prefix="user:",
        services={
            "machine": ("Amazon Elastic Compute Cloud", "Compute", "Instance"),
            "disk": ("Amazon Elastic Block Store", "Storage", "Volume"),
            "address": ("Amazon Virtual Private Cloud", "Networking", "Elastic IP"),
            "interface": ("Amazon Virtual Private Cloud", "Networking", "Network Interface"),
        },
    ),
    "gcp": CloudWords(
        payer="01ABCD-234567-89EFAB",
        tag_prefix="",
        services={
            "machine": ("Compute Engine", "Compute", "Instance"),
            "disk": ("Persistent Disk", "Storage", "Disk"),
            "address": ("Networking", "Networking", "Address"),
            "interface": ("Networking", "Networking", "Network Interface"),
        },
    ),
    "azure": CloudWords(
        payer="7c9d3a10-billing-profile",
        tag_prefix="",
        services={
            "machine": ("Virtual Machines", "Compute", "Virtual machine"),
            "disk": ("Storage", "Storage", "Disk"),
            "address": ("Virtual Network", "Networking", "Public IP address"),
            "interface": ("Virtual Network", "Networking", "Network interface"),
        },
    ),
}

_DISK_USAGE = {"aws": "EBS:VolumeUsage.gp3", "gcp": "Balanced PD Capacity", "azure": "E4 LRS Disk"}
_ADDRESS_USAGE = {
    "aws": "PublicIPv4:InUseAddress",
    "gcp": "External IP Charge",
    "azure": "Standard IPv4 Static Public IP",
}


def words_of(meter: Meter) -> BillWords:
    """What the bill calls this meter's resource."""
    cloud = meter.dialect.name
    service, category, resource_type = WORDS[cloud].services[meter.kind]
    sku = _sku(meter)
    return BillWords(
        service=service,
        category=category,
        description=f"{sku} in {meter.region}",
        resource_type=resource_type,
        sku=sku,
    )


def _sku(meter: Meter) -> str:
    cloud, spot = meter.dialect.name, meter.pool is not None
    if meter.kind == "disk":
        return _DISK_USAGE[cloud]
    if meter.kind != "machine":
        return _ADDRESS_USAGE[cloud]
    if cloud == "aws":
        return f"{'SpotUsage' if spot else 'BoxUsage'}:{meter.sku}"
    if cloud == "gcp":
        return f"{'Spot Preemptible ' if spot else ''}{meter.sku} running"
    return f"{meter.sku.removeprefix('Standard_').replace('_', ' ')}{' Spot' if spot else ''}"
