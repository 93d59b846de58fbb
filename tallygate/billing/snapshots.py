"""Snapshots: every delivered bill as a FOCUS file that is never changed again.

    <state directory>/charges/<source>/<YYYY-MM>/v0001.csv.gz

A file is written beside its place, made durable, and moved there in one step inside the transaction that records it, so that
a crash leaves at most a file that no version names and the next delivery writes over.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date
from pathlib import Path

from ..errors import BillingError, Quarantined
from ..ids import Entropy
from ..money import Money
from ..times import Period, text
from . import focus_file
from .charge import CURRENCIES, Charge
from .versions import DayTotal, Version


@dataclass(frozen=True, slots=True)
class Staged:
    """A delivery on disk that no version names yet."""

    source: str
    period: Period
    file: Path
    written: focus_file.Written
    days: tuple[DayTotal, ...]


class Snapshots:
    """The folder of bills of one installation."""

    def __init__(self, folder: Path, entropy: Entropy) -> None:
        self._folder = folder
        self._entropy = entropy

    def stage(self, source: str, period: Period, charges: Iterable[Charge]) -> Staged:
        """Write a delivery to disk, adding it up on the way. Raises ``Quarantined`` for a line that cannot belong to it."""
        place = self._folder / source / f"{period.start.astimezone(UTC):%Y-%m}"
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = place / f".incoming-{self._entropy.bytes(8).hex()}.csv.gz"
        totals: dict[tuple[str, str], list[int]] = {}
        try:
            with open(file, "xb") as target:
                os.chmod(file, 0o600)
                written = focus_file.write(target, _counted(charges, period, totals), compressed=True)
                target.flush()
                os.fsync(target.fileno())
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        return Staged(source, period, file, written, _days(totals))

    def place(self, staged: Staged, number: int) -> str:
        """Put a staged file in its place as version ``number``, in one step. Its path, relative to the folder.

        The staged file stays until it is discarded, because the transaction around this may have to begin again.
        """
        final = staged.file.with_name(f"v{number:04}.csv.gz")
        second = staged.file.with_name(f"{staged.file.name}.{number}")
        second.unlink(missing_ok=True)
        try:
            os.link(staged.file, second)
        except OSError:  # a file system without links
            shutil.copyfile(staged.file, second)
            with open(second, "rb") as copy:
                os.fsync(copy.fileno())
        os.replace(second, final)
        second.unlink(missing_ok=True)  # replacing a file by a link to itself leaves the link
        directory = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return self.path_of(staged, number)

    def path_of(self, staged: Staged, number: int) -> str:
        """Where ``place`` will put it."""
        return (staged.file.parent / f"v{number:04}.csv.gz").relative_to(self._folder).as_posix()

    def discard(self, staged: Staged) -> None:
        """Forget a staged file that turned out to be nothing new. Forgetting it twice is harmless."""
        with contextlib.suppress(FileNotFoundError):
            staged.file.unlink()

    def read_staged(self, staged: Staged) -> Iterator[Charge]:
        return focus_file.read(staged.file)

    def read(self, version: Version) -> Iterator[Charge]:
        """The charges of any version ever kept. Raises ``BillingError`` when its file is gone or was changed."""
        file = self._folder / version.path
        try:
            with open(file, "rb") as kept:
                digest = hashlib.file_digest(kept, "sha256").hexdigest()
        except OSError as error:
            raise BillingError(
                f"The bill {version.path} cannot be read: {error.strerror}",
                cure="Restore the charges directory from a backup",
            ) from error
        if digest != version.file_sha256:
            raise BillingError(
                f"The bill {version.path} is not what was written",
                cure="Restore the charges directory from a backup",
            )
        return focus_file.read(file)


def _counted(charges: Iterable[Charge], period: Period, totals: dict[tuple[str, str], list[int]]) -> Iterator[Charge]:
    for line, charge in enumerate(charges, start=1):
        currency = charge.billed_cost.currency
        if currency not in CURRENCIES:
            raise Quarantined(f"Line {line} is in {currency}, which is not a currency")
        if charge.charge_period.start not in period:
            raise Quarantined(
                f"Line {line} begins at {text(charge.charge_period.start)}, "
                f"outside the period from {text(period.start)} to {text(period.end)}"
            )
        day = charge.charge_period.start.astimezone(UTC).date().isoformat()
        total = totals.setdefault((day, currency), [0, 0])
        total[0] += 1
        total[1] += charge.billed_cost.nanos
        yield charge


def _days(totals: dict[tuple[str, str], list[int]]) -> tuple[DayTotal, ...]:
    return tuple(
        DayTotal(date.fromisoformat(day), lines, Money(nanos, currency))
        for (day, currency), (lines, nanos) in sorted(totals.items())
    )
