"""Estimate the volume of the six-dimensional unit ball with as many samples as the money allows.

    python3 volume.py [SAMPLES]      SAMPLES wanted: $VOLUME_SAMPLES, else 20,000,000

The job reads $TALLYGATE_BUDGET_FILE, measures its own speed, works out what the wanted samples would cost, and does only
so many that it ends before it would be stopped. A smaller budget gives a wider error bar and still a result. By hand,
without a budget file, it pretends to have money for five seconds.
"""

import json
import os
import sys
import time
from decimal import Decimal
from math import sqrt
from pathlib import Path
from random import Random

DIMENSIONS = 6
BATCH = 20_000
KEEP_SECONDS = 2.0  # for writing the result, and because a busy machine is late with everything
BY_HAND_SECONDS = 5


def budget(by_hand_until):
    """Seconds that money and deadline still allow, and the exact amounts behind them (None by hand)."""
    path = os.environ.get("TALLYGATE_BUDGET_FILE")
    if not path:
        return max(0.0, by_hand_until - time.monotonic()), None
    told = json.loads(Path(path).read_text(encoding="utf-8"), parse_float=Decimal)
    age = time.time() - told["as_of_epoch"] if told["as_of_epoch"] else 0.0
    return max(0.0, told["seconds_left"] - age), told


def cost(told, seconds):
    """What so many seconds of this machine cost, for people."""
    amount = Decimal(told["price_per_hour"]) * Decimal(seconds) / 3600
    return f"{amount:.6f} {told['currency']}"


def sample(random, count):
    """How many of ``count`` random points of the cube around the ball lie inside it."""
    draw = random.random
    return sum(sum((2 * draw() - 1) ** 2 for _ in range(DIMENSIONS)) < 1.0 for _ in range(count))


def main():
    wanted = int(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("VOLUME_SAMPLES", "20000000"))
    by_hand_until = time.monotonic() + BY_HAND_SECONDS
    random = Random(6)

    done = min(BATCH, wanted)
    began = time.monotonic()
    inside = sample(random, done)
    speed = done / (time.monotonic() - began)

    seconds, told = budget(by_hand_until)
    planned = max(done, min(wanted, int(speed * (seconds - KEEP_SECONDS))))
    print(f"{speed:,.0f} samples a second: all {wanted:,} would take {wanted / speed:,.1f} s", end="")
    print("" if told is None else f" and cost {cost(told, wanted / speed)}")
    print(f"left: {seconds:,.1f} s" + ("" if told is None else f", {told['remaining']} {told['currency']}"))
    print(f"doing {planned:,} samples" + (" of them" if planned < wanted else ""), flush=True)

    while done < planned:
        # The machine may have become slower: ask again, and stop while there is time to write the result.
        seconds, _ = budget(by_hand_until)
        if seconds < KEEP_SECONDS:
            print(f"stopping early: {seconds:,.1f} s are left", flush=True)
            break
        batch = min(BATCH, planned - done)
        inside += sample(random, batch)
        done += batch

    share = inside / done
    found = {
        "volume": 2**DIMENSIONS * share,
        "error_bar": 2**DIMENSIONS * sqrt(share * (1 - share) / done),
        "samples": done,
        "wanted": wanted,
    }
    folder = Path(os.environ.get("TALLYGATE_OUTPUT_DIR", "outputs"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(f"volume = {found['volume']:.4f} +- {found['error_bar']:.4f} from {done:,} of {wanted:,} samples")


if __name__ == "__main__":
    main()
