"""What the documented library calls write beyond a job's own life: facts that an outside launcher knows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from .database import Database

MACHINE_COLUMNS = ("instance_id", "public_ip", "private_ip", "spot_request_id")


class LibraryRecords:
    """Facts about jobs whose machines others have made."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note_machine(
        self, job_id: str, machine: Mapping[str, str | None], metadata: Mapping[str, object], *, at: datetime
    ) -> None:
        """Keep what is known of the machine; None leaves a column as it is. ``metadata`` replaces the job's."""
        self._database.run(
            "library.note_machine",
            job_id=job_id,
            **{column: machine.get(column) for column in MACHINE_COLUMNS},
            metadata=json.dumps(dict(metadata), sort_keys=True),
            at=at,
        )
