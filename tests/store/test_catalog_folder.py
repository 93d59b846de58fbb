"""The catalogue of a folder keeps what a refresh relies on, and loses no shipped reference price to the first refresh."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallygate.pricing.source import Sheet
from tallygate.store.catalog_folder import CatalogFolder
from tallygate.store.catalog_writer import write

from ..conftest import ManualClock
from ..pricing.writers_contract import START, CatalogWriterContract, sheet


@pytest.fixture
def folder(tmp_path: Path, clock: ManualClock) -> CatalogFolder:
    return CatalogFolder(tmp_path / "prices", clock)


class TestCatalogFolderKeepsTheContract(CatalogWriterContract):
    """What a refresh relies on."""

    @pytest.fixture
    def writer(self, folder: CatalogFolder) -> CatalogFolder:
        return folder


def test_the_first_version_takes_over_the_shipped_prices_of_every_other_market(folder: CatalogFolder) -> None:
    shipped = folder.parts()
    references = folder.reference_offers()
    assert sum(references.values()) == sum(part.offers for part in shipped) > 1_000
    folder.publish([sheet(START, "0.31")])
    others = [part for part in shipped if (part.provider, part.region) != ("aws", "us-east-1")]
    assert [part for part in folder.parts() if (part.provider, part.region) != ("aws", "us-east-1")] == others
    assert ("aws", "us-east-1") not in folder.reference_offers()


def test_two_first_writers_keep_what_each_has_published(
    folder: CatalogFolder, tmp_path: Path, clock: ManualClock
) -> None:
    """The second begins while the first is writing; it must not take shipped prices for those of the first."""
    second = threading.Thread(target=folder.publish, args=([sheet(START, "0.4", provider="gcp", region="us-east1")],))

    def while_writing() -> Iterator[Sheet]:
        second.start()
        time.sleep(0.5)  # the second waits for its turn now; if it is late, there is nothing to see
        yield sheet(START, "0.31")

    write(tmp_path / "prices", while_writing(), made_at=clock.now())
    second.join()
    assert folder.sheets("aws") == [sheet(START, "0.31")]
    assert sheet(START, "0.4", provider="gcp", region="us-east1") in folder.sheets("gcp")


def test_sheets_come_out_as_they_went_in(folder: CatalogFolder) -> None:
    given = sheet(START, "0.31", "0.32", provider="sim", region="here-1")
    folder.publish([given])
    assert folder.sheets("sim") == [given]
