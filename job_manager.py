#!/usr/bin/env python3
"""List, show, watch, end and fetch jobs, and manage budgets. See: python job_manager.py --help"""

import sys

from tallygate.cli.main import door

if __name__ == "__main__":
    sys.exit(door("tallygate.cli.jobs:DOOR", "job_manager.py"))
