"""Help: every command explains itself, with an example that would be understood, and in plain text that fits."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tallygate.cli.program import Menu


def commands(home: str, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Every command and menu below ``home``, as it is typed."""
    module, _, name = home.partition(":")
    found = getattr(importlib.import_module(module), name)
    yield path
    if isinstance(found, Menu):
        for word, entry in found.entries.items():
            yield from commands(entry.home, (*path, word))


EVERY = [
    *commands("tallygate.cli.umbrella:MENU", ("tallygate",)),
    *commands("tallygate.cli.jobs:DOOR", ("job_manager.py",)),
    *commands("tallygate.cli.reports:MENU", ("cloud_cost_report.py",)),
    ("find_cheapest_instance.py",),
    ("cloud_run.py",),
    ("cost_tracker.py",),
]
MENUS = [path for path in EVERY if path in {other[:-1] for other in EVERY if len(other) > 1}]


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_command_explains_itself_with_an_example(path: tuple[str, ...], cli: Any) -> None:
    answer = cli(*path, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"Usage: {' '.join(path)} ")
    assert max(map(len, answer.out.splitlines())) <= 110
    if path in MENUS:
        assert "Commands:" in answer.out
    else:
        assert re.search(r"Examples?:\n +(python|tallygate) ", answer.out)


@pytest.mark.parametrize("path", [path for path in EVERY if path not in MENUS], ids=" ".join)
def test_every_option_says_what_it_is(path: tuple[str, ...], cli: Any) -> None:
    lines = cli(*path, "--help").out.splitlines()
    mute = [line for line, after in zip(lines, [*lines[1:], ""], strict=True)
            if re.match(r"  -", line) and not re.search(r"\S  +\S", line.strip()) and not after.startswith("     ")]  # fmt: skip
    assert mute == []


@pytest.mark.parametrize("path", MENUS, ids=" ".join)
def test_a_menu_without_a_command_shows_its_help_as_a_mistake(path: tuple[str, ...], cli: Any) -> None:
    answer = cli(*path)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("Usage: ")


def test_the_version_is_told(cli: Any) -> None:
    from tallygate import __version__

    assert cli("tallygate", "--version").out == f"{__version__}\n"
