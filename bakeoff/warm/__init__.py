"""Kernels forked from a process that has the imports done: an ordinary kernel in a fraction of a second."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

KERNEL = "bakeoff-warm"
SOCKET_VARIABLE = "BAKEOFF_WARM_SOCKET"
OWNER_VARIABLE = "BAKEOFF_WARM_OWNER"  # the process that a fork server ends with
JUPYTER_PATH = Path(__file__).parent / "jupyter"  # holds the kernelspec


def supported() -> bool:
    """Whether forking a process with these imports is safe here: Linux, yes; macOS and Windows, no."""
    return sys.platform == "linux"


def socket_path() -> Path:
    """Where the fork server listens: $BAKEOFF_WARM_SOCKET, else one place a user."""
    given = os.environ.get(SOCKET_VARIABLE)
    return Path(given) if given else Path(tempfile.gettempdir()) / f"bakeoff-warm-{os.getuid()}" / "server.sock"
