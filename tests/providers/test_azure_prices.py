"""Azure's prices are those of Linux machines, the newest in force, for the sizes that the subscription may use."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import NoReturn

import pytest
from azure.identity import CredentialUnavailableError

from tallygate.errors import CredentialsMissing, Unavailable, UsageError
from tallygate.ids import Entropy
from tallygate.money import Money
from tallygate.pricing.offers import Offer, PurchaseOption
from tallygate.providers.azure_prices import AzurePrices
from tallygate.times import Clock
from tests.providers.azure_wire import (
    D4,
    E8,
    F2,
    NC,
    REGION,
    RETAIL_PATH,
    SUBSCRIPTION,
    AzureMarket,
    AzurePastMarket,
    KnownToken,
    row,
    sku,
    spot_row,
)
from tests.providers.loopback import Digits, certificate_pem, serving
from tests.providers.prices_contract import HistorySourceContract, PriceSourceContract


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "loopback.pem"
    path.write_bytes(certificate_pem())
    return path


def source_at(url: str, certificate: Path, clock: Clock, entropy: Entropy, **more: str | None) -> AzurePrices:
    return AzurePrices(
        clock=clock,
        entropy=entropy,
        subscription=more.get("subscription", SUBSCRIPTION),
        credential=KnownToken(),
        management_url=url,
        prices_url=url,
        certificates=str(certificate),
    )


@pytest.fixture
def market() -> AzureMarket:
    return AzureMarket()


@pytest.fixture
def source(market: AzureMarket, certificate: Path, clock: Clock, entropy: Entropy) -> Iterator[AzurePrices]:
    with serving(market, certificate=certificate) as url:
        market.url = url
        yield source_at(url, certificate, clock, entropy)


class TestAzurePrices(PriceSourceContract):
    @pytest.fixture
    def market(self) -> AzureMarket:
        return AzureMarket()

    @pytest.fixture
    def source(self, market: AzureMarket, certificate: Path, clock: Clock, entropy: Entropy) -> Iterator[AzurePrices]:
        with serving(market, certificate=certificate) as url:
            market.url = url
            yield source_at(url, certificate, clock, entropy)


class TestAzurePricesPast(HistorySourceContract):
    @pytest.fixture
    def market(self) -> AzurePastMarket:
        return AzurePastMarket()

    @pytest.fixture
    def source(
        self, market: AzurePastMarket, certificate: Path, clock: Clock, entropy: Entropy
    ) -> Iterator[AzurePrices]:
        with serving(market, certificate=certificate) as url:
            market.url = url
            yield source_at(url, certificate, clock, entropy)


def by_size(offers: tuple[Offer, ...], option: PurchaseOption = PurchaseOption.SPOT) -> dict[str, Offer]:
    return {offer.instance_type: offer for offer in offers if offer.purchase_option is option}


def test_only_places_where_machines_run_are_regions(source: AzurePrices) -> None:
    assert source.regions() == ["northeurope", "westeurope"]


# --- which row is the price


def test_rows_for_other_things_are_told_in_a_note(source: AzurePrices) -> None:
    counted, unlisted = source.read(REGION).notes
    assert counted == (
        "prices of other things than Linux machines were not read: 1 Windows, 1 cloud services, 1 dedicated hosts,"
        " 1 low priority, 1 other regions, 2 other services and commitments"
    )
    assert unlisted == "1 sizes have a price and are not offered to the subscription"


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ({"unitOfMeasure": "100 Hours"}, "spot price: unknown unit"),
        ({"currencyCode": "EUR"}, "spot price: not in USD"),
        ({"effectiveStartDate": "soon"}, "spot price: no date"),
        ({"retailPrice": Digits("0.0")}, "spot price: zero"),
        ({"retailPrice": Digits("-0.01")}, "spot price: below zero"),
        ({"retailPrice": Digits("1e30")}, "spot price: absurd"),
        ({"retailPrice": Digits("NaN")}, "spot price: not a number"),
        ({"retailPrice": "0.01"}, "spot price: not a number"),
        ({"retailPrice": True}, "spot price: not a number"),
        ({"retailPrice": Digits("0.0000000001")}, "spot price: zero"),
    ],
)
def test_a_newest_row_that_is_no_price_is_counted_and_not_passed_over(
    source: AzurePrices, market: AzureMarket, odd: dict[str, object], reason: str
) -> None:
    market.rows.append(spot_row(D4, "0.01", **{"effectiveStartDate": "2026-02-28T00:00:00Z", **odd}))
    sheet = source.read(REGION)
    assert dict(sheet.refused) == {reason: 1}
    assert set(by_size(sheet.offers)) == {F2, NC, E8}


def test_two_prices_of_one_moment_are_no_price(source: AzurePrices, market: AzureMarket) -> None:
    market.rows.append(spot_row(D4, "0.0413"))
    assert dict(source.read(REGION).refused) == {"spot price: two at a time": 1}
    market.rows.append(spot_row(D4, "0.05", effectiveStartDate="2026-02-02T00:00:00Z"))
    assert by_size(source.read(REGION).offers)[D4].hourly_price == Money.of("0.05")


def test_a_spot_price_without_one_on_demand_has_no_bound(source: AzurePrices, market: AzureMarket) -> None:
    market.rows = [told for told in market.rows if told["armSkuName"] != F2 or "Spot" in told["meterName"]]
    sheet = source.read(REGION)
    assert dict(sheet.refused) == {"no price": 1}
    assert by_size(sheet.offers)[F2].on_demand_price is None


# --- which size may be used


def test_restrictions_of_the_subscription_leave_sizes_and_zones_out(source: AzurePrices, market: AzureMarket) -> None:
    barred = {"type": "Location", "values": [REGION], "restrictionInfo": {"locations": [REGION]}}
    market.skus += [
        {**sku("Standard_A1", "1", "2"), "restrictions": [{**barred, "reasonCode": "NotAvailableForSubscription"}]},
        {**sku("Standard_A2", "1", "2"), "restrictions": [{**barred, "reasonCode": "QuotaId"}]},
        {
            **sku("Standard_A3", "1", "2"),
            "restrictions": [{**barred, "values": ["northeurope"], "restrictionInfo": None}],
        },
        {
            **sku("Standard_A4", "1", "2", zones=("1", "2", "3")),
            "restrictions": [
                {
                    "type": "Zone",
                    "values": [REGION],
                    "restrictionInfo": {"locations": [REGION], "zones": ["1", "3"]},
                    "reasonCode": "NotAvailableForSubscription",
                }
            ],
        },
        {
            **sku("Standard_A5", "1", "2", zones=("1",)),
            "restrictions": [{"type": "Zone", "values": [REGION], "restrictionInfo": {"zones": ["1"]}}],
        },
        sku("Standard_A6", "1", "2", LowPriorityCapable="False"),
        sku("Standard_A7", "", "2"),
        sku("Standard_A8", "6", "56", GPUs="1.5"),
    ]
    market.rows += [
        told for size in range(1, 8) for told in (row(f"Standard_A{size}", "1"), spot_row(f"Standard_A{size}", "0.2"))
    ]
    sheet = source.read(REGION)
    assert dict(sheet.refused) == {
        "GPUs are not stated": 1,
        "cores or memory are not stated": 1,
        "no zone is available to the subscription": 1,
        "not available to the subscription": 1,
        "not available to this kind of subscription": 1,
        "not offered as spot": 1,
    }
    zones = {(o.instance_type, o.zone) for o in sheet.offers if o.purchase_option is PurchaseOption.SPOT}
    assert {place for place in zones if place[0].startswith("Standard_A")} == {
        ("Standard_A3", "westeurope-1"),
        ("Standard_A3", "westeurope-2"),
        ("Standard_A4", "westeurope-2"),
    }


@pytest.mark.parametrize(
    ("size", "count", "gpus", "model", "memory"),
    [
        ("Standard_NC24ads_A100_v4", "1", 1, "A100", "80"),
        ("Standard_ND96asr_v4", "8", 8, "A100", "40"),
        ("Standard_ND96isr_H100_v5", "8", 8, "H100", "80"),
        ("Standard_NC40ads_H100_v5", "1", 1, "H100", "94"),
        ("Standard_NV6ads_A10_v5", "1", 1, "A10", "4"),
        ("Standard_NV18ads_A10_v5", "1", 1, "A10", "12"),
        ("Standard_NV36ads_A10_v5", "1", 1, "A10", "24"),
        ("Standard_NV72ads_A10_v5", "2", 2, "A10", "24"),
        ("Standard_NV6ads_A10_v5", "0.167", 1, "A10", "4"),
        ("Standard_NV4as_v4", "0.125", 1, "MI25", "2"),
        ("Standard_NV4as_v4", "1", 1, "MI25", "2"),
        ("Standard_NG16ads_V620_v1", "1", 1, "V620", "16"),
        ("Standard_NC6s_v3", "1", 1, "V100", "16"),
        ("Standard_NZ9_unheard", "2", 2, None, None),
    ],
)
def test_a_slice_of_a_gpu_is_one_gpu_with_less_memory(
    source: AzurePrices, market: AzureMarket, size: str, count: str, gpus: int, model: str | None, memory: str | None
) -> None:
    market.skus = [sku(size, "6", "55", GPUs=count)]
    market.rows = [row(size, "1")]
    offer = by_size(source.read(REGION).offers, PurchaseOption.ON_DEMAND)[size]
    assert (offer.gpus, offer.gpu_model) == (gpus, model)
    assert offer.gpu_memory_gib == (None if memory is None else Decimal(memory))


def test_a_region_without_any_sizes_has_no_sheet_and_no_history(source: AzurePrices, market: AzureMarket) -> None:
    market.skus = [told for told in market.skus if told["resourceType"] == "disks"]
    with pytest.raises(Unavailable, match="Azure westeurope: the Resource SKUs told no virtual machines"):
        source.read(REGION)
    with pytest.raises(Unavailable, match="Azure westeurope: the Resource SKUs told no virtual machines"):
        list(source.history(REGION, since=datetime(2026, 1, 1, tzinfo=UTC)))


def test_two_shapes_under_one_name_are_none(source: AzurePrices, market: AzureMarket) -> None:
    market.skus += [sku(D4, "4", "16"), sku(NC, "8", "57", GPUs="1")]
    sheet = source.read(REGION)
    assert dict(sheet.refused) == {"two shapes under one name": 1}
    assert set(by_size(sheet.offers)) == {D4, F2, E8}


# --- how often spot machines are taken back


def test_eviction_rates_become_bands_of_an_hour(source: AzurePrices) -> None:
    sheet = source.read(REGION)
    spot = {size: str(offer.interruptions) for size, offer in by_size(sheet.offers).items()}
    assert spot == {D4: "5-10% an hour", F2: ">20% an hour", NC: "<5% an hour", E8: "None"}
    assert {offer.interruptions for offer in by_size(sheet.offers, PurchaseOption.ON_DEMAND).values()} == {None}


def test_eviction_rates_that_are_refused_are_a_note_and_prices_stay(source: AzurePrices, market: AzureMarket) -> None:
    market.denied = "ResourceGraph"
    sheet = source.read(REGION)
    assert {offer.hourly_price for offer in sheet.offers} == set(market.prices().values())
    assert "eviction rates could not be read: page 1 of the eviction rates" in sheet.notes[0]


# --- pages


def test_a_page_at_another_host_is_not_asked_for(source: AzurePrices, market: AzureMarket) -> None:
    market.elsewhere = "https://prices.example.com"
    with pytest.raises(Unavailable, match=r"westeurope.*another host, 'prices\.example\.com'"):
        source.read(REGION)
    assert [asked.path for asked in market.seen].count(RETAIL_PATH) == 1


def test_no_token_follows_a_link_of_the_resource_skus(
    certificate: Path, clock: Clock, entropy: Entropy, market: AzureMarket
) -> None:
    """The SDK would send its token to wherever the answer points."""
    listener = AzureMarket()
    with serving(listener, certificate=certificate) as other, serving(market, certificate=certificate) as url:
        market.url = other
        with pytest.raises(Unavailable, match="another host"):
            source_at(url, certificate, clock, entropy).read(REGION)
    assert listener.requests == 0


def test_nothing_is_asked_where_an_answer_redirects_to(
    certificate: Path, clock: Clock, entropy: Entropy, market: AzureMarket
) -> None:
    listener = AzureMarket()
    with serving(listener, certificate=certificate) as other, serving(market, certificate=certificate) as url:
        market.moved_to = other
        source = source_at(url, certificate, clock, entropy)
        for call in (lambda: source.read(REGION), source.regions):
            with pytest.raises(Unavailable, match="status 302"):
                call()
    assert listener.requests == 0


def test_rows_of_the_resource_graph_that_are_cut_off_are_not_taken_for_all(
    certificate: Path, clock: Clock, entropy: Entropy
) -> None:
    market = AzurePastMarket()
    with serving(market, certificate=certificate) as url:
        market.url = url
        market.is_cut_off = True
        source = source_at(url, certificate, clock, entropy)
        assert "cut off" in source.read(REGION).notes[0]
        with pytest.raises(Unavailable, match=r"Azure westeurope: page 1 of the history .* cut off"):
            list(source.history(REGION, since=datetime(2026, 1, 1, tzinfo=UTC)))


def test_a_chain_that_points_back_is_given_up(source: AzurePrices, market: AzureMarket) -> None:
    market.skus = [sku(f"Standard_A{number}", "1", "2") for number in range(12)]
    before = market._sku_page
    market._sku_page = lambda asked: before(  # type: ignore[method-assign]
        type(asked)(asked.method, asked.path, {**asked.query, "$skiptoken": "3"}, asked.headers, asked.body)
    )
    with pytest.raises(Unavailable, match="one points back"):
        source.read(REGION)


def test_an_answer_cut_short_leaves_no_sheet(source: AzurePrices, market: AzureMarket) -> None:
    market.cut_short = True
    with pytest.raises(Unavailable, match=r"westeurope.*not JSON"):
        source.read(REGION)


def test_a_wait_that_the_service_asks_for_is_kept(source: AzurePrices, market: AzureMarket, clock: Clock) -> None:
    started = clock.now()
    market.throttle(1)
    source.read(REGION)
    assert 2 <= (clock.now() - started).total_seconds() < 3


# --- who asks


def test_a_refused_permission_is_named(source: AzurePrices, market: AzureMarket) -> None:
    market.denied = "Microsoft.Compute"
    with pytest.raises(CredentialsMissing, match="Azure westeurope: page 1 of Resource SKUs") as caught:
        source.read(REGION)
    assert "Microsoft.Compute/skus/read" in caught.value.cure


def test_without_a_subscription_nothing_is_asked(
    market: AzureMarket, certificate: Path, clock: Clock, entropy: Entropy
) -> None:
    lacking = pytest.raises(CredentialsMissing, match="No Azure subscription is named")
    with serving(market, certificate=certificate) as url, lacking:
        source_at(url, certificate, clock, entropy, subscription=None).read(REGION)
    assert market.requests == 0


class NoToken:
    """What azure-identity does when nobody is signed in."""

    def get_token(self, *scopes: str, **options: object) -> NoReturn:
        raise CredentialUnavailableError(message="Please run 'az login' to set up an account")


def test_without_a_sign_in_the_permission_is_named(
    market: AzureMarket, certificate: Path, clock: Clock, entropy: Entropy
) -> None:
    with serving(market, certificate=certificate) as url:
        source = AzurePrices(
            clock=clock,
            entropy=entropy,
            subscription=SUBSCRIPTION,
            credential=NoToken(),
            management_url=url,
            prices_url=url,
            certificates=str(certificate),
        )
        for call in (lambda: source.read(REGION), source.regions):
            with pytest.raises(CredentialsMissing) as caught:
                call()
            assert "az login" in caught.value.cure
            assert "role Reader" in caught.value.cure
    assert market.requests == 0


def test_an_unknown_issuer_of_certificates_is_not_trusted(
    market: AzureMarket, certificate: Path, clock: Clock, entropy: Entropy
) -> None:
    with serving(market, certificate=certificate) as url:
        source = AzurePrices(
            clock=clock,
            entropy=entropy,
            subscription=SUBSCRIPTION,
            credential=KnownToken(),
            management_url=url,
            prices_url=url,
        )
        with pytest.raises(Unavailable, match=r"westeurope.*no answer"):
            source.read(REGION)
    assert market.requests == 0


def test_a_region_that_is_not_a_name_is_never_sent(source: AzurePrices, market: AzureMarket) -> None:
    with pytest.raises(UsageError):
        source.read("westeurope' or location eq 'x")
    assert market.requests == 0


def test_nobody_listening_is_unavailable(certificate: Path, clock: Clock, entropy: Entropy) -> None:
    with serving(AzureMarket(), certificate=certificate) as url:
        pass
    with pytest.raises(Unavailable, match=r"westeurope.*no answer"):
        source_at(url, certificate, clock, entropy).read(REGION)


def test_the_sdk_is_loaded_only_when_something_is_asked() -> None:
    """A command that reads no prices must not wait for it."""
    loaded = "{name.partition('.')[0] for name in sys.modules} & {'azure', 'requests'}"
    code = f"import sys, tallygate.providers.azure_prices; print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
