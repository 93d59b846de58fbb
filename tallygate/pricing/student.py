"""Student's distribution: how far off the next value may be when few were seen, or the bell curve when many were."""

from __future__ import annotations

from bisect import bisect_left
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate, pairwise

_STEPS = 400

MANY = 400
"""With so many degrees of freedom it is the bell curve to three digits."""


def student(share: Decimal, freedom: int) -> Decimal:
    """The quantile of Student's distribution with ``freedom`` degrees of freedom, to about four digits."""
    nodes, sums = _half_student(freedom)
    wanted = abs(2 * share - 1) * sums[-1]
    place = min(max(bisect_left(sums, wanted), 1), len(sums) - 1)
    step = (wanted - sums[place - 1]) / (sums[place] - sums[place - 1])
    s = min(nodes[place - 1] + (nodes[place] - nodes[place - 1]) * step, Decimal("0.999999"))
    found = s / (1 - s)
    return found if share >= Decimal("0.5") else -found


@lru_cache(maxsize=32)
def _half_student(freedom: int) -> tuple[list[Decimal], list[Decimal]]:
    """Half of Student's distribution, summed up over ``t = s / (1 - s)``, which bends the long tail into 0 to 1."""

    def density(s: Decimal) -> Decimal:
        base = (1 - s) ** 2 + s**2 / freedom
        power = base ** ((freedom + 1) // 2) if freedom % 2 else base ** (freedom // 2) * base.sqrt()
        return (1 - s) ** (freedom - 1) / power if freedom > 1 else 1 / power

    nodes = [Decimal(i) / _STEPS for i in range(_STEPS + 1)]
    heights = [density(s) for s in nodes]
    middles = [density((a + b) / 2) for a, b in pairwise(nodes)]
    areas = [(a + 4 * m + b) / (6 * _STEPS) for (a, b), m in zip(pairwise(heights), middles, strict=True)]
    return nodes, list(accumulate(areas, initial=Decimal(0)))
