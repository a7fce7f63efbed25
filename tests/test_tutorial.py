"""docs/tutorial.md: each of its commands is one that the command takes, in the order in which they stand there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.conftest import PROJECT
from tests.environment import at_start
from tests.image_folders import write_folder

COMMAND = re.compile(r"^python (pipeline.py .*)$", re.MULTILINE)


def test_the_commands_of_the_tutorial(project_copy: Callable[[], Path], small_report: Path) -> None:
    """Runs are planned only: test_own_images.py makes such a report."""
    project = project_copy()
    shutil.copy(PROJECT / "pipeline.py", project)
    write_folder(project / "photos")
    commands = COMMAND.findall((PROJECT / "docs" / "tutorial.md").read_text(encoding="utf-8"))
    assert len(commands) == 6
    for command in commands:
        words = [str(small_report) if word.startswith("reports/") else word for word in shlex.split(command)]
        looks = {"--new", "--check-claims", "--claims", "--compare"} & {*words}
        more = [] if looks else ["--dry-run", "--profile", "smoke"]
        done = subprocess.run(
            [sys.executable, *words, *more], cwd=project, env=at_start(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (command, done.stderr)
