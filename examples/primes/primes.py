"""Count the primes and the prime twins below a bound, piece by piece, and write what was found to result.json.

    python3 primes.py [BOUND]        BOUND defaults to $PRIMES_BELOW, else 30,000,000

The result goes to $TALLYGATE_OUTPUT_DIR, or to ./outputs when this is run by hand.
"""

import json
import os
import sys
from math import isqrt, log
from pathlib import Path

PIECE = 1 << 20


def small_primes(bound):
    """All primes up to and including ``bound``, by the sieve of Eratosthenes."""
    sieve = bytearray([1]) * (bound + 1)
    sieve[:2] = b"\0\0"[: bound + 1]
    for number in range(2, isqrt(bound) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, bound + 1, number)))
    return [number for number in range(2, bound + 1) if sieve[number]]


def primes_between(low, high, divisors):
    """The primes in ``low <= n < high``; ``divisors`` are all primes up to the root of ``high``."""
    sieve = bytearray([1]) * (high - low)
    for divisor in divisors:
        if divisor * divisor >= high:
            break
        first = max(divisor * divisor, -(-low // divisor) * divisor)
        sieve[first - low :: divisor] = bytes(len(range(first, high, divisor)))
    place = sieve.find(1)
    while place != -1:
        yield low + place
        place = sieve.find(1, place + 1)


def survey(bound, say):
    """Count primes, twins and the widest gap below ``bound``."""
    divisors = small_primes(isqrt(max(bound, 4)) + 1)
    count = twins = widest = 0
    last = None
    told = 0
    for low in range(2, bound, PIECE):
        high = min(low + PIECE, bound)
        for prime in primes_between(low, high, divisors):
            if last is not None:
                twins += prime - last == 2
                widest = max(widest, prime - last)
            last = prime
            count += 1
        if high * 10 // bound > told:
            told = high * 10 // bound
            say(f"{told * 10:3d} %   {count:,} primes below {high:,}")
    return {"below": bound, "primes": count, "twins": twins, "widest_gap": widest, "largest": last}


def main():
    bound = int(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PRIMES_BELOW", "30000000"))
    if bound < 3:
        sys.exit(f"primes: the bound must be at least 3, not {bound}")
    found = survey(bound, lambda line: print(line, flush=True))

    folder = Path(os.environ.get("TALLYGATE_OUTPUT_DIR", "outputs"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(f"{found['primes']:,} primes, {found['twins']:,} twins; x / ln x would have said {bound / log(bound):,.0f}")


if __name__ == "__main__":
    main()
