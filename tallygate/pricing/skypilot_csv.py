"""SkyPilot's catalogue as CSV: a row for each machine type and zone, with its price and its spot price.

Columns are known by their names. What this layout leaves open is not guessed: its rows for accelerator-optimised machines of
Google carry the price without the accelerators, and are refused; so are the rows of accelerators alone. AWS zones are written as
ids (``use1-az2``), which are the same in every account, and stay so.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from ..errors import UsageError
from ..money import Money, parse_decimal
from .offers import Offer, PurchaseOption
from .price_text import hourly_price
from .source import Sheet

NEEDED = ("InstanceType", "vCPUs", "MemoryGiB", "Price", "Region")
READ = frozenset(
    {*NEEDED, "SpotPrice", "AvailabilityZone", "AcceleratorName", "AcceleratorCount", "GpuInfo", "Arch", "Currency"}
)
NOT_NEEDED = frozenset({"Generation", "family"})
"""Columns that are known and say nothing an offer needs."""

ROWS_MAX = 2_000_000
VCPUS_MAX = 4096
MEMORY_GIB_MAX = 65_536
GPUS_MAX = 64

_REGIONS = {
    "aws": re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d+"),
    "gcp": re.compile(r"[a-z]+(-[a-z]+)+\d+"),
    "azure": re.compile(r"[a-z]+[a-z0-9]*"),
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_ZONE_ID = re.compile(r"[a-z0-9]{2,12}(-[a-z0-9]{2,8})*-az\d{1,2}")
_WITHIN = {"aws": re.compile(r"(-[a-z]{2,5}-\d)?[a-z]"), "gcp": re.compile(r"-[a-z0-9]{1,8}")}
"""What follows the region in the name of a zone."""
_WITHOUT_ACCELERATORS = re.compile(r"(a[2-9]|g[2-9]|ct\d)[a-z0-9]*-")
_FEWER_CORES = re.compile(r"(?:Standard|Basic)_[A-Za-z]+\d+[a-z]*-(\d+)")
"""Azure's sizes of which a part of the cores is switched off: ``Standard_M128-32ms`` has 32 vCPUs."""
_GPU_MEMORY = re.compile(r"'SizeInMiB': (\d{1,7})\b")
_GPU_NAME = re.compile(r"(?P<model>[A-Za-z0-9 ._-]{1,40}?)(?:-(?P<gib>\d{1,4})GB)?")
_NO_GPU = ("inferentia", "trainium", "tpu", "qualcomm", "xilinx")


@dataclass(frozen=True, slots=True)
class Rows:
    """``refused``: the rows that belong to no region."""

    sheets: tuple[Sheet, ...]
    refused: Mapping[str, int]


def parse(text: str, *, name: str, provider: str, as_of: datetime) -> Rows:
    """The sheets in ``text``, by region in order.

    Raises ``UsageError`` for text that is no such table, breaks off, or has no usable row.
    """
    if not text.endswith(("\n", "\r")):
        raise UsageError(
            f"{name} breaks off: it does not end with the end of a line",
            cure="Fetch it again; half a price is a wrong price",
        )
    table = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = _columns(next(table, []), name)
        regions, refused = _regions(table, columns, provider, name)
    except csv.Error as error:
        raise UsageError(f"{name} is damaged at line {table.line_num}: {error}") from error
    ignored = sorted(set(columns) - READ - NOT_NEEDED)
    notes = (f"columns not understood: {', '.join(ignored)}"[:200],) if ignored else ()
    sheets = tuple(
        Sheet(
            provider=provider,
            region=region,
            read_at=as_of,
            source=name,
            offers=tuple(found.offers(provider, region, as_of, name)),
            refused=dict(found.refused),
            notes=(*notes, *found.notes()),
        )
        for region, found in sorted(regions.items())
    )
    if not any(sheet.offers for sheet in sheets):
        counted = sum((Counter(sheet.refused) for sheet in sheets), Counter(refused))
        reasons = ", ".join(f"{count} x {reason}" for reason, count in sorted(counted.items())) or "it has no rows"
        raise UsageError(f"{name} has no usable price: {reasons}")
    return Rows(tuple(sheet for sheet in sheets if sheet.offers or sheet.refused), dict(refused))


def _columns(header: list[str], name: str) -> dict[str, int]:
    columns = {title.strip(): number for number, title in enumerate(header)}
    if missing := [title for title in NEEDED if title not in columns]:
        raise UsageError(
            f"{name} is not a catalogue of this layout: it has no column {', '.join(missing)}",
            cure="Take SkyPilot's vms.csv of aws, gcp or azure",
        )
    if len(columns) != len(header):
        raise UsageError(f"{name} is damaged: it has a column twice")
    return columns


def _regions(
    table: Iterator[list[str]], columns: Mapping[str, int], provider: str, name: str
) -> tuple[dict[str, _Region], Counter[str]]:
    regions: dict[str, _Region] = {}
    refused: Counter[str] = Counter()
    shape = _REGIONS[provider]
    for number, cells in enumerate(table):
        if number >= ROWS_MAX:
            raise UsageError(f"{name} has more than {ROWS_MAX:,} rows, which no catalogue has")
        if len(cells) != len(columns):
            refused["row has another number of columns"] += 1
            continue
        row = {title: cells[place].strip() for title, place in columns.items()}
        region = row["Region"]
        if not shape.fullmatch(region) or len(region) > 40:
            refused[f"region is none of {provider}"] += 1
            continue
        regions.setdefault(region, _Region()).add(row, provider, region)
    return regions, refused


@dataclass(frozen=True, slots=True)
class _Machine:
    vcpus: int
    memory_gib: Decimal
    architecture: str | None
    gpus: int
    gpu_model: str | None
    gpu_memory_gib: Decimal | None


@dataclass(slots=True)
class _Region:
    """One region's rows: what each machine is, and its prices. A price that is told differently twice is none."""

    machines: dict[str, _Machine] = field(default_factory=dict)
    on_demand: dict[str, Money] = field(default_factory=dict)
    spot: dict[tuple[str, str | None], Money] = field(default_factory=dict)
    seen: set[tuple[str, str | None]] = field(default_factory=set)
    disputed: set[str] = field(default_factory=set)
    disputed_on_demand: set[str] = field(default_factory=set)
    disputed_spot: set[tuple[str, str | None]] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)

    def add(self, row: Mapping[str, str], provider: str, region: str) -> None:
        machine = _machine(row, provider)
        zone = row.get("AvailabilityZone") or None
        if isinstance(machine, str):
            self.refused[machine] += 1
        elif not _is_zone_of(zone, region, provider):
            self.refused["zone is not in the region"] += 1
        elif row.get("Currency", "USD") != "USD":
            self.refused["price is not in US dollars"] += 1
        elif not row["Price"] and not row.get("SpotPrice"):
            self.refused["price is missing"] += 1
        elif self.machines.setdefault(row["InstanceType"], machine) != machine:
            self.refused["machine is described in two ways"] += 1
            self.disputed.add(row["InstanceType"])
        else:
            self._add_prices(row["InstanceType"], zone, row["Price"], row.get("SpotPrice", ""))

    def _add_prices(self, name: str, zone: str | None, on_demand: str, spot: str) -> None:
        """An empty cell says that the machine is not sold that way."""
        if (name, zone) in self.seen:
            self.refused["row is there twice"] += 1
        self.seen.add((name, zone))
        if on_demand:
            price = hourly_price(on_demand)
            if isinstance(price, str):
                self.refused[f"on-demand {price}"] += 1
                self.disputed_on_demand.add(name)
            elif self.on_demand.setdefault(name, price) != price and name not in self.disputed_on_demand:
                self.refused["on-demand price differs within the region"] += 1
                self.disputed_on_demand.add(name)
        if spot:
            price = hourly_price(spot)
            if isinstance(price, str):
                self.refused[f"spot {price}"] += 1
                self.disputed_spot.add((name, zone))
            elif self.spot.setdefault((name, zone), price) != price:
                self.refused["spot price is told twice and differs"] += 1
                self.disputed_spot.add((name, zone))

    def notes(self) -> Iterator[str]:
        if any(zone and _ZONE_ID.fullmatch(zone) for _, zone in self.spot):
            yield "zones are told by AWS's ids, which every account maps to zone names of its own"

    def offers(self, provider: str, region: str, as_of: datetime, source: str) -> Iterator[Offer]:
        def offer(name: str, zone: str | None, option: PurchaseOption, price: Money, whole: Money | None) -> Offer:
            machine = self.machines[name]
            return Offer(
                provider=provider,
                region=region,
                zone=zone,
                instance_type=name,
                purchase_option=option,
                vcpus=machine.vcpus,
                memory_gib=machine.memory_gib,
                architecture=machine.architecture,
                gpus=machine.gpus,
                gpu_model=machine.gpu_model,
                gpu_memory_gib=machine.gpu_memory_gib,
                hourly_price=price,
                on_demand_price=whole,
                priced_at=as_of,
                price_source=source,
            )

        whole = {name: price for name, price in self.on_demand.items() if name not in self.disputed_on_demand}
        for name, price in whole.items():
            if name not in self.disputed:
                yield offer(name, None, PurchaseOption.ON_DEMAND, price, price)
        for (name, zone), price in self.spot.items():
            if name not in self.disputed and (name, zone) not in self.disputed_spot:
                yield offer(name, zone, PurchaseOption.SPOT, price, whole.get(name))


def _machine(row: Mapping[str, str], provider: str) -> _Machine | str:
    """What a row's machine is; else why the row is none."""
    name = row["InstanceType"]
    if not name:
        return "row is an accelerator without a machine"
    if not _NAME.fullmatch(name):
        return "machine has no usable name"
    accelerator = row.get("AcceleratorName", "")
    if provider == "gcp" and not accelerator and _WITHOUT_ACCELERATORS.match(name):
        return "price leaves out the machine's accelerators"
    vcpus, memory = _number(row["vCPUs"]), _number(row["MemoryGiB"])
    if vcpus is None or vcpus != vcpus.to_integral_value() or not 1 <= vcpus <= VCPUS_MAX:
        return "vCPUs are not a believable number"
    if memory is None or not 0 < memory <= MEMORY_GIB_MAX:
        return "memory is not a believable number"
    fewer = _FEWER_CORES.match(name) if provider == "azure" else None
    if fewer and int(fewer[1]) != vcpus:
        return "vCPUs are not those that the name tells"
    gpus = _gpus(accelerator, row.get("AcceleratorCount", ""), row.get("GpuInfo", ""))
    if isinstance(gpus, str):
        return gpus
    architecture = row.get("Arch", "").lower()
    return _Machine(int(vcpus), memory, architecture if architecture in ("x86_64", "arm64") else None, *gpus)


def _gpus(name: str, count: str, info: str) -> tuple[int, str | None, Decimal | None] | str:
    """How many GPUs, of which model, with how much memory each; a slice of one counts as one."""
    if not name or name.lower().startswith(_NO_GPU):
        return 0, None, None
    number, named = _number(count), _GPU_NAME.fullmatch(name)
    if (
        number is None
        or not 0 < number <= GPUS_MAX
        or (number > 1 and number != number.to_integral_value())
        or not named
    ):
        return "GPUs are not a believable number"
    told = _GPU_MEMORY.search(info)
    if named["gib"]:
        memory: Decimal | None = Decimal(named["gib"])
    else:
        memory = Decimal(told[1]) / 1024 if told and int(told[1]) else None
    if number < 1:
        memory = None  # the figure is that of the whole device, of which this is a part
    return max(int(number), 1), named["model"], memory


def _number(text: str) -> Decimal | None:
    try:
        return parse_decimal(text)
    except UsageError:
        return None


def _is_zone_of(zone: str | None, region: str, provider: str) -> bool:
    if zone is None:
        return True
    if provider == "azure":
        return zone in ("1", "2", "3")
    if provider == "aws" and _ZONE_ID.fullmatch(zone):
        return True
    within = zone.removeprefix(region)
    return within != zone and _WITHIN[provider].fullmatch(within) is not None
