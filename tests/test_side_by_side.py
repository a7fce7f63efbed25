"""Two runs on one store share the work: no step is made twice, and neither waits with idle jobs."""

from __future__ import annotations

import re
import time
from pathlib import Path

from tests.stubs import make_stub_project

VARIANTS = [f"stub_{number}" for number in range(4)]


def test_two_runs_at_once_share_the_steps_and_compare_once(tmp_path: Path, stub_template: Path) -> None:
    """Before, a second run waited for the steps of the first with all its jobs, and both made the comparison."""
    project = make_stub_project(tmp_path, stub_template, variants=len(VARIANTS), seconds=0.4)
    begun = time.monotonic()
    code, said = project.run(tmp_path / "alone", VARIANTS, "--jobs", "2", "--no-pdf")
    alone = time.monotonic() - begun
    assert code == 0, said
    begun = time.monotonic()
    both = [project.start(tmp_path / "both", VARIANTS, "--jobs", "2", "--no-pdf") for _ in range(2)]
    texts = [process.communicate(timeout=600)[0] for process in both]
    together = time.monotonic() - begun
    assert [process.returncode for process in both] == [0, 0], texts
    made = [re.findall(r"^    (\w+ stub_\d): [\d.]+ s$", text, re.MULTILINE) for text in texts]
    assert all(made), "one run made nothing"
    assert sorted(made[0] + made[1]) == sorted(set(made[0] + made[1]))
    assert len(made[0] + made[1]) == 5 * len(VARIANTS)
    assert sum(len(re.findall(r"^    compare: [\d.]+ s$", text, re.MULTILINE)) for text in texts) == 1
    assert together < 1.6 * alone, f"{together:.1f} s together, {alone:.1f} s alone"
