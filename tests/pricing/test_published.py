"""Published price files: what they say is taken with its date, and what they do not say is not made up."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.errors import PriceRefused, Unavailable, UsageError
from tallygate.money import Money
from tallygate.pricing import published, spot_advisor
from tallygate.pricing.estimate import Policy, check_price
from tallygate.pricing.interruptions import Band
from tallygate.pricing.offers import Offer, PurchaseOption
from tallygate.pricing.published import Published
from tallygate.pricing.source import Sheet

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AS_OF = datetime(2026, 2, 28, tzinfo=UTC)

HEAD = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch\n"
M5 = "m5.large,,,2.0,8.0,,0.107,0.0403,eu-west-1,euw1-az1,x86_64\n"
GPU = (
    "g5.12xlarge,A10G,4.0,48.0,192.0,\"{'Gpus': [{'Name': 'A10G', 'Count': 4.0, 'MemoryInfo': {'SizeInMiB': 24576}}],"
    " 'TotalGpuMemoryInMiB': 98304}\",6.33272,2.1,eu-west-1,euw1-az1,x86_64\n"
)


def no_web(url: str) -> bytes:
    raise AssertionError(f"{url} was asked for")


def take(text: str | bytes, place: str = "https://prices.example/v8/aws/vms.csv", **told: object) -> Published:
    data = text if isinstance(text, bytes) else text.encode()
    return published.read(place, fetch=lambda url: data, now=NOW, **{"as_of": AS_OF, **told})  # type: ignore[arg-type]


def only(found: Published) -> Sheet:
    (sheet,) = found.sheets
    return sheet


def said(sheet: Sheet) -> dict[tuple[str, str | None, str], Decimal]:
    return {(o.instance_type, o.zone, o.purchase_option.value): o.hourly_price.decimal for o in sheet.offers}


# --- what a catalogue says


def test_a_row_becomes_a_spot_offer_in_its_zone_and_one_without_spot_in_its_region() -> None:
    sheet = only(take(HEAD + M5 + M5.replace("az1", "az2").replace("0.0403", "0.0387")))
    assert said(sheet) == {
        ("m5.large", None, "on_demand"): Decimal("0.107"),
        ("m5.large", "euw1-az1", "spot"): Decimal("0.0403"),
        ("m5.large", "euw1-az2", "spot"): Decimal("0.0387"),
    }
    assert (sheet.provider, sheet.region, sheet.refused) == ("aws", "eu-west-1", {})
    spot = next(offer for offer in sheet.offers if offer.zone == "euw1-az1")
    assert spot.on_demand_price == Money.of("0.107")
    assert (spot.vcpus, spot.memory_gib, spot.architecture, spot.gpus) == (2, Decimal(8), "x86_64", 0)


def test_gpus_come_with_model_and_memory() -> None:
    rows = (
        GPU
        + "p4de.24xlarge,A100-80GB,8,96,1152,,40.96,,eu-west-1,,\n"
        + "s1,A10,0.5,18,220,{'SizeInMiB': 24576},1.6,,eu-west-1,,\n"
    )
    found = {offer.instance_type: offer for offer in only(take(HEAD + rows)).offers}
    assert [(o.gpus, o.gpu_model, o.gpu_memory_gib) for o in found.values()] == [
        (4, "A10G", Decimal(24)),
        (8, "A100", Decimal(80)),
        (1, "A10", None),
    ]


def test_accelerators_that_are_no_gpus_do_not_count_as_such() -> None:
    sheet = only(take(HEAD + "inf2.xlarge,Inferentia2,1.0,4.0,16.0,,0.758,,eu-west-1,,x86_64\n"))
    assert {(offer.gpus, offer.gpu_model) for offer in sheet.offers} == {(0, None)}


def test_an_empty_cell_says_that_a_machine_is_not_sold_that_way() -> None:
    sheet = only(take(HEAD + M5.replace("0.0403", "") + M5.replace("m5.", "m6.").replace("0.107", "")))
    assert said(sheet) == {
        ("m5.large", None, "on_demand"): Decimal("0.107"),
        ("m6.large", "euw1-az1", "spot"): Decimal("0.0403"),
    }
    assert sheet.refused == {}


def test_each_region_has_its_sheet() -> None:
    found = take(HEAD + M5 + M5.replace("eu-west-1,euw1", "us-east-1,use1"))
    assert [sheet.region for sheet in found.sheets] == ["eu-west-1", "us-east-1"]


def test_prices_keep_every_digit_down_to_the_nano() -> None:
    sheet = only(take(HEAD + M5.replace("0.107", "0.33599999999999997").replace("0.0403", "0.010000001")))
    assert set(said(sheet).values()) == {Decimal("0.336"), Decimal("0.010000001")}


def test_google_and_azure_are_read_with_their_own_places() -> None:
    head = "InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Region,AvailabilityZone,Price,SpotPrice\n"
    google = only(
        take(
            head + "n2-standard-4,4.0,16.0,,,,us-south1,us-south1-ai1b,0.19422,0.0458\n",
            "https://x.example/gcp/vms.csv",
        )
    )
    assert said(google)["n2-standard-4", "us-south1-ai1b", "spot"] == Decimal("0.0458")
    head = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,Generation\n"
    azure = only(
        take(head + 'Standard_A1_v2,,,1.0,2,,0.043,0.00473,eastus2,"V1,V2"\n', "https://x.example/azure/vms.csv")
    )
    assert said(azure) == {
        ("Standard_A1_v2", None, "on_demand"): Decimal("0.043"),
        ("Standard_A1_v2", None, "spot"): Decimal("0.00473"),
    }
    assert azure.notes == ()


# --- how old it is


def test_an_offer_from_a_file_is_as_old_as_the_file_says_and_age_decides() -> None:
    sheet = only(take(HEAD + M5, as_of=NOW - timedelta(days=30)))
    assert sheet.read_at == NOW - timedelta(days=30)
    for offer in sheet.offers:
        assert (offer.priced_at, offer.is_reference) == (sheet.read_at, False)
        with pytest.raises(PriceRefused, match="30 d old"):
            check_price(offer, policy=Policy(), now=NOW)
    for offer in only(take(HEAD + M5, as_of=NOW - timedelta(hours=2))).offers:
        check_price(offer, policy=Policy(), now=NOW)


def test_a_file_without_a_stated_date_is_as_old_as_the_file(tmp_path: Path) -> None:
    path = tmp_path / "aws" / "vms.csv"
    path.parent.mkdir()
    path.write_text(HEAD + M5)
    written = (NOW - timedelta(days=3)).timestamp()
    os.utime(path, (written, written))
    found = published.read(str(path), fetch=no_web, now=NOW)
    assert found.as_of == NOW - timedelta(days=3)
    assert published.read(str(path), fetch=no_web, now=NOW, as_of=AS_OF).as_of == AS_OF


def test_an_address_without_a_stated_date_is_not_taken_for_fresh() -> None:
    with pytest.raises(UsageError, match="does not say when"):
        take(HEAD + M5, as_of=None)


def test_a_date_in_the_future_is_refused() -> None:
    with pytest.raises(UsageError, match="future"):
        take(HEAD + M5, as_of=NOW + timedelta(seconds=1))


# --- whose it is


@pytest.mark.parametrize(
    "place",
    ["https://x.example/v8/aws/vms.csv", "https://x.example/v8/aws-vms.csv?key=gcp", "https://x.example/AWS.csv"],
)
def test_the_name_tells_whose_prices_they_are(place: str) -> None:
    assert only(take(HEAD + M5, place)).provider == "aws"


@pytest.mark.parametrize(
    "place", ["https://x.example/vms.csv", "https://x.example/aws-and-gcp.csv", "https://aws.example/a/b/c.csv"]
)
def test_a_name_that_does_not_tell_needs_it_stated(place: str) -> None:
    with pytest.raises(UsageError, match="whose prices"):
        take(HEAD + M5, place)
    assert only(take(HEAD + M5, place, provider="AWS")).provider == "aws"


def test_a_cloud_that_has_no_such_file_is_refused() -> None:
    with pytest.raises(UsageError, match="oracle"):
        take(HEAD + M5, provider="oracle")


def test_prices_of_another_cloud_are_not_taken_for_its_own() -> None:
    with pytest.raises(UsageError, match="region is none of gcp"):
        take(HEAD + M5, provider="gcp")


def test_a_key_in_an_address_is_not_kept() -> None:
    found = take(HEAD + M5, "https://x.example/aws/vms.csv?sig=SECRET#SECRET")
    assert "SECRET" not in repr(found)


# --- rows that are refused


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (M5.replace("0.0403", "0"), "spot price is zero"),
        (M5.replace("0.0403", "-0.04"), "spot price is negative"),
        (M5.replace("0.0403", "nan"), "spot price is not a number"),
        (M5.replace("0.0403", "inf"), "spot price is not a number"),
        (M5.replace("0.0403", "1e-9"), "spot price is not a number"),
        (M5.replace("0.0403", '"0,0403"'), "spot price is not a number"),
        (M5.replace("0.0403", "$0.04"), "spot price is not a number"),
        (M5.replace("0.0403", "\uff10.04"), "spot price is not a number"),
        (M5.replace("0.0403", "1000000000"), "spot price is above 2000 an hour"),
        (M5.replace("0.107", "0"), "on-demand price is zero"),
        (M5.replace("0.107", "nan"), "on-demand price is not a number"),
        (M5.replace("0.107", "").replace("0.0403", ""), "price is missing"),
        (M5.replace("0.0403", "0,0403"), "row has another number of columns"),
        (M5.replace(",x86_64", ""), "row has another number of columns"),
        (M5.replace("2.0,", "0,"), "vCPUs are not a believable number"),
        (M5.replace("2.0,", "2.5,"), "vCPUs are not a believable number"),
        (M5.replace("2.0,", ","), "vCPUs are not a believable number"),
        (M5.replace("2.0,", "99999,"), "vCPUs are not a believable number"),
        (M5.replace("8.0,", "0,"), "memory is not a believable number"),
        (M5.replace("8.0,", "8589934592,"), "memory is not a believable number"),
        (M5.replace("m5.large", ""), "row is an accelerator without a machine"),
        (M5.replace("m5.large", "m5.\x1b[2J"), "machine has no usable name"),
        (M5.replace("eu-west-1", "westeurope"), "region is none of aws"),
        (M5.replace("euw1-az1", "us-east1-b"), "zone is not in the region"),
        (M5.replace("euw1-az1", "eu-west-10a"), "zone is not in the region"),
        (GPU.replace("4.0", "-4", 1), "GPUs are not a believable number"),
        (GPU.replace("4.0", "1.5", 1), "GPUs are not a believable number"),
        (GPU.replace("A10G,4.0", "A10G,", 1), "GPUs are not a believable number"),
    ],
)
def test_a_row_that_cannot_be_used_is_counted_and_spoils_no_other(row: str, reason: str) -> None:
    good = M5.replace("m5.large", "c5.large")
    found = take(HEAD + good + row)
    sheet = only(found)
    assert {**sheet.refused, **found.refused} == {reason: 1}
    assert {(o.instance_type, o.zone) for o in sheet.offers if o.instance_type == "c5.large"} == {
        ("c5.large", None),
        ("c5.large", "euw1-az1"),
    }
    for offer in sheet.offers:
        assert offer.hourly_price.nanos > 0
        assert offer.on_demand_price is None or offer.on_demand_price.nanos > 0


def test_another_currency_is_refused() -> None:
    head, row = HEAD.replace("Arch", "Currency"), M5.replace("x86_64", "CNY")
    with pytest.raises(UsageError, match="not in US dollars"):
        take(head + row)


def test_the_same_row_twice_is_counted_and_sold_once() -> None:
    sheet = only(take(HEAD + M5 + M5))
    assert sheet.refused == {"row is there twice": 1}
    assert len(sheet.offers) == 2


def test_two_spot_prices_of_one_place_are_none() -> None:
    sheet = only(take(HEAD + M5 + M5.replace("0.0403", "0.0001")))
    assert said(sheet) == {("m5.large", None, "on_demand"): Decimal("0.107")}
    assert sheet.refused["spot price is told twice and differs"] == 1


def test_two_prices_without_spot_in_one_region_are_none() -> None:
    sheet = only(take(HEAD + M5 + M5.replace("az1", "az2").replace("0.107", "0.0001")))
    assert {offer.purchase_option for offer in sheet.offers} == {PurchaseOption.SPOT}
    assert {offer.on_demand_price for offer in sheet.offers} == {None}
    assert sheet.refused == {"on-demand price differs within the region": 1}


def test_a_price_that_is_unusable_in_one_zone_is_not_taken_from_another() -> None:
    sheet = only(take(HEAD + M5 + M5.replace("az1", "az2").replace("0.107", "0")))
    assert {offer.purchase_option for offer in sheet.offers} == {PurchaseOption.SPOT}
    assert sheet.refused == {"on-demand price is zero": 1}


def test_a_machine_of_two_sizes_is_not_sold() -> None:
    sheet = only(take(HEAD + GPU + M5 + M5.replace("az1", "az2").replace("8.0", "800.0")))
    assert {offer.instance_type for offer in sheet.offers} == {"g5.12xlarge"}
    assert sheet.refused == {"machine is described in two ways": 1}


GOOGLE = (
    "InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Region,AvailabilityZone,Price,SpotPrice\n"
)


@pytest.mark.parametrize(
    "name", ["a2-highgpu-1g", "a3-megagpu-8g", "g2-standard-4", "a4x-highgpu-4g", "ct5lp-hightpu-4t"]
)
def test_a_google_price_that_leaves_out_the_gpus_is_not_taken_for_the_whole(name: str) -> None:
    """The file gives such machines at the price of their vCPUs and memory: a quarter of what they cost."""
    good = "n2-standard-4,4.0,16.0,,,,us-central1,us-central1-a,0.19422,0.0458\n"
    bad = f"{name},12.0,85.0,,,,us-central1,us-central1-a,0.73948,0.36975\n"
    sheet = only(take(GOOGLE + good + bad, provider="gcp"))
    assert {offer.instance_type for offer in sheet.offers} == {"n2-standard-4"}
    assert sheet.refused == {"price leaves out the machine's accelerators": 1}


def test_azure_machines_with_cores_switched_off_are_not_sold_with_all_of_them() -> None:
    head = "InstanceType,vCPUs,MemoryGiB,Price,SpotPrice,Region\n"
    rows = "Standard_M128-32ms,128.0,3892,26.688,2.93568,eastus\nStandard_M128,128.0,2048,13.338,1.46718,eastus\n"
    sheet = only(take(head + rows, provider="azure"))
    assert {offer.instance_type for offer in sheet.offers} == {"Standard_M128"}
    assert sheet.refused == {"vCPUs are not those that the name tells": 1}


def test_columns_that_are_not_understood_are_named() -> None:
    sheet = only(take(HEAD.replace("Arch", "Arch,Discount") + M5.replace("\n", ",0.5\n")))
    assert sheet.notes[0] == "columns not understood: Discount"


def test_zones_told_by_id_are_noted_and_names_are_not() -> None:
    assert "ids" in only(take(HEAD + M5)).notes[0]
    named = only(take(HEAD + M5.replace("euw1-az1", "eu-west-1a")))
    assert {offer.zone for offer in named.offers} == {None, "eu-west-1a"}
    assert named.notes == ()


# --- files that are refused


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"<!DOCTYPE html><html></html>\n", "web page"),
        (b"\n\n  <html>\n", "web page"),
        (b"\x1f\x8b\x08\x00abc", "compressed"),
        (b"PK\x03\x04abc", "compressed"),
        (HEAD.encode() + b"\xff\xfe\n", "UTF-8"),
        ((HEAD + M5).encode("utf-16"), "UTF-8"),
        (HEAD.encode() + b"m5.large\0\n", "zero bytes"),
        ((HEAD + M5).encode()[:-1], "breaks off"),
        ((HEAD + M5).encode()[:-30], "breaks off"),
        (HEAD.encode(), "no rows"),
        (b"a,b,c\n1,2,3\n", "no column InstanceType"),
        ((HEAD.replace("SpotPrice", "Price") + M5).encode(), "twice"),
        ((HEAD + M5.replace("m5.large", '"m5.large')).encode(), "damaged"),
        ((HEAD + M5.replace("m5.large", "x" * 200_000)).encode(), "damaged"),
        (
            (HEAD + M5.replace("0.107", "0").replace("0.0403", "0")).encode(),
            "no usable price: 1 x on-demand price is zero",
        ),
        (b"{}\n", "No interruption rate"),
        (b"[]", "No interruption rate"),
        (b'{"spot_advisor": ', "no JSON"),
        (b'{"ranges": NaN}', "no JSON"),
        (b"[" * 100_000, "no JSON"),
    ],
)
def test_a_file_that_is_none_is_refused_whole(data: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        take(data)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"aws\.csv cannot be read"):
        published.read(str(tmp_path / "aws.csv"), fetch=no_web, now=NOW)
    with pytest.raises(UsageError, match="cannot be read"):
        published.read(str(tmp_path), fetch=no_web, now=NOW, provider="aws")


def test_an_address_that_fails_is_unavailable() -> None:
    def fails(url: str) -> bytes:
        raise Unavailable("no such host")

    with pytest.raises(Unavailable):
        published.read("https://x.example/aws.csv", fetch=fails, now=NOW, as_of=AS_OF)


@given(st.data())
def test_whatever_is_damaged_nothing_becomes_free_and_nothing_else_is_raised(data: st.DataObject) -> None:
    text = HEAD + M5 + GPU + M5.replace("az1", "az2").replace("0.0403", "0.0387")
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(text)))
        until = place + data.draw(st.integers(0, 6))
        text = text[:place] + data.draw(st.text("09.,-e+\"'\n\r\x00NaN{[<;\u0661", max_size=4)) + text[until:]
    try:
        found = take(text)
    except UsageError:
        return
    for sheet in found.sheets:
        keys = [(offer.instance_type, offer.zone, offer.purchase_option) for offer in sheet.offers]
        assert len(keys) == len(set(keys))
        for offer in sheet.offers:
            assert 0 < offer.hourly_price.nanos <= Money.of(2_000).nanos
            assert offer.on_demand_price is None or offer.on_demand_price.nanos > 0
            assert offer.vcpus >= 1
            assert offer.memory_gib > 0


# --- interruption rates

ADVISOR = {
    "ranges": [
        {"index": 0, "label": "<5%", "max": 5},
        {"index": 1, "label": "5-10%", "max": 11},
        {"index": 4, "label": ">20%", "max": 100},
    ],
    "spot_advisor": {
        "eu-west-1": {
            "Linux": {"m5.large": {"s": 68, "r": 1}, "c5.large": {"s": 50, "r": 4}},
            "Windows": {"m5.large": {"s": 1, "r": 0}},
        }
    },
}
SPOTINFO = [
    {
        "region": "eu-west-1",
        "instance": "m5.large",
        "range": {"label": "5-10%", "min": 5, "max": 11},
        "savings": 68,
        "price": 0.0001,
    },
    {
        "region": "eu-west-1",
        "instance": "c5.large",
        "range": {"label": ">20%", "min": 20, "max": 100},
        "savings": 50,
        "price": 0,
    },
]
SPOTINFO_2 = {
    "schema_version": "spotinfo.list/v1",
    "candidates": [
        {
            "cloud": "aws",
            "os": "linux",
            "region": "eu-west-1",
            "machine": "m5.large",
            "savings_percent": 68,
            "risk": {"label": "5-10%"},
            "spot_usd_per_hour": "0.0001",
        },
        {
            "cloud": "aws",
            "os": "linux",
            "region": "eu-west-1",
            "machine": "c5.large",
            "savings_percent": 50,
            "risk": {"label": ">20%"},
        },
    ],
}


@pytest.mark.parametrize("document", [ADVISOR, SPOTINFO, SPOTINFO_2], ids=["advisor", "spotinfo", "spotinfo-list"])
def test_rates_become_bands_of_known_offers_and_never_a_price(document: object) -> None:
    found = take(json.dumps(document), "https://x.example/advice.json")
    assert found.sheets == ()
    assert found.advisor is not None
    assert found.advisor.advice["eu-west-1"]["m5.large"].saving == 68
    before = only(take(HEAD + M5 + M5.replace("m5.", "c5.") + M5.replace("m5.", "r5.")))
    after = published.with_bands(before, found.advisor)

    def prices(sheet: Sheet) -> list[tuple[Offer, Money]]:
        return [
            (o.instance_type, o.zone, o.purchase_option, o.hourly_price, o.on_demand_price, o.priced_at)
            for o in sheet.offers
        ]  # type: ignore[misc]

    assert prices(after) == prices(before)
    bands = {offer.instance_type: offer.interruptions for offer in after.offers if offer.zone}
    assert bands == {
        "m5.large": Band(low=Decimal("0.05"), high=Decimal("0.1"), hours=730),
        "c5.large": Band(low=Decimal("0.2"), high=None, hours=730),
        "r5.large": None,
    }
    assert {offer.interruptions for offer in after.offers if offer.zone is None} == {None}


def test_rates_of_aws_say_nothing_about_another_cloud() -> None:
    sheet = only(take(GOOGLE + "n2-standard-4,4,16,,,,us-central1,us-central1-a,0.1,0.04\n", provider="gcp"))
    assert published.with_bands(sheet, spot_advisor.parse(json.dumps(ADVISOR))) is sheet


@pytest.mark.parametrize("entry", [{"s": 1}, {"r": "0"}, {"r": True}, {"r": 7}, {"r": -1}, 3, None])
def test_a_rate_that_is_not_understood_is_counted(entry: object) -> None:
    document = json.loads(json.dumps(ADVISOR))
    document["spot_advisor"]["eu-west-1"]["Linux"]["m5.large"] = entry
    found = spot_advisor.parse(json.dumps(document))
    assert found.band("eu-west-1", "m5.large") is None
    assert found.refused == {"interruption rate is not understood": 1}


@pytest.mark.parametrize("label", ["", "5%", "<0%", "10-5%", "<101%", ">100%", "about 5%", "5-10", "-5-10%", "<5.5%"])
def test_a_label_that_is_no_band_is_none(label: str) -> None:
    assert spot_advisor.band_of(label) is None


def test_a_type_that_is_told_twice_has_the_worse_rate() -> None:
    rows = [SPOTINFO[0], {**SPOTINFO[0], "range": {"label": "15-20%"}}, {**SPOTINFO[0], "range": {"label": "<5%"}}]
    found = spot_advisor.parse(json.dumps(rows))
    assert str(found.band("eu-west-1", "m5.large")) == "15-20% a month"
    assert found.refused == {"type has two interruption rates": 2}
