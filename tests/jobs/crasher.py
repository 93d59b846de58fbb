"""A process that does one thing for a job and dies, really, at the milestone it is given.

python crasher.py MILESTONE submit DIRECTORY
python crasher.py MILESTONE reconcile
python crasher.py MILESTONE terminate JOB
"""

from __future__ import annotations

import os
import signal
import sys
from decimal import Decimal
from pathlib import Path

from tallygate import config
from tallygate.app import App
from tallygate.jobs.milestones import Milestone
from tallygate.jobs.submission import Submission
from tallygate.money import Money
from tallygate.pricing.offers import ResourceRequest


def submission(directory: Path) -> Submission:
    """A job of a few seconds, charged to the budget ``team`` when there is one."""
    return Submission(
        directory=directory,
        name="crash-test",
        request=ResourceRequest(provider="local"),
        estimated_runtime_hours=Decimal("0.005"),
        run_seconds_max=20,
        budget=Money.of("1"),
        charge_to="team",
    )


def main(milestone: str, act: str, *what: str) -> None:
    def die(passed: Milestone) -> None:
        if passed == milestone:
            os.kill(os.getpid(), signal.SIGKILL)

    with App.open(config.load(), passing=die) as app:
        if act == "submit":
            app.submit(submission(Path(what[0])))
        elif act == "terminate":
            app.terminate(what[0], reason="a test")
        else:
            app.reconcile()


if __name__ == "__main__":
    main(*sys.argv[1:])
