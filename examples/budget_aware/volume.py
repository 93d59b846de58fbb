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
USE_SHARE = 0.8  # of what is left; the rest is for what a plan cannot know
BY_HAND_SECONDS = 5


def budget(by_hand_until):
    """Seconds that money and deadline still allow, and the exact amounts behind them (None by hand)."""
    path = os.environ.get("TALLYGATE_BUDGET_FILE")
    if not path:
        return max(0.0, by_hand_until - time.monotonic()), None
    told = json.loads(Path(path).read_text(encoding="utf-8"), parse_float=Decimal)
    return float(told["seconds_left"]), told


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
    planned = max(done, min(wanted, int(speed * seconds * USE_SHARE)))
    print(
        f"{speed:,.0f} samples a second; {wanted:,} would take {wanted / speed:,.1f} s, and {seconds:,.1f} s are left"
    )
    if told is not None:
        print(
            f"{wanted:,} samples would cost {cost(told, wanted / speed)}; {told['remaining']} {told['currency']} are left"
        )
    print(f"doing {planned:,} samples" + (" of them" if planned < wanted else ""), flush=True)

    while done < planned:
        # The machine may be slower than a moment ago: ask again, and stop while there is time to write the result.
        seconds, _ = budget(by_hand_until)
        if seconds * speed < 2 * BATCH:
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
