"""A real HTTP or HTTPS server on the loopback, for fakes that real SDKs talk to."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

HTML = b"<!doctype html><html><head><title>Sign in</title></head><body>Your session has ended.</body></html>"


@dataclass(frozen=True)
class Asked:
    """One request as it came in. Query and headers by their last value, header names in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, told: object, status: int = 200, **headers: str) -> Answer:
        """JSON. Numbers that must keep their digits are given as ``Digits``."""
        text = json.dumps(told, default=_digits)
        for digits in Digits.made(text):
            text = text.replace(f'"{digits}"', digits.removeprefix(Digits.MARK))
        named = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
        return cls(status, text.encode(), named)


class Digits(str):
    """Text that is written to JSON without quotes: exact decimals, and numbers that are none."""

    MARK = "digits:"

    def __new__(cls, text: str) -> Digits:
        return super().__new__(cls, cls.MARK + text)

    @classmethod
    def made(cls, text: str) -> set[str]:
        return {piece.partition('"')[0] for piece in text.split('"') if piece.startswith(cls.MARK)}


def _digits(value: object) -> str:
    raise TypeError(f"{value!r} is not JSON")


class Service(Protocol):
    def answer(self, asked: Asked) -> Answer: ...


@contextmanager
def serving(service: Service, *, certificate: Path | None = None) -> Iterator[str]:
    """The address at which ``service`` answers until the block ends. With a certificate it speaks TLS."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30
        wbufsize = 1 << 16  # headers and body leave together, or each answer waits for an acknowledgement

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            asked = Asked(
                self.command,
                parts.path,
                dict(parse_qsl(parts.query, keep_blank_values=True)),
                {name.lower(): value for name, value in self.headers.items()},
                self.rfile.read(length),
            )
            answer = service.answer(asked)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if "Content-Length" not in answer.headers:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)
            self.close_connection = "Content-Length" in answer.headers or self.close_connection

        do_GET = do_POST = do_PUT = do_DELETE = _serve

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@cache
def certificate_pem() -> bytes:
    """A key and a self-signed certificate for 127.0.0.1, made once a run."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)


class Knobs:
    """What can go wrong on the other side, whichever cloud it is. Safe to be turned while threads ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = 0
        self.seen: list[Asked] = []
        self.heal()

    def heal(self) -> None:
        self.broken_page: int | None = None
        self.turned_away = 0
        self.html = False
        self.cut_short = False
        self.chain_is_endless = False
        self.is_empty = False
        self.poisoned: str | None = None

    def break_page(self, number: int) -> None:
        self.broken_page = number

    def throttle(self, times: int) -> None:
        self.turned_away = times

    def answer_html(self) -> None:
        self.html = True

    def endless(self) -> None:
        self.chain_is_endless = True

    def empty(self) -> None:
        self.is_empty = True

    def count(self, asked: Asked) -> None:
        with self._lock:
            self.requests += 1
            self.seen.append(asked)

    def turns_away(self) -> bool:
        with self._lock:
            if self.turned_away <= 0:
                return False
            self.turned_away -= 1
            return True
