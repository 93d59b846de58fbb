"""Asking a service again: a bounded number of times, with growing pauses, never sooner than it says.

One place for calls whose SDK does not retry at all (Google's catalogue client, plain sessions) or retries without jitter
and for as long as it is told to (Azure's): their own retries are switched off, and every page is asked for through here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from ..errors import CredentialsMissing, Unavailable
from ..ids import Entropy
from ..times import Clock

T = TypeVar("T")

ATTEMPTS_MAX = 5
"""How often one page is asked for. With the pauses below a service that is down is given up after about half a minute."""

PAUSE_SECONDS = 1
"""The pause before the second attempt, doubled before each further one."""

PAUSE_SECONDS_MAX = 30

ASKED_SECONDS_MAX = 120
"""The longest pause a service may ask for; with a longer one it is given up at once, saying so."""

RETRIED = frozenset({408, 429, 500, 502, 503, 504})
"""Answers that may be different a moment later."""


class Passing(Exception):
    """A failure that may pass. ``asked_seconds``: how long the service asks to be left alone, when it says."""

    def __init__(self, message: str, *, asked_seconds: float | None = None) -> None:
        super().__init__(message)
        self.asked_seconds = asked_seconds


class Retry:
    """Carries out an act until it succeeds or the attempts are used up."""

    def __init__(self, clock: Clock, entropy: Entropy, *, attempts_max: int = ATTEMPTS_MAX) -> None:
        self._clock = clock
        self._entropy = entropy
        self._attempts_max = attempts_max

    def call(self, act: Callable[[], T]) -> T:
        """What ``act`` answers. It raises ``Passing`` to be asked again, and anything else to be not.

        Raises ``Unavailable`` with the last failure, and how often it was seen, when it does not pass.
        """
        attempt = 1
        while True:
            try:
                return act()
            except Passing as failure:
                if failure.asked_seconds is not None and failure.asked_seconds > ASKED_SECONDS_MAX:
                    raise Unavailable(
                        f"{failure}, and asks to be left alone for {failure.asked_seconds:.0f} s",
                        cure="Try again later",
                    ) from failure
                if attempt >= self._attempts_max:
                    raise Unavailable(f"{failure} (asked {attempt} times)", cure="Try again later") from failure
                self._clock.sleep(self._pause(attempt, failure.asked_seconds))
                attempt += 1

    def _pause(self, attempt: int, asked_seconds: float | None) -> float:
        """Between half the pause and the whole of it, so that readers of many regions do not come back together."""
        share: float = int.from_bytes(self._entropy.bytes(2), "big") / 65_536
        pause: int = min(PAUSE_SECONDS << (attempt - 1), PAUSE_SECONDS_MAX)
        if asked_seconds is None:
            return pause * (1 + share) / 2
        return asked_seconds + pause * share / 2


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Puts ``where``, such as a cloud and its region, before the message of what is raised inside.

    What is raised is a new error, because one failed download may be told to the readers of several regions.
    """
    try:
        yield
    except (Unavailable, CredentialsMissing) as error:
        raise type(error)(f"{where}: {error.message}", cure=error.cure) from error


def asked_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """The longest wait that the headers of an answer ask for, in seconds; None when they ask for none.

    Understands ``Retry-After`` in seconds or as a date, and Azure's forms in milliseconds. ``headers`` ignore case.
    """
    found = [_seconds(headers.get("Retry-After"), now)]
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        milliseconds = _number(headers.get(name))
        found.append(None if milliseconds is None else milliseconds / 1000)
    return max((wait for wait in found if wait is not None), default=None)


def _seconds(text: str | None, now: datetime) -> float | None:
    if text is None:
        return None
    number = _number(text)
    if number is not None:
        return number
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp() - now.timestamp())


def _number(text: str | None) -> float | None:
    """A plain number, not below zero; anything else says nothing."""
    digits = (text or "").strip()
    if not digits.isascii() or not digits.replace(".", "", 1).isdigit() or len(digits) > 12:
        return None
    return float(digits)
