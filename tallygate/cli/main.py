"""The umbrella command ``tallygate``: everything the five doors do, under one name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from . import shell

if TYPE_CHECKING:
    from .program import Program


def door(home: str, name: str) -> int:
    """Run the command or menu at ``home`` (``package.module:name``) as the program ``name``; its exit code."""

    def build() -> Program:
        from .program import program

        return program(home)

    return shell.run(build, name)


def main() -> None:
    sys.exit(door("tallygate.cli.umbrella:MENU", "tallygate"))
