"""``tallygate prices``: refresh, show, history and import, as a person and a program meet them."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tallygate.cli import prices
from tallygate.errors import CredentialsMissing, Unavailable
from tallygate.money import Money
from tallygate.pricing.source import Sheet
from tests.cli.prices_program import KeptCatalog, tools_in
from tests.pricing.markets import Between, Stall
from tests.pricing.writers_contract import sheet

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
TYPE = "r5.4xlarge"


@pytest.fixture
def wired(here: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[prices.Tools], None]:
    def wire(found: prices.Tools) -> None:
        monkeypatch.setattr(prices, "tools", lambda settings: found)

    return wire


@pytest.fixture
def market(here: Path, wired: Callable[[prices.Tools], None]) -> prices.Tools:
    """Two pretend clouds on a fixed day, nothing read yet."""
    found = tools_in(here, at=NOW)
    wired(found)
    return found


@pytest.fixture
def read(cli: Any, market: prices.Tools) -> prices.Tools:
    """The same, read once, a minute ago."""
    assert cli("tallygate", "prices", "refresh").code == 0
    market.clock.sleep(60)
    return market


def ask(cli: Any, *arguments: str) -> Any:
    answer = cli("tallygate", "prices", *arguments)
    assert answer.code == 0, answer.err
    return answer


def in_json(cli: Any, *arguments: str) -> Any:
    return json.loads(ask(cli, *arguments, "--json").out, parse_float=Decimal)


# --- refresh


def test_a_refresh_tells_every_market_and_what_is_fresh(cli: Any, market: prices.Tools) -> None:
    first = ask(cli, "refresh")
    lines = first.out.splitlines()
    assert lines[0].split() == ["PROVIDER", "REGION", "OFFERS", "REFUSED", "UP", "DOWN", "PAST", "SECONDS"]
    assert [line.split()[1] for line in lines[2:]] == ["eu-west-1", "us-east-1", "europe-west1", "us-central1"]
    assert "72 offers" in first.err
    again = ask(cli, "refresh")
    assert again.out == ""
    assert "4 markets are fresh" in again.err


def test_a_refresh_in_json_is_nothing_but_json(cli: Any, market: prices.Tools) -> None:
    found = in_json(cli, "refresh", "--provider", "SIM-AWS", "--region", "us-east-1", "--no-backfill")
    (one,) = found["markets"]
    assert (one["outcome"], one["offers"], one["past"], one["appeared"]) == ("read", 24, 0, 24)
    assert found["version"] == market.catalog.version().id  # type: ignore[union-attr]


def test_a_refresh_that_fails_in_part_says_where_and_exits_with_three(
    cli: Any, market: prices.Tools, wired: Callable[[prices.Tools], None]
) -> None:
    def fail(region: str) -> None:
        if region == "us-east-1":
            raise Unavailable("us-east-1 answers HTML")

    def spoil(sheet: Sheet) -> Sheet:
        return replace(sheet, offers=(replace(sheet.offers[0], hourly_price=Money.zero()), *sheet.offers[1:]))

    stall = Stall(3)
    wired(replace(market, sources=lambda: [Between(stall.source(), before=fail, after=spoil)], clock=stall.clock))
    answer = cli("tallygate", "prices", "refresh", "--force")
    assert answer.code == 3
    assert "WARNING: sim-aws us-east-1: us-east-1 answers HTML (no earlier prices)" in answer.err
    assert "Refused: 1 x price is zero" in answer.err
    assert "eu-west-1" in answer.out


def test_a_region_of_one_cloud_is_no_failure_of_the_others(cli: Any, market: prices.Tools) -> None:
    (one,) = in_json(cli, "refresh", "--region", "us-east-1")["markets"]
    assert (one["provider"], one["outcome"]) == ("sim-aws", "read")
    for more in ((), ("--provider", "sim-gcp")):
        answer = cli("tallygate", "prices", "refresh", "--region", "us-east-11", *more)
        assert (answer.code, answer.out) == (3, "")
        assert "sim-gcp has no region 'us-east-11'" in answer.err
    assert cli("tallygate", "prices", "refresh", "--region", "us-east-1", "--provider", "sim-gcp").code == 3


def test_a_cloud_without_an_account_is_passed_over_also_when_a_region_is_named(
    cli: Any, market: prices.Tools, wired: Callable[[prices.Tools], None]
) -> None:
    class Locked(Between):
        def regions(self) -> Any:
            raise CredentialsMissing("No key", cure="Find it")

    stall = Stall(3)
    sources = [Locked(stall.source("gcp")), Between(stall.source())]
    wired(replace(market, sources=lambda: sources, clock=stall.clock))
    for more in ((), ("--region", "us-east-1")):
        answer = ask(cli, "refresh", *more)
        assert "sim-gcp is not set up: No key. Find it" in answer.err
        assert "no prices were read" not in answer.err
    wired(replace(market, sources=lambda: sources[:1], clock=stall.clock))
    answer = cli("tallygate", "prices", "refresh", "--json")
    (one,) = json.loads(answer.out)["markets"]
    assert (answer.code, one["outcome"], one["cure"]) == (3, "not set up", "Find it")
    assert "No cloud is set up, so no prices were read" in cli("tallygate", "prices", "refresh").err


def test_a_cloud_that_cannot_be_asked_any_more_keeps_its_prices_and_their_age_is_told(
    cli: Any, read: prices.Tools, wired: Callable[[prices.Tools], None]
) -> None:
    class Gone(Between):
        def regions(self) -> Any:
            raise Unavailable("sim-gcp does not answer")

    sources = [Gone(Stall(3).source("gcp"))]
    wired(replace(read, sources=lambda: sources))
    answer = cli("tallygate", "prices", "refresh", "--provider", "sim-gcp", "--force")
    assert answer.code == 3
    assert "does not answer (its earlier prices stay, the newest of 2026-03-31 12:00:00Z)" in answer.err
    assert len(in_json(cli, "show", "--provider", "sim-gcp")["markets"]) == 2


@pytest.mark.parametrize(
    ("provider", "module"), [("aws", "boto3"), ("gcp", "google.cloud.billing_v1"), ("azure", "azure.identity")]
)
def test_a_cloud_whose_sdk_is_not_installed_says_what_to_install(
    cli: Any, here: Path, monkeypatch: pytest.MonkeyPatch, provider: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    answer = cli("tallygate", "prices", "refresh", "--provider", provider)
    assert (answer.code, answer.out) == (2, "")
    assert f"pip install 'tallygate[{provider}]'" in answer.err
    assert list(here.iterdir()) == []


def test_flags_that_make_no_sense_are_refused_before_anything_is_read(
    cli: Any, market: prices.Tools, here: Path
) -> None:
    for arguments, says in (
        (("--max-age", "-1"), "--max-age"),
        (("--max-age", "nan"), "--max-age"),
        (("--provider", "oracle"), "oracle"),
        (("--region", ""), "--region"),
    ):
        answer = cli("tallygate", "prices", "refresh", *arguments)
        assert (answer.code, says in answer.err) == (2, True), answer.err
    assert market.catalog is not None
    assert market.catalog.version() is None


def test_without_a_source_or_a_refresh_the_cure_is_named(
    cli: Any, market: prices.Tools, wired: Callable[[prices.Tools], None], here: Path
) -> None:
    wired(replace(market, sources=lambda: []))
    answer = cli("tallygate", "prices", "refresh")
    assert (answer.code, answer.out) == (2, "")
    assert "No price source is set up" in answer.err
    for command in (("show",), ("history", TYPE)):
        answer = cli("tallygate", "prices", *command)
        assert (answer.code, answer.out) == (1, "")
        assert "tallygate prices refresh" in answer.err
    wired(replace(market, catalog=None))
    assert cli("tallygate", "prices", "refresh").code == 1


def test_looking_writes_nothing(cli: Any, market: prices.Tools, here: Path) -> None:
    for command in (("show",), ("history", TYPE)):
        assert cli("tallygate", "prices", *command).code == 1
    assert list(here.iterdir()) == []


# --- show


def test_what_the_catalogue_holds_is_shown_with_its_age(cli: Any, read: prices.Tools) -> None:
    shown = ask(cli, "show").out
    assert "us-central1" in shown
    assert re.search(r"Version [0-9a-f]{16} of 2026-03-31 12:00:00Z: 72 offers\n$", shown)
    found = in_json(cli, "show", "--provider", "sim-gcp")
    assert [one["region"] for one in found["markets"]] == ["europe-west1", "us-central1"]
    assert (found["offers"], found["reference_offers"]) == (72, 0)


def test_a_provider_that_the_catalogue_does_not_have_is_told_with_those_it_has(cli: Any, read: prices.Tools) -> None:
    answer = cli("tallygate", "prices", "show", "--provider", "oracle")
    assert (answer.code, answer.out) == (2, "")
    assert "no prices of oracle" in answer.err
    assert "sim-aws, sim-gcp" in answer.err


def test_the_first_look_shows_reference_prices_and_says_that_they_are(cli: Any, here: Path) -> None:
    answer = ask(cli, "show")
    assert "reference prices" in answer.out.splitlines()[-1]
    assert "tallygate prices refresh" in answer.err
    assert list(here.iterdir()) == []


# --- history


def test_figures_of_a_type_are_those_of_its_path(cli: Any, read: prices.Tools) -> None:
    (one,) = in_json(cli, "history", TYPE, "--zone", "us-east-1b", "--days", "7", "--below", "0.5")
    assert (one["zone"], one["purchase_option"], one["coverage_percent"]) == ("us-east-1b", "spot", 100)
    spans = [
        (datetime.fromisoformat(span["end"]) - datetime.fromisoformat(span["start"]), span["hourly_price"])
        for span in one["spans"]
    ]
    assert sum((length for length, _ in spans), timedelta()) == timedelta(days=7)
    below = sum((length for length, price in spans if price < Decimal("0.5")), timedelta())
    assert one["below_percent"] == round(Decimal(below / timedelta(days=7) * 100), 4)
    assert (one["min"], one["max"]) == (min(price for _, price in spans), max(price for _, price in spans))
    assert one["changes"] == len(spans) - 1


def test_the_table_names_every_pool_cheapest_first(cli: Any, read: prices.Tools) -> None:
    answer = ask(cli, "history", TYPE, "--below", "0.5")
    lines = answer.out.splitlines()
    assert "BELOW $0.50" in lines[1]
    medians = [Decimal(re.findall(r"\$([0-9.]+)", line)[1]) for line in lines[3:]]
    assert len(medians) == 5
    assert medians == sorted(medians)
    assert "⣀" not in answer.out  # a pipe gets no drawing


def test_on_demand_prices_have_a_history_too(cli: Any, read: prices.Tools) -> None:
    found = in_json(cli, "history", TYPE, "--on-demand", "--days", "1")
    assert {one["purchase_option"] for one in found} == {"on_demand"}
    assert {one["volatility_percent"] for one in found} == {None}
    both = in_json(cli, "history", TYPE, "--on-demand", "--spot", "--days", "1")
    assert len(both) == 10


def test_csv_has_one_span_a_line_and_unknown_time_without_a_price(cli: Any, read: prices.Tools) -> None:
    rows = list(
        csv.DictReader(ask(cli, "history", TYPE, "--zone", "us-east-1a", "--days", "60", "--csv").out.splitlines())
    )
    assert rows[0]["hourly_price"] == ""  # before the market began
    assert all(one["end"] == other["start"] for one, other in pairwise(rows))
    assert rows[-1]["currency"] == "USD"
    assert Decimal(rows[-1]["hourly_price"]) > 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("r5.4xlrge",), r"Did you mean r5.4xlarge"),
        (("zzz",), r"8 types are known, such as c7g.large"),
        ((TYPE, "--provider", "aws"), r"Nothing is known of aws yet"),
        ((TYPE, "--zone", "moon"), r"no spot price on record there\n.*On record: sim-aws eu-west-1a"),
    ],
)
def test_what_is_not_known_is_said_with_what_is_near(
    cli: Any, read: prices.Tools, arguments: Sequence[str], says: str
) -> None:
    answer = cli("tallygate", "prices", "history", *arguments)
    assert answer.code == 1
    assert answer.out == ""
    assert re.search(says, answer.err), answer.err


def test_capitals_do_not_matter(cli: Any, read: prices.Tools) -> None:
    assert ask(cli, "history", "R5.4XLARGE").out == ask(cli, "history", TYPE).out


@pytest.mark.parametrize(
    "arguments",
    [("--days", "0"), ("--days", "4000"), ("--below", "0"), ("--below", "1e9"), ("--csv", "--json")],
)
def test_a_history_asked_for_wrongly_is_refused(cli: Any, read: prices.Tools, arguments: Sequence[str]) -> None:
    assert cli("tallygate", "prices", "history", TYPE, *arguments).code == 2


# --- import


HEAD = (
    "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch"
)
MACHINES = {"m5.large": "2.0,8.0", "c5.xlarge": "4.0,8.0", "r5.4xlarge": "16.0,128.0"}


def row(name: str, zone: str, price: str, spot: str, *, region: str | None = None) -> str:
    return f"{name},,,{MACHINES[name]},,{price},{spot},{zone[:-1] if region is None else region},{zone},x86_64"


WHOLE = (
    row("m5.large", "us-east-1a", "0.096", "0.0389"),
    row("m5.large", "us-east-1b", "0.096", "0.0352"),
    row("c5.xlarge", "us-east-1a", "0.17", "0.0704"),
    row("r5.4xlarge", "us-east-1b", "1.008", "0.4026"),
    row("m5.large", "eu-west-1a", "0.107", "0.0403"),
    row("c5.xlarge", "eu-west-1c", "0.192", "0"),  # no spot price is free
    row("r5.4xlarge", "moon1a", "1.128", "0.41"),
    row("r5.4xlarge", "moon1b", "1.128", "0.42"),
)
"""A SkyPilot catalogue of AWS: seven prices in us-east-1, three and a wrong one in eu-west-1, two rows of nowhere."""


def write_list(folder: Path, *rows: str) -> Path:
    file = folder / "aws" / "vms.csv"
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join((HEAD, *rows)) + "\n")
    return file


@pytest.fixture
def vms(market: prices.Tools, here: Path) -> str:
    """A published list in a file, for a market of which nothing is known yet."""
    return str(write_list(here, *WHOLE))


def test_an_imported_list_is_judged_like_a_clouds_and_taken_for_reference(cli: Any, vms: str) -> None:
    answer = ask(cli, "import", vms, "--as-of", "2026-01-01")
    assert "aws eu-west-1: refused 1 x spot price is zero" in answer.err
    assert "aws/vms.csv: refused 2 x region is none of aws" in answer.err
    found = in_json(cli, "show")
    assert [(one["region"], one["offers"], one["reference_offers"]) for one in found["markets"]] == [
        ("eu-west-1", 3, 3),
        ("us-east-1", 7, 7),
    ]
    assert {one["read_at"] for one in found["markets"]} == {"2026-01-01T00:00:00.000000Z"}
    assert "10 offers, 10 of them reference prices" in ask(cli, "show").out


def test_an_import_says_whose_and_of_when_its_prices_are_or_is_told(cli: Any, market: prices.Tools, here: Path) -> None:
    file = write_list(here, *WHOLE).rename(here / "list.csv")
    answer = cli("tallygate", "prices", "import", str(file), "--as-of", "2026-01-01")
    assert (answer.code, answer.out) == (2, "")
    assert "does not say whose prices these are" in answer.err
    assert in_json(cli, "import", str(file), "--provider", "AWS", "--as-of", "2026-01-01")["version"]
    assert {one["provider"] for one in in_json(cli, "show")["markets"]} == {"aws"}


def test_an_import_leaves_what_was_read_from_the_cloud_unless_told_to_replace_it(
    cli: Any, market: prices.Tools, vms: str
) -> None:
    assert market.catalog is not None
    market.catalog.publish([sheet(NOW, "0.31", "0.32", "0.33")])
    answer = ask(cli, "import", vms, "--as-of", "2026-01-01")
    assert "aws us-east-1: left as it is, read from the cloud at 2026-03-31 12:00:00Z" in answer.err
    assert {one["region"]: one["reference_offers"] for one in in_json(cli, "show")["markets"]} == {
        "eu-west-1": 3,
        "us-east-1": 0,
    }
    ask(cli, "import", vms, "--as-of", "2026-01-01", "--replace")
    assert in_json(cli, "show")["reference_offers"] == 10


def test_a_short_list_does_not_take_the_place_of_a_long_one_by_itself(cli: Any, vms: str, here: Path) -> None:
    ask(cli, "import", vms, "--as-of", "2026-01-01")
    write_list(here, WHOLE[0])
    answer = cli("tallygate", "prices", "import", vms, "--as-of", "2026-01-02")
    assert answer.code == 1
    assert "market halved (2 offers fit and 0 not, 7 before)" in answer.err
    assert "--accept-smaller" in answer.err
    assert answer.out == ""
    ask(cli, "import", vms, "--as-of", "2026-01-02", "--accept-smaller")
    assert in_json(cli, "show")["offers"] == 5


def test_an_address_that_cannot_be_reached_fails_like_a_cloud(cli: Any, market: prices.Tools) -> None:
    answer = cli("tallygate", "prices", "import", "https://example.org/vms.csv")
    assert (answer.code, answer.out) == (3, "")
    assert "https://example.org/vms.csv cannot be reached" in answer.err


def test_an_import_is_refused_when_its_place_or_day_makes_no_sense(cli: Any, vms: str, here: Path) -> None:
    half = here / "aws" / "half.csv"
    half.write_text(Path(vms).read_text()[:-20])
    for arguments, says in (
        ((vms, "--as-of", "yesterday"), "yesterday"),
        ((vms, "--as-of", "2027-01-01"), "lie in the future"),
        ((vms, "--as-of", "2026-01-01", "--provider", "oracle"), "There is no price file of 'oracle'"),
        ((str(half), "--as-of", "2026-01-01"), "aws/half.csv breaks off"),
        (("nowhere.csv",), "nowhere.csv cannot be read"),
        (("",), "FILE-OR-URL"),
    ):
        answer = cli("tallygate", "prices", "import", *arguments)
        assert (answer.code, answer.out, says in answer.err) == (2, "", True), answer.err


SPOTINFO = [
    {"region": "us-east-1", "instance": "m5.large", "range": {"label": "5-10%", "dots": 1, "max": 11}, "savings": 61},
    {"region": "us-east-1", "instance": "r5.4xlarge", "range": {"label": ">20%", "dots": 4, "max": 100}, "savings": 55},
    {"region": "us-east-1", "instance": "x1.32xlarge", "range": {"label": "<5%", "dots": 0, "max": 5}, "savings": 70},
    {"region": "us-east-1", "instance": "c5.xlarge", "range": {"label": "often"}, "savings": 70},
]
ADVISOR = {
    "ranges": [{"index": 0, "label": "<5%", "dots": 0, "max": 5}, {"index": 1, "label": "5-10%", "dots": 1, "max": 11}],
    "spot_advisor": {
        "us-east-1": {"Linux": {"m5.large": {"s": 61, "r": 0}}, "Windows": {"r5.4xlarge": {"s": 1, "r": 1}}}
    },
}


def test_interruption_rates_reach_the_search_through_the_catalogue(cli: Any, here: Path) -> None:
    """Nothing pretended: the files, the folder of the catalogue and the finder are those of an installation."""
    vms = str(write_list(here, *WHOLE))
    ask(cli, "import", vms, "--accept-smaller")

    def taken_back() -> dict[tuple[str, str], object]:
        answer = cli(
            "find_cheapest_instance.py", "--no-interactive", "--provider", "AWS", "--region", "us-east-1", "--json"
        )
        assert answer.code == 0, answer.err
        return {
            (offer["instance"], offer["availability_zone"]): offer.get("interruptions")
            for offer in json.loads(answer.out, parse_float=Decimal)["offers"]
            if offer["purchase_option"] == "spot"
        }

    assert set(taken_back().values()) == {None}
    rates = here / "spotinfo.json"
    rates.write_text(json.dumps(SPOTINFO))
    found = ask(cli, "import", str(rates))
    assert "refused 1 x interruption rate is not understood" in found.err
    assert [line.split()[1::3] for line in found.out.splitlines()[2:]] == [["us-east-1", "3"]]
    rated = taken_back()
    assert rated["c5.xlarge", "us-east-1a"] is None  # what was not understood stays unknown
    assert rated["m5.large", "us-east-1a"] == rated["m5.large", "us-east-1b"]
    month = 730
    assert rated["m5.large", "us-east-1b"] == {"low": Decimal("0.05"), "high": Decimal("0.1"), "hours": month}
    assert rated["r5.4xlarge", "us-east-1b"] == {"low": Decimal("0.2"), "high": None, "hours": month}
    again = ask(cli, "import", str(rates))
    assert "tells nothing new" in again.err

    rates.write_text(json.dumps(ADVISOR))
    ask(cli, "import", str(rates))
    later = taken_back()
    assert later["m5.large", "us-east-1b"] == {"low": 0, "high": Decimal("0.05"), "hours": month}
    assert later["r5.4xlarge", "us-east-1b"] == rated["r5.4xlarge", "us-east-1b"]  # Windows is another matter


# --- real processes


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TALLYGATE_", "COLUMNS"))}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def command(folder: Path, *arguments: str, slow: str = "") -> list[str]:
    program = str(ROOT / "tests" / "cli" / "prices_program.py")
    return [sys.executable, program, str(folder), *([slow] if slow else []), "--", *arguments]


def test_control_c_in_the_middle_publishes_what_is_whole_and_says_how_to_go_on(here: Path) -> None:
    running = subprocess.Popen(
        command(here, "refresh", slow="us-east-1"),
        cwd=here,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (here / "reached").exists() or not (here / ".tallygate" / "prices" / "history.db").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1.5)  # the other three are in by now, or they are reported as missing
    running.send_signal(signal.SIGINT)
    began = time.monotonic()
    out, err = running.communicate(timeout=30)
    assert time.monotonic() - began < 20  # it does not wait for the read that hangs
    assert running.returncode == 130
    assert "Ending: publishing what is whole" in err
    assert "sim-aws us-east-1" in err
    assert "Go on with: tallygate prices refresh" in err
    published = set(KeptCatalog(here / "catalog.pickle").by_market)
    assert published
    assert ("sim-aws", "us-east-1") not in published
    assert all(region in out for _, region in published)

    again = subprocess.run(
        command(here, "refresh", "--json"), cwd=here, env=environment(), capture_output=True, text=True, timeout=60
    )
    outcomes = {(one["provider"], one["region"]): one["outcome"] for one in json.loads(again.stdout)["markets"]}
    assert again.returncode == 0, again.stderr
    assert outcomes["sim-aws", "us-east-1"] == "read"
    assert {market for market, outcome in outcomes.items() if outcome == "fresh"} == published


def on_a_terminal(folder: Path, columns: int, *arguments: str, **more: str) -> str:
    """What a command draws on a terminal of that width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    running = subprocess.Popen(
        command(folder, *arguments), cwd=folder, env=environment(**more), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    drawn = b""
    while True:
        try:
            piece = os.read(ours, 65_536)
        except OSError:  # how Linux says that nobody holds the other end any more
            break
        if not piece:
            break
        drawn += piece
    os.close(ours)
    assert running.wait(60) == 0, drawn
    return drawn.decode().replace("\r\n", "\n")


@pytest.fixture
def on_disk(here: Path) -> Path:
    subprocess.run(command(here, "refresh"), cwd=here, env=environment(), check=True, capture_output=True, timeout=60)
    return here


@pytest.mark.parametrize("columns", [60, 100])
def test_a_drawing_fits_the_terminal(on_disk: Path, columns: int) -> None:
    drawn = on_a_terminal(on_disk, columns, "history", TYPE, PYTHONIOENCODING="utf-8", NO_COLOR="1")
    assert max(map(len, drawn.splitlines())) <= columns
    assert re.search("[⠁-⣿]{2}", drawn)
    assert "\x1b" not in drawn
    assert drawn.count(" spot") >= 10  # each pool is drawn and in the table


def test_a_terminal_without_braille_gets_plain_marks(on_disk: Path) -> None:
    drawn = on_a_terminal(on_disk, 60, "history", TYPE, "--zone", "us-east-1a", PYTHONIOENCODING="ascii")
    assert drawn.isascii()
    assert re.search(r"-{2}", drawn.split("POOL")[0])


def test_a_reader_that_goes_away_is_no_error(on_disk: Path) -> None:
    piped = " ".join(command(on_disk, "history", TYPE, "--days", "30", "--csv")) + " | head -n 1"
    answer = subprocess.run(
        ["bash", "-o", "pipefail", "-c", piped],
        cwd=on_disk,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.stdout.startswith('"provider"')
    assert answer.stderr == ""
