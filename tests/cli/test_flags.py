"""Flags: whatever is typed becomes a value inside its bounds, or a refusal that names the flag. There is nothing between."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tallygate.cli import flags
from tallygate.errors import UsageError

NUMBERS = (
    "",
    "0",
    "1",
    "-1",
    "+1",
    "1.5",
    ".5",
    "5.",
    "1e5",
    "nan",
    "inf",
    "１",
    "٣",
    " 1",
    "1 ",
    "1\n",
    "0x1",
    "1_0",
    "9" * 50,
)
typed = st.text(max_size=30) | st.sampled_from(NUMBERS) | st.decimals().map(str) | st.integers().map(str)


@given(typed)
def test_money_is_above_zero_and_bounded(text: str) -> None:
    with suppress(UsageError):
        found = flags.money("--budget", text)
        assert found is not None
        assert 0 < found.nanos <= 10**17
        assert found.decimal == Decimal(text).quantize(Decimal("1e-9"))


@given(typed)
@example("720.000000000000000000000000001")
def test_hours_are_above_zero_and_at_most_thirty_days(text: str) -> None:
    with suppress(UsageError):
        found = flags.hours("--hours", text)
        assert found is not None
        assert 0 < found <= 720
        seconds = flags.seconds("--hours", text)
        assert seconds is not None
        assert 0 <= seconds - found * 3600 < 1


@given(typed)
def test_counts_are_plain_digits_in_range(text: str) -> None:
    with suppress(UsageError):
        found = flags.whole("--limit", text, low=1, high=100)
        assert 1 <= found <= 100
        assert int(text) == found
        assert set(text) <= set("0123456789")


@given(st.text(max_size=80))
def test_any_directory_gives_a_job_name_that_is_one(words: str) -> None:
    name = flags.named_after(words)
    assert flags.job_name("--name", name) == name


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("My Job_2", "my-job-2"),
        ("render.final", "render-final"),
        ("-_-", "job"),
        ("", "job"),
        ("Ünïcode", "n-code"),
        ("x" * 100, "x" * 63),
        ("a" * 62 + "-b", "a" * 62),
    ],
)
def test_a_name_is_made_from_a_directory(words: str, name: str) -> None:
    assert flags.named_after(words) == name


@given(st.lists(st.text(max_size=20), max_size=5))
def test_pairs_split_at_the_first_equals_sign(texts: list[str]) -> None:
    with suppress(UsageError):
        found = flags.pairs("--tag", texts)
        assert sorted(f"{name}={value}" for name, value in found.items()) == sorted(texts)


def test_a_variable_s_value_is_data_and_may_hold_anything() -> None:
    value = "a=b\n'\"; $(reboot) `id` \x1b"
    assert flags.variables("--env", [f"NAME={value}", "EMPTY="]) == {"NAME": value, "EMPTY": ""}


@pytest.mark.parametrize("read", [flags.money, flags.hours, flags.seconds, flags.provider, flags.job_name, flags.text])
def test_a_flag_that_was_not_given_is_nothing(read: Any) -> None:
    assert read("--flag", None) is None
