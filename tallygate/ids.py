"""Ids that sort by time, and the token that makes a launch repeatable.

An id is 48 bits of milliseconds and 80 random bits, written as 26 lower-case letters and digits (Crockford's base 32,
as in the ULID specification), so that ids made later sort later and a clash needs 2^40 ids in one millisecond.
"""

from __future__ import annotations

import os
from typing import Protocol

from .times import Clock

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
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
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])


def new_install_id(entropy: Entropy) -> str:
    """Eight characters that tell the machines of one installation from those of another in the same account."""
    number = int.from_bytes(entropy.bytes(5), "big")
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(35, -1, -5))


def launch_token(install_id: str, job_id: str, attempt: int) -> str:
    """The token of one attempt: made and stored before the create call, the same on every repeat of it.

    It is also the machine's name where a provider wants one: letters, digits and dashes, at most 63 characters.
    """
    return f"tg-{install_id}-{job_id}-{attempt}"


class ProcessIdentity(Protocol):
    """Which process this is, and whether another one still exists. Leases are held in its name."""

    @property
    def name(self) -> str: ...

    def is_gone(self, name: str) -> bool:
        """True only when the process of that name certainly no longer runs."""
        ...


class SystemProcess:
    """This process, named by host, boot, number and start time, so that a reused number is not mistaken for it."""

    def __init__(self) -> None:
        self._place = f"{os.uname().nodename}:{_boot_id()}"
        self.name = f"{self._place}:{os.getpid()}:{_started(os.getpid()) or 0}"

    def is_gone(self, name: str) -> bool:
        place, _, process = name.rpartition(":")
        place, _, number = place.rpartition(":")
        if place != self._place or not number.isdecimal():
            return False  # of another machine or an earlier boot nothing is certain but the lease's own end
        return _started(int(number)) != process


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()[:8]
    except OSError:
        return "-"


def _started(process: int) -> str | None:
    """The kernel's start tick of a process; None when there is none, or it is a zombie, or the system does not say."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(") ")[2].split(" ")
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
