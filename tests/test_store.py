"""The store: what counts as a step, and what damage is found."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from bakeoff.store import MANIFEST, Store, digest_value, write_atomically
from tests.stubs import commit


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def _make(store: Store) -> str:
    key = digest_value({"epochs": 3})
    folder = store.folder("train", key)
    (folder / "deep").mkdir(parents=True)
    (folder / "history.csv").write_text("epoch\n1\n")
    (folder / "deep" / "model.keras").write_bytes(bytes(1000))
    commit(store, "train", key, {"page_key": "p"})
    return key


def test_a_step_without_manifest_is_no_step(store: Store) -> None:
    key = _make(store)
    assert store.complete_manifest("train", key) is not None
    (store.folder("train", key) / MANIFEST).unlink()
    assert store.complete_manifest("train", key) is None


def test_every_file_is_recorded_with_digest_and_size(store: Store) -> None:
    manifest = store.complete_manifest("train", _make(store))
    assert manifest is not None
    assert set(manifest["files"]) == {"history.csv", "deep/model.keras"}
    assert manifest["files"]["deep/model.keras"][1] == 1000


def test_a_truncated_file_is_no_step(store: Store) -> None:
    key = _make(store)
    (store.folder("train", key) / "history.csv").write_text("")
    assert store.complete_manifest("train", key) is None


def test_a_flipped_bit_is_found(store: Store) -> None:
    key = _make(store)
    assert store.first_bad_file("train", key) is None
    path = store.folder("train", key) / "deep" / "model.keras"
    stat = path.stat()
    path.write_bytes(b"\x01" + bytes(999))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert store.first_bad_file("train", key) == "deep/model.keras"


def test_a_parent_of_many_is_read_once_and_no_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before, each child had all its parents' files read: 47 minutes for 6 000 rows on CIFAR-10."""
    key = _make(store)
    time.sleep(0.1)
    assert store.first_bad_file("train", key, digests=store.digests()) is None
    monkeypatch.setattr("bakeoff.store.digest_file", lambda path: pytest.fail(f"{path} is read again"))
    assert store.first_bad_file("train", key, digests=store.digests()) is None
    monkeypatch.undo()
    path = store.folder("train", key) / "deep" / "model.keras"
    path.write_bytes(b"\x01" + bytes(999))
    assert store.first_bad_file("train", key, digests=store.digests()) == "deep/model.keras"


def test_a_manifest_in_another_steps_folder_is_no_step(store: Store) -> None:
    key = _make(store)
    other = digest_value({"epochs": 4})
    store.folder("train", key).rename(store.folder("train", other))
    assert store.complete_manifest("train", other) is None


def test_removing_forgets(store: Store) -> None:
    key = _make(store)
    store.discard(store.folder("train", key))
    assert store.complete_manifest("train", key) is None
    assert not store.folder("train", key).exists()


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\udcff")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_equal_values_have_equal_digests() -> None:
    assert digest_value({"a": 1, "b": [1.5, "x"]}) == digest_value({"b": [1.5, "x"], "a": 1})
    assert digest_value({"a": 1}) != digest_value({"a": 1.5})
