"""A second opinion on AWS's answers: the server of moto, written by other people, speaks EC2 here.

It does not know prices: every spot price is 0.00001 dollars since 2006. That must be read, and never be launched at. It has no
price list, which the wire of our own tells beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("boto3", reason="boto3 is not installed; it comes with the extra dev")
pytest.importorskip("moto", reason="moto is not installed; it comes with the extra dev")
pytest.importorskip("flask", reason="flask is not installed; it comes with the extra dev")
pytest.importorskip("flask_cors", reason="flask_cors is not installed; it comes with the extra dev")

from tallygate.errors import PriceRefused
from tallygate.money import Money
from tallygate.pricing.estimate import Policy, check_price
from tallygate.pricing.offers import Offer, PurchaseOption
from tallygate.pricing.source import Sheet
from tallygate.providers.aws_calls import AwsCalls
from tallygate.providers.aws_prices import AwsPrices

from ..conftest import ManualClock
from .aws_wire import KEY_ID, SECRET, TOKEN, AwsMarket, Type

REGION = "eu-west-1"
PRICED = {"m5.large": "0.107", "g4dn.xlarge": "0.587", "c6g.medium": "0.0365"}


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def source(moto: str) -> Iterator[AwsPrices]:
    from boto3.session import Session

    clock = ManualClock(datetime(2026, 3, 1, 12, tzinfo=UTC))
    market = AwsMarket(clock.now())
    market.products = [market.product(Type(name, on_demand=price)) for name, price in PRICED.items()]
    session: Any = Session(aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET, aws_session_token=TOKEN)
    with market.open() as pricing:
        calls = AwsCalls(session=session, endpoints={"ec2": moto, "pricing": pricing}, attempts=2, read_seconds_max=120)
        yield AwsPrices(clock=clock, calls=calls)


@pytest.fixture(scope="module")
def sheet(source: AwsPrices) -> Sheet:
    return source.read(REGION)


def spot_of(sheet: Sheet, name: str) -> Offer:
    return next(
        offer for offer in sheet.offers if offer.instance_type == name and offer.purchase_option is PurchaseOption.SPOT
    )


def test_only_regions_that_need_no_opting_in_are_named(source: AwsPrices) -> None:
    regions = source.regions()
    assert {"us-east-1", REGION} <= set(regions)
    assert "ap-east-1" not in regions


def test_machines_are_what_they_are(sheet: Sheet) -> None:
    m5, g4, arm = (spot_of(sheet, name) for name in PRICED)
    assert (m5.vcpus, m5.memory_gib, m5.architecture, m5.gpus) == (2, Decimal(8), "x86_64", 0)
    assert (g4.gpus, g4.gpu_model, g4.gpu_memory_gib) == (1, "T4", Decimal(16))
    assert (arm.vcpus, arm.memory_gib, arm.architecture) == (1, Decimal(2), "arm64")


def test_every_zone_has_its_offer(sheet: Sheet) -> None:
    spot = [offer for offer in sheet.offers if offer.purchase_option is PurchaseOption.SPOT]
    assert len(spot) > 1_000
    assert {offer.zone for offer in spot} == {f"{REGION}{letter}" for letter in "abc"}
    assert len({(offer.instance_type, offer.zone) for offer in spot}) == len(spot)


def test_prices_without_spot_stand_beside_them(sheet: Sheet) -> None:
    paid = {o.instance_type: o.hourly_price for o in sheet.offers if o.purchase_option is PurchaseOption.ON_DEMAND}
    assert paid == {name: Money.of(price) for name, price in PRICED.items()}
    assert {name: spot_of(sheet, name).on_demand_price for name in PRICED} == paid


def test_its_prices_are_read_and_never_launched_at(sheet: Sheet) -> None:
    for offer in sheet.offers:
        if offer.purchase_option is PurchaseOption.SPOT:
            assert (offer.hourly_price, offer.priced_at.year) == (Money.of("0.00001"), 2006)
            with pytest.raises(PriceRefused, match="old"):
                check_price(offer, policy=Policy(), now=sheet.read_at)


def test_a_price_from_before_what_is_kept_is_told_as_the_one_in_force(source: AwsPrices, sheet: Sheet) -> None:
    told = list(source.history(REGION, since=sheet.read_at - timedelta(days=7)))
    assert len(told) > 1_000
    assert {seen.at.year for seen in told} == {2006}
