"""Whether quotes keep what they promise: quoted beforehand, then run in the simulated market, job by job.

Every job has a history of finished runs, a pool of the simulated market with its past prices, and a band of
interruption rates. It is quoted; then it runs in the world's truth: boots, works, is taken back as often as the world
has it, boots again, and pays the price of every moment. Nine of ten finished jobs must end up within the quoted range:
87 to 93 %.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tallygate.money import Money  # noqa: E402
from tallygate.pricing.estimate import Policy, estimate  # noqa: E402
from tallygate.pricing.finish import usual  # noqa: E402
from tallygate.pricing.interruptions import Band  # noqa: E402
from tallygate.pricing.offers import Offer, PurchaseOption  # noqa: E402
from tallygate.pricing.paths import ObservedPrices  # noqa: E402
from tallygate.pricing.quote import Circumstances, Quote, quote  # noqa: E402
from tallygate.pricing.runtimes import History, Run, from_history  # noqa: E402
from tallygate.simcloud.chance import MILLION, Stream  # noqa: E402
from tallygate.simcloud.dialects import DIALECTS, Dialect  # noqa: E402
from tallygate.simcloud.market import Market, Pool  # noqa: E402
from tallygate.simcloud.timeline import DAY, HOUR, SECOND, Timeline, instant  # noqa: E402
from tallygate.times import HOURS_PER_MONTH  # noqa: E402

WITHIN = (87.0, 93.0)
HISTORY_DAYS = 30

BANDS = {
    "aws": [Band(low=Decimal(low), high=Decimal(high), hours=HOURS_PER_MONTH)
            for low, high in (("0", "0.05"), ("0.05", "0.10"), ("0.10", "0.15"), ("0.15", "0.20"))],
    "gcp": [Band(low=Decimal(share), high=Decimal(share), hours=24) for share in ("0.02", "0.10", "0.30")],
    "azure": [Band(low=Decimal(low), high=Decimal(high), hours=1)
              for low, high in (("0", "0.05"), ("0.05", "0.10"), ("0.10", "0.15"), ("0.15", "0.20"))],
}  # fmt: skip
"""As the clouds publish them: shares of a month, of a day, of an hour."""


@dataclass(frozen=True)
class Outcome:
    """A job, quoted and then run. ``cost`` is None when it did not finish within its bounds."""

    groups: tuple[str, ...]
    quote: Quote
    cost: Money | None

    @property
    def inside(self) -> bool:
        return self.cost is not None and self.quote.low <= self.cost <= self.quote.high

    @property
    def below(self) -> bool:
        return self.cost is not None and self.cost < self.quote.low


# --- what jobs truly take


def steady(chance: Stream) -> Callable[[], int]:
    """Run times that scatter by some percent around a middle."""
    return _bell(chance, chance.between(5, 15) / 100)


def scattered(chance: Stream) -> Callable[[], int]:
    """Run times that scatter by half."""
    return _bell(chance, chance.between(30, 60) / 100)


def even(chance: Stream) -> Callable[[], int]:
    """Anything between two bounds, equally likely."""
    low = chance.spread(600, 8 * 3600)
    high = low * chance.between(110, 300) // 100
    return lambda: chance.between(low, high)


def two_kinds(chance: Stream) -> Callable[[], int]:
    """Two sizes of input: mostly the small one, and the large one takes two to four times as long."""
    small, factor = _bell(chance, 0.08), chance.between(200, 400)
    return lambda: small() * (factor if chance.chance(300_000) else 100) // 100


def _bell(chance: Stream, width: float) -> Callable[[], int]:
    middle = chance.spread(600, 8 * 3600)

    def drawn() -> int:
        bell = sum(chance.below(MILLION) for _ in range(12)) / MILLION - 6
        return max(30, round(middle * math.exp(width * bell)))

    return drawn


KINDS = (steady, scattered, even, two_kinds)


# --- the world's truth


@dataclass
class World:
    """What a job meets. ``per_hour`` is how often the cloud truly takes such machines back."""

    chance: Stream
    dialect: Dialect
    pool: Pool
    per_hour: float
    checkpoint: int | None

    def run(self, at: int, work: int, *, ceiling: int) -> tuple[int, int, int, int]:
        """Run ``work`` seconds from an instant: what its machines cost in nanos, their seconds, the last one's, and how many."""
        nanos = total = attempts = saved = life = 0
        while attempts < 500:
            at = self._affordable(at, ceiling)
            attempts += 1
            boot = self.chance.between(*self.dialect.boot) * SECOND
            finished = at + boot + (work - saved) * SECOND
            taken = min(self._taken(at), self.pool.first_above(ceiling, at, finished) or finished)
            end = min(finished, taken)
            gone = end + self.chance.between(*self.dialect.end_lag) * SECOND
            life = (gone - at) // SECOND
            nanos += sum(
                (upto - since) // SECOND * min(price, ceiling) for since, upto, price in self.pool.steps(at, gone)
            )
            total += life
            if end == finished:
                break
            if self.checkpoint:
                done = saved + max(0, end - at - boot) // SECOND
                saved = max(saved, done // self.checkpoint * self.checkpoint)
            at = gone + self.chance.between(30, 300) * SECOND
        return nanos // 3600, total, life, attempts

    def _taken(self, at: int) -> int:
        if not self.per_hour:
            return at + 10**18
        share = (self.chance.below(MILLION) + 1) / (MILLION + 1)
        return at + int(-math.log(share) / self.per_hour * 3600) * SECOND

    def _affordable(self, at: int, ceiling: int) -> int:
        """The next instant at which a machine can be had below the ceiling."""
        while self.pool.price_at(at) > ceiling:
            _, at, _ = next(iter(self.pool.steps(at, at + 30 * DAY)))
        return at


def one_job(seed: int) -> Outcome | None:
    """A job, quoted and run; None when its cheapest pool is above the on-demand price, where nobody would go."""
    timeline = Timeline(seed)
    market, chance = Market(timeline), Stream(seed, "calibration")
    dialect = chance.pick(tuple(DIALECTS.values()))
    kind = chance.pick(KINDS)
    truth = kind(chance)
    count = chance.spread(2, 63)
    at = timeline.start + chance.between(25 * 24, 60 * 24) * HOUR
    _, zones, _ = chance.pick(dialect.regions)
    hardware = chance.pick(dialect.hardware)
    pools = [pool for zone in zones if (pool := market.pool(dialect.name, zone, hardware.instance_type)) is not None]
    pool = min(pools, key=lambda each: each.price_at(at))
    if pool.price_at(at) > pool.on_demand:
        return None
    band = chance.pick(BANDS[dialect.name])
    checkpoint = chance.pick((None, 300, 1800))
    low, high = Band(low=band.low, high=band.low, hours=band.hours), band
    position = chance.below(MILLION) / MILLION
    per_hour = float(low.per_hour) + position * float(high.per_hour - low.per_hour)
    world = World(chance, dialect, pool, per_hour, checkpoint)

    def earlier() -> Run:
        _, total, last, attempts = world.run(
            at - chance.between(48, HISTORY_DAYS * 24) * HOUR, truth(), ceiling=pool.on_demand
        )
        return Run(
            seconds=total,
            last_seconds=last,
            attempts=attempts,
            provider=dialect.name,
            instance_type=hardware.instance_type,
            vcpus=hardware.vcpus,
        )

    history = History(name="job", runs=tuple(earlier() for _ in range(count)))
    since = max(at - HISTORY_DAYS * DAY, timeline.start - 7 * DAY)
    prices = ObservedPrices([(instant(a), Money(nanos)) for a, _, nanos in pool.steps(since, at)], until=instant(at))
    offer = Offer(
        provider=dialect.name,
        region=pool.region,
        zone=pool.zone,
        instance_type=hardware.instance_type,
        purchase_option=PurchaseOption.SPOT,
        vcpus=hardware.vcpus,
        memory_gib=Decimal(hardware.memory_gib),
        hourly_price=Money(pool.price_at(at)),
        on_demand_price=Money(pool.on_demand),
        priced_at=instant(at),
        price_source="the simulated market",
        interruptions=band,
    )
    runtimes = from_history(history, offer, overhead_seconds=usual(dialect.name).seconds, checkpoint_seconds=checkpoint)
    hours = Decimal(min(runtimes.quantile(Decimal("0.9")), 20 * 24 * 3600)) / 3600
    bounded = estimate(offer, dialect.terms, hours=hours, budget=None, policy=Policy(), now=instant(at))
    quoted = quote(
        bounded, dialect.terms, Circumstances(runtimes=runtimes, prices=prices, checkpoint_seconds=checkpoint)
    )
    work = truth()
    machine, seconds, last, _ = world.run(at, work, ceiling=pool.on_demand)
    gib = dialect.terms.disk_gib_default
    beside = (dialect.disk_nanos_hour(gib) + dialect.address_nanos_hour) * seconds // 3600
    cost = Money(machine + beside)
    finished = last <= bounded.run_seconds_max and cost <= bounded.worst_case
    known = "2 to 5 runs" if count <= 5 else "6 to 18 runs" if count <= 18 else "19 runs and more"
    saving = "nothing saved" if checkpoint is None else f"saved every {checkpoint // 60} min"
    return Outcome((dialect.title, kind.__name__.replace("_", " "), known, saving), quoted, cost if finished else None)


# --- what came of it


def table(outcomes: Sequence[Outcome]) -> str:
    lines = [f"{'':22} {'jobs':>6} {'within':>8} {'below':>7} {'above':>7} {'cost/expected':>14}"]
    for name in _names(outcomes):
        lines.append(_line(name, [each for each in outcomes if name in each.groups]))
    lines.append(_line("all", outcomes))
    return "\n".join(lines)


def _names(outcomes: Sequence[Outcome]) -> list[str]:
    """Every group: by cloud, by kind of job, by runs behind it, by how often work is saved."""
    names = sorted({name for outcome in outcomes for name in outcome.groups})
    return sorted(names, key=lambda name: next(o.groups.index(name) for o in outcomes if name in o.groups))


def _line(name: str, outcomes: Sequence[Outcome]) -> str:
    done = [each for each in outcomes if each.cost is not None]
    inside, below = percent(done), 100 * sum(each.below for each in done) / len(done)
    paid = sum(each.cost.nanos for each in done if each.cost is not None)
    ratio = paid / sum(each.quote.expected.nanos for each in done)
    return f"{name:22} {len(done):6} {inside:7.1f}% {below:6.1f}% {100 - inside - below:6.1f}% {ratio:14.3f}"


def percent(outcomes: Iterable[Outcome]) -> float:
    """How many of the finished ones are within their range."""
    done = [each for each in outcomes if each.cost is not None]
    return 100 * sum(each.inside for each in done) / len(done)


# --- the picture

_WIDTH, _HEIGHT, _LEFT, _TOP, _SIDE = 760, 470, 64, 56, 340


def drawing(outcomes: Sequence[Outcome]) -> str:
    """Left: of all jobs quoted with a chance of p, how many stayed within it; on the diagonal is right. Right: group by group."""
    done = [each for each in outcomes if each.cost is not None]
    parts = [_text(_LEFT, 24, "Quotes against what finished jobs cost", size=16, weight="bold")]
    parts.append(
        _text(_LEFT, 42, f"{len(done)} jobs in the simulated market; grey is the 95 % range of chance", size=11)
    )
    parts += _diagonal(done)
    parts += _groups(done)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        f' font-family="Helvetica, Arial, sans-serif"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


def _diagonal(done: Sequence[Outcome]) -> list[str]:
    def x(share: float) -> float:
        return _LEFT + share * _SIDE

    def y(share: float) -> float:
        return _TOP + _SIDE - share * _SIDE

    parts = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(_line_to(x(tick), y(0), x(tick), y(1), "#eee"))
        parts.append(_line_to(x(0), y(tick), x(1), y(tick), "#eee"))
        parts.append(_text(x(tick), y(0) + 16, f"{tick:.0%}", size=10, anchor="middle"))
        parts.append(_text(x(0) - 6, y(tick) + 3, f"{tick:.0%}", size=10, anchor="end"))
    shares = [i / 50 for i in range(51)]
    off = [1.96 * math.sqrt(max(share * (1 - share), 0.0) / len(done)) for share in shares]
    edge = [(x(share), y(min(1, share + each))) for share, each in zip(shares, off, strict=True)]
    edge += [(x(share), y(max(0, share - each))) for share, each in reversed(list(zip(shares, off, strict=True)))]
    parts.append(f'<polygon points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in edge)}" fill="#ddd"/>')
    parts.append(_line_to(x(0), y(0), x(1), y(1), "#888"))
    for share, quoted in _quoted_shares():
        seen = sum(each.cost <= quoted(each.quote) for each in done if each.cost is not None) / len(done)
        parts.append(f'<circle cx="{x(share):.1f}" cy="{y(seen):.1f}" r="4.5" fill="#1f5fa8"/>')
        parts.append(_text(x(share) + 8, y(seen) + 14, f"p{share * 100:.0f}: {seen:.1%}", size=11))
    parts.append(_text(x(0.5), y(0) + 36, "quoted chance of costing no more", size=12, anchor="middle"))
    parts.append(
        f'<text transform="translate({_LEFT - 44} {y(0.5):.1f}) rotate(-90)" font-size="12" text-anchor="middle">'
        "share of jobs that cost no more</text>"
    )
    return parts


def _quoted_shares() -> list[tuple[float, Callable[[Quote], Money]]]:
    return [
        (0.05, lambda quote: quote.low),
        (0.5, lambda quote: quote.p50),
        (0.9, lambda quote: quote.p90),
        (0.95, lambda quote: quote.high),
    ]


def _groups(done: Sequence[Outcome]) -> list[str]:
    left, wide = _LEFT + _SIDE + 150, 160
    low, high = 80.0, 100.0

    def x(value: float) -> float:
        return left + (min(max(value, low), high) - low) / (high - low) * wide

    names = [*_names(done), "all"]
    step = _SIDE / (len(names) + 1)
    parts = [
        f'<rect x="{x(WITHIN[0]):.1f}" y="{_TOP}" width="{x(WITHIN[1]) - x(WITHIN[0]):.1f}" height="{_SIDE}" fill="#e4efe1"/>',
        _line_to(x(90), _TOP, x(90), _TOP + _SIDE, "#6a9a5f"),
    ]
    for row, name in enumerate(names, start=1):
        chosen = [each for each in done if name == "all" or name in each.groups]
        inside, at = percent(chosen), _TOP + row * step
        off = 196 * math.sqrt(0.09 / len(chosen))
        parts.append(_line_to(x(inside - off), at, x(inside + off), at, "#999"))
        parts.append(f'<circle cx="{x(inside):.1f}" cy="{at:.1f}" r="4.5" fill="#1f5fa8"/>')
        parts.append(_text(left - 10, at + 4, f"{name} ({len(chosen)})", size=11, anchor="end"))
    for tick in (80, 85, 90, 95, 100):
        parts.append(_text(x(tick), _TOP + _SIDE + 16, f"{tick}%", size=10, anchor="middle"))
    parts.append(_text(left + wide / 2, _TOP + _SIDE + 36, "within their 90 % range", size=12, anchor="middle"))
    return parts


def _text(x: float, y: float, words: str, *, size: int, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}">{words}</text>'
    )


def _line_to(x: float, y: float, to_x: float, to_y: float, colour: str) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{colour}"/>'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=600, help="how many jobs are quoted and run")
    parser.add_argument("--seed", type=int, default=1, help="the first world's seed")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw how often costs end up where")
    asked = parser.parse_args()
    began = time.perf_counter()
    found = [one_job(seed) for seed in range(asked.seed, asked.seed + asked.jobs)]
    outcomes = [each for each in found if each is not None]
    unfinished = sum(each.cost is None for each in outcomes)
    print(table(outcomes))
    print(f"{unfinished} did not finish within their bounds; {time.perf_counter() - began:.0f} s")
    if asked.plot is not None:
        asked.plot.write_text(drawing(outcomes), encoding="utf-8")
        print(f"drawn in {asked.plot}")
    inside = percent(outcomes)
    low, high = WITHIN
    print(f"The 90 % range held {inside:.1f}% of the finished jobs; wanted are {low:.0f} to {high:.0f}%")
    return 0 if low <= inside <= high else 1


if __name__ == "__main__":
    sys.exit(main())
