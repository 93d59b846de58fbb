"""Names and scopes of budgets: paths such as ``org/team/project/user``.

A name is also a path, and a budget's scope is its name unless it is given. A job charged to a path draws on every
budget whose scope is that path or lies above it, so that a team can never spend past its organisation.
"""

from __future__ import annotations

from ..errors import UsageError

LEVELS_MAX = 8
PART_LENGTH_MAX = 63

_FIRST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_REST = _FIRST | frozenset("._-")
_JOB = _REST | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_JOB_LENGTH_MAX = 128
_LINE_LENGTH_MAX = 500


def checked_path(text: str, *, what: str) -> str:
    """``text`` if it is a path of ``[a-z0-9][a-z0-9._-]*`` parts with ``/`` between; else ``UsageError`` saying why."""
    parts = text.split("/")
    if not all(0 < len(part) <= PART_LENGTH_MAX and part[0] in _FIRST and _REST.issuperset(part) for part in parts):
        raise UsageError(
            f"{text[:80]!r} cannot be {what}",
            cure="Use lower-case letters, digits, '.', '_' and '-', each part starting with a letter or digit and "
            f"at most {PART_LENGTH_MAX} long, with '/' between the levels: org/team/project",
        )
    if len(parts) > LEVELS_MAX:
        raise UsageError(f"{text[:80]!r} has {len(parts)} levels", cure=f"Use at most {LEVELS_MAX}")
    return text


def is_at_or_above(scope: str, path: str) -> bool:
    """Whether ``scope`` is ``path`` or one of the levels above it: ``org/team`` is above ``org/team/project``."""
    return path == scope or path.startswith(f"{scope}/")


def checked_job_id(text: str) -> str:
    """``text`` if it can name a job in the journal: ASCII letters, digits, ``.``, ``_`` and ``-``."""
    if not (0 < len(text) <= _JOB_LENGTH_MAX and text[0] not in "._-" and _JOB.issuperset(text)):
        raise UsageError(
            f"{text[:80]!r} cannot be a job's id",
            cure=f"Use at most {_JOB_LENGTH_MAX} letters, digits, '.', '_' and '-', starting with a letter or digit",
        )
    return text


def checked_key(text: str) -> str:
    """``text`` if it can be an idempotency key: printable, on one line, not empty."""
    if not (0 < len(text) <= _JOB_LENGTH_MAX and text.isprintable()):
        raise UsageError(f"{text[:80]!r} cannot be a key", cure=f"Use 1 to {_JOB_LENGTH_MAX} printable characters")
    return text


def one_line(text: str) -> str:
    """A reason or an author as the journal keeps it: blanks of every kind become one space, no control characters."""
    line = " ".join(text.split())
    if len(line) > _LINE_LENGTH_MAX or any(c < " " or "\x7f" <= c < "\xa0" or "\ud800" <= c <= "\udfff" for c in line):
        raise UsageError(
            f"{line[:80]!r} cannot be kept in the journal",
            cure=f"Use at most {_LINE_LENGTH_MAX} characters and no control characters",
        )
    return line
