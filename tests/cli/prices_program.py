"""The command line over a pretend market, as a program of its own: ``prices_program.py FOLDER [SLOW-REGION] -- ARGUMENTS``.

Its catalogue is kept in ``FOLDER/catalog.pickle``, so that one run finds what another has published. In SLOW-REGION a read says
so in a file ``FOLDER/reached`` and then hangs for a minute.
"""

from __future__ import annotations

import pickle
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tallygate.cli import prices, shell
from tallygate.cli.program import program
from tallygate.errors import Unavailable
from tallygate.pricing.catalog import Version
from tallygate.pricing.source import Sheet
from tests.pricing.markets import Between, MemoryCatalog, Stall


def unreachable(address: str) -> bytes:
    """There is no network here."""
    raise Unavailable(f"{address} cannot be reached")


class KeptCatalog(MemoryCatalog):
    """A catalogue that the next process finds again."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        if file.exists():
            self.by_market = pickle.loads(file.read_bytes())

    def publish(self, sheets: Sequence[Sheet]) -> Version:
        found = super().publish(sheets)
        beside = self._file.with_suffix(".next")
        beside.write_bytes(pickle.dumps(self.by_market))
        beside.replace(self._file)
        return found


def tools_in(folder: Path, *, slow: str | None = None, at: datetime | None = None) -> prices.Tools:
    """A market of two pretend clouds that began a month ago, at this very moment unless told otherwise."""

    def hang(region: str) -> None:
        if region == slow:
            (folder / "reached").touch()
            time.sleep(60)

    now = datetime.now(UTC) if at is None else at
    start = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=30)
    stall = Stall(3, start=start)
    stall.timeline.run_until(now)
    return prices.Tools(
        sources=lambda: [Between(stall.source(dialect), before=hang) for dialect in ("aws", "gcp")],
        catalog=KeptCatalog(folder / "catalog.pickle"),
        fetch=unreachable,
        clock=stall.clock,
    )


def main(arguments: list[str]) -> int:
    split = arguments.index("--")
    folder, slow = Path(arguments[0]), arguments[1] if split > 1 else None
    prices.tools = lambda settings: tools_in(folder, slow=slow)
    return shell.run(lambda: program("tallygate.cli.umbrella:MENU"), "tallygate", ["prices", *arguments[split + 1 :]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
