"""What a kernel took of memory is seen from outside, though it has let go of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bakeoff.run.peak import PeakMemory

MIB = 2**20


def test_the_peak_of_the_process_that_works_in_a_folder_is_found(tmp_path: Path) -> None:
    code = f"import time; block = bytearray({200 * MIB}); del block; time.sleep(2)"
    with PeakMemory(tmp_path) as peak:
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert peak.bytes is not None and 150 * MIB < peak.bytes < 400 * MIB


def test_where_no_process_worked_nothing_is_said(tmp_path: Path) -> None:
    with PeakMemory(tmp_path) as peak:
        pass
    assert peak.bytes is None
