"""A container's share of the machine is what counts, as cgroups of both versions say it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from bakeoff.plan.resources import free_memory, usable_cores

MIB = 2**20


def _tree(root: Path, own: str, files: Mapping[str, str]) -> Path:
    """Files of /proc and /sys as Linux has them; `own` is /proc/self/cgroup."""
    for name, text in {
        "proc/self/cgroup": own,
        **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V2 = {"cgroup.controllers": "cpu memory\n"}


@pytest.mark.parametrize(
    ("own", "files"),
    [
        (
            "0::/\n",
            V2 | {"cpu.max": "50000 100000\n", "memory.max": f"{900 * MIB}\n", "memory.current": f"{300 * MIB}\n"},
        ),
        (
            "0::/pod/box\n",  # what limits it is the group above its own
            V2
            | {"pod/cpu.max": "50000 100000\n", "pod/box/cpu.max": "max 100000\n", "pod/box/memory.max": "max\n"}
            | {"pod/memory.max": f"{900 * MIB}\n", "pod/memory.current": f"{300 * MIB}\n"},
        ),
        (
            "4:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n",  # mounted as the top one
            {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}
            | {"memory/memory.limit_in_bytes": f"{900 * MIB}\n", "memory/memory.usage_in_bytes": f"{300 * MIB}\n"},
        ),
    ],
)
def test_quota_and_limit_of_a_container_count(tmp_path: Path, own: str, files: Mapping[str, str]) -> None:
    stats = {
        str(Path(name).with_name("memory.stat")): f"inactive_file {100 * MIB}\ntotal_inactive_file {100 * MIB}\n"
        for name in files
        if "memory." in name
    }
    root = _tree(tmp_path, own, {**files, **stats})
    assert usable_cores(root) == 1
    assert free_memory(root) == 700 * MIB  # files that can be dropped are not in use


@pytest.mark.parametrize(
    ("own", "files"),
    [
        ("", {}),
        ("0::/\n", V2 | {"cpu.max": "max 100000\n", "memory.max": "max\n", "memory.current": "5\n"}),
        (
            "3:cpu:/\n2:memory:/\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}
            | {"memory/memory.limit_in_bytes": "9223372036854771712\n", "memory/memory.usage_in_bytes": "5\n"},
        ),
    ],
)
def test_without_a_limit_the_machine_counts(tmp_path: Path, own: str, files: Mapping[str, str]) -> None:
    root = _tree(tmp_path, own, files)
    assert usable_cores(root) >= 1
    assert free_memory(root) > 100 * MIB
