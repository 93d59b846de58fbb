"""What every store must do alike: the conformance suite of ``tallygate.store.database.Database``.

An engine's test file inherits ``DatabaseContract`` and says which engine it is.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum, StrEnum
from typing import Any

import pytest

from tallygate.errors import Conflict, StoreBusy, StoreError, StoreReadOnly
from tallygate.store import queries
from tallygate.store.database import Database, open_database
from tallygate.times import instant

LIMIT = 10

QUERIES = """
-- add: a row
INSERT INTO scratch (name, amount_nanos, at, day, flag, note) VALUES (:name, :amount_nanos, :at, :day, :flag, :note);

-- add_and_tell: a row, and its name
INSERT INTO scratch (name, amount_nanos) VALUES (:name, 1) RETURNING name;

-- get: a row
SELECT * FROM scratch WHERE name = :name;

-- names: every name
SELECT name FROM scratch ORDER BY name;

-- total: the sum
SELECT sum(amount_nanos) AS total FROM scratch;

-- give: a change of one row
UPDATE scratch SET amount_nanos = amount_nanos + :amount WHERE name = :name;

-- take: what still fits, decided by the write
UPDATE scratch SET amount_nanos = amount_nanos - :amount WHERE name = :name AND amount_nanos >= :amount;

-- nonsense: nothing any engine can do
SELECT nothing FROM nowhere;
"""

SEVERAL = """
-- both: two rows or none
INSERT INTO scratch (name, amount_nanos) VALUES (:first, 1);
INSERT INTO scratch (name, amount_nanos) VALUES (:second, 1);
"""

IN_ONE = """
-- both: two rows or none
WITH one AS (INSERT INTO scratch (name, amount_nanos) VALUES (:first, 1))
INSERT INTO scratch (name, amount_nanos) VALUES (:second, 1);
"""

TABLE = """
CREATE TABLE scratch (
    name TEXT NOT NULL PRIMARY KEY, amount_nanos {whole} NOT NULL CHECK (amount_nanos <> 666),
    at {instant}, day {date}, flag INTEGER, note {json}
) {options}
"""
WORDS = {
    "sqlite": {"whole": "INTEGER", "instant": "TEXT", "date": "TEXT", "json": "TEXT", "options": "STRICT"},
    "postgresql": {"whole": "BIGINT", "instant": "TIMESTAMPTZ", "date": "DATE", "json": "JSONB", "options": ""},
}

FORK = multiprocessing.get_context("fork")


class Colour(StrEnum):
    RED = "red"


class Older(str, Enum):  # noqa: UP042  # str() of it is its name
    BLUE = "blue"


def in_processes(count: int, work: Callable[[int], Any]) -> list[Any]:
    """The results of ``work(0)`` to ``work(count - 1)``, each in a process of its own, all at the same time."""
    answers = FORK.Queue()

    def one(number: int) -> None:
        try:
            answers.put(work(number))
        except BaseException as error:
            answers.put(error)
            raise

    processes = [FORK.Process(target=one, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert [error for error in found if isinstance(error, BaseException)] == []
    return found


def row(**changes: object) -> dict[str, object]:
    return {"name": "a", "amount_nanos": 1, "at": None, "day": None, "flag": None, "note": None, **changes}


class DatabaseContract:
    """The promises. ``engine`` is a fixture that the inheriting class overrides."""

    @pytest.fixture(autouse=True)
    def _contract_queries(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ours = queries._load

        def load(engine: str, noun: str) -> dict[str, tuple[str, ...]]:
            if noun == "contract":
                return queries.parse(QUERIES + (SEVERAL if engine == "sqlite" else IN_ONE))
            return ours(engine, noun)

        monkeypatch.setattr(queries, "_load", load)

    @pytest.fixture
    def scratch(self, database: Any, engine: str) -> Database:
        with database.transaction():
            database.define(TABLE.format(**WORDS[engine]))
        return database  # type: ignore[no-any-return]

    # --- writers against each other

    def test_second_writer_cannot_take_the_last_dollar(self, scratch: Database, database_url: str) -> None:
        """Four processes ask for twice what is there; exactly what is there is given."""
        scratch.run("contract.add", **row(amount_nanos=LIMIT))

        def take(_: int) -> int:
            database = open_database(database_url)
            got = sum(database.run("contract.take", name="a", amount=1) for _ in range(LIMIT * 2 // 4))
            database.close()
            return got

        assert sum(in_processes(4, take)) == LIMIT
        assert scratch.all("contract.total") == [{"total": 0}]

    def test_reader_sees_all_of_a_commit_or_none(self, scratch: Database, database_url: str) -> None:
        """While money moves between two rows, every reader finds the same sum."""
        for name in ("a", "b"):
            scratch.run("contract.add", **row(name=name, amount_nanos=1000))

        def work(number: int) -> set[object]:
            database = open_database(database_url)
            seen: set[object] = set()
            for _ in range(100):
                if number == 0:
                    with database.transaction():
                        database.run("contract.give", name="a", amount=-1)
                        database.run("contract.give", name="b", amount=1)
                else:
                    found = database.one("contract.total")
                    seen.add(found and found["total"])
            database.close()
            return seen

        assert set().union(*in_processes(3, work)) == {2000}

    def test_a_writer_that_waits_too_long_is_told_so(self, scratch: Database, database_url: str) -> None:
        scratch.run("contract.add", **row())
        hasty = open_database(database_url, busy_seconds=0.2)
        with scratch.transaction():
            scratch.run("contract.give", name="a", amount=1)
            with pytest.raises(StoreBusy):
                hasty.run("contract.give", name="a", amount=1)
        assert hasty.run("contract.give", name="a", amount=1) == 1
        assert scratch.all("contract.total") == [{"total": 3}]
        hasty.close()

    def test_a_killed_writer_blocks_nobody_and_leaves_nothing(self, scratch: Database, database_url: str) -> None:
        ready = FORK.Event()

        def die_inside() -> None:
            database = open_database(database_url)
            with database.transaction():
                database.run("contract.add", **row(name="half"))
                ready.set()
                time.sleep(60)

        process = FORK.Process(target=die_inside)
        process.start()
        assert ready.wait(30)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join(30)
        scratch.run("contract.add", **row(name="whole"))
        assert scratch.all("contract.names") == [{"name": "whole"}]

    # --- transactions

    def test_rolled_back_block_leaves_nothing(self, scratch: Database) -> None:
        with pytest.raises(ZeroDivisionError), scratch.transaction():
            scratch.run("contract.add", **row())
            raise ZeroDivisionError
        assert scratch.all("contract.names") == []
        assert not scratch.in_transaction

    def test_nesting_is_refused_and_the_outer_block_goes_on(self, scratch: Database) -> None:
        with scratch.transaction():
            scratch.run("contract.add", **row())
            assert scratch.in_transaction
            with pytest.raises(StoreError, match="already open"), scratch.transaction():
                pass
        assert scratch.all("contract.names") == [{"name": "a"}]

    def test_an_error_inside_ends_the_transaction_even_when_it_is_caught(self, scratch: Database) -> None:
        """No engine may commit the half before an error that a caller has swallowed."""
        with pytest.raises(StoreError, match="has failed"), scratch.transaction():
            scratch.run("contract.add", **row())
            with pytest.raises(Conflict):
                scratch.run("contract.add", **row())
        assert scratch.all("contract.names") == []
        with scratch.transaction():
            scratch.run("contract.add", **row())
        assert scratch.all("contract.names") == [{"name": "a"}]

    def test_nothing_runs_after_an_error_inside_a_transaction(self, scratch: Database) -> None:
        with pytest.raises(StoreError), scratch.transaction():
            with pytest.raises(Conflict):
                for _ in range(2):
                    scratch.run("contract.add", **row())
            with pytest.raises(StoreError):
                scratch.all("contract.names")

    def test_run_outside_a_transaction_is_atomic(self, scratch: Database) -> None:
        """Of a query with several parts, all or none happen."""
        with pytest.raises(Conflict):
            scratch.run("contract.both", first="same", second="same")
        assert scratch.all("contract.names") == []
        assert scratch.run("contract.both", first="one", second="two") == 1
        assert scratch.all("contract.names") == [{"name": "one"}, {"name": "two"}]
        assert not scratch.in_transaction

    def test_many_rows_at_once_are_written_all_or_not_at_all(self, scratch: Database) -> None:
        with pytest.raises(Conflict):
            scratch.run_each("contract.add", [row(name="one"), row(name="two"), row(name="one")])
        assert scratch.all("contract.names") == []
        scratch.run_each("contract.add", [row(name=f"{number:03}") for number in range(300)])
        assert [each["name"] for each in scratch.all("contract.names")] == [f"{number:03}" for number in range(300)]
        scratch.run_each("contract.give", [{"name": "000", "amount": 5}, {"name": "001", "amount": 7}])
        before = row()["amount_nanos"]
        assert [scratch.one("contract.get", name=name)["amount_nanos"] - before for name in ("000", "001")] == [5, 7]  # type: ignore[index,operator]
        assert not scratch.in_transaction

    def test_many_rows_are_part_of_the_transaction_around_them(self, scratch: Database) -> None:
        with pytest.raises(ZeroDivisionError), scratch.transaction():
            scratch.run_each("contract.add", [row(name="one"), row(name="two")])
            assert len(scratch.all("contract.names")) == 2
            raise ZeroDivisionError
        assert scratch.all("contract.names") == []
        with pytest.raises(StoreError, match="has failed"), scratch.transaction(), pytest.raises(Conflict):
            scratch.run_each("contract.add", [row(name="one"), row(name="one")])
        assert scratch.all("contract.names") == []

    def test_no_rows_are_nothing_to_do_and_an_inexact_value_among_many_is_refused(self, scratch: Database) -> None:
        scratch.run_each("contract.add", [])
        with pytest.raises(TypeError):
            scratch.run_each("contract.add", [row(name="one"), row(name="two", amount_nanos=0.5)])
        with pytest.raises(KeyError):
            scratch.run_each("contract.unheard_of", [])
        assert scratch.all("contract.names") == []

    def test_run_outside_a_transaction_is_there_after_a_kill(self, scratch: Database, database_url: str) -> None:
        def write_and_die() -> None:
            database = open_database(database_url)
            database.run("contract.add", **row(name="kept"))
            os.kill(os.getpid(), signal.SIGKILL)

        process = FORK.Process(target=write_and_die)
        process.start()
        process.join(30)
        assert process.exitcode == -signal.SIGKILL
        assert scratch.all("contract.names") == [{"name": "kept"}]

    # --- values

    @pytest.mark.parametrize("number", [0, -1, 2**53 + 1, 2**63 - 1, -(2**63)])
    def test_whole_numbers_of_63_bits_come_back_intact(self, scratch: Database, number: int) -> None:
        scratch.run("contract.add", **row(amount_nanos=number))
        found = scratch.one("contract.get", name="a")
        assert found is not None
        assert (found["amount_nanos"], type(found["amount_nanos"])) == (number, int)

    def test_a_sum_is_a_whole_number_or_none(self, scratch: Database) -> None:
        assert scratch.one("contract.total") == {"total": None}
        for name in ("a", "b"):
            scratch.run("contract.add", **row(name=name, amount_nanos=10**17 + 1))
        found = scratch.one("contract.total")
        assert found is not None
        assert (found["total"], type(found["total"])) == (2 * 10**17 + 2, int)

    @pytest.mark.parametrize(
        "at",
        [
            datetime(2026, 3, 1, 12, tzinfo=UTC),
            datetime(2026, 3, 1, 23, 59, 59, 999999, tzinfo=UTC),
            datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(hours=5, minutes=45))),
            datetime(1970, 1, 1, tzinfo=UTC),
            datetime(9999, 1, 1, tzinfo=UTC),
        ],
    )
    def test_instants_come_back_equal(self, scratch: Database, at: datetime) -> None:
        scratch.run("contract.add", **row(at=at))
        found = scratch.one("contract.get", name="a")
        assert found is not None
        assert instant(found["at"]) == at  # type: ignore[arg-type]

    def test_dates_and_json_come_back_as_text(self, scratch: Database) -> None:
        scratch.run("contract.add", **row(day=date(2026, 2, 28), note='{"a": 1}'))
        found = scratch.one("contract.get", name="a")
        assert found is not None
        assert (found["day"], found["note"]) == ("2026-02-28", '{"a": 1}')
        scratch.run("contract.add", **row(name="b", day="2024-02-29"))
        other = scratch.one("contract.get", name="b")
        assert other is not None
        assert other["day"] == "2024-02-29"

    def test_truth_is_one_and_an_enumeration_its_value(self, scratch: Database) -> None:
        scratch.run("contract.add", **row(name=Colour.RED, flag=True))
        assert scratch.one("contract.get", name="red") == row(name="red", flag=1)
        scratch.run("contract.add", **row(name=Older.BLUE, flag=False))
        assert scratch.one("contract.get", name="blue") == row(name="blue", flag=0)

    @pytest.mark.parametrize(
        "text", ["", "plain", "O'Hara; -- 100%", ":name %s %(name)s ?", "\u65e5\u672c \U0001f4b0", "a\nb\tc\\d"]
    )
    def test_text_comes_back_as_it_was(self, scratch: Database, text: str) -> None:
        scratch.run("contract.add", **row(name=text))
        assert scratch.one("contract.get", name=text) == row(name=text)

    @pytest.mark.parametrize("value", [0.5, 1.0, float("nan"), b"1", [1], datetime(2026, 3, 1)])  # noqa: DTZ001
    def test_values_that_are_not_exact_are_a_mistake_of_the_caller(self, scratch: Database, value: object) -> None:
        with pytest.raises(TypeError):
            scratch.run("contract.add", **row(amount_nanos=value))
        assert scratch.all("contract.names") == []

    @pytest.mark.parametrize(
        "changes",
        [{"amount_nanos": 2**63}, {"amount_nanos": -(2**63) - 1}, {"name": "a\0b"}, {"name": "\ud800"}],
        ids=["too large", "too small", "NUL", "lone surrogate"],
    )
    def test_values_that_no_engine_can_keep_are_refused(self, scratch: Database, changes: dict[str, object]) -> None:
        with pytest.raises(StoreError):
            scratch.run("contract.add", **row(**changes))
        assert scratch.all("contract.names") == []

    @pytest.mark.parametrize(
        "changes", [{"amount_nanos": "12 dollars"}, {"amount_nanos": None}, {"name": None}, {"amount_nanos": 666}]
    )
    def test_values_that_the_schema_forbids_are_refused(self, scratch: Database, changes: dict[str, object]) -> None:
        with pytest.raises(StoreError) as refusal:
            scratch.run("contract.add", **row(**changes))
        assert not isinstance(refusal.value, Conflict)
        assert scratch.all("contract.names") == []

    # --- answers

    def test_a_known_key_is_a_conflict(self, scratch: Database) -> None:
        scratch.run("contract.add", **row(amount_nanos=1))
        with pytest.raises(Conflict):
            scratch.run("contract.add", **row(amount_nanos=2))
        assert scratch.all("contract.total") == [{"total": 1}]

    def test_run_says_how_many_rows_changed(self, scratch: Database) -> None:
        scratch.run("contract.add", **row(amount_nanos=1))
        assert scratch.run("contract.take", name="a", amount=2) == 0
        assert scratch.run("contract.take", name="a", amount=1) == 1

    def test_a_query_that_writes_and_answers_does_both(self, scratch: Database) -> None:
        assert scratch.one("contract.add_and_tell", name="a") == {"name": "a"}
        with scratch.transaction():
            assert scratch.all("contract.add_and_tell", name="b") == [{"name": "b"}]
        assert scratch.all("contract.names") == [{"name": "a"}, {"name": "b"}]

    def test_nothing_found_is_none_or_empty(self, scratch: Database) -> None:
        assert scratch.one("contract.get", name="nobody") is None
        assert scratch.all("contract.get", name="nobody") == []

    def test_a_missing_value_is_refused(self, scratch: Database) -> None:
        with pytest.raises(StoreError):
            scratch.one("contract.get")

    def test_a_broken_query_is_refused_and_the_connection_stays_usable(self, scratch: Database) -> None:
        with pytest.raises(StoreError):
            scratch.all("contract.nonsense")
        assert scratch.all("contract.names") == []

    def test_an_unknown_name_is_a_mistake_of_the_caller(self, scratch: Database) -> None:
        with pytest.raises(KeyError):
            scratch.all("contract.unheard_of")

    # --- the connection

    def test_a_connection_is_refused_after_a_fork(self, scratch: Database) -> None:
        def use_of_the_parents_connection(_: int) -> list[str]:
            found = []
            for use in (
                lambda: scratch.all("contract.names"),
                lambda: scratch.run("contract.add", **row()),
                lambda: scratch.transaction().__enter__(),
            ):
                try:
                    use()
                    found.append("allowed")
                except StoreError as error:
                    found.append("refused" if "fork" in error.message else error.message)
            scratch.close()
            return found

        assert in_processes(1, use_of_the_parents_connection) == [["refused"] * 3]
        assert scratch.all("contract.names") == []

    def test_a_connection_for_reading_reads_and_refuses_to_write(self, scratch: Database, database_url: str) -> None:
        scratch.run("contract.add", **row())
        reader = open_database(database_url, create=False)
        assert reader.all("contract.names") == [{"name": "a"}]
        with pytest.raises(StoreReadOnly):
            reader.run("contract.add", **row(name="b"))
        with pytest.raises(StoreReadOnly):
            reader.one("contract.add_and_tell", name="b")
        with pytest.raises(StoreReadOnly), reader.transaction():
            pass
        assert reader.all("contract.names") == [{"name": "a"}]
        reader.close()

    def test_a_sound_database_has_no_problems(self, scratch: Database) -> None:
        scratch.run("contract.add", **row())
        assert scratch.problems() == []
