"""Names of files that mean what they look like, and stay where they say."""

from __future__ import annotations

import unicodedata

from ..errors import StagingRefused

BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of writing around, and so show another name than the one there is."""


def check_name(name: str, path: str) -> None:
    """Refuse names that a machine, a terminal or an archive could take for something else."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise StagingRefused(f"{shown(path)} is not named in UTF-8", cure="Rename it") from None
    for sign in name:
        if unicodedata.category(sign) == "Cc":
            raise StagingRefused(f"{shown(path)} has a control character in its name", cure="Rename it")
        if sign in BIDI:
            raise StagingRefused(
                f"{shown(path)} has a character in its name that turns the direction of writing around",
                cure="Rename it",
            )


def check_target(target: str, path: str) -> None:
    for part in target.split("/"):
        check_name(part, path)


def within(path: str, target: str) -> bool:
    """Whether a link at ``path`` to the relative ``target`` stays at or below the top, by its words alone."""
    depth = path.count("/")
    for part in target.split("/"):
        if part == "..":
            depth -= 1
        elif part not in ("", "."):
            depth += 1
        if depth < 0:
            return False
    return True


def shown(path: str) -> str:
    """A path for a message: what cannot be printed safely is escaped."""
    safe = "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape", "surrogatepass").decode() for sign in path
    )
    return safe if len(safe) <= 200 else f"{safe[:100]}...{safe[-90:]}"
