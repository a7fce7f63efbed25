"""Make the kernelspec known to this environment's Jupyter: `python -m bakeoff.warm.install`."""

from __future__ import annotations

import sys

from jupyter_client.kernelspec import KernelSpecManager

from bakeoff.warm import JUPYTER_PATH, KERNEL


def main() -> None:
    """Put the kernelspec below this Python's own prefix, where `jupyter kernelspec list` finds it."""
    KernelSpecManager().install_kernel_spec(str(JUPYTER_PATH / "kernels" / KERNEL), KERNEL, prefix=sys.prefix)


if __name__ == "__main__":
    main()
