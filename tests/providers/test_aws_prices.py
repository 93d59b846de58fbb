"""AWS's prices keep the contract, through real SDK clients and a server that speaks AWS's protocols."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("boto3", reason="boto3 is not installed; it comes with the extra aws")

from tallygate.providers.aws_calls import AwsCalls
from tallygate.providers.aws_prices import AwsPrices
from tallygate.providers.fetch import WebFetcher

from ..conftest import ManualClock
from .aws_wire import KEY_ID, SECRET, TOKEN, AwsMarket
from .prices_contract import HistorySourceContract, PriceSourceContract


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
