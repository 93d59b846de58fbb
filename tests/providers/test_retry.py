"""A service is asked again a bounded number of times, with growing pauses, and never sooner than it says."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from requests.structures import CaseInsensitiveDict

from tallygate.errors import Unavailable
from tallygate.ids import Entropy
from tallygate.providers.retry import ATTEMPTS_MAX, Passing, Retry, asked_seconds
from tallygate.times import Clock

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Sleeps:
    """A clock that writes down how long it was slept on."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return NOW

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Bytes:
    def __init__(self, byte: int) -> None:
        self._byte = byte

    def bytes(self, count: int) -> bytes:
        return bytes([self._byte] * count)


class Service:
    """Fails so many times, then answers."""

    def __init__(self, failures: int, *, asked: float | None = None) -> None:
        self.failures, self.asked, self.calls = failures, asked, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise Passing("page 3: status 503", asked_seconds=self.asked)
        return "answer"


def test_an_answer_is_asked_for_once(clock: Clock, entropy: Entropy) -> None:
    service = Service(0)
    assert Retry(clock, entropy).call(service) == "answer"
    assert service.calls == 1


@pytest.mark.parametrize(("byte", "pauses"), [(0, [0.5, 1, 2, 4]), (255, [1, 2, 4, 8])])
def test_pauses_double_and_differ_between_readers(byte: int, pauses: list[float]) -> None:
    clock = Sleeps()
    assert Retry(clock, Bytes(byte)).call(Service(ATTEMPTS_MAX - 1)) == "answer"
    assert clock.slept == pytest.approx(pauses, rel=0.001)


def test_a_service_that_stays_down_is_given_up_with_its_last_failure(entropy: Entropy) -> None:
    clock, service = Sleeps(), Service(99)
    with pytest.raises(Unavailable, match=r"^page 3: status 503 \(asked 5 times\)$"):
        Retry(clock, entropy).call(service)
    assert (service.calls, len(clock.slept)) == (5, 4)


def test_a_wait_that_is_asked_for_is_never_shortened() -> None:
    clock = Sleeps()
    Retry(clock, Bytes(0)).call(Service(2, asked=17))
    assert clock.slept == [17, 17]


def test_a_wait_that_is_too_long_is_not_begun(entropy: Entropy) -> None:
    clock, service = Sleeps(), Service(1, asked=121)
    with pytest.raises(Unavailable, match="asks to be left alone for 121 s"):
        Retry(clock, entropy).call(service)
    assert (service.calls, clock.slept) == (1, [])


def test_other_failures_are_not_repeated(clock: Clock, entropy: Entropy) -> None:
    calls = []

    def act() -> None:
        calls.append(1)
        raise Unavailable("status 400")

    with pytest.raises(Unavailable, match="status 400"):
        Retry(clock, entropy).call(act)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"retry-after": "0"}, 0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "Sun, 01 Mar 2026 12:00:30 GMT"}, 30),
        ({"Retry-After": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "٧"}, None),
        ({"x-ms-retry-after-ms": "2500"}, 2.5),
        ({"Retry-After": "1", "retry-after-ms": "4000"}, 4),
    ],
)
def test_the_longest_wait_that_headers_ask_for_counts(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_seconds(CaseInsensitiveDict(headers), NOW) == seconds
