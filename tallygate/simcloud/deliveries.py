"""From the truth to the lines of a bill, and what happens to each line before it is final.

    meter --cut at the hour--> Line --fate--> not yet | wrong | doubled | in pieces | without tags | right

A line's fate is drawn once, from a stream of its own, so that what a bill shows depends on when it is asked and on nothing
else. After ``final_hours`` of its cloud a line is right, alone, and stays so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from .chance import Stream
from .timeline import HOUR
from .truth import Meter, rounded


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How badly a bill is delivered; chances out of a million, for each line.

    ``late``: it comes long after its cloud's usual delay. ``wrong``: its first amount is off by up to ``wrong_percent`` and
    is restated later. ``corrected``: of those, the wrong line stays and another one with the difference joins it.
    ``doubled``: it is there twice for a while. ``split``: it comes in pieces. ``untagged``: its tags are missing, half of
    the time for good. ``unnamed``: its resource is missing for good.
    """

    late: int = 100_000
    wrong: int = 120_000
    wrong_percent: int = 40
    corrected: int = 300_000
    doubled: int = 30_000
    split: int = 120_000
    untagged: int = 80_000
    unnamed: int = 20_000


PUNCTUAL = Habits(late=0, wrong=0, doubled=0, split=0, untagged=0, unnamed=0)
"""Late by the cloud's usual delay, and otherwise faultless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What a meter came to between two instants, in nanos of the bill's currency: the truth, before it is written down."""

    meter: Meter
    start: int
    end: int
    nanos: int
    list_nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What a line goes through. Instants are the world's microseconds; ``pieces`` are weights."""

    first_at: int
    settled_at: int
    wrong_by: int
    corrected: bool
    doubled: bool
    pieces: tuple[int, ...]
    tagged_at: int | None
    unnamed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A line as a bill shows it at some moment; ``correction`` is one that joins a line to set it right.

    ``part`` of ``parts``: which share of the line this is.
    """

    line: Line
    nanos: int
    list_nanos: int
    tagged: bool
    named: bool
    part: int = 1
    parts: int = 1
    correction: bool = False


def cut(meter: Meter, upto: int, step: int) -> Iterator[Line]:
    """The lines of a meter to ``upto``, cut at every whole ``step``. They add up to exactly what it reads there.

    A line costs what the meter stood at when it ended less what it stood at when it began, so that no rounding is lost.
    """
    start, total, total_list, before, before_list = meter.start, 0, 0, 0, 0
    while start < upto:
        end = min(upto, (start // step + 1) * step)
        total += sum(nanos * (until - since) for since, until, nanos in meter.spans(start, end))
        total_list += meter.list_rate * (end - start)
        after, after_list = rounded(total), rounded(total_list)
        yield Line(meter=meter, start=start, end=end, nanos=after - before, list_nanos=after_list - before_list)
        start, before, before_list = end, after, after_list


def fate_of(line: Line, seed: int, habits: Habits) -> Fate:
    """What becomes of a line on its way to being final."""
    dialect = line.meter.dialect
    chance = Stream(seed, f"bill/{line.meter.resource_id}/{line.meter.start}/{line.start}")
    final_at = line.end + dialect.final_hours * HOUR
    low, high = dialect.first_bill_hours
    first_at = line.end + chance.between(low * 60, high * 60) * (HOUR // 60)
    if chance.chance(habits.late):
        first_at = chance.between(first_at, final_at)
    settled_at = chance.between(first_at, final_at)
    wrong_by = chance.between(-habits.wrong_percent, habits.wrong_percent) if chance.chance(habits.wrong) else 0
    corrected = chance.chance(habits.corrected)
    doubled = chance.chance(habits.doubled)
    split = chance.chance(habits.split)
    pieces = tuple(chance.between(1, 9) for _ in range(chance.between(2, 4))) if split else (1,)
    untagged, for_good = chance.chance(habits.untagged), chance.chance(500_000)
    tagged_at = None if untagged and for_good else settled_at if untagged else first_at
    return Fate(
        first_at=first_at,
        settled_at=settled_at,
        wrong_by=wrong_by,
        corrected=corrected,
        doubled=doubled,
        pieces=pieces,
        tagged_at=tagged_at,
        unnamed=chance.chance(habits.unnamed),
    )


def shown(line: Line, fate: Fate, now: int) -> Iterator[Shown]:
    """How a bill shows a line when it is asked at ``now``; nothing while the line is not there yet."""
    if now < fate.first_at:
        return
    settled = now >= fate.settled_at
    wrong = line.nanos * fate.wrong_by // 100
    amount = line.nanos + (wrong if fate.wrong_by and (not settled or fate.corrected) else 0)
    whole = Shown(
        line=line,
        nanos=amount,
        list_nanos=line.list_nanos,
        tagged=fate.tagged_at is not None and now >= fate.tagged_at,
        named=not fate.unnamed,
    )
    yield from _in_pieces(whole, fate.pieces)
    if settled and fate.corrected and wrong:
        yield replace(whole, nanos=-wrong, list_nanos=0, correction=True)
    if fate.doubled and not settled:
        yield whole


def _in_pieces(whole: Shown, weights: tuple[int, ...]) -> Iterator[Shown]:
    if len(weights) == 1:
        yield whole
        return
    parts = sum(weights)
    done, passed = 0, 0
    for weight in weights:
        passed += weight
        upto = whole.nanos * passed // parts
        upto_list = whole.list_nanos * passed // parts
        before_list = whole.list_nanos * (passed - weight) // parts
        yield replace(whole, nanos=upto - done, list_nanos=upto_list - before_list, part=weight, parts=parts)
        done = upto
