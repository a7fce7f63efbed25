"""With which software steps and reports are made: the project's revision and the packages that matter."""

from __future__ import annotations

import subprocess

from bakeoff.plan.code_digests import PROJECT
from bakeoff.plan.machine import package_version

_PACKAGES = (
    *(
        "tensorflow",
        "jax",
        "torch",
        "keras",
        "keras-tuner",
        "tensorflow-datasets",
        "numpy",
        "pandas",
        "scikit-learn",
        "statsmodels",
    ),
    *("papermill", "nbconvert", "matplotlib", "seaborn"),
)


def package_versions() -> dict[str, str]:
    """Package -> installed version, of those that are installed."""
    found = {name: package_version(name) for name in _PACKAGES}
    return {name: version for name, version in found.items() if version != "missing"}


def revision() -> str:
    """The project's git revision, with "+changes" when files differ from it; "unknown" outside a repository."""
    try:
        head = _git("rev-parse", "HEAD")
        return head + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments],
        cwd=PROJECT,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=True,
        timeout=10,
    ).stdout.strip()
