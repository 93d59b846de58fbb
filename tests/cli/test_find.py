"""The price search: what it lists, what it saves, how it asks, and what it says when nothing fits."""

from __future__ import annotations

import csv
import io
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tallygate.money import Money
from tallygate.pricing import spot_list
from tallygate.pricing.interruptions import Band
from tallygate.pricing.offers import Offer, PurchaseOption
from tallygate.store.catalog import FILE_NAME
from tallygate.store.catalog_writer import write
from tallygate.times import SystemClock
from tests.store.offers import OFFER, sheets_of

FIND = "find_cheapest_instance.py"
ROOT = Path(__file__).resolve().parents[2]

SMALL = replace(OFFER, instance_type="small", vcpus=4, memory_gib=Decimal(8), hourly_price=Money.of("0.10"))
BIG = replace(OFFER, instance_type="big", vcpus=16, memory_gib=Decimal(32), hourly_price=Money.of("0.20"))
ROOMY = replace(OFFER, instance_type="roomy", vcpus=16, memory_gib=Decimal(256), hourly_price=Money.of("0.23"))
GPU = replace(
    OFFER,
    provider="gcp",
    region="us-central1",
    zone="us-central1-a",
    instance_type="gpu",
    gpus=2,
    gpu_model="A100",
    hourly_price=Money.of(3),
    architecture="arm64",
)
STAYS = replace(
    OFFER, provider="azure", region="eastus", zone=None, instance_type="stays", purchase_option=PurchaseOption.ON_DEMAND
)


@pytest.fixture
def prices(here: Path) -> list[Offer]:
    """A refreshed catalogue, and this machine left out so that answers do not depend on it."""
    (here / "config.json").write_text('{"local": {"enabled": false}, "defaults": {"estimated_runtime": 2.0}}')
    now = SystemClock().now() - timedelta(minutes=5)
    found = [replace(offer, priced_at=now) for offer in (SMALL, BIG, ROOMY, GPU, STAYS)]
    write(here / ".tallygate" / "prices", sheets_of(found, now), made_at=now)
    return found


def names(path: Path) -> list[str]:
    return [offer.instance_type for offer in spot_list.read(path)]


def test_the_best_are_listed_and_saved_in_the_documented_file(here: Path, cli: Any, prices: list[Offer]) -> None:
    answer = cli(FIND, "--no-interactive")
    assert answer.code == 0
    assert names(here / "spot_prices.json") == ["small", "big", "roomy", "stays", "gpu"]
    assert spot_list.read(here / "spot_prices.json") == [prices[0], prices[1], prices[2], prices[4], prices[3]]
    lines = answer.out.splitlines()
    assert [line.split()[1] for line in lines[2:]] == ["small", "big", "roomy", "stays", "gpu"]
    assert "5 min ago" in lines[2]
    assert "Saved 5 offers in spot_prices.json" in answer.err
    assert "reference" not in answer.err


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--sort", "price"], ["small", "big", "roomy", "stays", "gpu"]),
        (["--sort", "core"], ["big", "roomy", "small", "stays", "gpu"]),
        (["--sort", "memory"], ["roomy", "big", "stays", "small", "gpu"]),
        (["--limit", "2"], ["small", "big"]),
        (["--min-vcpu", "16", "--max-ram", "200"], ["big", "stays", "gpu"]),
        (["--max-vcpu", "4"], ["small"]),
        (["--min-ram", "128.5"], ["roomy"]),
        (["--gpu", "a100:2"], ["gpu"]),
        (["--arch", "arm64"], ["gpu"]),
        (["--provider", "Azure"], ["stays"]),
        (["--region", "us-central1"], ["gpu"]),
        (["--on-demand"], ["stays"]),
        (["--spot"], ["small", "big", "roomy", "gpu"]),
        (["--spot", "--on-demand", "--limit", "9"], ["small", "big", "roomy", "stays", "gpu"]),
        (["--max-price-per-hour", "0.20"], ["small", "big"]),
        (["--max-price-per-hour", "0.199999999"], ["small"]),
        (["--budget", "0.40"], ["small", "big"]),
        (["--budget", "0.399999999"], ["small"]),
        (["--budget", "0.7", "--estimated-runtime", "7"], ["small"]),
        (["--budget", "0.40", "--max-price-per-hour", "0.15"], ["small"]),
    ],
)
def test_flags_filter_and_sort_exactly(
    here: Path, cli: Any, prices: list[Offer], flags: list[str], expected: list[str]
) -> None:
    assert cli(FIND, "--no-interactive", *flags).code == 0
    assert names(here / "spot_prices.json") == expected


def test_the_hardware_of_the_configuration_is_the_default(here: Path, cli: Any, prices: list[Offer]) -> None:
    (here / "mine.json").write_text('{"local": {"enabled": false}, "hardware": {"min_vcpu": 16, "max_ram_gb": 64}}')
    assert cli(FIND, "--no-interactive", "--config", "mine.json").code == 0
    assert names(here / "spot_prices.json") == ["big"]
    assert cli(FIND, "--no-interactive", "--config", "mine.json", "--min-vcpu", "1").code == 0
    assert names(here / "spot_prices.json") == ["small", "big"]


def test_often_interrupted_is_dearer_to_finish(here: Path, cli: Any) -> None:
    (here / "config.json").write_text('{"local": {"enabled": false}}')
    now = SystemClock().now()
    calm, wild = (Band(low=Decimal(share), high=Decimal(share), hours=24) for share in ("0.01", "0.9"))
    found = [
        replace(OFFER, zone="us-east-1a", hourly_price=Money.of("0.50"), interruptions=wild, priced_at=now),
        replace(OFFER, zone="us-east-1b", hourly_price=Money.of("0.55"), interruptions=calm, priced_at=now),
    ]
    write(here / ".tallygate" / "prices", sheets_of(found), made_at=now)
    answer = cli(FIND, "--no-interactive", "--estimated-runtime", "12", "--json")
    shown = json.loads(answer.out, parse_float=Decimal)["offers"]
    assert [offer["availability_zone"] for offer in shown] == ["us-east-1b", "us-east-1a"]
    assert shown[0]["expected_total"] > Decimal("6.6")


def test_json_is_clean_and_exact(here: Path, cli: Any, prices: list[Offer]) -> None:
    answer = cli(FIND, "--json", "--limit", "1")
    found = json.loads(answer.out, parse_float=Decimal)
    (offer,) = found["offers"]
    assert (offer["provider"], offer["instance"], offer["price_hr"]) == ("AWS", "small", Decimal("0.10"))
    assert offer["expected_total"] > Decimal("0.2")
    assert found["catalogue"]["offers"] == 5
    assert names(here / "spot_prices.json") == ["small"]


def test_csv_has_a_header_and_exact_numbers(here: Path, cli: Any, prices: list[Offer]) -> None:
    answer = cli(FIND, "--csv")
    rows = list(csv.DictReader(io.StringIO(answer.out)))
    assert [row["instance"] for row in rows] == ["small", "big", "roomy", "stays", "gpu"]
    assert rows[0]["price_hr"] == "0.10"


def test_the_list_goes_where_it_is_told(here: Path, cli: Any, prices: list[Offer]) -> None:
    assert cli(FIND, "--no-interactive", "--output", "mine.json", "--limit", "1").code == 0
    assert names(here / "mine.json") == ["small"]
    assert not (here / "spot_prices.json").exists()


def test_a_place_that_cannot_be_written_is_named(here: Path, cli: Any, prices: list[Offer]) -> None:
    answer = cli(FIND, "--no-interactive", "--output", "gone/mine.json")
    assert answer.code == 1
    assert "gone/mine.json: No such file or directory" in answer.err


# --- without a refreshed catalogue


def test_on_day_one_reference_prices_are_searched_and_said_to_be_that(here: Path, cli: Any) -> None:
    answer = cli(FIND, "--no-interactive", "--min-vcpu", "16", "--provider", "AWS")
    assert answer.code == 0
    assert "2025-03-02*" in answer.out
    assert "A reference price" in answer.err
    assert all(offer.is_reference for offer in spot_list.read(here / "spot_prices.json"))


def test_a_launch_at_a_reference_price_is_refused_with_a_cure(here: Path, cli: Any, job_dir: Path) -> None:
    assert cli(FIND, "--no-interactive", "--provider", "AWS").code == 0
    answer = cli("cloud_run.py", "my_job")
    assert answer.code == 1
    assert "--accept-price" in answer.err
    assert "reference" in answer.err


def test_a_dry_run_plans_with_a_reference_price_and_says_that_a_launch_would_not(
    here: Path, cli: Any, job_dir: Path
) -> None:
    answer = cli("cloud_run.py", "my_job", "--dry-run", "--provider", "AWS", "--instance", "r5.4xlarge")
    assert answer.code == 0
    assert "WARNING: a launch would be refused: The price of aws r5.4xlarge" in answer.err
    assert "is a reference of 2025-03-02" in answer.err


def test_this_machine_is_among_the_offers(here: Path, cli: Any) -> None:
    assert cli(FIND, "--no-interactive", "--provider", "local").code == 0
    (first, *_) = spot_list.read(here / "spot_prices.json")
    assert (first.provider, first.is_reference) == ("local", False)
    answer = cli(FIND, "--no-interactive", "--provider", "local", "--spot")
    assert answer.code == 1
    assert "leaving out --spot gives local" in answer.err


def test_a_damaged_catalogue_is_never_passed_over(here: Path, cli: Any, prices: list[Offer]) -> None:
    (here / ".tallygate" / "prices" / FILE_NAME).write_bytes(b"<html>")
    answer = cli(FIND, "--no-interactive")
    assert (answer.code, answer.out) == (4, "")
    assert "is not a price catalogue" in answer.err
    assert not (here / "spot_prices.json").exists()


def test_searching_opens_no_store(here: Path, cli: Any, prices: list[Offer]) -> None:
    assert cli(FIND, "--no-interactive").code == 0
    assert not (here / "cloud_jobs.db").exists()


# --- nothing fits


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--max-price-per-hour", "0.05"], "--max-price-per-hour 0.1000 gives AWS small in us-east-1a at $0.10/hour"),
        (["--budget", "0.15"], "--budget 0.20 gives AWS small"),
        (["--budget", "0.15", "--max-price-per-hour", "0.05"], "--max-price-per-hour 0.1000 with --budget 0.20 gives"),
        (["--min-vcpu", "17"], "--min-vcpu 16 gives AWS big"),
        (["--max-vcpu", "3"], "--max-vcpu 4 gives AWS small"),
        (["--min-ram", "257"], "--min-ram 256 gives AWS roomy"),
        (["--max-ram", "7"], "--max-ram 8 gives AWS small"),
        (["--gpu", "A100:8"], "--gpu A100:2 gives GCP gpu"),
        (["--gpu", "H100"], "--gpu A100:2 gives GCP gpu"),
        (["--arch", "x86_64", "--min-vcpu", "16", "--gpu", "A100"], "--arch arm64 gives GCP gpu"),
        (["--arch", "x86_64"], "leaving out --arch gives AWS small"),
        (["--provider", "gcp", "--max-vcpu", "4"], "--max-vcpu 16 gives GCP gpu"),
        (["--provider", "gcp", "--max-vcpu", "4"], "--provider AWS gives AWS small"),
        (["--region", "mars"], "--region us-east-1 gives AWS small"),
        (["--region", "eastus", "--spot"], "leaving out --spot gives Azure stays"),
    ],
)
def test_what_to_relax_is_said_with_the_nearest_value(
    here: Path, cli: Any, prices: list[Offer], flags: list[str], says: str
) -> None:
    answer = cli(FIND, "--no-interactive", *flags)
    assert (answer.code, answer.out) == (1, "")
    assert says in answer.err
    assert not (here / "spot_prices.json").exists()


def test_when_no_single_bound_is_to_blame_it_says_so(here: Path, cli: Any, prices: list[Offer]) -> None:
    answer = cli(FIND, "--json", "--min-vcpu", "500", "--region", "mars")
    assert (answer.code, answer.out) == (1, "")
    assert "any one bound is not enough" in answer.err


def test_nothing_found_leaves_the_old_list(here: Path, cli: Any, prices: list[Offer]) -> None:
    (here / "spot_prices.json").write_text("[]")
    assert cli(FIND, "--no-interactive", "--region", "mars").code == 1
    assert (here / "spot_prices.json").read_text() == "[]"


# --- on a terminal


class Terminal:
    """The finder on a terminal of its own."""

    def __init__(self, folder: Path, *flags: str, width: int = 120) -> None:
        self.screen, inside = os.openpty()
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "COLUMNS": str(width), "NO_COLOR": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / FIND), *flags],
            cwd=folder,
            env=environment,
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
            preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
        )
        os.close(inside)
        self.text = ""

    def until(self, words: str) -> str:
        end = time.monotonic() + 60
        while words not in self.text and time.monotonic() < end:
            if select.select([self.screen], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.screen, 65_536).decode()
                except OSError:
                    break
        assert words in self.text, self.text
        return self.text

    def type(self, text: str) -> None:
        os.write(self.screen, text.encode())

    def ends(self) -> int:
        code = self.process.wait(60)
        while select.select([self.screen], [], [], 0.1)[0]:
            try:
                self.text += os.read(self.screen, 65_536).decode()
            except OSError:
                break
        os.close(self.screen)
        return code


ASKED = "Enter to leave the order: "


@pytest.mark.parametrize(
    ("typed", "first"), [("1\n", "big"), ("2\n", "small"), ("3\n", "roomy"), ("\n", "small"), ("9\nx\n3\n", "roomy")]
)
def test_the_chosen_one_comes_first(here: Path, prices: list[Offer], typed: str, first: str) -> None:
    terminal = Terminal(here)
    text = terminal.until(ASKED)
    assert "1  cheapest per core: AWS big" in text
    assert "2  cheapest overall: AWS small" in text
    assert "3  more memory within 20 % of the best price per core: AWS roomy" in text
    terminal.type(typed)
    assert terminal.ends() == 0
    found = names(here / "spot_prices.json")
    assert found[0] == first
    assert sorted(found) == ["big", "gpu", "roomy", "small", "stays"]


def test_interrupting_the_choice_leaves_the_old_list(here: Path, prices: list[Offer]) -> None:
    (here / "spot_prices.json").write_text("[]")
    terminal = Terminal(here)
    terminal.until(ASKED)
    terminal.type("\x03")
    assert terminal.ends() == 130
    assert "is as it was" in terminal.text
    assert "Traceback" not in terminal.text
    assert (here / "spot_prices.json").read_text() == "[]"


def test_the_end_of_input_leaves_the_order(here: Path, prices: list[Offer]) -> None:
    terminal = Terminal(here)
    terminal.until(ASKED)
    terminal.type("\x04")
    assert terminal.ends() == 0
    assert names(here / "spot_prices.json")[0] == "small"


def test_nothing_is_asked_when_told_so(here: Path, prices: list[Offer]) -> None:
    terminal = Terminal(here, "--no-interactive")
    assert terminal.ends() == 0
    assert "Which one" not in terminal.text


def test_eighty_columns_are_enough(here: Path) -> None:
    """With the widest rows there are: reference prices with GPUs, and spot ones."""
    for flags in (["--gpu", "T4"], ["--spot", "--min-vcpu", "16"]):
        terminal = Terminal(here, "--no-interactive", *flags, width=80)
        assert terminal.ends() == 0
        table = terminal.text.partition("* A reference")[0].splitlines()
        assert len(table) > 5
        assert max(map(len, table)) <= 80


def test_a_pipe_that_is_closed_ends_it_without_a_word(here: Path, prices: list[Offer]) -> None:
    process = subprocess.Popen(
        [sys.executable, str(ROOT / FIND), "--limit", "1000"], cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(60) in (141, -signal.SIGPIPE)
    assert "Traceback" not in errors
