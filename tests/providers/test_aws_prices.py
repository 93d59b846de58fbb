"""AWS's prices keep the contract, through real SDK clients and a server that speaks AWS's protocols."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("boto3", reason="boto3 is not installed; it comes with the extra aws")

from tallygate.errors import CredentialsMissing, PriceRefused, Unavailable, UsageError
from tallygate.money import Money
from tallygate.pricing.estimate import Policy, check_price
from tallygate.pricing.offers import PurchaseOption
from tallygate.pricing.source import Sheet
from tallygate.providers.aws_calls import AwsCalls
from tallygate.providers.aws_prices import AwsPrices
from tallygate.providers.fetch import WebFetcher

from ..conftest import ManualClock
from .aws_wire import HTML, KEY_ID, SECRET, TOKEN, AwsMarket, SpotRow, Type
from .prices_contract import HistorySourceContract, PriceSourceContract, prices_of, refuses_whole


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Found where AWS's own search order looks first; nothing of this machine's is used."""
    for name in (
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_ENDPOINT_URL",
        "AWS_MAX_ATTEMPTS",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def session() -> Any:
    """One for all tests of this module: reading the SDK's description of EC2 takes a second."""
    from boto3.session import Session

    return Session(aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET, aws_session_token=TOKEN)


class OnTheWire:
    """A market behind a server, and the source that asks it."""

    @pytest.fixture
    def market(self, clock: ManualClock) -> AwsMarket:
        return AwsMarket(clock.now())

    @pytest.fixture
    def address(self, market: AwsMarket) -> Iterator[str]:
        with market.open() as url:
            yield url

    @pytest.fixture
    def source(self, session: Any, address: str, clock: ManualClock) -> AwsPrices:
        endpoints = {"ec2": address, "pricing": address}
        return AwsPrices(
            clock=clock,
            calls=AwsCalls(session=session, endpoints=endpoints, attempts=3, read_seconds_max=5),
            fetch=WebFetcher(clock),
            advisor_url=f"{address}/spot-advisor-data.json",
        )


class TestAwsPricesKeepTheContract(OnTheWire, PriceSourceContract):
    """Prices of today."""


class TestAwsPricesTellThePast(OnTheWire, HistorySourceContract):
    """Prices of the last 90 days."""


OPERATIONS = ("DescribeInstanceTypes", "DescribeInstanceTypeOfferings", "DescribeSpotPriceHistory", "GetProducts")


def permission(operation: str) -> str:
    return f"{'pricing' if operation == 'GetProducts' else 'ec2'}:{operation}"


class TestAsking(OnTheWire):
    """How often and as whom."""

    def test_one_sheet_costs_as_many_requests_as_it_has_pages(self, source: AwsPrices, market: AwsMarket) -> None:
        source.read(market.region)
        assert Counter(market.asked) == {
            "DescribeInstanceTypes": 2,
            "DescribeInstanceTypeOfferings": 3,
            "DescribeSpotPriceHistory": 3,
            "GetProducts": 2,
            "advisor": 1,
        }

    def test_regions_that_were_not_opted_into_are_left_out(self, source: AwsPrices) -> None:
        assert source.regions() == ["eu-west-1", "us-east-1"]

    def test_no_region_at_all_is_no_answer(self, source: AwsPrices, market: AwsMarket) -> None:
        market.empty()
        with pytest.raises(Unavailable, match="DescribeRegions"):
            source.regions()

    @pytest.mark.parametrize(
        "code", ["UnauthorizedOperation", "AccessDeniedException", "AuthFailure", "ExpiredTokenException"]
    )
    @pytest.mark.parametrize("operation", ["DescribeRegions", *OPERATIONS])
    def test_a_missing_permission_is_named_and_no_secret_is(
        self, source: AwsPrices, market: AwsMarket, operation: str, code: str
    ) -> None:
        market.trouble.denied = {operation: code}
        with pytest.raises(CredentialsMissing) as caught:
            source.regions() if operation == "DescribeRegions" else source.read(market.region)
        told = caught.value.message + caught.value.cure
        assert permission(operation) in told
        assert code in told
        trace = "".join(traceback.format_exception(caught.value))
        assert [secret for secret in market.secrets if secret in trace] == []

    def test_without_credentials_nobody_is_asked(
        self, address: str, market: AwsMarket, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("HOME", str(tmp_path))
        source = AwsPrices(clock=clock, calls=AwsCalls(endpoints={"ec2": address, "pricing": address}))
        with pytest.raises(CredentialsMissing, match="eu-west-1") as caught:
            source.read(market.region)
        assert "ec2:DescribeInstanceTypes" in caught.value.cure
        assert market.requests == 0

    def test_a_profile_that_does_not_exist_is_no_identity(self, address: str, clock: ManualClock) -> None:
        source = AwsPrices(clock=clock, calls=AwsCalls(profile="nobody", endpoints={"ec2": address}))
        with pytest.raises(CredentialsMissing):
            source.regions()

    @pytest.mark.parametrize("region", ["", "eu west 1", "../x", "eu-west-1.evil.example", "EU-WEST-1"])
    def test_what_is_no_region_is_not_asked_about(self, source: AwsPrices, market: AwsMarket, region: str) -> None:
        with pytest.raises(UsageError):
            source.read(region)
        assert market.requests == 0

    def test_importing_it_does_not_import_the_sdk(self) -> None:
        program = (
            "import sys, tallygate.providers.aws_prices; sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


class TestAnswersThatAreNone(OnTheWire):
    """Whole or nothing, whichever answer fails and however."""

    @pytest.mark.parametrize("operation", OPERATIONS)
    @pytest.mark.parametrize("how", ["cut", "severed"])
    def test_an_answer_that_breaks_off_leaves_no_sheet(
        self, source: AwsPrices, market: AwsMarket, operation: str, how: str
    ) -> None:
        setattr(market.trouble, how, frozenset({operation}))
        with refuses_whole(market):
            source.read(market.region)

    @pytest.mark.parametrize("operation", OPERATIONS)
    @pytest.mark.parametrize(
        "answer",
        [
            (200, "text/xml", "<html xmlns='http://www.w3.org/1999/xhtml'><body><p>Sign in</p></body></html>"),
            (200, "text/plain", ""),
            (200, "application/json", "{}"),
            (200, "application/json", "[]"),
            (200, "application/json", "null"),
            (200, "application/json", '{"PriceList": 7}'),
            (200, "application/json", '{"PriceList": "text"}'),
            (200, "application/json", '{"PriceList": null, "NextToken": 5}'),
            (200, "application/json", "[" * 100_000),
            (204, "text/plain", ""),
            (302, "text/html", "moved"),
            (404, "text/html", "<h1>Not here"),
            (418, "text/plain", "\x00\xff"),
            (502, "text/html", "<h1>Bad gateway"),
        ],
        ids=lambda answer: f"{answer[0]}-{answer[1]}-{len(answer[2])}",
    )
    def test_an_answer_of_another_kind_leaves_no_sheet(
        self, source: AwsPrices, market: AwsMarket, operation: str, answer: tuple[int, str, str]
    ) -> None:
        market.trouble.answers = {operation: answer}
        with refuses_whole(market):
            source.read(market.region)

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_one_answer_without_rows_leaves_no_sheet(
        self, source: AwsPrices, market: AwsMarket, operation: str
    ) -> None:
        market.empty(operation)
        with refuses_whole(market):
            source.read(market.region)

    @pytest.mark.parametrize(
        ("operation", "tag", "value"),
        [
            ("DescribeInstanceTypes", "defaultVCpus", "many"),
            ("DescribeInstanceTypes", "sizeInMiB", "8 GiB"),
            ("DescribeSpotPriceHistory", "timestamp", "yesterday"),
        ],
    )
    def test_a_field_of_another_kind_leaves_no_sheet(
        self, source: AwsPrices, market: AwsMarket, operation: str, tag: str, value: str
    ) -> None:
        market.rewrite = lambda said: re.sub(f"<{tag}>[^<]*<", f"<{tag}>{value}<", said, count=1)
        with refuses_whole(market):
            source.read(market.region)

    @pytest.mark.parametrize("product", [{"product": {}}, 7, None, "not JSON", '"text"', "[1]", "{", "[" * 100_000])
    def test_a_product_that_is_no_json_object_leaves_no_sheet(
        self, source: AwsPrices, market: AwsMarket, product: object
    ) -> None:
        said = json.dumps({"FormatVersion": "aws_v1", "PriceList": [product]})
        market.trouble.answers = {"GetProducts": (200, "application/x-amz-json-1.1", said)}
        with refuses_whole(market):
            source.read(market.region)

    def test_a_chain_of_ever_new_pages_is_given_up_after_a_stated_number(
        self, session: Any, address: str, market: AwsMarket, clock: ManualClock
    ) -> None:
        market.endless(fresh_tokens=True)
        calls = AwsCalls(session=session, endpoints={"ec2": address, "pricing": address})
        with refuses_whole(market):
            AwsPrices(clock=clock, calls=calls, pages_max=7).read(market.region)
        assert market.requests == 7

    def test_a_chain_that_goes_round_is_seen_when_it_closes(self, source: AwsPrices, market: AwsMarket) -> None:
        market.endless()
        with pytest.raises(Unavailable, match="circle"):
            source.read(market.region)
        assert market.requests < 10

    def test_silence_is_waited_for_only_so_long(
        self, session: Any, address: str, market: AwsMarket, clock: ManualClock
    ) -> None:
        market.trouble.silent = 4
        calls = AwsCalls(session=session, endpoints={"ec2": address}, attempts=1, read_seconds_max=1)
        started = time.monotonic()
        with refuses_whole(market):
            AwsPrices(clock=clock, calls=calls).read(market.region)
        assert time.monotonic() - started < 3

    def test_nobody_at_the_address_is_unavailable(self, session: Any, market: AwsMarket, clock: ManualClock) -> None:
        calls = AwsCalls(session=session, endpoints={"ec2": "http://127.0.0.1:9"}, attempts=1)
        with refuses_whole(market):
            AwsPrices(clock=clock, calls=calls).read(market.region)


class TestPricesWithoutSpot(OnTheWire):
    """The price list is believed only where it says all that was asked."""

    M5 = ("m5.large", None, PurchaseOption.ON_DEMAND)

    def replace_m5(self, market: AwsMarket, *products: dict[str, Any]) -> None:
        market.products = [
            each for each in market.products if each["product"]["attributes"]["instanceType"] != "m5.large"
        ] + list(products)

    def m5(self, market: AwsMarket, price: str | None = "0.1070000000", **told: Any) -> dict[str, Any]:
        return market.product(replace(market.types[0], on_demand=price), **told)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"price": "0.0000000000"}, "on-demand price is zero"),
            ({"price": "-0.1070000000"}, "on-demand price is negative"),
            ({"price": "0,107"}, "on-demand price is not a number"),
            ({"price": None}, "on-demand price is missing"),
            ({"price": "10700.0"}, "on-demand price is above 2000 an hour"),
            ({"unit": "Quantity"}, "on-demand price is not by the hour"),
            ({"unit": "Seconds"}, "on-demand price is not by the hour"),
            ({"since": "2026-03-01T12:00:01Z"}, "on-demand price is not in force yet"),
            ({"since": "soon"}, "on-demand price has no usable date"),
        ],
    )
    def test_a_price_that_is_none_is_counted_and_not_sold(
        self, source: AwsPrices, market: AwsMarket, change: dict[str, Any], reason: str
    ) -> None:
        self.replace_m5(market, self.m5(market, **change))
        sheet = source.read(market.region)
        assert self.M5 not in prices_of(sheet)
        assert sheet.refused == {reason: 1}
        assert {offer.on_demand_price for offer in sheet.offers if offer.instance_type == "m5.large"} == {None}

    def test_a_price_in_another_currency_is_not_taken_for_dollars(self, source: AwsPrices, market: AwsMarket) -> None:
        product = self.m5(market)
        (term,) = product["terms"]["OnDemand"].values()
        (dimension,) = term["priceDimensions"].values()
        dimension["pricePerUnit"] = {"CNY": "0.1070000000"}
        self.replace_m5(market, product)
        assert source.read(market.region).refused == {"on-demand price is not in US dollars": 1}

    def test_a_product_by_steps_has_no_one_price(self, source: AwsPrices, market: AwsMarket) -> None:
        product = self.m5(market)
        (term,) = product["terms"]["OnDemand"].values()
        (step,) = term["priceDimensions"].values()
        term["priceDimensions"]["further"] = {**step, "beginRange": "100", "pricePerUnit": {"USD": "0.0900000000"}}
        self.replace_m5(market, product)
        assert source.read(market.region).refused == {"on-demand product has several prices": 1}

    def test_a_product_with_something_beside_the_hours_has_no_one_price(
        self, source: AwsPrices, market: AwsMarket
    ) -> None:
        product = self.m5(market)
        (term,) = product["terms"]["OnDemand"].values()
        (hours,) = term["priceDimensions"].values()
        term["priceDimensions"]["once"] = {**hours, "unit": "Quantity"}
        self.replace_m5(market, product)
        assert source.read(market.region).refused == {"on-demand price is not by the hour": 1}

    def test_two_prices_that_differ_are_none(self, source: AwsPrices, market: AwsMarket) -> None:
        self.replace_m5(market, self.m5(market), self.m5(market, "0.1080000000"))
        sheet = source.read(market.region)
        assert self.M5 not in prices_of(sheet)
        assert sheet.refused == {"on-demand type has two different prices": 1}

    def test_the_same_price_twice_is_one(self, source: AwsPrices, market: AwsMarket) -> None:
        self.replace_m5(market, self.m5(market), self.m5(market, since="2026-01-01T00:00:00Z"))
        sheet = source.read(market.region)
        assert prices_of(sheet)[self.M5] == Money.of("0.107")
        assert sheet.refused == {}

    def test_a_coming_price_beside_todays_changes_nothing(self, source: AwsPrices, market: AwsMarket) -> None:
        product = self.m5(market)
        coming = self.m5(market, "0.2", since="2026-04-01T00:00:00Z")["terms"]["OnDemand"]
        product["terms"]["OnDemand"].update(coming)
        self.replace_m5(market, product)
        assert prices_of(source.read(market.region)) == market.prices()

    @pytest.mark.parametrize(
        "attribute",
        [
            {"operatingSystem": "Windows"},
            {"tenancy": "Dedicated"},
            {"preInstalledSw": "SQL Web"},
            {"capacitystatus": "UnusedCapacityReservation"},
            {"licenseModel": "Bring your own license"},
            {"regionCode": "us-east-1"},
            {"marketoption": "CapacityBlock"},
        ],
        ids=lambda attribute: next(iter(attribute)),
    )
    def test_a_service_that_ignores_what_was_asked_is_not_believed(
        self, source: AwsPrices, market: AwsMarket, attribute: dict[str, str]
    ) -> None:
        said = json.dumps({"FormatVersion": "aws_v1", "PriceList": [json.dumps(self.m5(market, **attribute))]})
        market.trouble.answers = {"GetProducts": (200, "application/x-amz-json-1.1", said)}
        with refuses_whole(market):
            source.read(market.region)

    def test_a_price_of_a_machine_that_nobody_describes_or_offers_is_not_sold(
        self, source: AwsPrices, market: AwsMarket
    ) -> None:
        market.types[1] = replace(market.types[1], zones=())
        market.products.append(market.product(Type("x9.huge")))
        sheet = source.read(market.region)
        assert not {"x9.huge", "c7g.xlarge"} & {offer.instance_type for offer in sheet.offers}
        assert sheet.refused == {
            "on-demand price of a machine that is not described": 1,
            "on-demand price of a machine that no zone offers": 1,
            "spot price in a zone that does not offer the machine": 2,
        }


class TestSpotPrices(OnTheWire):
    """The price in force, by zone."""

    POOL = ("m5.large", "eu-west-1a")

    def spot(self, sheet: Sheet) -> dict[tuple[str, str | None], Money]:
        return {
            (offer.instance_type, offer.zone): offer.hourly_price
            for offer in sheet.offers
            if offer.purchase_option is PurchaseOption.SPOT
        }

    def test_the_price_in_force_is_the_newest_that_has_come(
        self, source: AwsPrices, market: AwsMarket, clock: ManualClock
    ) -> None:
        before = self.spot(source.read(market.region))[self.POOL]
        market.spot.append(SpotRow(*self.POOL, "0.000900", clock.now() + timedelta(seconds=1)))
        assert self.spot(source.read(market.region))[self.POOL] == before
        clock.advance(1)
        assert self.spot(source.read(market.region))[self.POOL] == Money.of("0.0009")

    def test_a_price_that_lies_in_the_future_is_none(
        self, source: AwsPrices, market: AwsMarket, clock: ManualClock
    ) -> None:
        """Even from a service that does not keep to the end it was given."""
        market.rewrite = lambda said: said.replace("<timestamp>2026-", "<timestamp>2027-")
        with refuses_whole(market):
            source.read(market.region)

    def test_an_unusable_newest_price_does_not_bring_back_an_older_one(
        self, source: AwsPrices, market: AwsMarket, clock: ManualClock
    ) -> None:
        market.spot.append(SpotRow(*self.POOL, "0.0", clock.now()))
        sheet = source.read(market.region)
        assert self.POOL not in self.spot(sheet)
        assert sheet.refused == {"spot price is zero": 1}

    def test_two_prices_of_one_moment_are_none(self, source: AwsPrices, market: AwsMarket, clock: ManualClock) -> None:
        market.spot += [SpotRow(*self.POOL, price, clock.now()) for price in ("0.0500", "0.0600")]
        sheet = source.read(market.region)
        assert self.POOL not in self.spot(sheet)
        assert sheet.refused == {"spot price is told twice and differs": 1}

    def test_the_same_price_told_twice_is_one(self, source: AwsPrices, market: AwsMarket, clock: ManualClock) -> None:
        market.spot += [SpotRow(*self.POOL, price, clock.now()) for price in ("0.0500", "0.05")]
        assert self.spot(source.read(market.region))[self.POOL] == Money.of("0.05")

    def test_another_systems_price_is_not_taken(self, source: AwsPrices, market: AwsMarket) -> None:
        market.rewrite = lambda said: said.replace(
            "<productDescription>Linux/UNIX<", "<productDescription>SUSE Linux<", 1
        )
        sheet = source.read(market.region)
        assert sheet.refused["spot row is not about Linux"] == 3  # one on each page

    def test_pools_that_nobody_sells_are_counted(
        self, source: AwsPrices, market: AwsMarket, clock: ManualClock
    ) -> None:
        market.spot += [
            SpotRow("x9.huge", "eu-west-1a", "0.01", clock.now()),
            SpotRow("u-6tb1.metal", "eu-west-1a", "0.01", clock.now()),
            SpotRow("c7g.xlarge", "eu-west-1c", "0.01", clock.now()),
        ]
        sheet = source.read(market.region)
        assert prices_of(sheet) == market.prices()
        assert sheet.refused == {
            "spot price of a machine that is not described": 1,
            "spot price of a machine that is not sold as spot": 1,
            "spot price in a zone that does not offer the machine": 1,
        }

    def test_a_price_older_than_the_service_keeps_is_as_old_as_it_says(
        self, source: AwsPrices, market: AwsMarket, clock: ManualClock
    ) -> None:
        """So that its age refuses it; a price within what is kept is in force and as fresh as the answer."""
        old = datetime(2006, 1, 2, tzinfo=UTC)
        market.spot = [row for row in market.spot if (row.type, row.zone) != self.POOL]
        market.spot.append(SpotRow(*self.POOL, "0.00001", old))
        dated = {(offer.instance_type, offer.zone): offer for offer in source.read(market.region).offers}
        assert dated[self.POOL].priced_at == old
        assert {offer.priced_at for pool, offer in dated.items() if pool != self.POOL} == {clock.now()}
        with pytest.raises(PriceRefused, match="old"):
            check_price(dated[self.POOL], policy=Policy(), now=clock.now())

    def test_history_reaches_back_ninety_days_at_most(
        self, source: AwsPrices, market: AwsMarket, clock: ManualClock
    ) -> None:
        ages = [timedelta(days=days) for days in (200, 120, 89)]
        market.spot = [SpotRow(*self.POOL, f"0.0{number}", clock.now() - age) for number, age in enumerate(ages, 1)]
        found = list(source.history(market.region, since=clock.now() - timedelta(days=365)))
        assert [seen.hourly_price for seen in sorted(found, key=lambda seen: seen.at)] == [
            Money.of("0.02"),  # the price in force when the ninety days began
            Money.of("0.03"),
        ]

    def test_history_tells_nothing_that_has_not_happened(self, source: AwsPrices, market: AwsMarket) -> None:
        market.spot.append(SpotRow(*self.POOL, "0.01", market.now + timedelta(minutes=1)))
        since, refused = market.now - timedelta(days=80), Counter[str]()
        found = list(source.history(market.region, since=since, refused=refused))
        assert max(seen.at for seen in found) <= market.now
        assert refused == {"spot price lies in the future": 1}
        with pytest.raises(UsageError, match="future"):
            list(source.history(market.region, since=market.now + timedelta(minutes=1)))

    def test_past_prices_that_are_none_are_counted(self, source: AwsPrices, market: AwsMarket) -> None:
        market.poison("NaN")
        refused: Counter[str] = Counter()
        list(source.history(market.region, since=market.now - timedelta(days=80), refused=refused))
        assert refused == {"spot price is not a number": 1}


class TestMachines(OnTheWire):
    """What a machine is."""

    def test_a_slice_of_a_gpu_is_one_gpu_with_less_memory(self, source: AwsPrices, market: AwsMarket) -> None:
        market.rewrite = lambda said: said.replace(
            "<count>4</count>",
            "<count>0</count><logicalGpuCount>1</logicalGpuCount><gpuPartitionSize>0.25</gpuPartitionSize>",
        ).replace("<totalGpuMemoryInMiB>98304<", "<totalGpuMemoryInMiB>6144<")
        (offer, *_) = [each for each in source.read(market.region).offers if each.instance_type == "g5.12xlarge"]
        assert (offer.gpus, offer.gpu_model, offer.gpu_memory_gib) == (1, "A10G", Decimal(6))

    def test_a_machine_without_size_is_not_sold(self, source: AwsPrices, market: AwsMarket) -> None:
        market.types[0] = replace(market.types[0], vcpus=0)
        sheet = source.read(market.region)
        assert "m5.large" not in {offer.instance_type for offer in sheet.offers}
        assert sheet.refused["machine without a name, vCPUs or memory"] == 1


class TestInterruptions(OnTheWire):
    """The Spot Advisor is welcome and never needed."""

    def test_spot_offers_carry_the_band_of_their_type(self, source: AwsPrices, market: AwsMarket) -> None:
        sheet = source.read(market.region)
        bands = {offer.instance_type: str(offer.interruptions) for offer in sheet.offers if offer.zone == "eu-west-1a"}
        assert bands["m5.large"] == "<5% a month"
        assert bands["c7g.xlarge"] == "5-10% a month"
        assert bands["t3.nano"] == ">20% a month"
        assert bands["g5.12xlarge"] == "None"
        assert {offer.interruptions for offer in sheet.offers if offer.zone is None} == {None}
        assert sheet.notes == ()

    @pytest.mark.parametrize(
        "document", ["", "{", HTML, "[]", "{}", '{"ranges": [], "spot_advisor": {}}', "[" * 100_000]
    )
    def test_without_it_prices_stand_and_a_note_says_so(
        self, source: AwsPrices, market: AwsMarket, document: str
    ) -> None:
        market.advisor = document
        sheet = source.read(market.region)
        assert prices_of(sheet) == market.prices()
        assert len(sheet.notes) == 1
        assert "interruption rates are missing" in sheet.notes[0]

    def test_an_advisor_that_knows_other_regions_only_is_noted(self, source: AwsPrices, market: AwsMarket) -> None:
        market.advisor = market.advisor.replace('"eu-west-1"', '"eu-west-2"')
        assert "eu-west-1" in source.read(market.region).notes[0]

    def test_it_is_fetched_once_for_all_regions_and_tried_again_later(
        self, source: AwsPrices, market: AwsMarket, clock: ManualClock
    ) -> None:
        market.trouble.severed = frozenset({"advisor"})
        for seconds, asked in ((0, 1), (60, 1), (300, 2)):
            clock.advance(seconds)
            assert source.read(market.region).notes
            assert market.asked.count("advisor") == asked
        market.heal()
        for seconds, asked in ((300, 3), (3000, 3), (600, 4)):
            clock.advance(seconds)
            assert not source.read(market.region).notes
            assert market.asked.count("advisor") == asked
