"""Documents from the web arrive whole or not at all, from where they may come from."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tallygate.errors import Unavailable, UsageError
from tallygate.providers.https import fetch


class Answers(BaseHTTPRequestHandler):
    """One path a way to answer."""

    def do_GET(self) -> None:
        here = f"http://{self.headers['Host']}"
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", f"{here}/whole" if self.path == "/moved" else "ftp://elsewhere/list")
            self.end_headers()
            return
        self.send_response(500 if self.path == "/broken" else 200)
        self.send_header("Content-Length", "100" if self.path == "/cut" else "10")
        self.end_headers()
        if self.path == "/silent":
            self.server.waiting.wait(20)  # type: ignore[attr-defined]
        self.wfile.write(b"0123456789")

    def log_message(self, format: str, *values: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    from threading import Event

    running = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    running.waiting = Event()  # type: ignore[attr-defined]
    Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.waiting.set()  # type: ignore[attr-defined]
    running.shutdown()
    running.server_close()


def get(address: str, **more: float) -> bytes:
    return fetch(address, schemes=("http",), **more)  # type: ignore[arg-type]


def test_a_document_comes_whole_also_from_where_it_has_moved_to(server: str) -> None:
    assert get(f"{server}/whole") == get(f"{server}/moved") == b"0123456789"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/broken", "answers 500"),
        ("/cut", "broke off|cannot be read"),
        ("/moved-away", "points to ftp://elsewhere/list, which is no http address"),
    ],
)
def test_what_is_not_whole_or_leads_elsewhere_is_refused(server: str, path: str, says: str) -> None:
    with pytest.raises(Unavailable, match=says):
        get(server + path)


def test_what_is_too_large_or_too_slow_is_refused(server: str) -> None:
    with pytest.raises(Unavailable, match="larger than 9 bytes"):
        get(f"{server}/whole", bytes_max=9)
    with pytest.raises(Unavailable, match="timed out"):
        get(f"{server}/silent", seconds_max=0.3)


def test_nobody_answers_is_said(server: str) -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        get("http://127.0.0.1:9/list")


@pytest.mark.parametrize("address", ["http://example.org/list", "file:///etc/passwd", "ftp://x/y", "nonsense"])
def test_only_https_is_asked(address: str) -> None:
    with pytest.raises(UsageError, match="is no https address"):
        fetch(address)


def test_a_key_in_an_address_is_not_repeated(server: str) -> None:
    host = server.removeprefix("http://")
    with pytest.raises(Unavailable) as error:
        get(f"http://me:secret@{host}/broken?sig=hidden")
    assert "secret" not in error.value.message
    assert "hidden" not in error.value.message
