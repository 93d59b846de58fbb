"""What a command says: answers on standard output, everything else on standard error."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TextIO


def show(text: str) -> None:
    """An answer for people."""
    sys.stdout.write(f"{text}\n")


def show_json(value: object) -> None:
    """An answer for programs: nothing but JSON on standard output, money as exact numbers."""
    from ..reports.render import json_text

    sys.stdout.write(f"{json_text(value)}\n")


def note(text: str) -> None:
    """A line beside the answer."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def warn(text: str) -> None:
    """Something a person should know although the command goes on."""
    from ..reports.render import clean

    note(f"WARNING: {clean(text)}")


def progress() -> Callable[[str], None]:
    """Where a long command tells what it does: a terminal, else nowhere."""
    if not is_terminal(sys.stderr):
        return lambda line: None
    from ..reports.render import clean

    return lambda line: note(clean(line))


def is_terminal(stream: TextIO) -> bool:
    """Whether a person is looking at ``stream``."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def show_columns(rows: Iterable[Sequence[object]], headers: Sequence[str], *, expendable: Sequence[str] = ()) -> None:
    """A table drawn in a blink. On a narrow terminal the ``expendable`` columns go first, in their order."""
    from ..reports.render import columns

    shown, kept = list(rows), list(headers)
    text = columns(shown, kept)
    width = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None
    for name in expendable:
        if width is None or max(map(len, text.splitlines())) <= width:
            break
        place = kept.index(name)
        kept.pop(place)
        shown = [[*row[:place], *row[place + 1 :]] for row in shown]
        text = columns(shown, kept)
    show(text)
