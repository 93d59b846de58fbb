"""The jobs themselves: how long they truly take, what they save on the way, how they end.

Nobody outside knows these figures in advance; an estimate is only an estimate. Progress belongs to the job and not to the
machine: what was saved before a machine went is where the next one begins.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..jobs.agent import Report
from .timeline import SECOND, instant


@dataclass(slots=True, kw_only=True)
class Work:
    """What a job has to do. Seconds of computing, not of waiting for machines.

    ``checkpoint_seconds``: how often it saves its progress; 0 for never. ``hangs``: it comes to a standstill and never
    ends by itself. ``saved``: the progress that the next attempt begins with.
    """

    seconds: int
    exit_status: int = 0
    checkpoint_seconds: int = 60
    hangs: bool = False
    saved: int = 0
    attempts: int = 0

    def save(self, progress: int, *, asked: bool) -> None:
        """Keep what an attempt has reached: all of it when it was asked to save, else up to its last checkpoint."""
        if self.checkpoint_seconds:
            kept = progress if asked else progress // self.checkpoint_seconds * self.checkpoint_seconds
            self.saved = max(self.saved, min(kept, self.seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a machine reported of its attempt, with instants in the world's microseconds."""

    job_id: str
    attempt: int
    reason: str
    exit_status: int | None
    started_at: int | None
    ended_at: int
    written_at: int

    def report(self) -> Report:
        """The same in the words of the machines' agent."""
        started = self.started_at if self.started_at is not None else self.ended_at
        return Report(
            job_id=self.job_id,
            attempt=self.attempt,
            reason=self.reason,
            detail="",
            exit_status=self.exit_status,
            started_at=instant(started),
            ended_at=instant(self.ended_at),
            seconds=(self.ended_at - started) // SECOND,
            outputs="saved" if self.reason == "finished" else "none",
            checkpoint="saved" if self.reason in ("interrupted", "deadline", "stopped") else "none",
            image=None,
        )
