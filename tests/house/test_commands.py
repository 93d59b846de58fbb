"""Every command that a document, a help text or an error mentions is real, down to its flags."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import runpy
import shlex
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tallygate"
DOCUMENTS = sorted(
    path
    for folder in (ROOT, ROOT / "docs", ROOT / "schema", ROOT / "bench", *(ROOT / "examples").iterdir())
    for path in folder.glob("*.md")
)
DOORS = ("find_cheapest_instance.py", "cloud_run.py", "job_manager.py", "cost_tracker.py", "cloud_cost_report.py")
PROGRAM = r"(?<![\w./`-])(?:(?:python3? |\./)?[a-z_]+\.py|tallygate|make|python -m bench|pytest)(?= )"


# --- what there is


@cache
def help_of(*command: str) -> str:
    """What ``command --help`` prints; nothing when it fails."""
    printed = io.StringIO()
    old, sys.argv = sys.argv, [command[0], *command[1:], "--help"]
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            if command[0] == "tallygate":
                from tallygate.cli.main import main

                main()
            else:
                runpy.run_path(str(ROOT / command[0]), run_name="__main__")
    except SystemExit as leaving:
        if leaving.code:
            return ""
    finally:
        sys.argv = old
    return printed.getvalue()


def wrong_with(command: str) -> str | None:
    """What is not real about a command line, or None."""
    words = shlex.split(re.sub(r"\.\.\.|[\[\]]", " ", command), comments=True)
    words = words[: next((place for place, word in enumerate(words) if re.fullmatch(r"[|;>&]+", word)), len(words))]
    if words[0] == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        unknown = [word for word in words[1:] if word not in targets and "=" not in word]
        return f"make has no target {unknown[0]}" if unknown else None
    if words[0] == "pytest":
        missing = [word for word in words[1:] if "/" in word and not (ROOT / word.partition("::")[0]).exists()]
        return f"there is no {missing[0]}" if missing else None
    if words[:3] == ["python", "-m", "bench"]:
        missing = [
            word
            for word in words[3:]
            if word.isidentifier() and word.islower() and not (ROOT / "bench" / f"{word}.py").exists()
        ]
        return f"there is no measurement {missing[0]}" if missing else None
    if words[0] in ("python", "python3"):
        words = words[1:]
    program, rest = [words[0].removeprefix("./")], words[1:]
    if program[0] not in ("tallygate", *DOORS):
        return None
    # A word is a subcommand while the help so far is a menu that lists it; everything after is arguments and flags.
    while "COMMAND [ARGS]" in help_of(*program) and rest and not rest[0].startswith("-"):
        if not re.search(rf"^ +{re.escape(rest[0])} ", help_of(*program), re.MULTILINE):
            return f"{' '.join(program)} has no command {rest[0]}"
        program, rest = [*program, rest[0]], rest[1:]
    text = help_of(*program)
    if not text:
        return f"{' '.join(program)} --help fails"
    flags = [word.partition("=")[0] for word in rest if word.startswith("--")]
    unknown = [flag for flag in flags if not re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", text)]
    return f"{' '.join(program)} has no flag {unknown[0]}" if unknown else None


# --- what is said


def in_document(path: Path) -> list[tuple[str, str]]:
    """Every command a reader could copy: lines of code blocks, and code in the running text."""
    found: list[tuple[str, str]] = []
    block = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        place = f"{path.relative_to(ROOT)}:{number}"
        if line.lstrip().startswith("```"):
            block = not block
        elif block:
            found.append((place, line.strip().removeprefix("$ ")))
        else:
            found += [(place, code) for code in re.findall(r"`([^`]+)`", line)]
    bare = [(place, text.removeprefix(".venv/bin/")) for place, text in found]
    return [(place, text) for place, text in bare if re.match(PROGRAM, text + " ")]


def in_code(path: Path) -> list[tuple[str, str]]:
    """Commands in help texts, messages and cures: program, subcommands, and flags as far as the words are constant."""
    found: list[tuple[str, str]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            continue
        for line in node.value.splitlines():
            for match in re.finditer(PROGRAM + r"((?: (?:--[a-z0-9-]+|[a-z][a-z-]+)(?![\w=./\'-]))+)", line):
                if match[0].startswith("make "):
                    continue  # an English word too
                if match[0].startswith(("python", "./")) or re.search(r"(^ *|: |run |with )$", line[: match.start()]):
                    found.append((f"{path.relative_to(ROOT)}:{node.lineno}", match[0]))
    return found


MENTIONED = [
    *(mention for path in DOCUMENTS for mention in in_document(path)),
    *(mention for path in sorted(PACKAGE.rglob("*.py")) for mention in in_code(path)),
]


@pytest.mark.parametrize("command", sorted({command for _, command in MENTIONED}))
def test_every_command_mentioned_exists(command: str) -> None:
    """The program, the subcommand and every flag are real."""
    wrong = wrong_with(command)
    assert wrong is None, f"{wrong}: {[place for place, text in MENTIONED if text == command]}"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("make coffee", "no target coffee"),
        ("pytest tests/kitchen", "no tests/kitchen"),
        ("python -m bench press", "no measurement press"),
        ("tallygate brew", "no command brew"),
        ("tallygate budget drink team", "no command drink"),
        ("python cloud_run.py job --sugar 2", "no flag --sugar"),
        ("tallygate budget add team --limit 5 --milk", "no flag --milk"),
    ],
)
def test_a_command_that_does_not_exist_is_found(command: str, says: str) -> None:
    assert says in (wrong_with(command) or "")


def test_commands_are_found_at_all() -> None:
    """Guards the tests above against finding nothing to check."""
    commands = {command for _, command in MENTIONED}
    assert {"make test", "make lint", "tallygate budget list", "python job_manager.py list"} <= commands
