"""Public documents are read within bounds, from a real server, and from nowhere else than they may be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tallygate.errors import Unavailable, UsageError
from tallygate.providers.fetch import WebFetcher, check, shown

from ..conftest import ManualClock

Answer = Callable[[BaseHTTPRequestHandler], None]


class Web:
    """A server on this machine whose every answer is a function."""

    def __init__(self) -> None:
        self.answer: Answer = self.plain(b"hello")
        self.asked: list[str] = []

    @staticmethod
    def plain(body: bytes, *, status: int = 200, announced: int | None = None, **headers: str) -> Answer:
        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            request.send_header("Content-Length", str(len(body) if announced is None else announced))
            for name, value in headers.items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(body)

        return answer


@pytest.fixture
def web() -> Web:
    return Web()


@pytest.fixture
def address(web: Web) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.asked.append(self.path)
            web.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def fetch(clock: ManualClock) -> WebFetcher:
    return WebFetcher(clock, bytes_max=1_000, silence_seconds_max=1)


def test_a_document_is_read(fetch: WebFetcher, address: str) -> None:
    assert fetch(f"{address}/a") == b"hello"


@pytest.mark.parametrize(
    "url",
    [
        "http://prices.example/x",
        "file:///etc/passwd",
        "ftp://prices.example/x",
        "//prices.example/x",
        "prices.csv",
        "https://",
        "https://[::1",
        "http://127.0.0.1.evil.example/x",
        "http://localhost@evil.example/x",
        "https://user:word@prices.example/x",
    ],
)
def test_other_addresses_are_not_asked(fetch: WebFetcher, url: str) -> None:
    with pytest.raises(UsageError) as caught:
        fetch(url)
    assert "word" not in caught.value.message


def test_https_and_this_machine_may_be_asked() -> None:
    for url in ("https://prices.example/x.csv", "http://127.0.0.1:8080/x", "http://localhost/x", "http://[::1]:1/x"):
        assert check(url) == url


def test_a_message_tells_no_key() -> None:
    assert shown("https://me:word@prices.example/a.csv?sig=key#part") == "https://prices.example/a.csv"


def test_what_is_too_large_is_not_taken(fetch: WebFetcher, web: Web, address: str) -> None:
    web.answer = web.plain(b"x" * 1_000)
    assert len(fetch(address)) == 1_000
    web.answer = web.plain(b"x" * 1_001)
    with pytest.raises(Unavailable, match="larger than 1,000 bytes"):
        fetch(address)


def test_a_stream_without_end_is_given_up(fetch: WebFetcher, web: Web, address: str) -> None:
    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while True:
                request.wfile.write(b"x" * 100)
        except OSError:
            return

    web.answer = endless
    with pytest.raises(Unavailable, match="larger"):
        fetch(address)


def test_what_breaks_off_is_no_document(fetch: WebFetcher, web: Web, address: str) -> None:
    web.answer = web.plain(b"x" * 10, announced=500)
    with pytest.raises(Unavailable, match=r"broke off|cannot be read"):
        fetch(address)


def test_silence_is_waited_for_only_so_long(fetch: WebFetcher, web: Web, address: str) -> None:
    web.answer = lambda request: time.sleep(3)
    started = time.monotonic()
    with pytest.raises(Unavailable):
        fetch(address)
    assert time.monotonic() - started < 2.5


def test_a_trickle_is_given_up_after_the_time_for_the_whole(web: Web, address: str) -> None:
    class Hasty(ManualClock):
        def now(self) -> datetime:
            self.advance(10)
            return super().now()

    def trickle(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        for _ in range(100):
            try:
                request.wfile.write(b"x")
            except OSError:
                return
            time.sleep(0.01)

    web.answer = trickle
    with pytest.raises(Unavailable, match="not read within 25 s"):
        WebFetcher(Hasty(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(0)), seconds_max=25)(address)


@pytest.mark.parametrize("status", [403, 404, 429, 500, 503])
def test_a_refusal_is_unavailable_and_tells_its_status(fetch: WebFetcher, web: Web, address: str, status: int) -> None:
    web.answer = web.plain(b"no", status=status)
    with pytest.raises(Unavailable, match=f"status {status}"):
        fetch(f"{address}/a?sig=key")


def test_nobody_there_is_unavailable(fetch: WebFetcher) -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
        fetch("http://127.0.0.1:9/x")


def test_a_detour_is_followed_only_to_where_one_may_go(fetch: WebFetcher, web: Web, address: str) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        target = {"/good": "/plain", "/bad": "http://prices.example/x", "/file": "file:///etc/passwd"}.get(request.path)
        if target:
            Web.plain(b"", status=302, Location=target)(request)
        else:
            Web.plain(b"there")(request)

    web.answer = answer
    assert fetch(f"{address}/good") == b"there"
    with pytest.raises(Unavailable, match="points elsewhere"):
        fetch(f"{address}/bad")
    with pytest.raises(Unavailable):
        fetch(f"{address}/file")
    assert web.asked == ["/good", "/plain", "/bad", "/file"]


def test_a_detour_without_end_is_given_up(fetch: WebFetcher, web: Web, address: str) -> None:
    web.answer = lambda request: Web.plain(b"", status=302, Location=f"/{len(web.asked)}")(request)
    with pytest.raises(Unavailable):
        fetch(address)
    assert len(web.asked) < 10
