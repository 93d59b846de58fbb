"""SQLite keeps the store's contract, and what is SQLite's own."""

from __future__ import annotations

import pytest

from tests.store.contract import DatabaseContract


class TestContract(DatabaseContract):
    @pytest.fixture
    def engine(self) -> str:
        return "sqlite"
