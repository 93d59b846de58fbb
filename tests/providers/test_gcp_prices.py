"""Google's prices are put together from parts, exactly, and a part without a price leaves a machine without one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth.credentials import AnonymousCredentials
from google.oauth2 import service_account

from tallygate.errors import CredentialsMissing, Unavailable, UsageError
from tallygate.ids import Entropy
from tallygate.money import Money
from tallygate.pricing.offers import PurchaseOption
from tallygate.providers.gcp_prices import GcpPrices
from tallygate.times import Clock
from tests.providers.gcp_wire import (
    PROJECT,
    REGION,
    SKUS_PATH,
    ZONES,
    GoogleMarket,
    GooglePastMarket,
    gpus,
    machine_type,
    observed,
    past_prices,
    preemption,
)
from tests.providers.loopback import serving
from tests.providers.prices_contract import HistorySourceContract, PriceSourceContract


@cache
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def source_at(url: str, clock: Clock, entropy: Entropy, *, with_preemptions: bool = False) -> GcpPrices:
    return GcpPrices(
        clock=clock,
        entropy=entropy,
        project=PROJECT,
        credentials=AnonymousCredentials(),
        compute_url=url,
        catalog_url=url,
        with_preemptions=with_preemptions,
    )


@pytest.fixture
def market() -> GoogleMarket:
    return GoogleMarket()


@pytest.fixture
def url(market: GoogleMarket) -> Iterator[str]:
    with serving(market) as address:
        yield address


@pytest.fixture
def source(url: str, clock: Clock, entropy: Entropy) -> GcpPrices:
    return source_at(url, clock, entropy)


class TestGcpPrices(PriceSourceContract):
    @pytest.fixture
    def market(self) -> GoogleMarket:
        return GoogleMarket()

    @pytest.fixture
    def source(self, market: GoogleMarket, clock: Clock, entropy: Entropy) -> Iterator[GcpPrices]:
        with serving(market) as url:
            yield source_at(url, clock, entropy)


class TestGcpPricesPast(HistorySourceContract):
    @pytest.fixture
    def market(self) -> GooglePastMarket:
        return GooglePastMarket()

    @pytest.fixture
    def source(self, market: GooglePastMarket, clock: Clock, entropy: Entropy) -> Iterator[GcpPrices]:
        with serving(market) as url:
            yield source_at(url, clock, entropy)


# --- how often it asks


def test_regions_share_one_download_of_the_price_list(source: GcpPrices, market: GoogleMarket) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(source.read, [REGION] * 8))
    pages = [asked.query.get("pageToken", "") for asked in market.seen if asked.path == SKUS_PATH]
    assert len(pages) == len(set(pages)) >= 3


def test_a_failed_download_is_shared_and_then_tried_again(source: GcpPrices, market: GoogleMarket) -> None:
    market.break_page(2)
    with pytest.raises(
        Unavailable, match=r"us-central1: page 2 of the Cloud Billing Catalog: status 503 \(asked 5 times\)"
    ):
        source.read(REGION)
    market.heal()
    assert source.read(REGION).offers


def test_a_wait_that_the_service_asks_for_is_kept(source: GcpPrices, market: GoogleMarket, clock: Clock) -> None:
    started = clock.now()
    market.throttle(1)
    source.read(REGION)
    assert 2 <= (clock.now() - started).total_seconds() < 3


# --- bad answers


def test_pages_that_point_back_are_given_up_at_once(source: GcpPrices, market: GoogleMarket) -> None:
    market.points_back_to = "page-2"
    with pytest.raises(Unavailable, match="the Cloud Billing Catalog's pages do not end: given up after 2"):
        source.read(REGION)


def test_zones_without_any_machine_types_leave_no_sheet(source: GcpPrices, market: GoogleMarket) -> None:
    market.zones = {"us-central1-a": [], "us-central1-b": []}
    with pytest.raises(Unavailable, match="us-central1: the Compute API told no machine types"):
        source.read(REGION)
    with pytest.raises(Unavailable, match="us-central1: the Compute API told no machine types"):
        list(source.history(REGION, since=datetime(2026, 1, 1, tzinfo=UTC)))


def test_a_price_list_in_other_words_leaves_no_sheet(source: GcpPrices, market: GoogleMarket) -> None:
    """Were every wording changed at once, nothing would be priced, and that must not look like an empty region."""
    market.skus = [{**sku, "description": f"New {sku['description']}"} for sku in market.skus]
    with pytest.raises(Unavailable, match=r"none of the .* prices in the Cloud Billing Catalog is worded as expected"):
        source.read(REGION)


def test_an_answer_cut_short_leaves_no_sheet(source: GcpPrices, market: GoogleMarket) -> None:
    market.cut_short = True
    with pytest.raises(Unavailable, match=r"us-central1.*not JSON"):
        source.read(REGION)


@pytest.mark.parametrize(
    ("path", "permission"),
    [
        (f"regions/{REGION}", "compute.regions.get"),
        ("machineTypes", "compute.machineTypes.list"),
        ("skus", "the Cloud Billing API"),
    ],
)
def test_a_refused_permission_is_named(source: GcpPrices, market: GoogleMarket, path: str, permission: str) -> None:
    market.denied = path
    with pytest.raises(CredentialsMissing) as caught:
        source.read(REGION)
    assert permission in caught.value.cure
    assert REGION in caught.value.message


def test_a_service_account_signs_in_and_its_token_is_told_to_nobody(clock: Clock, entropy: Entropy) -> None:
    """The whole of google-auth: a signed request for a token, and the token with every call."""
    market = GoogleMarket()
    with serving(market) as url:
        market.token = "a-token-that-nobody-may-see"
        account = service_account.Credentials.from_service_account_info(
            {
                "type": "service_account",
                "project_id": PROJECT,
                "private_key": private_key(),
                "client_email": f"prices@{PROJECT}.iam.gserviceaccount.com",
                "token_uri": f"{url}/token",
            }
        )
        source = GcpPrices(
            clock=clock, entropy=entropy, project=PROJECT, credentials=account, compute_url=url, catalog_url=url
        )
        sheet = source.read(REGION)
        assert {o.hourly_price for o in sheet.offers} == set(market.prices().values())
        asked = [seen for seen in market.seen if seen.path != "/token"]
        assert len(asked) > 5
        assert {seen.headers["authorization"].partition(" ")[0] for seen in asked} == {"Bearer"}
        market.token = None
        with pytest.raises(CredentialsMissing) as caught:
            GcpPrices(
                clock=clock, entropy=entropy, project=PROJECT, credentials=account, compute_url=url, catalog_url=url
            ).regions()
        assert "compute.regions.list" in caught.value.cure
        assert "nobody-may-see" not in f"{sheet!r}{source!r}{caught.value!r}"


def test_without_credentials_the_way_to_sign_in_is_named(
    clock: Clock, entropy: Entropy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    with pytest.raises(CredentialsMissing, match="no Google Cloud credentials") as caught:
        GcpPrices(clock=clock, entropy=entropy).read(REGION)
    assert "gcloud auth application-default login" in caught.value.cure


def test_credentials_without_a_project_are_not_enough(clock: Clock, entropy: Entropy) -> None:
    with pytest.raises(CredentialsMissing, match="name no project"):
        GcpPrices(clock=clock, entropy=entropy, credentials=AnonymousCredentials()).regions()


def test_too_many_requests_said_as_forbidden_only_delays(source: GcpPrices, market: GoogleMarket) -> None:
    """The Compute API says it with status 403, which is a missing permission otherwise."""
    market.turned_away_as = (403, "rateLimitExceeded")
    market.throttle(2)
    assert {o.hourly_price for o in source.read(REGION).offers} == set(market.prices().values())


def test_an_api_that_is_not_enabled_is_named_as_such(source: GcpPrices, market: GoogleMarket) -> None:
    market.turned_away_as = (403, "accessNotConfigured")
    market.throttle(1)
    with pytest.raises(CredentialsMissing, match="the API is not enabled in the project"):
        source.read(REGION)


def test_a_region_that_is_not_a_name_is_never_sent(source: GcpPrices, market: GoogleMarket) -> None:
    with pytest.raises(UsageError):
        source.read("../zones")
    assert market.requests == 0


def test_nobody_listening_is_unavailable(clock: Clock, entropy: Entropy) -> None:
    with serving(GoogleMarket()) as url:
        pass
    with pytest.raises(Unavailable, match="us-central1: the region: no answer"):
        source_at(url, clock, entropy).read(REGION)


# --- preemptions and past prices


def test_preemption_rates_become_bands_of_a_day(url: str, market: GoogleMarket, clock: Clock, entropy: Entropy) -> None:
    market.advice = {"n2-standard-4": preemption("0.04", "0.06"), "e2-medium": preemption()}
    sheet = source_at(url, clock, entropy, with_preemptions=True).read(REGION)
    spot = {o.instance_type: o.interruptions for o in sheet.offers if o.purchase_option is PurchaseOption.SPOT}
    assert str(spot["n2-standard-4"]) == "5% a day"
    assert spot["e2-medium"] is None
    assert sheet.notes == ("no preemption rate is kept of 4 types",)
    assert all(o.interruptions is None for o in sheet.offers if o.purchase_option is PurchaseOption.ON_DEMAND)


def test_preemption_rates_that_are_refused_are_a_note_and_prices_stay(
    url: str, market: GoogleMarket, clock: Clock, entropy: Entropy
) -> None:
    market.denied = "capacityHistory"
    sheet = source_at(url, clock, entropy, with_preemptions=True).read(REGION)
    assert {o.hourly_price for o in sheet.offers} == set(market.prices().values())
    assert "capacity history" in sheet.notes[0]


def test_past_prices_since_a_moment_start_with_the_one_in_force(source: GcpPrices, market: GoogleMarket) -> None:
    market.advice = {
        "n2-standard-4": past_prices(
            ("2026-02-01T08:00:00Z", "0.05"),
            ("2026-02-09T08:00:00Z", "0.05"),
            ("2026-01-01T08:00:00Z", "0.06"),
            ("2026-02-20T08:00:00Z", "0.04"),
            ("2026-02-21T08:00:00Z", "0.04"),
        ),
        "e2-medium": past_prices(("2026-02-10T08:00:00Z", "0"), ("2026-02-11T08:00:00Z", "0.007")),
    }
    found = list(source.history(REGION, since=datetime(2026, 2, 10, tzinfo=UTC)))
    assert found == [
        observed("e2-medium", datetime(2026, 2, 11, 8, tzinfo=UTC), "0.007"),
        observed("n2-standard-4", datetime(2026, 2, 1, 8, tzinfo=UTC), "0.05"),
        observed("n2-standard-4", datetime(2026, 2, 20, 8, tzinfo=UTC), "0.04"),
    ]


# --- what a row says


def test_types_that_cannot_be_priced_are_counted_by_reason(
    url: str, market: GoogleMarket, clock: Clock, entropy: Entropy
) -> None:
    market.zones = {
        "us-central1-a": [
            *ZONES["us-central1-a"],
            machine_type("g2-standard-24", 24, 98_304, accelerators=gpus("nvidia-unheard-of", 2)),
            machine_type("x4-megamem-960-metal", 960, 16_777_216),
            machine_type("m2-ultramem-208", 208, 5_888 * 1024),
            machine_type("c3-standard-4-lssd", 4, 16_384),
            machine_type("n1-standard-1", 1, 3_840, deprecated={"state": "DEPRECATED"}),
            machine_type("n2d-standard-2", 0, 8_192),
            machine_type("n2d-standard-4", 4, 16_384),
            machine_type("n2d-standard-4", 4, 32_768),
        ]
    }
    sheet = source_at(url, clock, entropy).read(REGION)
    assert dict(sheet.refused) == {
        "cores or memory are not stated": 1,
        "no spot price for core": 1,
        "size of local disk is not stated": 2,
        "two shapes under one name": 1,
        "unknown GPU": 2,
        "unknown machine series": 2,
        "withdrawn by Google": 1,
    }
    assert {o.instance_type for o in sheet.offers if o.purchase_option is PurchaseOption.SPOT} == {
        "n2-standard-4",
        "e2-medium",
        "t2d-standard-2",
    }


def test_a_list_that_says_it_is_only_a_part_leaves_no_sheet(source: GcpPrices, market: GoogleMarket) -> None:
    market.warning = "NO_RESULTS_ON_PAGE"
    assert source.read(REGION).offers
    market.warning = "UNREACHABLE"
    with pytest.raises(Unavailable, match=r"us-central1: page 1 of machine types of us-central1-a is only a part"):
        source.read(REGION)


def test_a_zone_without_types_is_a_note(source: GcpPrices, market: GoogleMarket) -> None:
    market.zones["us-central1-ai1a"] = []
    sheet = source.read(REGION)
    assert sheet.notes == ("us-central1-ai1a told no machine types",)
    assert {offer.zone for offer in sheet.offers} == {"us-central1-a", "us-central1-b"}


def test_a_type_sold_only_as_spot_has_no_offer_on_demand_but_a_bound(
    url: str, market: GoogleMarket, clock: Clock, entropy: Entropy
) -> None:
    a3 = machine_type(
        "a3-highgpu-1g",
        26,
        234 * 1024,
        accelerators=gpus("nvidia-h100-80gb", 1),
        bundledLocalSsds={"defaultInterface": "NVME", "partitionCount": 2},
    )
    market.zones = {"us-central1-a": [a3]}
    (offer,) = source_at(url, clock, entropy).read(REGION).offers
    assert offer.purchase_option is PurchaseOption.SPOT
    assert (offer.gpus, offer.gpu_model, offer.gpu_memory_gib) == (1, "H100", Decimal(80))
    # 26 x 0.029 + 234 x 0.0025 + 9.796 + 750 x 0.08 / 730
    assert offer.on_demand_price == Money.of("11.217191781")


def test_the_sdk_is_loaded_only_when_something_is_asked() -> None:
    """A command that reads no prices must not wait for it."""
    loaded = "{name.partition('.')[0] for name in sys.modules} & {'google', 'requests'}"
    code = f"import sys, tallygate.providers.gcp_prices; print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
