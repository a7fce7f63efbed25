"""Set this environment's Jupyter up: `python -m bakeoff.warm.install`."""

from __future__ import annotations

import sys
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager

from bakeoff.warm import JUPYTER_PATH, KERNEL

_CONFIG = """\
# Written by `make setup`. What compiled libraries log (TensorFlow, that it found no GPU) goes to the terminal, not into
# the cells of a notebook that is opened by hand. The pipeline sets the variable for its kernels.
import os

if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
    c.IPKernelApp.capture_fd_output = False
"""


def main() -> None:
    """Put the kernelspec and the configuration of kernels below this Python's own prefix, where Jupyter finds them."""
    KernelSpecManager().install_kernel_spec(str(JUPYTER_PATH / "kernels" / KERNEL), KERNEL, prefix=sys.prefix)
    folder = Path(sys.prefix, "etc", "ipython")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ipython_kernel_config.py").write_text(_CONFIG, encoding="utf-8")


if __name__ == "__main__":
    main()
