from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bakeoff.lab import files


def test_json_comes_back_and_knows_numpy_and_nan(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    files.write_json(
        path,
        {"n": np.int64(3), "x": np.float32(0.5), "nan": float("nan"), "a": np.arange(2), "t": (1,), "p": tmp_path},
    )
    assert files.read_json(path) == {"n": 3, "x": 0.5, "nan": None, "a": [0, 1], "t": [1], "p": str(tmp_path)}


def test_csv_keeps_every_digit(tmp_path: Path) -> None:
    frame = pd.DataFrame({"epoch": [1, 2], "loss": [0.1, 1 / 3]})
    files.write_csv(tmp_path / "history.csv", frame)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "history.csv"), frame, check_exact=True)


def test_arrays_come_back_and_equal_arrays_are_equal_bytes(tmp_path: Path) -> None:
    array = np.arange(6).reshape(2, 3)
    files.write_npy(tmp_path / "a.npy", array)
    assert np.array_equal(np.load(tmp_path / "a.npy", mmap_mode="r"), array)
    files.write_npz(tmp_path / "a.npz", one=array, two=array + 1)
    files.write_npz(tmp_path / "b.npz", one=array, two=array + 1)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as stored:
        assert np.array_equal(stored["two"], array + 1)


def test_a_failed_write_leaves_the_previous_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"good": True})
    with pytest.raises(TypeError):
        files.write_json(path, {"bad": object()})
    with pytest.raises(OSError, match="disk"), files.replacing(path) as temporary:
        temporary.write_text("{")
        raise OSError("disk full")
    assert files.read_json(path) == {"good": True}
    assert [child.name for child in tmp_path.iterdir()] == ["a.json"]


def test_the_temporary_file_has_the_suffix_and_the_folder_of_the_final_one(tmp_path: Path) -> None:
    with files.replacing(tmp_path / "model.keras") as temporary:
        assert temporary.suffix == ".keras"
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"x")
        assert not (tmp_path / "model.keras").exists()
    assert (tmp_path / "model.keras").read_bytes() == b"x"


def test_files_of_other_arguments_are_removed_and_of_the_same_kept(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("made.json", "deep/made.json", "other.json"):
        (tmp_path / name).write_text("{}")
    files.claim(tmp_path, {"a": (1, 2), "b": None}, ("made.json", "deep"))
    assert (tmp_path / "made.json").is_file()  # nothing says that it was made otherwise
    files.claim(tmp_path, {"b": None, "a": [1, 2]}, ("made.json", "deep"))
    assert (tmp_path / "made.json").is_file()
    files.claim(tmp_path, {"a": [1, 3], "b": None}, ("made.json", "deep", "never.json"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [files.ARGUMENTS, "other.json"]
