#!/usr/bin/env python3
"""Find the cheapest machine that fits, over all providers. See: python find_cheapest_instance.py --help"""

import sys

from tallygate.cli.main import door

if __name__ == "__main__":
    sys.exit(door("tallygate.cli.find:find", "find_cheapest_instance.py"))
