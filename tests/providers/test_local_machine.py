"""The file that is a machine, on its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tallygate.providers import local_machine


def test_the_machine_needs_nothing_but_the_standard_library(tmp_path: Path) -> None:
    shutil.copy(local_machine.__file__, tmp_path / "machine.py")
    answer = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "machine.py"), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stderr) == (local_machine.FAILED, "")
