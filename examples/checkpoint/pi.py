"""Estimate pi by throwing points at a square; survive being stopped, and resume exactly where the work stood.

    python3 pi.py [POINTS]           POINTS defaults to $PI_POINTS, else 20,000,000

The state (points thrown, hits, the random generator itself) goes to $TALLYGATE_CHECKPOINT_DIR every second and when
the signal TERM asks to stop. A run that was interrupted any number of times ends with the very digits of a run that was
not. The result goes to $TALLYGATE_OUTPUT_DIR. By hand, the folders are ./checkpoints and ./outputs.
"""

import json
import os
import signal
import sys
import time
from math import sqrt
from pathlib import Path
from random import Random

BATCH = 50_000
SAVE_SECONDS = 1.0
STOPPED = 128 + signal.SIGTERM


def folder(variable, default):
    path = Path(os.environ.get(variable, default))
    path.mkdir(parents=True, exist_ok=True)
    return path


def save(path, state):
    """All of the state or none of it: written beside, flushed to the disk, then renamed over the old one."""
    beside = path.with_suffix(".new")
    with beside.open("w", encoding="utf-8") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def load(path, seed):
    if not path.exists():
        return {"points": 0, "hits": 0, "starts": 0, "generator": Random(seed).getstate()}
    return json.loads(path.read_text(encoding="utf-8"))


def generator_of(state):
    version, numbers, rest = state["generator"]
    random = Random()
    random.setstate((version, tuple(numbers), rest))
    return random


def throw(random, points):
    """How many of ``points`` random points in the unit square lie inside the quarter circle."""
    draw = random.random
    return sum(draw() ** 2 + draw() ** 2 < 1.0 for _ in range(points))


def main():
    wanted = int(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PI_POINTS", "20000000"))
    asked_to_stop = []
    signal.signal(signal.SIGTERM, lambda *_: asked_to_stop.append(True))

    checkpoint = folder("TALLYGATE_CHECKPOINT_DIR", "checkpoints") / "state.json"
    outputs = folder("TALLYGATE_OUTPUT_DIR", "outputs")

    state = load(checkpoint, seed=1)
    state["starts"] += 1
    random = generator_of(state)
    if state["points"]:
        print(f"resuming at {state['points']:,} of {wanted:,} points", flush=True)

    saved_at = time.monotonic()
    while state["points"] < wanted and not asked_to_stop:
        batch = min(BATCH, wanted - state["points"])
        state["hits"] += throw(random, batch)
        state["points"] += batch
        state["generator"] = random.getstate()
        if time.monotonic() - saved_at >= SAVE_SECONDS:
            save(checkpoint, state)
            saved_at = time.monotonic()
            print(f"{state['points'] * 100 // wanted:3d} %   checkpoint at {state['points']:,} points", flush=True)
    save(checkpoint, state)

    if state["points"] < wanted:
        print(f"asked to stop: checkpoint at {state['points']:,} of {wanted:,} points", flush=True)
        sys.exit(STOPPED)

    share = state["hits"] / state["points"]
    found = {
        "pi": 4 * share,
        "error_bar": 4 * sqrt(share * (1 - share) / state["points"]),
        "points": state["points"],
        "starts": state["starts"],
    }
    (outputs / "result.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(f"pi = {found['pi']:.5f} +- {found['error_bar']:.5f} ({found['points']:,} points, {found['starts']} starts)")


if __name__ == "__main__":
    main()
