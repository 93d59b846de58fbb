"""Run the measurements of this folder, each in a process of its own.

    python -m bench              all of them
    python -m bench NAME ...     those named
    python -m bench NAME --...   one, with options of its own
    python -m bench --list       what there is, and what each one measures

Ends with 1 when one of them missed its goal.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def measurements() -> dict[str, str]:
    """Every measurement and the first sentence of its module."""
    return {
        path.stem: (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
        for path in sorted(HERE.glob("[a-z]*.py"))
    }


def main(words: list[str]) -> int:
    found = measurements()
    first = next((place for place, word in enumerate(words) if word.startswith("-") and word != "--list"), len(words))
    names, options = words[:first], words[first:]
    if "--list" in names:
        for name, says in found.items():
            print(f"{name:20} {says}")
        return 0
    unknown = [name for name in names if name not in found]
    if unknown:
        print(f"There is no measurement {unknown[0]}. There are: {', '.join(found) or 'none'}", file=sys.stderr)
        return 2
    if options and len(names) != 1:
        print(f"{options[0]} is an option of one measurement; name it first", file=sys.stderr)
        return 2
    failed = []
    for name in names or found:
        if not options:
            print(f"\n=== {name}: {found[name]}", flush=True)
        if subprocess.run([sys.executable, HERE / f"{name}.py", *options], cwd=HERE.parent, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
