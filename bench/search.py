"""How long finding the cheapest of 200,000 offers takes, beside a bare Typer program and beside two peers' own code.

Cold is a whole process, interleaved: every variant once a round, medians over the rounds. Warm is one more query to an open
catalogue. The peers are asked on the same rows when an interpreter that has them is named (``--gpuhunt-python``,
``--skypilot-python``); otherwise they are not compared, and the output says so.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "bench" / "programs"
sys.path[:0] = [str(ROOT), str(PROGRAMS)]

from offers import ROWS, Row, rows  # noqa: E402

COLD_MAX = 1.3
WARM_MAX_MS = 0.2
MEMORY_MAX_MIB = 64
COLD_AHEAD_MIN = 15
WARM_AHEAD_MIN = 1_000

QUESTIONS = {
    "cpu": "--spot --min-vcpu 16 --max-vcpu 32 --min-ram 64 --max-ram 256 --budget 20 --estimated-runtime 6",
    "gpu": "--spot --gpu A100",
}
"""Sixteen to thirty-two processors under a budget, and any A100: as our finder takes them."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="how often every variant runs")
    for peer in ("gpuhunt", "skypilot"):
        named = os.environ.get(f"BENCH_{peer.upper()}_PYTHON")
        parser.add_argument(
            f"--{peer}-python", default=named, metavar="PATH", help=f"interpreter with {peer} installed"
        )
    given = parser.parse_args()
    peers = {name: getattr(given, f"{name}_python") for name in ("gpuhunt", "skypilot")}
    import typer

    print(
        f"Python {sys.version.split()[0]}, Typer {typer.__version__}, SQLite {sqlite3.sqlite_version}, {ROWS:,} offers"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = rows()
        size = write_ours(found, folder / "prices")
        print(f"catalogue of {size / 1e6:.1f} MB")
        for peer, python in peers.items():
            if python is None:
                print(f"{peer}: no interpreter named, not compared")
            else:
                version = installed(python, peer)
                if version is None:
                    print(f"{peer}: not installed for {python}, not compared")
                    peers[peer] = None
                else:
                    print(f"{peer} {version}")
        if peers["gpuhunt"]:
            write_gpuhunt(found, folder)
        if peers["skypilot"]:
            write_skypilot(found, folder, peers["skypilot"])
        del found
        return measured(folder, peers, given.rounds)


# --- what is measured


def measured(folder: Path, peers: dict[str, str | None], rounds: int) -> int:
    verdicts = Verdicts()
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder),
        "TALLYGATE_PRICES__FOLDER": str(folder / "prices"),
    }
    environment |= {"SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
    ours = [sys.executable, str(ROOT / "find_cheapest_instance.py"), "--no-interactive"]
    bare = [sys.executable, str(PROGRAMS / "bare_typer.py"), "hello", "world"]
    for question, words in QUESTIONS.items():
        flags = words.split()
        taken = interleaved({"bare": bare, "ours": [*ours, *flags]}, folder, environment, rounds)
        middle = {name: statistics.median(seconds) for name, seconds in taken.items()}
        print(f"\n{question}: bare Typer {middle['bare'] * 1000:.1f} ms, the finder {middle['ours'] * 1000:.1f} ms")
        verdicts.at_most(f"{question}: finder / bare Typer, whole process", middle["ours"] / middle["bare"], COLD_MAX)
        warm = float(
            output([sys.executable, PROGRAMS / "search_warm.py", folder / "prices", question, "2"], folder, environment)
        )
        print(f"{question}: a warm query {warm * 1000:.3f} ms (goal {WARM_MAX_MS} ms)")
        verdicts.at_most(
            f"{question}: memory of the finder, MiB", memory([*ours, *flags], folder, environment), MEMORY_MAX_MIB
        )
        for peer, python in peers.items():
            if python is None:
                continue
            program = [
                python,
                str(PROGRAMS / f"ask_{peer}.py"),
                *([str(folder)] if peer == "gpuhunt" else []),
                question,
            ]
            cold = interleaved({"ours": [*ours, *flags], "theirs": program}, folder, environment, 3)
            theirs = statistics.median(cold["theirs"])
            their_warm = float(output([*program, "5"], folder, environment).split()[-1])
            print(f"{question}: {peer} cold {theirs * 1000:,.0f} ms, warm {their_warm * 1000:,.1f} ms")
            verdicts.at_least(
                f"{question}: {peer} / finder, cold", theirs / statistics.median(cold["ours"]), COLD_AHEAD_MIN
            )
            verdicts.at_least(f"{question}: {peer} / our query, warm", their_warm / warm, WARM_AHEAD_MIN)
    return verdicts.code


class Verdicts:
    """Goals met and missed."""

    code = 0

    def at_most(self, goal: str, found: float, limit: float) -> None:
        self._say(goal, found, f"at most {limit:g}", found <= limit)

    def at_least(self, goal: str, found: float, limit: float) -> None:
        self._say(goal, found, f"at least {limit:g}", found >= limit)

    def _say(self, goal: str, found: float, limit: str, met: bool) -> None:
        print(f"{goal:56}{found:12,.2f}{limit:>18}  {'PASS' if met else 'FAIL'}", flush=True)
        self.code = self.code if met else 1


def interleaved(
    variants: dict[str, list[str]], folder: Path, environment: dict[str, str], rounds: int
) -> dict[str, list[float]]:
    """Seconds of every variant, round by round; the first round only warms up."""
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(rounds + 1):
        for name, command in variants.items():
            start = time.perf_counter()
            output(command, folder, environment)
            if turn:
                taken[name].append(time.perf_counter() - start)
    return taken


def output(command: list[object] | list[str], folder: Path, environment: dict[str, str]) -> str:
    words = [str(word) for word in command]
    answer = subprocess.run(
        words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if answer.returncode:
        sys.exit(f"{' '.join(words)} failed:\n{answer.stderr}")
    return answer.stdout


PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, capture_output=True, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Run by a small process of its own: until it is replaced, a child counts the memory of the one that made it."""


def memory(command: list[str], folder: Path, environment: dict[str, str]) -> float:
    """Peak resident memory of a process, MiB."""
    return int(output([sys.executable, "-c", PEAK, *command], folder, environment)) / 1024


# --- the same rows for everybody

GPUHUNT_COLUMNS = (
    "instance_name location price cpu memory gpu_count gpu_name gpu_memory spot disk_size gpu_vendor flags cpu_arch"
    " provider_data"
)
SKYPILOT_COLUMNS = (
    "InstanceType AcceleratorName AcceleratorCount vCPUs MemoryGiB GpuInfo Price SpotPrice Region AvailabilityZone Arch"
)


def write_ours(found: list[Row], folder: Path) -> int:
    """Spot offers by zone, on-demand offers by region, through the writer that a refresh uses; the size of the file."""
    from tallygate.money import Money
    from tallygate.pricing.offers import Offer, PurchaseOption
    from tallygate.pricing.source import Sheet
    from tallygate.store.catalog import FILE_NAME
    from tallygate.store.catalog_writer import write

    now = datetime(2026, 11, 21, tzinfo=UTC)
    places: dict[tuple[str, str], dict[Offer, None]] = {}
    for row in found:
        for zone, option, nanos in (
            (None, PurchaseOption.ON_DEMAND, row.on_demand),
            (row.zone, PurchaseOption.SPOT, row.spot),
        ):
            if nanos is not None:
                offer = Offer(
                    provider=row.provider,
                    region=row.region,
                    zone=zone,
                    instance_type=row.type,
                    purchase_option=option,
                    vcpus=row.vcpus,
                    memory_gib=Decimal(row.memory_mib) / 1024,
                    architecture=row.architecture,
                    gpus=row.gpus,
                    gpu_model="A100" if row.gpu_model.startswith("A100") else row.gpu_model or None,
                    gpu_memory_gib=Decimal(row.gpu_memory_gib) if row.gpus else None,
                    hourly_price=Money(nanos),
                    on_demand_price=Money(row.on_demand),
                    priced_at=now,
                    price_source="bench",
                )
                places.setdefault((row.provider, row.region), {})[offer] = None
    write(
        folder,
        [
            Sheet(provider=provider, region=region, read_at=now, source="bench", offers=tuple(offers))
            for (provider, region), offers in places.items()
        ],
        made_at=now,
    )
    return (folder / FILE_NAME).stat().st_size


def installed(python: str, package: str) -> str | None:
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    answer = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None


def write_gpuhunt(found: list[Row], folder: Path) -> None:
    """Its CSV layout, a row a price: as a directory, and zipped as its own loader fetches it."""
    header = GPUHUNT_COLUMNS.split()
    for provider in ("aws", "gcp", "azure"):
        path = folder / "gpuhunt" / f"{provider}.csv"
        path.parent.mkdir(exist_ok=True)
        with open(path, "w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(header)
            for row in found:
                if row.provider != provider:
                    continue
                for nanos, spot in ((row.on_demand, "False"), (row.spot, "True")):
                    if nanos is not None:
                        size = (row.vcpus, row.memory_mib / 1024, row.gpus)
                        gpu = (row.gpu_model.partition("-")[0], row.gpu_memory_gib or "")
                        processor = "x86" if row.architecture == "x86_64" else "arm"
                        vendor = "nvidia" if row.gpus else ""
                        line = (row.type, row.zone, nanos / 1e9, *size, *gpu, spot, "", vendor, "", processor, "{}")
                        lines.writerow(line)
        place = folder / "gpuhunt-zip" / provider / "1"
        place.mkdir(parents=True)
        (place.parent / "version").write_text("1")
        with zipfile.ZipFile(place / "catalog.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, f"{provider}.csv")


def write_skypilot(found: list[Row], home: Path, python: str) -> None:
    """Its CSV layout below HOME. Google's accelerators are rows of their own there."""
    code = "from sky.skylet import constants; print(constants.CATALOG_SCHEMA_VERSION)"
    schema = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split()[-1]
    header = SKYPILOT_COLUMNS.split()
    for provider in ("aws", "gcp", "azure"):
        place = home / ".sky" / "catalogs" / schema / provider
        place.mkdir(parents=True)
        with open(place / "vms.csv", "w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(header)
            for row in found:
                if row.provider != provider:
                    continue
                price = [
                    row.on_demand / 1e9,
                    "" if row.spot is None else row.spot / 1e9,
                    row.region,
                    row.zone,
                    row.architecture,
                ]
                size = [row.vcpus, row.memory_mib / 1024]
                if not row.gpus:
                    lines.writerow([row.type, "", "", *size, "", *price])
                elif provider == "gcp":
                    lines.writerow([row.type, "", "", *size, "", *price])
                    lines.writerow(["", row.gpu_model, row.gpus, "", "", row.gpu_model, *price])
                else:
                    lines.writerow([row.type, row.gpu_model, row.gpus, *size, gpu_info(row), *price])


def gpu_info(row: Row) -> str:
    memory_mib = row.gpu_memory_gib * 1024
    gpu = {
        "Name": row.gpu_model,
        "Manufacturer": "NVIDIA",
        "Count": float(row.gpus),
        "MemoryInfo": {"SizeInMiB": memory_mib},
    }
    return json.dumps({"Gpus": [gpu], "TotalGpuMemoryInMiB": memory_mib * row.gpus}).replace('"', "'")


if __name__ == "__main__":
    sys.exit(main())
