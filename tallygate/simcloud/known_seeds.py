"""For every planted bug a seed that is known to catch it, and the invariant that does. A test plants each at its seed.

Whatever changes what a seed draws changes this table: ``tallygate simulate --bugs --json`` finds the new seeds.
"""

from __future__ import annotations

from collections.abc import Mapping

KNOWN: Mapping[str, tuple[int, str]] = {}
