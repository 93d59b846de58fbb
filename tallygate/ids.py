"""Ids that sort by time, and the token that makes a launch repeatable.

An id is 48 bits of milliseconds and 80 random bits, written as 26 lower-case letters and digits (Crockford's base 32,
as in the ULID specification), so that ids made later sort later and a clash needs 2^40 ids in one millisecond.
"""

from __future__ import annotations

import os
from typing import Protocol

from .times import Clock

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
ID_LENGTH = 26


class Entropy(Protocol):
    """Where randomness comes from. A simulation brings a seeded one."""

    def bytes(self, count: int) -> bytes: ...


class SystemEntropy:
    """The operating system's random numbers."""

    def bytes(self, count: int) -> bytes:
        return os.urandom(count)


def new_id(clock: Clock, entropy: Entropy) -> str:
    """A fresh id: 26 characters, time first."""
    milliseconds = int(clock.now().timestamp() * 1000)
    number = milliseconds << 80 | int.from_bytes(entropy.bytes(10), "big")
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def new_install_id(entropy: Entropy) -> str:
    """Eight characters that tell the machines of one installation from those of another in the same account."""
    number = int.from_bytes(entropy.bytes(5), "big")
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(35, -1, -5))


def launch_token(install_id: str, job_id: str, attempt: int) -> str:
    """The token of one attempt: made and stored before the create call, the same on every repeat of it.

    It is also the machine's name where a provider wants one: letters, digits and dashes, at most 63 characters.
    """
    return f"tg-{install_id}-{job_id}-{attempt}"
