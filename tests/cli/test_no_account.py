"""A refresh by somebody who has no account anywhere ends soon, and says for every cloud what to do."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

pytest.importorskip("boto3", reason="boto3 is not installed; it comes with the extra aws")
pytest.importorskip("google.cloud.billing_v1", reason="Google's SDK is not installed; it comes with the extra gcp")
pytest.importorskip("azure.mgmt.compute", reason="Azure's SDK is not installed; it comes with the extra azure")

ROOT = Path(__file__).resolve().parents[2]
SECONDS_MAX = 30
"""Generous, for a busy machine. It takes four seconds; the SDKs left to themselves would ask for minutes."""


class Silence:
    """A network that swallows what is sent to it: a port where everybody is let in and nobody is answered."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.visitors: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                self.visitors.append(self._socket.accept()[0])
            except OSError:  # closed
                return

    def close(self) -> None:
        for each in (self._socket, *self.visitors):
            each.close()


@pytest.fixture
def silences() -> Iterator[tuple[Silence, Silence]]:
    """Where a machine of AWS, and one of Google, would find out who it is."""
    with ExitStack() as until_the_end:
        found = Silence(), Silence()
        for each in found:
            until_the_end.callback(each.close)
        yield found


def test_without_any_account_a_refresh_ends_soon_and_names_every_cure(
    here: Path, tmp_path: Path, silences: tuple[Silence, Silence]
) -> None:
    aws, google = silences
    environment = {
        "PATH": os.path.dirname(sys.executable),
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{aws.port}",
        "GCE_METADATA_IP": f"127.0.0.1:{google.port}",
        "GCE_METADATA_HOST": f"127.0.0.1:{google.port}",
    }

    def refresh(*flags: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tallygate", "prices", "refresh", *flags]
        began = time.monotonic()
        answer = subprocess.run(
            command, cwd=here, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert time.monotonic() - began < SECONDS_MAX
        assert answer.returncode == 3, answer.stderr
        return answer

    answer = refresh()
    assert answer.stdout == ""
    lines = answer.stderr.splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["aws", "azure", "gcp", "WARNING:"]
    for line, cure in zip(lines, ("aws configure", "azure.subscription_id", "gcloud auth", "prices show"), strict=True):
        assert cure in line
    assert len(aws.visitors) > 0  # the silence was heard
    assert len(google.visitors) == 1  # and not asked again

    programs = refresh("--json")
    assert programs.stderr == ""
    assert {one["outcome"] for one in json.loads(programs.stdout)["markets"]} == {"not set up"}

    assert "azure.subscription_id" in refresh("--provider", "azure").stderr
    environment["AZURE_SUBSCRIPTION_ID"] = "11111111-2222-3333-4444-555555555555"
    environment["AZURE_TOKEN_CREDENTIALS"] = "AzureCliCredential"  # asks no other machine
    told = refresh("--provider", "azure").stderr
    assert "Sign in with: az login" in told
    assert len(told.splitlines()) == 1  # and not the SDK's own page about it
