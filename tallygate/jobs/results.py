"""What comes back from a job's machines: reports, logs and outputs, read from the object store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import ObjectMissing, Unavailable
from ..objectstore.base import ObjectStore
from . import agent
from .job import Attempt, Job, JobStore
from .unpack import extract

LOG_PIECE_BYTES = 1 << 20


class Results:
    """The reports of the machines whose results lie in one object store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def report(self, job: Job, attempt: Attempt) -> agent.Report | None:
        """What the attempt's machine reported at its end; None when it has not, or not legibly, or for another one."""
        try:
            found = agent.read_report(self._store.get_bytes(agent.key(job.id, attempt.number, agent.RESULT)))
        except (ObjectMissing, Unavailable):
            return None
        return found if (found.job_id, found.attempt) == (job.id, attempt.number) else None


class LogReader:
    """Reads what a job prints from where the last reading stopped, across its attempts."""

    def __init__(self, store: ObjectStore, jobs: JobStore, job_id: str) -> None:
        self._store = store
        self._jobs = jobs
        self._job_id = job_id
        self._read: dict[int, int] = {}

    def new(self) -> Iterator[bytes]:
        """What was printed since the last call."""
        for attempt in self._jobs.attempts(self._job_id):
            while piece := self._piece(attempt.number):
                yield piece

    def _piece(self, number: int) -> bytes:
        start = self._read.get(number, 0)
        key = agent.key(self._job_id, number, agent.LOG)
        try:
            piece = self._store.get_bytes(key, start=start, bytes_max=LOG_PIECE_BYTES)
        except ObjectMissing:
            return b""
        self._read[number] = start + len(piece)
        return piece


def fetch(store: ObjectStore, job: Job, attempts: Sequence[Attempt], into: Path) -> list[Path]:
    """Bring the outputs of the newest attempt that has any, and its log, into the folder ``into``; what was written.

    Raises ``Unavailable`` when no attempt has left anything yet.
    """
    for attempt in reversed(attempts):
        log = agent.key(job.id, attempt.number, agent.LOG)
        output = agent.key(job.id, attempt.number, agent.OUTPUT)
        written: list[Path] = []
        if store.exists(output):
            with TemporaryDirectory() as folder:
                archive = Path(folder) / agent.OUTPUT
                store.get_file(output, archive)
                written += extract(archive, into / "outputs", replace=True).files
        if store.exists(log):
            into.mkdir(parents=True, exist_ok=True)
            store.get_file(log, into / agent.LOG)
            written.append(into / agent.LOG)
        if written:
            return written
    raise Unavailable(f"Job {job.id} has left no outputs and no log yet", cure="Look again when it has run a while")


def discard(store: ObjectStore, job: Job) -> None:
    """Drop what a job has left in the object store. Inputs stay: another job may have staged the same ones."""
    for found in list(store.list(f"jobs/{job.id}/")):
        store.delete(found.key)
