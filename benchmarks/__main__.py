"""Run the cases named on the command line, or all; write what they found to docs/benchmarks.md."""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path

from benchmarks import gpu
from benchmarks.common import Case, awake, say
from benchmarks.page import CASES, publish


def main(names: list[str]) -> int:
    """Run cases; 1 when a limit was missed."""
    if names[:1] == ["gpu"]:  # with options of its own, and not on every machine
        return gpu.main(names[1:])
    unknown = [name for name in names if name not in CASES]
    if unknown:
        say(f"There is no case {unknown[0]!r}; cases are {', '.join((*CASES, 'gpu'))}.")
        return 2
    missed = False
    for name in names or CASES:
        say(f"Case {name}.")
        with tempfile.TemporaryDirectory(prefix="bakeoff-bench-") as folder, awake():
            case: Case = importlib.import_module(f"benchmarks.{name}").measure(Path(folder))
        say("\n".join(case.lines()))
        missed |= any(case.ratios[ratio] > limit for ratio, limit in case.limits.items())
        publish(name, case.record())
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
