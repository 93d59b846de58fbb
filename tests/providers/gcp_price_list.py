"""A small price list of Compute Engine as its catalogue writes it: real wordings, public prices of March 2025, and decoys.

Prices of E2, N1, N2, N2D, C2, M1, f1 and g1 are those in the data file of apache-libcloud 3.9.1; the others are the public list
prices of the same time. Decoys are worded like the real ones and would be found by a careless search.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

US = ("us-central1", "us-east1", "us-west1")
BELGIUM = ("europe-west1",)

DAY = "2026-02-27T08:00:00Z"


class Entry(NamedTuple):
    """One entry: where, how it is bought, its price, and its unit."""

    description: str
    usage: str
    price: str
    unit: str = "h"
    group: str = "CPU"
    family: str = "Compute"
    regions: tuple[str, ...] = US


PARTS: dict[str, tuple[str, str, str, str]] = {
    # wording before Core/Ram: core on demand, ram on demand, core spot, ram spot
    "E2 Instance": ("0.02181159", "0.00292353", "0.00459195", "0.00061548"),
    "N1 Predefined Instance": ("0.031611", "0.004237", "0.006655", "0.000892"),
    "N2 Instance": ("0.031611", "0.004237", "0.007649", "0.001025"),
    "N2D AMD Instance": ("0.027502", "0.003686", "0.006655", "0.000892"),
    "C3 Instance": ("0.03398", "0.00456", "0.00816", "0.0011"),
    "T2D AMD Instance": ("0.027502", "0.003686", "0.006655", "0.000892"),
    "Compute optimized": ("0.033982", "0.004555", "0.008223", "0.001102"),
    "Memory-optimized Instance": ("0.0348", "0.0051", "0.00733", "0.00108"),
    "A2 Instance": ("0.031611", "0.004237", "0.01265", "0.001695"),
    "A3 Instance": ("0.029", "0.0025", "0.01", "0.0009"),
    "A3Plus Instance": ("0.0293", "0.00255", "0.0101", "0.00091"),
    "G2 Instance": ("0.024988", "0.002927", "0.01277", "0.001496"),
}

GPUS: dict[str, tuple[str, str]] = {
    "Nvidia Tesla T4 GPU": ("0.35", "0.14"),
    "Nvidia L4 GPU": ("0.560004", "0.2862"),
    "Nvidia Tesla A100 GPU": ("2.933908", "1.173563"),
    "Nvidia Tesla A100 80GB GPU": ("3.927714", "1.571086"),
    "Nvidia H100 80GB GPU": ("9.796", "2.5"),
    "Nvidia H100 80GB Mega GPU": ("9.9", "2.6"),
    "A4 Nvidia B200 (1 gpu slice)": ("16.11", "4.9542"),
}


def entries() -> list[Entry]:
    """The whole list, in an order in which core and memory of a series lie far apart."""
    listed = []
    for wording, (core, _, spot_core, _) in PARTS.items():
        group = "N1Standard" if wording.startswith("N1") else "CPU"
        listed += [
            Entry(f"{wording} Core running in Americas", "OnDemand", core, group=group),
            Entry(f"Spot Preemptible {wording} Core running in Americas", "Preemptible", spot_core, group=group),
        ]
    listed += DECOYS
    for wording, (_, ram, _, spot_ram) in PARTS.items():
        group = "N1Standard" if wording.startswith("N1") else "RAM"
        listed += [
            Entry(f"{wording} Ram running in Americas", "OnDemand", ram, "GiBy.h", group),
            Entry(f"Spot Preemptible {wording} Ram running in Americas", "Preemptible", spot_ram, "GiBy.h", group),
        ]
    for wording, (price, spot) in GPUS.items():
        on_spot = (
            f"Spot Preemptible {wording} running in Americas"
            if "slice" in wording
            else f"{wording} attached to Spot Preemptible VMs running in Americas"
        )
        listed += [
            Entry(f"{wording} running in Americas", "OnDemand", price, group="GPU"),
            Entry(on_spot, "OnDemand" if "slice" in wording else "Preemptible", spot, group="GPU"),
        ]
    return listed + OTHERS


DECOYS = [
    Entry("N2 Custom Instance Core running in Americas", "OnDemand", "0.9"),
    Entry("Custom Instance Core running in Americas", "OnDemand", "0.9"),
    Entry("Spot Preemptible Custom Instance Core running in Americas", "Preemptible", "0.0001"),
    Entry("N2 Sole Tenancy Instance Core running in Americas", "OnDemand", "0.0001"),
    Entry("Sole Tenancy Premium for N2 Sole Tenancy Instance Core running in Americas", "OnDemand", "0.0001"),
    Entry("Reserved N2 Instance Core running in Americas", "OnDemand", "0.0001"),
    Entry("N2 Instance Core running in Americas Reserved", "OnDemand", "0.0001"),
    Entry("Commitment v1: N2 Cpu in Americas for 1 Year", "Commit1Yr", "0.019915"),
    Entry("N2 Instance Core running in Americas", "Commit1Yr", "0.0001"),
    Entry("Suspended VM State", "OnDemand", "0.0001", "GiBy.h", "VmState"),
    Entry("Nvidia L4 GPU attached to DWS Defined Duration VMs running in Americas", "OnDemand", "0.0001", group="GPU"),
    Entry("Commitment v1: Nvidia L4 GPU running in Americas for 1 Year", "Commit1Yr", "0.35", group="GPU"),
    Entry("Nvidia L4 Virtual Workstation GPU running in Americas", "OnDemand", "0.2", group="GPU"),
    # The text names the Americas, the regions do not: only the regions count.
    Entry("N2 Instance Core running in Americas", "OnDemand", "0.034773", regions=BELGIUM),
    Entry("N2 Instance Ram running in Belgium", "OnDemand", "0.004661", "GiBy.h", "RAM", regions=BELGIUM),
    # It is filed as spot and its words do not say so.
    Entry("N2 Instance Core running in Americas", "Preemptible", "0.0001"),
    Entry(
        "Network Internet Egress from Americas to EMEA", "OnDemand", "0.08", "GiBy", "PremiumInternetEgress", "Network"
    ),
]

OTHERS = [
    # A free first amount of the billing account, and the price after it.
    Entry("Micro Instance with burstable CPU running in Americas", "OnDemand", "0 then 0.0076", group="F1Micro"),
    Entry(
        "Spot Preemptible Micro Instance with burstable CPU running in Americas",
        "Preemptible",
        "0.0035",
        group="F1Micro",
    ),
    Entry("Small Instance with 1 VCPU running in Americas", "OnDemand", "0.0257", group="G1Small"),
    Entry("Spot Preemptible Small Instance with 1 VCPU running in Americas", "Preemptible", "0.007", group="G1Small"),
    Entry("SSD backed Local Storage", "OnDemand", "0.08", "GiBy.mo", "LocalSSD", "Storage"),
    Entry(
        "SSD backed Local Storage attached to Spot Preemptible VMs",
        "OnDemand",  # so it is filed, whatever its words say
        "0.048",
        "GiBy.mo",
        "LocalSSD",
        "Storage",
    ),
    Entry(
        "SSD backed Local Storage attached to DWS Defined Duration VMs",
        "OnDemand",
        "0.0001",
        "GiBy.mo",
        "LocalSSD",
        "Storage",
    ),
    Entry("SSD backed Local Storage in Belgium", "OnDemand", "0.088", "GiBy.mo", "LocalSSD", "Storage", BELGIUM),
    # M2 is M1 and a premium; there is none for spot.
    Entry(
        "Memory Optimized Upgrade Premium for Memory-optimized Instance Core running in Americas", "OnDemand", "0.0139"
    ),
    Entry(
        "Memory Optimized Upgrade Premium for Memory-optimized Instance Ram running in Americas",
        "OnDemand",
        "0.00204",
        "GiBy.h",
        "RAM",
    ),
]


def wire(entry: Entry, number: int, *, effective: str = DAY, currency: str = "USD") -> dict[str, object]:
    """The entry as the catalogue's JSON has it. Zero numbers are left out, as in the real answers."""
    tiers = []
    for step, text in enumerate(entry.price.split(" then ")):
        tiers.append({"startUsageAmount": step * 744, "unitPrice": {"currencyCode": currency, **amount(text)}})
    name = f"{number:04X}-0000-{number:04X}"
    return {
        "name": f"services/6F81-5844-456A/skus/{name}",
        "skuId": name,
        "description": entry.description,
        "category": {
            "serviceDisplayName": "Compute Engine",
            "resourceFamily": entry.family,
            "resourceGroup": entry.group,
            "usageType": entry.usage,
        },
        "serviceRegions": list(entry.regions),
        "pricingInfo": [
            {
                "summary": "",
                "effectiveTime": effective,
                "currencyConversionRate": 1,
                "pricingExpression": {
                    "usageUnit": entry.unit,
                    "baseUnit": "s",
                    "displayQuantity": 1,
                    "tieredRates": tiers,
                },
            }
        ],
        "serviceProviderName": "Google",
    }


def amount(text: str) -> dict[str, object]:
    """``units`` and ``nanos`` of a price; a text that is no number goes to the wire as it is."""
    try:
        whole, rest = divmod(Decimal(text) * 10**9, 10**9)
    except ArithmeticError:
        return {"units": text} if text else {}
    if not Decimal(text).is_finite():
        return {"units": text}
    told: dict[str, object] = {}
    if whole:
        told["units"] = str(int(whole))
    if rest:
        told["nanos"] = int(rest)
    return told
