"""What of the machine this process may use: its container's share where there is one (cgroups, version 1 and 2)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_ROOT = Path("/")
# A version 1 group without a limit says a number close to 2**63.
_UNLIMITED = 2**60


def usable_cores(root: Path = _ROOT) -> int:
    """Cores that this process may keep busy: those it may run on, and no more than its container's quota; at least 1.

    A quota of 1.5 cores counts as 2: fewer threads would leave half a core idle.
    """
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for group in _groups("cpu", root) if (quota := _quota(group)) is not None]
    return max(1, min([here, *(math.ceil(quota - 1e-9) for quota in quotas)]))


def free_memory(root: Path = _ROOT) -> int:
    """Bytes that may still be used: what the machine has free, and no more than is left to the container."""
    import psutil

    rooms = [room for group in _groups("memory", root) if (room := _room(group)) is not None]
    return max(0, min([int(psutil.virtual_memory().available), *rooms]))


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of this process' group and of all above it, which limit it as well.

    Inside a container its own group is often mounted as the top one, whatever path the process has in it.
    """
    mount = root / "sys/fs/cgroup"
    top = mount if (mount / "cgroup.controllers").is_file() else mount / controller
    with suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            number, names, path = line.split(":", 2)
            if number == "0" if top == mount else controller in names.split(","):
                place = top / path.strip("/")
                yield from (group for group in [place, *place.parents] if group.is_relative_to(top) and group != top)
    yield top


def _quota(group: Path) -> float | None:
    """Cores by the group's quota; None where it has none."""
    with suppress(OSError, ValueError):
        quota, period = _words(group / "cpu.max")
        return None if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError):
        (quota,), (period,) = _words(group / "cpu.cfs_quota_us"), _words(group / "cpu.cfs_period_us")
        return int(quota) / int(period) if int(quota) > 0 else None
    return None


def _room(group: Path) -> int | None:
    """Bytes that a group has left below its limit, files that can be dropped included; None where it has none."""
    for limit, usage, inactive in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        with suppress(OSError, ValueError):
            (allowed,), (used,) = _words(group / limit), _words(group / usage)
            if allowed == "max" or int(allowed) >= _UNLIMITED:
                return None
            cached = dict(
                line.split() for line in (group / "memory.stat").read_text(encoding="utf-8").splitlines()
            ).get(inactive, "0")
            return int(allowed) - int(used) + int(cached)
    return None


def _words(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split()
