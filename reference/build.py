"""Write the reference prices that ship with the package from the tables of facts beside this file.

    python reference/build.py            writes tallygate/pricing/reference.db
    python reference/build.py FOLDER     writes FOLDER/reference.db

Equal tables give an equal catalogue: the same version id, whatever the machine.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

sys.path.insert(0, str(ROOT))

from tallygate.money import Money  # noqa: E402
from tallygate.pricing.catalog import Part  # noqa: E402
from tallygate.pricing.offers import Offer, PurchaseOption  # noqa: E402
from tallygate.store.catalog_writer import build, row_of  # noqa: E402

MADE_AT = datetime(2026, 11, 21, tzinfo=UTC)
TABLE_AT = {
    "aws": datetime(2025, 3, 2, tzinfo=UTC),
    "azure": datetime(2020, 8, 30, tzinfo=UTC),
    "gcp": datetime(2020, 8, 30, tzinfo=UTC),
}
"""How old the public tables are that the facts were copied from; see README.md."""

SAYS = {
    "aws": "public EC2 price table as of 2025-03-02",
    "azure": "public Azure price table as of 2020-08-30",
    "gcp": "public Google Cloud price table as of 2020-08-30",
}


def main(folder: Path) -> None:
    offers = [*_listed("aws"), *_listed("azure"), *_composed()]
    rows = []
    parts: dict[tuple[str, str], int] = {}
    for offer in offers:
        rows.append(row_of(offer))
        place = (offer.provider, offer.region)
        parts[place] = parts.get(place, 0) + 1
    version = build(
        str(folder / "reference.db"),
        rows,
        [
            Part(
                provider=provider,
                region=region,
                read_at=TABLE_AT[provider],
                source=SAYS[provider],
                offers=count,
                refused=0,
            )
            for (provider, region), count in parts.items()
        ],
        currency="USD",
        made_at=MADE_AT,
    )
    spot = sum(offer.purchase_option is PurchaseOption.SPOT for offer in offers)
    print(f"{version.offers:,} offers, {spot:,} of them spot, {len(parts)} regions, version {version.id}")


def _table(name: str) -> Iterator[dict[str, str]]:
    with open(HERE / f"{name}.csv", newline="", encoding="ascii") as file:
        yield from csv.DictReader(file)


def _listed(provider: str) -> Iterator[Offer]:
    """A table of types by regions: a price an hour on demand, nothing where none is known."""
    known = ("type", "vcpus", "memory_gib", "architecture", "gpus", "gpu_model", "gpu_memory_gib")
    for row in _table(provider):
        for region, price in row.items():
            if region not in known and price:
                yield _offer(
                    provider,
                    region,
                    row["type"],
                    int(row["vcpus"]),
                    Decimal(row["memory_gib"]),
                    Decimal(price),
                    architecture=row["architecture"],
                    gpus=int(row["gpus"] or 0),
                    gpu_model=row["gpu_model"] or None,
                    gpu_memory_gib=Decimal(row["gpu_memory_gib"]) if row["gpu_memory_gib"] else None,
                )


def _composed() -> Iterator[Offer]:
    """Google's prices are per vCPU and per GiB of a family; a predefined type costs the sum."""
    rates = {(row["family"], row["per"], row["purchase_option"]): row for row in _table("gcp_rates")}
    for row in _table("gcp"):
        vcpus, memory = int(row["vcpus"]), Decimal(row["memory_gib"])
        for region in [name for name in rates["n1", "vcpu", "spot"] if "-" in name]:
            prices: dict[PurchaseOption, Decimal] = {}
            for option in PurchaseOption:
                vcpu, gib = (rates[row["family"], per, option][region] for per in ("vcpu", "gib"))
                if vcpu and gib:
                    prices[option] = vcpus * Decimal(vcpu) + memory * Decimal(gib)
            on_demand = prices.get(PurchaseOption.ON_DEMAND)
            for option, found in prices.items():
                yield _offer(
                    "gcp",
                    region,
                    row["type"],
                    vcpus,
                    memory,
                    found,
                    architecture="x86_64",
                    purchase_option=option,
                    on_demand_price=None
                    if on_demand is None or option is PurchaseOption.ON_DEMAND
                    else Money.of(on_demand),
                )


def _offer(provider: str, region: str, kind: str, vcpus: int, memory: Decimal, price: Decimal, **more: Any) -> Offer:
    return Offer(
        provider=provider,
        region=region,
        zone=None,
        instance_type=kind,
        vcpus=vcpus,
        memory_gib=memory,
        hourly_price=Money.of(price),
        priced_at=TABLE_AT[provider],
        price_source=SAYS[provider],
        is_reference=True,
        **{"purchase_option": PurchaseOption.ON_DEMAND, **more},
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tallygate" / "pricing")
