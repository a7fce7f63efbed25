"""What tests and the commands that they start find around them: no data, no weights, and one fork server for all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from bakeoff import warm

_OWNER = "BAKEOFF_TESTS_OWNER"  # the process with which the fork server ends
_AT_START: set[str] = {"PYTEST_CURRENT_TEST"}


def choose(place: Path) -> None:
    """No test sees data or weights of whoever runs it."""
    os.environ |= {
        "TFDS_DATA_DIR": str(place / "data"),
        "KERAS_HOME": str(place / "keras"),
        warm.SOCKET_VARIABLE: str(place / "server.sock"),
        _OWNER: str(os.getpid()),
    }


def remember() -> None:
    """Note which variables there are, before libraries set more when they are imported."""
    _AT_START.update(os.environ)


def at_start() -> dict[str, str]:
    """The environment for a command: without what libraries have set in this process since then."""
    return {name: value for name, value in os.environ.items() if name in _AT_START}


def start_fork_server(log: Path) -> None:
    """Have a server stand from which runs fork theirs, as a user can; it ends with pytest."""
    with log.open("wb") as stream:
        command = [sys.executable, "-m", "bakeoff.warm.server"]
        owner = {warm.OWNER_VARIABLE: os.environ[_OWNER]}
        server = subprocess.Popen(command, env=at_start() | owner, stdout=stream, stderr=stream)
    while not warm.socket_path().exists():
        assert server.poll() is None, log.read_text()
        time.sleep(0.05)
    server.returncode = 0  # or it would warn, when pytest ends first, that nobody waited for it
