"""On a machine of Google's its own credentials are found; anywhere else nobody waits for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("google.auth", reason="Google's SDK is not installed; it comes with the extra gcp")

from tests.providers.loopback import Answer, Asked, serving

ROOT = Path(__file__).resolve().parents[2]

FINDER = """
from tallygate.errors import CredentialsMissing
from tallygate.providers.gcp_credentials import find
try:
    found, project = find(["https://www.googleapis.com/auth/compute.readonly"])
    print(type(found).__module__, project)
except CredentialsMissing as error:
    print(error.message)
"""


class Metadata:
    """The server that tells Google's machines who they are; ``status`` 500 when it cannot."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.asked: list[str] = []

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked.path)
        body = b"batch-project" if asked.path.endswith("/project/project-id") else b"computeMetadata/"
        return Answer(self.status, body, {"Metadata-Flavor": "Google", "Content-Type": "text/plain"})


def found_at(port: str, home: Path) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "GCE_METADATA_IP": f"127.0.0.1:{port}",
        "GCE_METADATA_HOST": f"127.0.0.1:{port}",
    }
    return subprocess.run(
        [sys.executable, "-c", FINDER], env=environment, capture_output=True, text=True, check=True, timeout=120
    ).stdout.strip()


def test_a_machine_of_googles_is_asked_who_it_is(tmp_path: Path) -> None:
    server = Metadata()
    with serving(server) as address:
        assert found_at(address.rpartition(":")[2], tmp_path) == "google.auth.compute_engine.credentials batch-project"
    assert any(path.endswith("/project/project-id") for path in server.asked)


def test_another_machine_is_told_that_it_has_no_credentials(tmp_path: Path) -> None:
    server = Metadata(404)
    with serving(server) as address:
        assert found_at(address.rpartition(":")[2], tmp_path) == "There are no Google Cloud credentials"
    assert found_at("9", tmp_path) == "There are no Google Cloud credentials"
