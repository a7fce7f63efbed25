"""Digests are worked out once a file version, whoever shares the cache and whatever became of its database."""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from bakeoff.store import digest_file, digests
from bakeoff.store.digests import NAME, DigestCache, cache_path


def _aged(path: Path, text: str) -> Path:
    """A file that was written a while ago, as nearly all are."""
    path.write_text(text)
    time.sleep(0.1)
    return path


def test_work_is_done_again_only_for_a_changed_file(tmp_path: Path) -> None:
    file, worked = _aged(tmp_path / "file", "one"), []

    def work(path: Path) -> str:
        worked.append(path)
        return path.read_text()

    cache = DigestCache(tmp_path / NAME)
    assert [cache.recall(file, "text", work) for _ in range(2)] == ["one", "one"]
    assert DigestCache(tmp_path / NAME).recall(file, "text", work) == "one"
    assert len(worked) == 1
    _aged(file, "three")
    assert DigestCache(tmp_path / NAME).recall(file, "text", work) == "three"


def test_a_change_is_seen_though_size_and_date_are_as_before(tmp_path: Path) -> None:
    file, cache = _aged(tmp_path / "file", "one"), DigestCache(tmp_path / NAME)
    stat = file.stat()
    assert cache.recall(file, "text", Path.read_text) == "one"
    file.write_text("two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert cache.recall(file, "text", Path.read_text) == "two"


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path) -> None:
    """It could change again within the same tick of the file system's clock."""
    file, cache = tmp_path / "file", DigestCache(tmp_path / NAME)
    file.write_text("one")
    assert cache.recall(file, "text", Path.read_text) == "one"
    assert cache.recall(file, "text", lambda _: "worked out again") == "worked out again"


def _recall_all(folder: Path) -> list[str]:
    cache = DigestCache(folder / NAME)
    return [cache.recall(path, "sha256", digest_file) for path in sorted(folder.glob("*.txt"))]


def test_processes_share_one_cache_and_lose_nothing(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"{number}.txt").write_text(str(number))
    time.sleep(0.1)
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(_recall_all, [tmp_path] * 4))
    assert all(each == found[0] for each in found)
    cache = DigestCache(tmp_path / NAME)
    assert [cache.recall(path, "sha256", lambda _: "lost") for path in sorted(tmp_path.glob("*.txt"))] == found[0]


@pytest.mark.parametrize("content", [b"{", b"SQLite format 3\0" + bytes(range(256)) * 40])
def test_a_broken_database_is_made_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    file = _aged(tmp_path / "file", "x")
    cache = DigestCache(tmp_path / NAME)
    assert [cache.recall(file, "text", Path.read_text) for _ in range(2)] == ["x", "x"]
    assert DigestCache(tmp_path / NAME).recall(file, "text", lambda _: "lost") == "x"


def test_where_nothing_can_be_written_work_is_done_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "no-folder").touch()
    assert DigestCache(tmp_path / "no-folder" / NAME).recall(tmp_path / "file", "text", Path.read_text) == "x"


def test_on_a_shared_drive_the_cache_lies_on_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_path(tmp_path / "runs") == tmp_path / "runs" / NAME
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "_is_on_network", lambda folder: True)
    assert cache_path(tmp_path / "runs").is_relative_to(tmp_path / "cache") or os.name != "posix"
