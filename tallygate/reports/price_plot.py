"""A price over time, drawn with characters: a step line, as wide as the terminal and no wider.

    $0.3400 ⣀⣀⣀⡀        ⢰⠒⠒⠒⠒⠒
            ⠀⠀⠀⡇        ⢸          a gap is time in which nothing is known
    $0.3100 ⠀⠀⠀⠧⠤⠤⠤     ⠸

One character holds 2 by 4 dots of braille, or one mark where the terminal cannot show those. Within the time of one column the
line reaches from the lowest to the highest price, so that no spike is too short to be seen. Everything is whole numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from ..money import Money
from ..pricing.history import Path
from ..times import Period
from .render import amount

WIDTH_MIN = 30
PATHS_MAX = 12
"""More lines than this nobody compares; the table names all of them."""

_BRAILLE = 0x2800
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class _Grid:
    """How many dots a drawing has each way, and what they stand for."""

    columns: int
    rows: int
    low: int
    high: int

    def row(self, nanos: int) -> int:
        """The row of a price; 0 is the top."""
        if self.high == self.low:
            return self.rows // 2
        steps = self.rows - 1
        span = self.high - self.low
        return steps - ((nanos - self.low) * steps * 2 + span) // (span * 2)


@dataclass(frozen=True, slots=True)
class _Column:
    """What happened within one column's time; ``enters`` and ``leaves`` are None where the price is unknown there."""

    low: int
    high: int
    enters: int | None
    leaves: int | None


def braille_fits(encoding: str | None) -> bool:
    """Whether a stream of that encoding can show braille dots."""
    try:
        chr(_BRAILLE + 0xFF).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def plot(paths: Sequence[Path], *, width: int, braille: bool) -> list[str]:
    """The lines of a drawing at most ``width`` characters wide: one path large, several as small rows with one scale.

    Empty when nothing is known of any of them. Of more than ``PATHS_MAX`` the first are drawn.
    """
    drawn = [path for path in paths if path.last is not None][:PATHS_MAX]
    if not drawn:
        return []
    prices = [span.price for path in drawn for span in path.spans if span.price is not None]
    low, high = min(prices), max(prices)
    labels = _labels(low, high)
    room = max(width, WIDTH_MIN) - len(labels[0]) - 1
    lines: list[str] = []
    height = 8 if len(drawn) == 1 else 3
    for path in drawn:
        if len(drawn) > 1:
            lines.append(f"{' ' * len(labels[0])} {path.pool}"[:width])
        field = _draw(path, room, height, low.nanos, high.nanos, braille=braille)
        for number, line in enumerate(field):
            label = labels[0] if number == 0 else labels[1] if number == height - 1 else " " * len(labels[0])
            lines.append(f"{label} {line}".rstrip())
    lines.append(_axis(drawn[0].window, len(labels[0]) + 1, room))
    return lines


def _labels(low: Money, high: Money) -> tuple[str, str]:
    """The scale's two ends, equally wide; the lower one is empty when there is but one price."""
    top, bottom = amount(high), amount(low) if low != high else ""
    wide = max(len(top), len(bottom))
    return top.rjust(wide), bottom.rjust(wide)


def _axis(window: Period, indent: int, room: int) -> str:
    start, end = (f"{moment:%Y-%m-%d %H:%M}Z" for moment in (window.start, window.end))
    if len(start) + len(end) + 2 > room:
        start, end = (f"{moment:%m-%d}" for moment in (window.start, window.end))
    return " " * indent + start + " " * max(1, room - len(start) - len(end)) + end


def _draw(path: Path, width: int, height: int, low: int, high: int, *, braille: bool) -> list[str]:
    across, down = (2, 4) if braille else (1, 1)
    grid = _Grid(width * across, height * down, low, high)
    columns = _columns(path, grid.columns)
    cells = [[0] * width for _ in range(height)]
    marks = [[" "] * width for _ in range(height)]
    former: int | None = None
    for x, column in enumerate(columns):
        if column is None:
            former = None
            continue
        top, bottom = grid.row(column.high), grid.row(column.low)
        if former is not None and column.enters is not None:  # a step from one column to the next is upright
            top, bottom = min(top, former), max(bottom, former)
        for y in range(top, bottom + 1):
            cells[y // down][x // across] |= _DOTS[x % 2][y % 4]
            marks[y // down][x // across] = "-" if top == bottom else "|"
        former = None if column.leaves is None else grid.row(column.leaves)
    if braille:
        return ["".join(chr(_BRAILLE + cell) if cell else " " for cell in row) for row in cells]
    return ["".join(row) for row in marks]


def _columns(path: Path, count: int) -> list[_Column | None]:
    """What happened in each of ``count`` equal parts of the window; None where nothing is known."""
    start = path.window.start
    whole = (path.window.end - start) // _MICROSECOND
    spans = [
        ((span.start - start) // _MICROSECOND, (span.end - start) // _MICROSECOND, span.price) for span in path.spans
    ]
    found: list[_Column | None] = []
    place = 0
    for x in range(count):
        begins, ends = whole * x // count, whole * (x + 1) // count
        while place < len(spans) and spans[place][1] <= begins:
            place += 1
        inside = []
        for since, _, price in spans[place:]:
            if since >= ends:
                break
            inside.append(None if price is None else price.nanos)
        known = [nanos for nanos in inside if nanos is not None]
        found.append(_Column(min(known), max(known), inside[0], inside[-1]) if known else None)
    return found
