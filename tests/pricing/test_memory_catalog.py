"""The catalogue in memory, which refreshes are tried with, keeps what a catalogue promises."""

from __future__ import annotations

import pytest

from tallygate.pricing.refresh import CatalogWriter

from .markets import MemoryCatalog
from .writers_contract import CatalogWriterContract


class TestMemoryCatalogKeepsTheContract(CatalogWriterContract):
    """The one that tests use."""

    @pytest.fixture
    def writer(self) -> CatalogWriter:
        return MemoryCatalog()
