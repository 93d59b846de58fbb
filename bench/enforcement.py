"""What keeps to a budget and at what price: our policy beside models of others, in ten scenarios of one simulated world.

For every scenario and seed each policy meets the same prices, wishes, faults and interruptions, on the same machines. What is
measured is read from the world's meters, never from a policy's books: how far true spend passed a limit, machines that nobody
wanted, jobs refused although the money was there, money spent for nothing, and how far estimates were off. It fails when ours
passes a limit, leaks a machine or breaks an invariant in any run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.policies.contest import OURS, POLICIES, contest  # noqa: E402
from bench.policies.judge import Score  # noqa: E402
from bench.policies.scenarios import SCENARIOS  # noqa: E402
from bench.policies.tables import Total, markdown, plain, row  # noqa: E402

SEEDS = 20

README = ROOT / "README.md"
BEGIN, END = "<!-- enforcement:begin -->", "<!-- enforcement:end -->"

Results = dict[str, dict[str, list[Score]]]
"""Scenario, policy, the score of every seed."""


def measure(scenarios: list[str], seeds: int, processes: int) -> Results:
    """Every scenario with seeds 1 to ``seeds``; the same whatever the number of processes."""
    work = [(name, seed) for name in scenarios for seed in range(1, seeds + 1)]
    found: Results = {name: {policy: [] for policy in POLICIES} for name in scenarios}
    with ProcessPoolExecutor(processes) as pool:
        scored = pool.map(contest, *zip(*work, strict=True), chunksize=2)
        for done, ((name, _), scores) in enumerate(zip(work, scored, strict=True), start=1):
            for policy, score in scores.items():
                found[name][policy].append(score)
            if sys.stderr.isatty():
                print(f"\r{done} of {len(work)}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return found


def totals(results: Results) -> dict[str, Total]:
    """Every policy over all scenarios."""
    return {policy: Total.of(score for scores in results.values() for score in scores[policy]) for policy in POLICIES}


def rows_of(found: dict[str, Total]) -> list[tuple[str, ...]]:
    return [row(policy, total) for policy, total in found.items()]


def failures(results: Results) -> list[str]:
    """Every run in which ours did what it must never do."""
    return [
        f"{policy}, {name}, seed {seed}: overshoot {score.overshoot} nanos, leaked {score.leaked} microseconds"
        f"{''.join(f', {each}' for each in score.broken)}"
        for name, scores in results.items()
        for policy in OURS
        for seed, score in enumerate(scores[policy], start=1)
        if score.overshoot or score.leaked or score.broken
    ]


def write(table: str, seeds: int) -> None:
    """Put the table between its marks in the README."""
    text = README.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{README.name} has no {BEGIN} and {END}")
    runs = len(SCENARIOS) * seeds
    told = f"{len(SCENARIOS)} scenarios with {seeds} seeds each, {runs} runs of every policy:"
    README.write_text(f"{before}{begin}\n{told}\n\n{table}\n{end}{after}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench enforcement", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help=f"seeds per scenario ({SEEDS})")
    parser.add_argument("--scenario", action="append", choices=tuple(SCENARIOS), help="only this one; may be repeated")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--by-scenario", action="store_true", help="a table for every scenario as well")
    parser.add_argument("--json", action="store_true", help="everything, with exact amounts, and nothing else")
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    options = parser.parse_args()
    if options.seeds < 1 or options.processes < 1:
        parser.error("--seeds and --processes need a number above zero")
    if options.write and options.scenario:
        parser.error("--write needs all scenarios")

    scenarios = options.scenario or list(SCENARIOS)
    results = measure(scenarios, options.seeds, options.processes)
    found, failed = totals(results), failures(results)
    if options.json:
        document = {
            "seeds": options.seeds,
            "total": {policy: total.document() for policy, total in found.items()},
            "scenarios": {
                name: {policy: Total.of(each).document() for policy, each in scores.items()}
                for name, scores in results.items()
            },
        }
        print(json.dumps(document, indent=2))
    else:
        if options.by_scenario:
            for name, scores in results.items():
                print(f"{name}: {SCENARIOS[name].why}\n")
                print(plain(rows_of({policy: Total.of(each) for policy, each in scores.items()})) + "\n")
        print(f"{len(scenarios)} scenarios, {options.seeds} seeds each, Python {platform.python_version()}\n")
        print(plain(rows_of(found)))
        print(_KEY)
    if options.write:
        write(markdown(rows_of(found)), options.seeds)
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


_KEY = """
over       runs in which true spend passed a limit
mean, most by how much, in the mean run and in the worst
leaked     machine-hours that no unfinished job wanted, in the mean run
done       jobs finished, of those asked for
false no   jobs refused although the money was there, of those asked for
wasted     money that finished nothing, of what was spent
est. error distance between expected and true cost of a finished job
The goal: nothing but zeros for ours in the first four columns."""


if __name__ == "__main__":
    sys.exit(main())
