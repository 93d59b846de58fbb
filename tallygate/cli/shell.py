"""The one boundary between a command and the terminal: what went wrong becomes a few clear lines and an exit code.

    done                                 0
    a TallygateError                     its own exit code: 1 refused, 2 usage, 3 cloud or bill, 4 store
    what Typer finds wrong with flags    2
    Control-C                            130, with what is pending and how to look
    the reader of a pipe went away       141, without a word, as if the signal had ended us
    the system refused (a full disk)     1, with what the system says
    anything else                        70: a bug of ours, said in one sentence

Answers go to standard output, everything else to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..config import environment
from ..errors import TallygateError

if TYPE_CHECKING:
    from .program import Program

EXIT_SYSTEM = 1
EXIT_USAGE = 2
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141

DEBUG = "TALLYGATE_DEBUG"
"""Set to anything, this environment variable adds the traceback to an error."""


class Interrupted(Exception):
    """Control-C, with what is left pending and how to look at it."""

    def __init__(self, pending: str, cure: str) -> None:
        super().__init__(pending)
        self.pending = pending
        self.cure = cure


def run(build: Callable[[], Program], name: str, arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line and answer its exit code. Nothing but ``SystemExit`` leaves this function."""
    try:
        code = build()(name, list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        return _pipe_closed()
    except KeyboardInterrupt:
        _tell("Interrupted. Nothing is left half done.", "Look with: python job_manager.py list")
        return EXIT_INTERRUPTED
    except Interrupted as interrupted:
        _tell(f"Interrupted. {interrupted.pending}", interrupted.cure)
        return EXIT_INTERRUPTED
    except TallygateError as error:
        _trace()
        _tell(error.message, error.cure)
        return error.exit_code
    except OSError as error:
        _trace()
        return _system_refused(error)
    except ModuleNotFoundError as error:
        _trace()
        if error.name is None or error.name.partition(".")[0] == "tallygate":
            return _bug(error)
        _tell(
            f"The package {error.name} is not installed for this Python ({sys.executable})",
            "In the checkout: make run, then .venv/bin/python; or pip install -r requirements.txt",
        )
        return EXIT_USAGE
    except Exception as error:  # noqa: BLE001 - the outermost boundary: what Typer refused, else a bug of ours
        return _refused_by_typer(error) or _bug(error)


def _refused_by_typer(error: Exception) -> int:
    """The exit code for what Typer says about the flags; 0 when the error is not Typer's."""
    import typer

    if isinstance(error, typer.Abort):
        _tell("Aborted. Nothing was done.", "")
        return 1
    if not isinstance(error, typer.TyperException):
        return 0
    context = getattr(error, "ctx", None)
    cure = f"See: {context.command_path} --help" if context is not None else ""
    _tell(error.format_message(), cure)
    return EXIT_USAGE


def _system_refused(error: OSError) -> int:
    """A file that cannot be written, a disk that is full: neither a bug nor a decision of ours."""
    where = f"{error.filename}: " if error.filename else ""
    try:
        sys.stdout.flush()
    except OSError:  # it is the answer itself that could not be written
        where = "The answer cannot be written: "
        _pipe_closed()
    _tell(f"{where}{error.strerror or error}", "")
    return EXIT_SYSTEM


def _bug(error: Exception) -> int:
    _trace()
    _tell(
        f"This is a bug in Tallygate ({type(error).__name__}), and not your mistake.",
        "" if _debugging() else f"Set {DEBUG}=1 and repeat to see where it happened, then report it",
    )
    return EXIT_BUG


def _tell(message: str, cure: str) -> None:
    """An error for people: every line of it marked, then what to do about it."""
    from ..reports.render import clean, paint, wants_colour
    from .output import is_terminal, note

    mark = paint("ERROR:", "red", colour=wants_colour(environment(), is_terminal=is_terminal(sys.stderr)))
    lines = [f"{mark} {clean(line)}" for line in message.splitlines()]
    if cure:
        lines.append(f"  {clean(cure)}")
    try:
        sys.stdout.flush()
        note("\n".join(lines))
    except BrokenPipeError:
        _pipe_closed()


def _debugging() -> bool:
    return bool(environment().get(DEBUG))


def _trace() -> None:
    if _debugging():
        import traceback

        traceback.print_exc()


def _pipe_closed() -> int:
    # The interpreter flushes standard output once more when it ends; it must find somewhere to write to.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_PIPE_CLOSED
