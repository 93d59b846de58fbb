"""Three clouds' habits as data: what a launch is called by, what ends a machine, what it bills, what a listing shows.

Documented behaviour with the figures that the clouds publish; where a cloud gives none, one that it has been seen to keep.
``provider`` acts on these; nothing here decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from ..money import Money
from ..pricing.terms import PUBLISHED, Terms
from ..times import HOURS_PER_MONTH

NANOS = 1_000_000_000


class Naming(StrEnum):
    """What makes a repeated create the same create."""

    BY_ZONE = "by_zone"
    """A client token, remembered per account and zone while the instance's record exists."""
    BY_NAME = "by_name"
    """A name that only one machine of an account and zone can have while it exists."""
    BY_PATH = "by_path"
    """A path that is written to, never if it is there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """One instance type: ``nanos`` an hour on demand in the dialect's first region."""

    instance_type: str
    vcpus: int
    memory_gib: int
    nanos: int
    gpus: int = 0
    gpu_model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one cloud behaves. Times are seconds, pairs are the least and the most.

    ``limit_lag``: the provider itself ends a machine this much after the run limit sent with the launch; None when it has no
    such limit. ``end_lag``: from a machine's own shutdown until it no longer bills; ``kill_lag``: the same after a terminate
    call. ``shown_after_end``: how long an ended machine stays in listings; ``known_after_end``: how long it is still
    known when asked for by id. ``free_if_taken_within``: machine time that the provider took back this early is not billed.
    ``step_hours``: how long a spot price stands; ``at_midnight``: it moves only at that UTC hour of a day. ``price_spikes``:
    whether a spot price can pass the on-demand price for a while. ``create_waits``: how long a create call takes to say
    what became of it. ``price_places``: decimals of a price ceiling. ``first_bill_hours``, ``final_hours``: how long after its
    use a charge is first billed, and after which it no longer moves. ``bill_hours``: the length of one line.
    """

    name: str
    title: str
    naming: Naming
    terms: Terms
    regions: tuple[tuple[str, tuple[str, ...], int], ...]
    hardware: tuple[Hardware, ...]
    page_size: int
    notice_seconds: int
    limit_lag: tuple[int, int] | None
    boot: tuple[int, int]
    end_lag: tuple[int, int]
    kill_lag: tuple[int, int]
    visible_lag: tuple[int, int]
    shown_after_end: int
    known_after_end: int
    free_if_taken_within: int
    stopped_bills: bool
    step_hours: tuple[int, int]
    at_midnight: int | None
    price_spikes: bool
    create_waits: tuple[int, int]
    price_places: int
    disk_nanos_gib_month: int
    address_nanos_hour: int
    first_bill_hours: tuple[int, int]
    final_hours: int
    bill_hours: int
    bill_call_price: Money

    @property
    def extends(self) -> bool:
        """Whether a running machine's end can be moved: not where the provider holds a run limit of its own."""
        return self.limit_lag is None

    def disk_nanos_hour(self, gib: int) -> int:
        """What a disk of that size bills an hour, rounded down as no hold may be below it."""
        return self.disk_nanos_gib_month * gib // HOURS_PER_MONTH

    def shown_price(self, nanos: int) -> int:
        """A price ceiling as the cloud's field can carry it: rounded down, so that it is never above what is held."""
        unit: int = 10 ** (9 - self.price_places)
        return nanos // unit * unit


AWS = Dialect(
    name="aws",
    title="AWS",
    naming=Naming.BY_ZONE,
    terms=replace(PUBLISHED["aws"], source="simcloud, after the published price lists of AWS"),
    regions=(
        ("us-east-1", ("us-east-1a", "us-east-1b", "us-east-1c"), 100),
        ("eu-west-1", ("eu-west-1a", "eu-west-1b"), 112),
    ),
    hardware=(
        Hardware(instance_type="c7g.large", vcpus=2, memory_gib=4, nanos=72_500_000),
        Hardware(instance_type="m7g.xlarge", vcpus=4, memory_gib=16, nanos=163_200_000),
        Hardware(instance_type="r5.4xlarge", vcpus=16, memory_gib=128, nanos=1_008_000_000),
        Hardware(
            instance_type="g5.xlarge", vcpus=4, memory_gib=16, nanos=1_006_000_000, gpus=1, gpu_model="NVIDIA A10G"
        ),
    ),
    page_size=5,
    notice_seconds=120,
    limit_lag=None,
    boot=(8, 45),
    end_lag=(2, 40),
    kill_lag=(2, 40),
    visible_lag=(2, 30),
    shown_after_end=3600,
    known_after_end=3600,
    free_if_taken_within=3600,
    stopped_bills=False,
    step_hours=(1, 8),
    at_midnight=None,
    price_spikes=True,
    create_waits=(1, 3),
    price_places=6,
    disk_nanos_gib_month=88_000_000,
    address_nanos_hour=5_000_000,
    first_bill_hours=(8, 24),
    final_hours=72,
    bill_hours=1,
    bill_call_price=Money.of("0.01"),
)

GCP = Dialect(
    name="gcp",
    title="Google Cloud",
    naming=Naming.BY_NAME,
    terms=replace(PUBLISHED["gcp"], source="simcloud, after the published price lists of Google Cloud"),
    regions=(
        ("europe-west1", ("europe-west1-b", "europe-west1-c"), 100),
        ("us-central1", ("us-central1-a", "us-central1-b"), 91),
    ),
    hardware=(
        Hardware(instance_type="e2-standard-2", vcpus=2, memory_gib=8, nanos=73_700_000),
        Hardware(instance_type="n2-standard-4", vcpus=4, memory_gib=16, nanos=213_600_000),
        Hardware(instance_type="n2-highmem-16", vcpus=16, memory_gib=128, nanos=1_152_900_000),
        Hardware(
            instance_type="g2-standard-4", vcpus=4, memory_gib=16, nanos=777_900_000, gpus=1, gpu_model="NVIDIA L4"
        ),
    ),
    page_size=6,
    notice_seconds=30,
    limit_lag=(1, 30),
    boot=(5, 40),
    end_lag=(3, 30),
    kill_lag=(10, 60),
    visible_lag=(1, 10),
    shown_after_end=0,
    known_after_end=14 * 24 * 3600,
    free_if_taken_within=60,
    stopped_bills=False,
    step_hours=(24, 24),
    at_midnight=8,
    price_spikes=False,
    create_waits=(4, 20),
    price_places=9,
    disk_nanos_gib_month=110_000_000,
    address_nanos_hour=5_000_000,
    first_bill_hours=(4, 36),
    final_hours=120,
    bill_hours=1,
    bill_call_price=Money.of("0.00006"),
)

AZURE = Dialect(
    name="azure",
    title="Microsoft",
    naming=Naming.BY_PATH,
    terms=replace(PUBLISHED["azure"], source="simcloud, after the published price lists of Azure"),
    regions=(
        ("westeurope", ("westeurope-1", "westeurope-2"), 115),
        ("eastus", ("eastus-1", "eastus-2", "eastus-3"), 100),
    ),
    hardware=(
        Hardware(instance_type="Standard_D2as_v5", vcpus=2, memory_gib=8, nanos=86_000_000),
        Hardware(instance_type="Standard_D4as_v5", vcpus=4, memory_gib=16, nanos=172_000_000),
        Hardware(instance_type="Standard_E16as_v5", vcpus=16, memory_gib=128, nanos=904_000_000),
        Hardware(
            instance_type="Standard_NC4as_T4_v3",
            vcpus=4,
            memory_gib=28,
            nanos=526_000_000,
            gpus=1,
            gpu_model="NVIDIA T4",
        ),
    ),
    page_size=4,
    notice_seconds=30,
    limit_lag=None,
    boot=(20, 60),
    end_lag=(5, 60),
    kill_lag=(15, 90),
    visible_lag=(1, 15),
    shown_after_end=0,
    known_after_end=0,
    free_if_taken_within=0,
    stopped_bills=True,
    step_hours=(12, 72),
    at_midnight=None,
    price_spikes=True,
    create_waits=(10, 40),
    price_places=5,
    disk_nanos_gib_month=75_000_000,
    address_nanos_hour=5_000_000,
    first_bill_hours=(8, 24),
    final_hours=72,
    bill_hours=24,
    bill_call_price=Money.zero(),
)

DIALECTS = {each.name: each for each in (AWS, GCP, AZURE)}
