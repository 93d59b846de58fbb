"""From the clouds' wires to a plan: real adapters and SDKs, real catalogue and history, the commands a person types."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("boto3", reason="boto3 is not installed; it comes with the extra aws")
pytest.importorskip("google.cloud.billing_v1", reason="Google's SDK is not installed; it comes with the extra gcp")
pytest.importorskip("azure.mgmt.compute", reason="Azure's SDK is not installed; it comes with the extra azure")

from google.auth.credentials import AnonymousCredentials

from tallygate.app import market as wiring
from tallygate.config import Config
from tallygate.ids import SystemEntropy
from tallygate.pricing.offers import PurchaseOption
from tallygate.pricing.source import PriceSource
from tallygate.providers.aws_calls import AwsCalls
from tallygate.providers.aws_prices import AwsPrices
from tallygate.providers.azure_prices import AzurePrices
from tallygate.providers.fetch import WebFetcher
from tallygate.providers.gcp_prices import GcpPrices
from tallygate.times import Clock
from tests.providers.aws_wire import KEY_ID, SECRET, TOKEN, AwsMarket
from tests.providers.azure_wire import D4, SUBSCRIPTION, AzureMarket, KnownToken, spot_row
from tests.providers.gcp_wire import PROJECT, GoogleMarket
from tests.providers.loopback import Answer, Asked, certificate_pem, serving
from tests.providers.prices_contract import Market

ROOT = Path(__file__).resolve().parents[2]
NAMES = {"aws": "AWS", "gcp": "GCP", "azure": "Azure"}

Lot = tuple[Decimal, str, str, str | None]
"""Price, cloud, machine type, zone."""


class OneGoogleRegion(GoogleMarket):
    """It names no region but the one it sells in."""

    def _compute(self, asked: Asked, path: list[str]) -> Answer:
        return Answer.of({"items": [{"name": self.region}]}) if path == ["regions"] else super()._compute(asked, path)


class OneAzureRegion(AzureMarket):
    """It names no region but the one it sells in."""

    def _found(self, asked: Asked) -> Answer:
        if asked.path.endswith("/locations"):
            return Answer.of({"value": [{"name": self.region, "metadata": {"regionType": "Physical"}}]})
        return super()._found(asked)


@dataclass(frozen=True)
class World:
    """Three clouds that answer on this machine, each with one region."""

    aws: AwsMarket
    gcp: GoogleMarket
    azure: AzureMarket

    @property
    def clouds(self) -> tuple[Market, ...]:
        return self.aws, self.azure, self.gcp

    def spot(self, vcpus: int, gib: int, *clouds: Market) -> list[Lot]:
        """Every spot machine that is large enough, the cheapest first: looked through one by one."""
        found = []
        for cloud in clouds or self.clouds:
            shapes = cloud.shapes()
            for (name, zone, option), price in cloud.prices().items():
                if option is PurchaseOption.SPOT and shapes[name].vcpus >= vcpus and shapes[name].memory_gib >= gib:
                    found.append((price.decimal.normalize(), cloud.provider, name, zone))
        return sorted(found, key=lambda lot: (lot[0], lot[1:3], lot[3] or ""))


@pytest.fixture
def world(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The clouds, with what asks them at their addresses; everything else as in any installation, clock included."""
    for name, value in aws_environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    aws, gcp, azure = one_aws_region(), OneGoogleRegion(), OneAzureRegion()
    # A price announced for a day that this machine's clock may have reached by now.
    azure.rows = [row for row in azure.rows if not str(row["effectiveStartDate"]).startswith("2026-12")]
    certificate = tmp_path / "loopback.pem"
    certificate.write_bytes(certificate_pem())
    with ExitStack() as open_until_the_end:
        aws_address = open_until_the_end.enter_context(aws.open())
        gcp_address = open_until_the_end.enter_context(serving(gcp))
        azure.url = open_until_the_end.enter_context(serving(azure, certificate=certificate))

        def sources(config: Config, clock: Clock) -> list[PriceSource]:
            addresses = {"ec2": aws_address, "pricing": aws_address}
            return [
                AwsPrices(
                    clock=clock,
                    calls=AwsCalls(endpoints=addresses, attempts=2),
                    fetch=WebFetcher(clock),
                    advisor_url=f"{aws_address}/advisor.json",
                ),
                GcpPrices(
                    clock=clock,
                    entropy=SystemEntropy(),
                    project=PROJECT,
                    credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
                    compute_url=gcp_address,
                    catalog_url=gcp_address,
                ),
                AzurePrices(
                    clock=clock,
                    entropy=SystemEntropy(),
                    subscription=SUBSCRIPTION,
                    credential=KnownToken(),
                    management_url=azure.url,
                    prices_url=azure.url,
                    certificates=str(certificate),
                ),
            ]

        monkeypatch.setattr(wiring, "price_sources", sources)
        yield World(aws, gcp, azure)


def one_aws_region() -> AwsMarket:
    """A region that is not opted into answers which ones there are, and is not read."""
    found = AwsMarket(datetime.now(UTC))
    found.regions = {found.region: "opt-in-not-required", "us-east-1": "not-opted-in"}
    return found


def aws_environment(folder: Path) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_SESSION_TOKEN": TOKEN,
        "AWS_CONFIG_FILE": str(folder / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
    }


def refresh(cli: Any, *flags: str, code: int = 0) -> dict[str, dict[str, Any]]:
    """What became of each cloud's market."""
    answer = cli("tallygate", "prices", "refresh", "--json", *flags)
    assert answer.code == code, answer.out + answer.err
    return {one["provider"]: one for one in json.loads(answer.out)["markets"]}


def parts(cli: Any, world: World) -> dict[str, dict[str, Any]]:
    """The parts of the catalogue that the three clouds have told."""
    answer = cli("tallygate", "prices", "show", "--json")
    assert answer.code == 0, answer.err
    regions = {(cloud.provider, cloud.region) for cloud in world.clouds}
    markets = json.loads(answer.out)["markets"]
    return {one["provider"]: one for one in markets if (one["provider"], one["region"]) in regions}


def search(cli: Any, *flags: str) -> list[dict[str, Any]]:
    answer = cli(
        "find_cheapest_instance.py", "--no-interactive", "--sort", "price", "--limit", "1000", "--json", *flags
    )
    assert answer.code == 0, answer.err
    found: list[dict[str, Any]] = json.loads(answer.out, parse_float=Decimal)["offers"]
    return found


def everything(cli: Any, cloud: Market) -> list[Lot]:
    """Every spot machine of a cloud's region that the finder knows."""
    where = ("--provider", NAMES[cloud.provider], "--region", cloud.region)
    return lots(search(cli, "--spot", "--min-vcpu", "1", "--min-ram", "0.5", *where))


def lots(offers: list[dict[str, Any]]) -> list[Lot]:
    """Offers that a cloud has told, as lots."""
    cloud = {name: provider for provider, name in NAMES.items()}
    return [
        (
            Decimal(offer["price_hr"]).normalize(),
            cloud[offer["provider"]],
            offer["instance"],
            offer.get("availability_zone"),
        )
        for offer in offers
        if not offer.get("is_reference")
    ]


def test_the_finder_over_three_clouds_agrees_with_looking_through_all_they_sell(cli: Any, world: World) -> None:
    assert {name: (one["outcome"], one["offers"], one["refused"]) for name, one in refresh(cli).items()} == {
        cloud.provider: ("read", len(cloud.prices()), {}) for cloud in world.clouds
    }
    for cloud in world.clouds:
        found = everything(cli, cloud)
        assert sorted(found, key=repr) == sorted(world.spot(1, 0, cloud), key=repr)
    for vcpus, gib in ((1, 4), (2, 8), (4, 8), (4, 16), (8, 32)):
        found = lots(search(cli, "--spot", "--min-vcpu", str(vcpus), "--min-ram", str(gib)))
        every = world.spot(vcpus, gib)
        assert found  # the list is cut at its limit, among reference prices of other regions
        assert [lot[0] for lot in found] == [lot[0] for lot in every[: len(found)]]
        assert set(found) <= set(every)
    assert {lot[1] for lot in world.spot(4, 8)} == set(NAMES)  # all three were in the running


def test_a_plan_stands_on_the_price_and_zone_that_the_cloud_has_told(cli: Any, world: World, job_dir: Path) -> None:
    refresh(cli)
    price, _, name, zone = world.spot(4, 8, world.aws)[0]
    asked = ("cloud_run.py", "my_job", "--dry-run", "--provider", "AWS", "--instance", name, "--estimated-runtime", "2")
    answer = cli(*asked, "--json")
    assert answer.code == 0, answer.err
    plan = json.loads(answer.out, parse_float=Decimal)
    assert (plan["instance_type"], plan["zone"], plan["price_per_hour"]) == (name, zone, price)
    words = cli(*asked)
    assert (words.code, words.err) == (0, "")
    assert re.search(rf"Machine +AWS {re.escape(name)} in {zone}, 4 vCPU, 8 GiB, spot", words.out)
    assert re.search(r"Price .* as of 20[0-9-]+ [0-9:]+Z \(AWS DescribeSpotPriceHistory\)", words.out)
    assert "  - price: 16.7 days of prices" in words.out  # the cloud's own past, by way of the history
    assert "  - interruptions: 5-10% a month" in words.out
    version = json.loads(cli("tallygate", "prices", "show", "--json").out)["version"]
    assert f"Catalogue       version {version}" in words.out


def test_a_cloud_that_breaks_keeps_its_earlier_part_and_the_others_are_new(cli: Any, world: World) -> None:
    refresh(cli)
    before = parts(cli, world)
    world.aws.break_page(2)
    world.azure.rows[world.azure.rows.index(spot_row(D4, "0.0412"))] = spot_row(D4, "0.0515")
    after_breaking = cli("tallygate", "prices", "refresh", "--force")
    assert after_breaking.code == 3
    assert re.search(
        r"WARNING: aws eu-west-1: AWS DescribeSpotPriceHistory for eu-west-1 failed: \w+ \(prices of 20.*Z stay\)",
        after_breaking.err,
    )
    assert [line.split()[0] for line in after_breaking.out.splitlines()[2:]] == ["azure", "gcp"]
    after = parts(cli, world)
    assert after["aws"] == before["aws"]
    for name in ("azure", "gcp"):
        assert after[name]["read_at"] > before[name]["read_at"]
    assert sorted(everything(cli, world.aws), key=repr) == sorted(world.spot(1, 0, world.aws), key=repr)

    answer = cli("tallygate", "prices", "history", D4, "--json")
    assert answer.code == 0, answer.err
    for path in json.loads(answer.out, parse_float=Decimal):
        told = [span["hourly_price"] for span in path["spans"] if span["hourly_price"] is not None]
        assert (told, path["changes"]) == ([Decimal("0.0412"), Decimal("0.0515")], 1)
    table = cli("tallygate", "prices", "history", D4).out
    assert "$0.0412" in table
    assert "$0.0515" in table

    world.aws.heal()
    assert {name: one["outcome"] for name, one in refresh(cli, "--force").items()} == dict.fromkeys(NAMES, "read")


def test_a_process_of_its_own_reads_aws_as_whoever_the_environment_says(here: Path, tmp_path: Path) -> None:
    """Nothing injected: AWS's own variables name the address and the keys. The advisor is out of reach, and that is said."""
    market = one_aws_region()
    with market.open() as address:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        nowhere = "http://127.0.0.1:9"
        environment = {
            **kept,
            **aws_environment(tmp_path),
            "HOME": str(tmp_path),
            "PYTHONPATH": str(ROOT),
            "AWS_ENDPOINT_URL": address,
            "HTTPS_PROXY": nowhere,
            "HTTP_PROXY": nowhere,
        }

        def tallygate(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "tallygate", *arguments]
            return subprocess.run(
                command, cwd=here, env=environment, capture_output=True, text=True, timeout=120, check=False
            )

        first = tallygate("prices", "refresh", "--provider", "aws")
        assert first.returncode == 0, first.stderr
        assert re.search(rf"^aws +eu-west-1 +{len(market.prices())} ", first.stdout, re.MULTILINE)
        assert "WARNING: aws eu-west-1: " in first.stderr
        assert [secret for secret in (SECRET, TOKEN) if secret in first.stdout + first.stderr] == []
        asked = market.requests
        again = tallygate("prices", "refresh", "--provider", "aws", "--json")
        assert [one["outcome"] for one in json.loads(again.stdout)["markets"]] == ["fresh"]
        assert market.requests == asked + 1  # which regions there are
        assert again.stderr == ""
    found = tallygate("find", "--provider", "AWS", "--region", "eu-west-1", "--spot", "--sort", "price", "--json")
    cheapest = json.loads(found.stdout, parse_float=Decimal)["offers"][0]
    prices = {key: price.decimal for key, price in market.prices().items() if key[2] is PurchaseOption.SPOT}
    assert prices[cheapest["instance"], cheapest["availability_zone"], PurchaseOption.SPOT] == cheapest["price_hr"]
