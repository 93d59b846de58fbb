"""Known public prices, composed to the nano from a price list worded like Google's, and nothing invented around them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tallygate.money import Money
from tallygate.pricing.offers import PurchaseOption
from tallygate.providers import gcp_families as families
from tallygate.providers.gcp_skus import Dated, Machine, Rates, Sku, UnitPrice, Unpriced
from tests.providers import gcp_price_list as price_list

NOW = datetime(2026, 3, 1, tzinfo=UTC)
US = "us-central1"
ON_DEMAND, SPOT = PurchaseOption.ON_DEMAND, PurchaseOption.SPOT


def sku(entry: price_list.Entry, *, effective: datetime = NOW - timedelta(days=2), currency: str = "USD") -> Sku:
    told = [price_list.amount(text) for text in entry.price.split(" then ")]
    steps = tuple(
        UnitPrice(currency=currency, units=int(str(step.get("units", 0))), nanos=int(str(step.get("nanos", 0))))
        for step in told
    )
    return Sku(
        id="-",
        description=entry.description,
        usage=entry.usage,
        regions=entry.regions,
        prices=(Dated(effective=effective, unit=entry.unit, steps=steps),),
    )


LISTED = [sku(entry) for entry in price_list.entries()]
RATES = Rates(LISTED, now=NOW)


def machine(
    name: str, vcpus: int, gib: str, *, gpu: str | None = None, gpus: int = 0, ssd: int | None = None
) -> Machine:
    return Machine(
        name=name,
        vcpus=vcpus,
        memory_gib=Decimal(gib),
        architecture=None,
        gpu=gpu,
        gpus=gpus,
        local_ssd_partitions=ssd,
    )


N2 = machine("n2-standard-4", 4, "16")
C3_LSSD = machine("c3-standard-4-lssd", 4, "16", ssd=1)
A2_ULTRA = machine("a2-ultragpu-1g", 12, "170", gpu="nvidia-a100-80gb", gpus=1, ssd=1)

KNOWN = [
    (N2, "0.194236"),  # 4 x 0.031611 + 16 x 0.004237
    (machine("n1-standard-4", 4, "15"), "0.189999"),  # 4 x 0.031611 + 15 x 0.004237
    (machine("n2d-standard-4", 4, "16"), "0.168984"),  # 4 x 0.027502 + 16 x 0.003686
    (machine("t2d-standard-1", 1, "4"), "0.042246"),
    (machine("e2-standard-4", 4, "16"), "0.13402284"),  # 4 x 0.02181159 + 16 x 0.00292353
    (machine("e2-medium", 2, "4"), "0.03350571"),  # one core is billed, two are shown
    (machine("e2-small", 2, "2"), "0.016752855"),
    (machine("e2-micro", 2, "1"), "0.008376428"),  # 0.25 x 0.02181159 + 0.00292353 = 0.0083764275
    (machine("f1-micro", 1, "0.6"), "0.0076"),
    (machine("g1-small", 1, "1.7"), "0.0257"),
    (machine("c2-standard-4", 4, "16"), "0.208808"),
    (machine("c3-standard-4", 4, "16"), "0.20888"),
    (C3_LSSD, "0.24997589"),  # the same and 375 x 0.08 / 730
    (machine("m1-ultramem-40", 40, "961"), "6.2931"),
    (machine("m2-ultramem-208", 208, "5888"), "52.16992"),  # 208 x (0.0348 + 0.0139) + 5888 x (0.0051 + 0.00204)
    (machine("a2-highgpu-1g", 12, "85", gpu="nvidia-tesla-a100", gpus=1), "3.673385"),
    (A2_ULTRA, "5.068431890"),  # 12 x 0.031611 + 170 x 0.004237 + 3.927714 + 375 x 0.08 / 730
    (machine("a3-highgpu-8g", 208, "1872", gpu="nvidia-h100-80gb", gpus=8, ssd=16), "89.737534247"),
    (machine("a3-megagpu-8g", 208, "1872", gpu="nvidia-h100-mega-80gb", gpus=8, ssd=16), "90.725534247"),
    (machine("a4-highgpu-8g", 224, "3968", gpu="nvidia-b200", gpus=8, ssd=32), "128.88"),  # 8 slices and nothing else
    (machine("g2-standard-4", 4, "16", gpu="nvidia-l4", gpus=1), "0.706788"),
]


@pytest.mark.parametrize(("known", "price"), KNOWN, ids=lambda value: getattr(value, "name", None))
def test_known_prices_come_out_to_the_nano(known: Machine, price: str) -> None:
    assert RATES.price(known, US, ON_DEMAND) == Money.of(price)


@pytest.mark.parametrize(
    ("known", "price"),
    [
        (N2, "0.046996"),  # 4 x 0.007649 + 16 x 0.001025
        (machine("n1-standard-4", 4, "15"), "0.04"),  # 4 x 0.006655 + 15 x 0.000892
        (machine("e2-micro", 2, "1"), "0.001763468"),  # 0.25 x 0.00459195 + 0.00061548 = 0.0017634675
        (machine("f1-micro", 1, "0.6"), "0.0035"),
        (C3_LSSD, "0.074897534"),  # 4 x 0.00816 + 16 x 0.0011 + 375 x 0.048 / 730
        (machine("g2-standard-4", 4, "16", gpu="nvidia-l4", gpus=1), "0.361216"),
        (machine("a4-highgpu-8g", 224, "3968", gpu="nvidia-b200", gpus=8), "39.6336"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_known_spot_prices_come_out_to_the_nano(known: Machine, price: str) -> None:
    assert RATES.price(known, US, SPOT) == Money.of(price)


def test_every_region_that_a_sku_names_has_the_price_and_no_other() -> None:
    assert RATES.price(N2, "us-east1", ON_DEMAND) == Money.of("0.194236")
    assert RATES.price(N2, "europe-west1", ON_DEMAND) == Money.of("0.213668")  # by regions, whatever the text says
    with pytest.raises(Unpriced, match="no price for core"):
        RATES.price(N2, "asia-east1", ON_DEMAND)
    with pytest.raises(Unpriced, match="no spot price for core"):
        RATES.price(N2, "europe-west1", SPOT)


@pytest.mark.parametrize("missing", ["Core", "Ram", "GPU", "Local Storage"])
def test_a_machine_with_any_part_unpriced_has_no_price(missing: str) -> None:
    """The price is the whole of its parts; leaving one out would make the dearest machines look cheapest."""
    rates = Rates([entry for entry in LISTED if missing not in entry.description], now=NOW)
    word = {"Core": "core", "Ram": "memory", "GPU": "GPU", "Local Storage": "local disk"}[missing]
    with pytest.raises(Unpriced, match=f"^no price for {word}$"):
        rates.price(A2_ULTRA, US, ON_DEMAND)
    with pytest.raises(Unpriced, match=f"^no spot price for {word}$"):
        rates.price(A2_ULTRA, US, SPOT)


def test_a_premium_that_has_no_spot_price_leaves_the_machine_without_one() -> None:
    m2 = machine("m2-ultramem-208", 208, "5888")
    with pytest.raises(Unpriced, match="no spot price for core"):
        RATES.price(m2, US, SPOT)
    assert RATES.price(machine("m1-ultramem-40", 40, "961"), US, SPOT) == Money.of("1.33108")


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (machine("x4-megamem-960-metal", 960, "16384"), "unknown machine series"),
        (machine("n1-ultramem-40", 40, "961"), "not the sum of its parts"),
        (machine("m4-ultramem-224", 224, "5952"), "not the sum of its parts"),
        (machine("ct5lp-hightpu-4t", 112, "192"), "unknown machine series"),
        (machine("g2-standard-4", 4, "16", gpu="nvidia-l40", gpus=1), "unknown GPU"),
        (machine("a4-highgpu-8g", 224, "3968"), "unknown GPU"),
        (machine("n1-standard-4", 4, "15", gpu="nvidia-b200", gpus=1), "unknown GPU"),
        (replace(C3_LSSD, local_ssd_partitions=None), "size of local disk is not stated"),
        (replace(A2_ULTRA, local_ssd_partitions=None), "size of local disk is not stated"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_the_tables_do_not_know_has_no_price(odd: Machine, reason: str) -> None:
    with pytest.raises(Unpriced, match=f"^{reason}$"):
        RATES.price(odd, US, ON_DEMAND)


# --- several prices for one thing

CORE = price_list.Entry("N2 Instance Core running in Americas", "OnDemand", "0.04")


def priced(*more: Sku) -> Money:
    return Rates([*LISTED, *more], now=NOW).price(N2, US, ON_DEMAND)


def test_the_newest_price_in_force_counts_whatever_the_order() -> None:
    newer = sku(CORE, effective=NOW - timedelta(hours=1))
    older = sku(CORE._replace(price="0.01"), effective=NOW - timedelta(days=9))
    announced = sku(CORE._replace(price="0.02"), effective=NOW + timedelta(days=1))
    assert priced(older, newer, announced) == Money.of("0.227792")  # 4 x 0.04 + 16 x 0.004237
    assert Rates([announced, newer, older, *LISTED], now=NOW).price(N2, US, ON_DEMAND) == Money.of("0.227792")


def test_two_prices_of_one_moment_are_no_price_and_a_repeated_one_is() -> None:
    assert priced(sku(CORE._replace(price="0.031611"))) == Money.of("0.194236")
    with pytest.raises(Unpriced, match="price of core: two prices"):
        priced(sku(CORE))
    assert priced(sku(CORE), sku(CORE, effective=NOW)) == Money.of("0.227792")


def test_a_price_worded_as_spot_is_one_however_it_is_filed() -> None:
    as_spot = price_list.Entry("Spot Preemptible N2 Instance Core running in Americas", "OnDemand", "0.005")
    rates = Rates([*LISTED, sku(as_spot, effective=NOW)], now=NOW)
    assert rates.price(N2, US, SPOT) == Money.of("0.0364")  # 4 x 0.005 + 16 x 0.001025
    assert rates.price(N2, US, ON_DEMAND) == Money.of("0.194236")


def test_two_wordings_of_one_thing_are_one_thing() -> None:
    c3d = machine("c3d-standard-4", 4, "16")
    parts = [
        price_list.Entry("C3D AMD Instance Core running in Americas", "OnDemand", "0.03"),
        price_list.Entry("C3D Instance Ram running in Iowa", "OnDemand", "0.004", "GiBy.h"),
    ]
    assert Rates([sku(entry) for entry in parts], now=NOW).price(c3d, US, ON_DEMAND) == Money.of("0.184")
    parts.append(price_list.Entry("C3D Instance Core running in Americas", "OnDemand", "0.031"))
    with pytest.raises(Unpriced, match="two prices"):
        Rates([sku(entry) for entry in parts], now=NOW).price(c3d, US, ON_DEMAND)


@pytest.mark.parametrize(
    ("newest", "reason"),
    [
        (sku(CORE._replace(price="0"), effective=NOW), "price of core: zero"),
        (sku(CORE._replace(price="-0.04"), effective=NOW), "price of core: below zero"),
        (sku(CORE, effective=NOW, currency="EUR"), "price of core: not in USD"),
        (sku(CORE._replace(unit="mo"), effective=NOW), "price of core: unknown unit"),
        (sku(CORE._replace(unit="GiBy.h"), effective=NOW), "price of core: unknown unit"),
        (sku(CORE._replace(price="90000000"), effective=NOW), "price is absurd"),
        (
            replace(sku(CORE), prices=(Dated(effective=NOW, unit="h", steps=()),)),
            "price of core: none stated",
        ),
    ],
    ids=["zero", "negative", "currency", "unit", "other unit", "absurd", "no step"],
)
def test_a_newest_price_that_cannot_be_used_is_not_replaced_by_an_old_one(newest: Sku, reason: str) -> None:
    with pytest.raises(Unpriced, match=f"^{reason}$"):
        priced(newest)


def test_a_free_first_amount_is_not_counted_on() -> None:
    free = CORE._replace(price="0 then 0.04 then 0.03")
    assert priced(sku(free, effective=NOW)) == Money.of("0.227792")


# --- the table itself


def test_the_longest_beginning_of_a_name_names_its_series() -> None:
    assert families.series_of("a3-megagpu-8g") is families.SERIES["a3-megagpu"]
    assert families.series_of("a3-highgpu-8g") is families.SERIES["a3"]
    assert families.series_of("m4-ultramem-56") is families.SERIES["m4"]
    assert families.series_of("n2d-standard-2") is families.SERIES["n2d"]
    assert families.series_of("n22-standard-2") is None


def test_no_wording_of_the_table_is_excluded_by_its_own_rules_but_the_premium_of_m2() -> None:
    said = {wording for wording in families.wordings() for word in families.NOT_MEANT if word in wording}
    assert said == {
        wording for wording in families.wordings() if wording.startswith("Memory Optimized Upgrade Premium")
    }
    assert len(said) == 2


def test_every_series_has_cores_and_memory_or_slices() -> None:
    for series in families.SERIES.values():
        assert bool(series.core and series.ram) != bool(series.gpu_slice)


@pytest.mark.parametrize("name", sorted(families.SERIES))
def test_every_series_is_priced_by_its_own_wording_and_by_all_of_it(name: str) -> None:
    """One dollar a core, ten a GiB, a hundred a GPU or slice: the sum shows what was counted."""
    series = families.SERIES[name]
    gpu = next((kind for kind, known in families.GPUS.items() if known.wording == series.gpu_slice), None)
    prices = dict.fromkeys(series.core, "1") | dict.fromkeys(series.ram, "10")
    if series.gpu_slice is not None:
        prices[series.gpu_slice] = "100"
    listed = [
        price_list.Entry(
            f"{'Spot Preemptible ' if usage == 'Preemptible' else ''}{wording} running in Iowa",
            usage,
            price,
            "GiBy.h" if price == "10" else "h",
        )
        for wording, price in prices.items()
        for usage in ("OnDemand", "Preemptible")
    ]
    type_name = f"{name}-standard-4"
    known = machine(type_name, 4, "16", gpu=gpu, gpus=2 if gpu else 0, ssd=0)
    rates = Rates([sku(entry) for entry in listed], now=NOW)
    wanted = Money.of(200 if gpu else 4 * len(series.core) + 160 * len(series.ram))
    assert rates.price(known, US, ON_DEMAND) == rates.price(known, US, SPOT) == wanted
