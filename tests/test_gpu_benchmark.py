"""`python -m benchmarks gpu`, tried on the processor with its limits small, so that it works where a GPU is at hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bakeoff.errors import RequestError
from bakeoff.lab import preprocessing, transform
from bakeoff.lab.input_pipeline import Batches
from benchmarks import gpu, gpu_page, page
from tests.conftest import PROJECT

SMALL = ("--images", "64", "--seconds", "0", "--variants", "simple_cnn")


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "gpu", *words],
        cwd=PROJECT,
        capture_output=True,
        encoding="utf-8",
        check=False,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
    )


def test_it_measures_row_by_row_and_writes_the_page(tmp_path: Path) -> None:
    done = command(*SMALL, "--rows", "4", "--output", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    machine, *rows = record["rows"]
    assert machine["device"]["device"] == "cpu" and min(machine["limits"].values()) > 0
    assert len(machine["limits"]) == 6
    assert [row["way"] for row in rows] == ["ours", "bare", "device_batches"]
    for row in rows:
        assert "failure" not in row, (tmp_path / "gpu.log").read_text(encoding="utf-8")
        assert 0 < row["step_seconds"][1] <= row["step_seconds"][0] <= row["step_seconds"][2]
        assert row["chunks"] >= 3 and row["steps_in_epoch"] == 2
    assert rows[0]["compile_seconds"] > 0 and rows[1]["compile_seconds"] is None
    assert (tmp_path / "gpu.md").read_text(encoding="utf-8") == "\n".join(gpu_page.lines(record))
    assert "4 of 4 rows were measured." in done.stdout


def test_without_a_gpu_the_page_of_the_project_is_left_alone() -> None:
    first = {"backend": "jax", "rows": [{"device": {"device": "cpu"}}]}
    with pytest.raises(RequestError, match="jax finds no GPU here; name a folder by --output"):
        gpu._check_device(first, None)
    gpu._check_device(first, "a folder")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--variants", "simple_cn"), "did you mean 'simple_cnn'"),
        (("--data-dir", "/nowhere"), "there is no /nowhere"),
        (("--render", "/nowhere"), "/nowhere"),
    ],
)
def test_a_wrong_request_is_one_sentence(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([*words, "--output", "/nowhere"]) == 2
    out = capsys.readouterr().out
    assert said in out and out.count("\n") == 1


# ---------------------------------------------------------------- a device that fails


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The measuring process with another program in its place."""

    def put(program: str) -> list[dict[str, Any]]:
        folder = tmp_path / "benchmarks"
        folder.mkdir()
        (folder / "gpu_worker.py").write_text("import json, os, sys, time\n" + program, encoding="utf-8")
        monkeypatch.setattr(gpu, "PROJECT", tmp_path)
        rows = [gpu.Row("ours", name) for name in ("one", "two", "three")]
        record: dict[str, Any] = {"rows": [], "backend": "jax"}
        monkeypatch.setattr(gpu_page, "lines", lambda record: [])
        gpu._run(rows, {"environment": {}}, time.monotonic() + 20, tmp_path / "gpu.log", record, str(tmp_path))
        stored = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
        assert stored == json.loads(json.dumps(record))
        return record["rows"]

    return put


_TELL = """
found = {"step_seconds": [1, 1, 1], "compile_seconds": None}
for row in json.load(sys.stdin)["rows"]:
    if row["variant"] == "two":
        %s
    print("a library speaks", flush=True)
    print(json.dumps({"row": row, "found": found}), flush=True)
"""


def test_a_process_that_dies_costs_one_row(worker: Any) -> None:
    one, two, three = worker(_TELL % "os._exit(7)")
    assert "failure" not in one and "failure" not in three
    assert two["failure"] == "the process ended with 7; see gpu.log"


def test_a_row_that_hangs_is_given_up(worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "ROW_SECONDS", 1.0)
    one, two, three = worker(_TELL % "time.sleep(60)")
    assert "failure" not in one and "failure" not in three
    assert two["failure"] == "took too long and was given up"


def test_a_device_that_measures_nothing_is_given_up(worker: Any) -> None:
    assert [row["failure"] for row in worker("sys.exit(3)")] == ["the process ended with 3; see gpu.log"] * 3


# ---------------------------------------------------------------- the page


def _row(way: str, step: float, **settings: Any) -> dict[str, Any]:
    measured = {"step_seconds": [step, step, step], "chunks": 3, "batch_size": 32, "steps_in_epoch": 1563}
    return {
        **vars(gpu.Row(way, "simple_cnn", xla=True)),
        **measured,
        "compile_seconds": 2.0,
        "gflop": 1.0,
        "gigabytes": 0.03,
        **settings,
    }


RECORD: dict[str, Any] = {
    "date": "2026-11-27",
    "machine": "16 cores",
    "driver": "580",
    "backend": "jax",
    "versions": {"keras": "3"},
    "images": 50_000,
    "minutes": 4,
    "planned": 9,
    "rows": [
        {
            **vars(gpu.Row("machine")),
            "device": {"device": "gpu", "kind": "Some GPU"},
            "limits": {
                "copy, GB/s read and written": 3000.0,
                "product, TFLOP/s, float32 as it stands": 400.0,
                "product, TFLOP/s, bfloat16": 800.0,
            },
        },
        _row("ours", 1e-3),
        _row("device_batches", 5e-4),
        _row("one_call", 8e-5),
        _row("host_batches", 2e-4),
        _row("one_call", 6e-5, precision="mixed_bfloat16"),
        {**vars(gpu.Row("ours", "simple_cnn", steps_per_execution=50)), "failure": "ValueError: no"},
    ],
}


def test_the_page_says_what_was_measured_and_what_follows() -> None:
    text = "\n".join(gpu_page.lines(RECORD))
    assert "7 of 9 rows were measured; 2 were not reached in 4 minutes." in text
    assert "| simple_cnn | as it stands | an epoch in one call, images on the device | 0.080 ms |" in text
    assert "| 12.50 | 8.0 (memory) | 2.0 s |" in text  # 0.03 GB at 3 TB/s are 0.01 ms
    assert "steps_per_execution 50 | `fit`, Bakeoff's batches | not measured: ValueError: no |" in text
    assert "What surrounds a step limits" in text
    assert "- an epoch in one call: 12.50 times as fast" in text
    assert "mixed_bfloat16, an epoch in one call, images on the device: **6.0** times (at most 10: kept)" in text
    assert "Some GPU, driver 580; 16 cores; backend jax; keras 3; 2026-11-27." in text


def test_a_record_of_another_machine_is_written_into_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "RESULTS", tmp_path / "benchmarks.json")
    monkeypatch.setattr(page, "PAGE", tmp_path / "benchmarks.md")
    (tmp_path / "gpu.json").write_text(json.dumps(RECORD), encoding="utf-8")
    assert gpu.main(["--render", str(tmp_path / "gpu.json")]) == 0
    assert "\n".join(gpu_page.lines(RECORD)).rstrip() in page.PAGE.read_text(encoding="utf-8")


# ---------------------------------------------------------------- images on the device


def test_batches_on_the_device_are_those_that_were_drawn() -> None:
    from benchmarks.gpu_device import DeviceBatches, DeviceImages

    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (20, 8, 9, 3), np.uint8), random.integers(0, 10, 20)
    scale = transform.choose_channels(3, "gray", (0.3, 0.5, 0.2), "unit").scale(10, 20)
    view = preprocessing.View(images, labels, labels, np.arange(20), scale)
    augmentation = {"crop_padding": 2, "alternating_flip": True}
    batches = Batches(view, 5, num_outputs=10, shuffle=True, augmentation=augmentation)
    device = DeviceImages(batches, 10, one_hot=False)
    order, moves = device.draw(1, len(batches))
    assert sorted(order.ravel()) == list(range(20)) and set(moves[..., 2].ravel()) == {0, 1}
    inputs, encoded = DeviceBatches(device)[len(batches) + 2]  # step 2 of epoch 1
    for one, number, (down, right, mirrored) in zip(np.asarray(inputs), order[2], moves[2], strict=True):
        image = images[number][:, ::-1] if mirrored else images[number]
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect")
        assert np.allclose(one, scale(padded[None, down : down + 8, right : right + 9])[0], atol=1e-4)
    assert list(np.asarray(encoded)) == list(labels[order[2]])


def test_what_the_device_cannot_do_is_said() -> None:
    from benchmarks.gpu_device import DeviceImages

    images, labels = np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4, np.int64)
    view = preprocessing.View(images, labels, labels, np.arange(4), transform.Transform())
    with pytest.raises(ValueError, match="not changed by zoom"):
        DeviceImages(Batches(view, 2, num_outputs=10, augmentation={"zoom": 0.2}), 10, one_hot=False)


def test_real_images_are_read_from_parts(tmp_path: Path) -> None:
    from benchmarks.gpu_worker import read_arrays

    images, labels = np.arange(48, dtype=np.uint8).reshape(4, 2, 2, 3), np.array([[3], [1], [2], [0]])
    np.savez(tmp_path / "part_1.npz", x_train=images[:2], y_train=labels[:2], x_test=images, y_test=labels)
    np.savez(tmp_path / "part_2.npz", train_images=images[2:], train_labels=labels[2:, 0])
    for role in ("train", "test"):
        read, numbers = read_arrays(tmp_path, role)
        assert np.array_equal(read, images) and list(numbers) == [3, 1, 2, 0]
    with pytest.raises(ValueError, match="holds no arrays"):
        read_arrays(tmp_path / "part_2.npz", "test")
