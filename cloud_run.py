#!/usr/bin/env python3
"""Submit a job directory under a budget. See: python cloud_run.py --help"""

import sys

from tallygate.cli.main import door

if __name__ == "__main__":
    sys.exit(door("tallygate.cli.run:run", "cloud_run.py"))
