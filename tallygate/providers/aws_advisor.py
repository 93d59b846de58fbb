"""The Spot Instance Advisor, fetched once for all regions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock

from ..errors import Unavailable, UsageError
from ..pricing import spot_advisor
from ..pricing.spot_advisor import Advisor
from ..times import Clock

FRESH = timedelta(hours=1)
RETRY = timedelta(minutes=5)

Fetch = Callable[[str], bytes]


class AdvisorReader:
    """The advisor's document, fetched once for all regions and kept for an hour; a failure is kept for five minutes."""

    def __init__(self, clock: Clock, fetch: Fetch | None, url: str | None) -> None:
        self._clock = clock
        self._fetch = fetch
        self._url = url
        self._reading = Lock()
        self._again_at: datetime | None = None
        self._found: Advisor | None = None
        self._trouble = ""

    def read(self, region: str) -> tuple[Advisor | None, str]:
        """The advisor, and a note when it says nothing about ``region``. Never raises: prices stand without it."""
        if self._fetch is None or self._url is None:
            return None, "interruption rates were not asked for"
        with self._reading:
            now = self._clock.now()
            if self._again_at is None or now >= self._again_at:
                self._found, self._trouble = self._fetched(self._fetch, self._url)
                self._again_at = now + (FRESH if self._found else RETRY)
            found, trouble = self._found, self._trouble
        if found is None:
            return None, f"interruption rates are missing: {trouble}"
        if not found.advice.get(region):
            return found, f"interruption rates are missing: the Spot Instance Advisor says nothing about {region}"
        return found, ""

    def _fetched(self, fetch: Fetch, url: str) -> tuple[Advisor | None, str]:
        try:
            return spot_advisor.parse(fetch(url).decode("utf-8")), ""
        except (Unavailable, UsageError) as error:
            return None, error.message
        except UnicodeDecodeError:
            return None, "the Spot Instance Advisor is not text"
