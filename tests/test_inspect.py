"""--explain, --verify and --clean: what they say of a store that was changed on purpose, and what they leave alone."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from filelock import FileLock

from bakeoff.store import MANIFEST, Store, digest_file, digest_folder, digest_value, host_name, write_manifest
from bakeoff.store.equivalence import ABSOLUTE, RELATIVE, compare, is_duration
from bakeoff.store.last_made import LastMade
from bakeoff.store.verify import choose
from tests.conftest import PROJECT
from tests.stubs import LIGHT, SETTINGS, StubProject

BOTH = ("--variants", "stub_0,stub_1")


@dataclass(frozen=True)
class Place:
    """A copy of a finished run, and the command in it."""

    project: StubProject
    folder: Path

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def say(self, *arguments: str, settings: tuple[str, ...] = SETTINGS) -> tuple[int, str]:
        places = ["--runs-dir", str(self.runs), "--reports-dir", str(self.folder / "reports")]
        command = [sys.executable, str(self.project.root / "pipeline.py"), *arguments, *settings, *places]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=os.environ | LIGHT)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout + done.stderr

    def step(self, stage: str, variant: str = "stub_0") -> Path:
        """The folder of a variant's step."""
        key = LastMade(self.runs).key(variant, stage)
        return self.runs / stage / key[:32]

    def files(self) -> dict[str, str]:
        """Every file of the store with its digest, but for what is remembered about files and locks."""
        paths = [path for path in self.runs.rglob("*") if path.is_file() and "locks" not in path.parts]
        return {str(path): digest_file(path) for path in paths if not path.name.startswith("digests.sqlite")}


@pytest.fixture
def place(stub_run: tuple[StubProject, Path], tmp_path: Path) -> Place:
    project, folder = stub_run
    shutil.copytree(folder, tmp_path / "place")
    return Place(project, tmp_path / "place")


@pytest.fixture
def edited(place: Place, tmp_path: Path) -> Callable[[str, Callable[[list[dict[str, Any]]], None]], Place]:
    """The place with a notebook of its project changed."""

    def edit(notebook: str, change: Callable[[list[dict[str, Any]]], None]) -> Place:
        root = tmp_path / "edited"
        shutil.copytree(place.project.root, root)
        path = root / "notebooks" / f"{notebook}.ipynb"
        content = json.loads(path.read_text())
        change(content["cells"])
        path.write_text(json.dumps(content))
        return Place(StubProject(root), place.folder)

    return edit


# --explain


def test_what_is_done_is_said_to_be_done_and_nothing_is_written(place: Place) -> None:
    before = place.files()
    code, said = place.say("--explain", "stub_0")
    assert code == 0 and said.count(": done (") == 5, said
    assert said.splitlines()[-1] == "5 steps, 0 to run."
    assert place.files() == before


def test_a_changed_parameter_is_named_with_both_values_and_its_children_with_their_parent(place: Place) -> None:
    _, said = place.say("--explain", "stub_0", "--set", "learning_rate=0.5", "--set", "augmentation={shift: 0.25}")
    assert "    parameter learning_rate: 0.5, was 0.001" in said, said
    assert "    parameter augmentation: shift 0.25, was none" in said, said
    assert "    parent train: " in said and "(it has to run first)" in said
    assert "stub_0 load: done" in said and "5 steps, 4 to run." in said


def test_long_values_are_cut_where_they_differ(place: Place) -> None:
    from bakeoff.plan.explain import _shortened

    one, other = _shortened("a" * 200 + "b" + "c" * 200, "a" * 200 + "d" + "c" * 200)
    assert "b" in one and "d" in other and one != other and max(len(one), len(other)) < 70
    assert _shortened("5", "4") == ["5", "4"]


def test_changed_code_of_a_notebook_is_told_from_a_changed_sentence(edited: Callable[..., Place]) -> None:
    def change(cells: list[dict[str, Any]]) -> None:
        cells[-1]["source"] = f"number = 1\n{''.join(cells[-1]['source'])}"

    _, said = edited("5_train", change).say("--explain", "stub_0")
    assert "stub_0 train: to run, changed since 2" in said and "    code of its notebook: " in said, said
    assert "stub_0 build: done" in said


def test_a_page_that_alone_differs_is_named_with_its_cell(edited: Callable[..., Place]) -> None:
    names = []

    def change(cells: list[dict[str, Any]]) -> None:
        names.append(cells[0]["id"])
        cells[0]["source"] = "# Another title"

    _, said = edited("5_train", change).say("--explain", "stub_0")
    assert "stub_0 train: to run, but for its page alone: only the page key differs, the numbers stay" in said, said
    assert f"    cell {names[0]} of notebooks/5_train.ipynb" in said
    assert "5 steps, 1 to run." in said


@pytest.mark.parametrize(
    ("part", "name", "words"),
    [
        ("versions", "numpy", "package numpy: {now}, was before"),
        ("settings", "threads", "setting threads: {now}, was before"),
        ("code", "bakeoff.lab.gone", "code module bakeoff.lab.gone: none, was before"),
        ("resolved", "weights", "file of weights: none, was before"),
    ],
)
def test_whatever_a_key_is_made_of_is_named_when_it_differs(place: Place, part: str, name: str, words: str) -> None:
    folder = place.step("train")
    manifest = json.loads((folder / MANIFEST).read_text())
    now = manifest["key_inputs"][part].get(name)
    manifest["key_inputs"][part][name] = "before"
    key = digest_value(manifest["key_inputs"])
    other = folder.with_name(key[:32])
    folder.rename(other)
    write_manifest(other, {**manifest, "result_key": key})
    made = LastMade(place.runs)
    made.add(["stub_0"], "train", key)
    made.close()
    _, said = place.say("--explain", "stub_0")
    assert f"    {words.format(now=now)}\n" in said, said


def test_a_file_that_is_gone_or_cut_is_named_with_its_path(place: Place) -> None:
    path = place.step("train") / "training.json"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    _, said = place.say("--explain", "stub_0")
    assert f"    {path} has {size - 1} bytes, not {size}" in said, said
    path.unlink()
    assert f"    {path} is gone" in place.say("--explain", "stub_0")[1]


def test_what_was_never_made_and_what_was_forced_are_said_to_be(place: Place) -> None:
    assert "stub_0 load: to run, because --force names it" in place.say("--explain", "stub_0", "--force", "load")[1]
    shutil.rmtree(place.runs)
    _, said = place.say("--explain", "stub_0")
    assert said.count("to run, new: nothing that it could be compared with was made before") == 5, said


# --verify


def test_every_step_that_is_as_recorded_passes(place: Place) -> None:
    code, said = place.say("--verify", *BOTH)
    assert code == 0 and "; 0 are not." in said, said
    assert said.count("files as recorded") == 12, said  # five stages twice, background and comparison


@pytest.mark.parametrize("name", ["train/training.json", "load/train_images.npy", "evaluate/notebook.ipynb"])
def test_a_flipped_bit_is_found_and_its_path_said(place: Place, name: str) -> None:
    path = place.step(name.split("/")[0]) / name.split("/")[1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    code, said = place.say("--verify", *BOTH)
    assert code == 1 and f"OFF, {path} has other bytes than those recorded" in said, said
    assert "; 1 are not." in said
    path.unlink()
    assert f"OFF, {path} is gone" in place.say("--verify", *BOTH)[1]


def test_a_manifest_that_was_edited_or_cut_is_found(place: Place) -> None:
    path = place.step("train") / MANIFEST
    text = path.read_text()
    manifest = json.loads(text)
    manifest["key_inputs"]["parameters"]["epochs"] = 99
    write_manifest(path.parent, manifest)
    code, said = place.say("--verify", *BOTH)
    assert code == 1 and f"{path} does not say what the step's key was made of" in said, said
    path.write_text(text[:-10])
    assert f"{path} cannot be read" in place.say("--verify", *BOTH)[1]


def test_a_store_without_a_step_of_the_plan_cannot_be_verified(place: Place) -> None:
    code, said = place.say("--verify", *BOTH, "--set", "data_seed=77")
    assert code == 0 and "background" in said  # the background is of every plan
    shutil.rmtree(place.runs)
    code, said = place.say("--verify", *BOTH)
    assert code == 2 and "nothing to verify" in said, said


def _falsify(folder: Path, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a JSON file of a step and its digest beside it, so that only making it again can tell."""
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = [digest_file(folder / name), (folder / name).stat().st_size]
    write_manifest(folder, manifest)


def test_steps_made_again_give_the_same_bits_and_a_false_number_is_found(place: Place) -> None:
    before = place.files()
    code, said = place.say("--verify", *BOTH, "--sample", "20")
    assert code == 0 and "10 steps rerun: 10 the same bits, 0 the same numbers, 0 differ." in said, said
    assert place.files() == before
    _falsify(place.step("train"), "training.json", lambda content: content.update(train_accuracy=0.999))
    _falsify(place.step("train", "stub_1"), "training.json", lambda content: content.update(train_seconds=0.999))
    _falsify(place.step("evaluate"), "metrics.json", lambda content: content.update(test_accuracy=0.999))
    assert place.say("--verify", *BOTH)[0] == 0
    code, said = place.say("--verify", *BOTH, "--sample", "20")
    assert code == 1 and "again train stub_0: DIFFERS, training.json: train_accuracy is " in said, said
    assert ", was 0.999" in said and "again train stub_1: same numbers (training.json)" in said
    assert said.endswith("7 the same bits, 1 the same numbers, 2 differ. First stage that differs: train.\n"), said


def test_a_sample_is_the_same_each_time_and_leaves_out_children_of_what_is_off(place: Place) -> None:
    (place.step("load") / "train_images.npy").unlink()
    chosen = [place.say("--verify", *BOTH, "--sample", "2")[1] for _ in range(2)]
    again = [[line.split(":")[0] for line in said.splitlines() if line.startswith("again ")] for said in chosen]
    assert again[0] == again[1] and len(again[0]) == 2
    assert not [name for name in again[0] if "stub_0" in name]


def test_a_sample_of_three_retrains_something_and_the_seed_decides_what(place: Place) -> None:
    """Trainings are dear here, as they are in life."""
    for folder in (place.step("train"), place.step("train", "stub_1")):
        manifest = json.loads((folder / MANIFEST).read_text())
        write_manifest(folder, {**manifest, "seconds": 3600.0})
    _, said = place.say("--verify", *BOTH, "--sample", "3")
    assert said.count("again train ") >= 1 and "3 steps rerun" in said, said


def test_seeds_draw_other_samples(place: Place) -> None:
    store, steps = Store(place.runs), []
    for path in sorted(place.runs.glob(f"*/*/{MANIFEST}")):
        manifest = json.loads(path.read_text())
        stage, parents = SimpleNamespace(name=manifest["stage"]), list(manifest["inputs"].items())
        steps.append(SimpleNamespace(stage=stage, name=(manifest["stage"], manifest["result_key"]), parents=parents))
    made: Any = [step for step in steps if step.stage.name not in ("background", "compare")]
    chosen = [tuple(step.name for step in choose(made, store, 3, seed)) for seed in range(20)]
    assert len(set(chosen)) > 3 and all(any(stage == "train" for stage, _ in names) for names in chosen)
    assert place.say("--verify", *BOTH, "--seed", "2")[0] == 2  # says something to --sample only


def test_a_wrong_remembered_digest_is_found(place: Place) -> None:
    path = place.step("train") / "training.json"
    with closing(sqlite3.connect(place.runs / "digests.sqlite")) as known:
        changed = known.execute("update known set value = ? where purpose = 'sha256' and file = ?", ('"0"', str(path)))
        if not changed.rowcount:
            stat = path.stat()
            stamp = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"
            known.execute("insert into known values ('sha256', ?, ?, ?)", (str(path), stamp, '"0"'))
        known.commit()
    code, said = place.say("--verify", *BOTH)
    assert code == 1 and f"OFF, {path} has another digest than the one remembered" in said, said


@pytest.mark.parametrize("bit", [0, 4])
def test_a_flipped_bit_of_a_manifest_is_found(place: Place, bit: int) -> None:
    path = place.step("train") / MANIFEST
    text = path.read_bytes()
    at = text.index(b'"seconds": ') + len(b'"seconds": ')
    path.write_bytes(text[:at] + bytes([text[at] ^ 1 << bit]) + text[at + 1 :])
    code, said = place.say("--verify", *BOTH)
    assert code == 1 and f"OFF, {path} cannot be read, or is not as it was written" in said, said


# Two files beside each other


def _two(folder: Path, name: str, one: bytes, other: bytes) -> str:
    for part, content in (("one", one), ("other", other)):
        (folder / part).mkdir(exist_ok=True)
        (folder / part / name).write_bytes(content)
    return compare(folder / "one", folder / "other", [name]).same


def _npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _keras(weight: float, date: str) -> bytes:
    weights, archive = io.BytesIO(), io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["layers/dense/vars/0"] = np.array([weight, 1.0])
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("metadata.json", json.dumps({"date_saved": date}))
        file.writestr("config.json", json.dumps({"layers": [{"shared_object_id": int(date)}]}))
        file.writestr("model.weights.h5", weights.getvalue())
    return archive.getvalue()


NEAR = 1 + RELATIVE / 2
FAR = 1 + RELATIVE * 3


@pytest.mark.parametrize(
    ("name", "one", "near", "far"),
    [
        ("a.json", b'{"x": [0.5, 1]}', f'{{"x": [{0.5 * NEAR}, 1]}}'.encode(), f'{{"x": [{0.5 * FAR}, 1]}}'.encode()),
        ("a.json", b'{"seconds": 1}', b'{"seconds": 2}', b'{"second": 1}'),
        ("a.json", b'{"x": 1}', b'{"x":1}', b'{"x":2}'),
        ("a.json", b'{"x": true}', b'{"x":true}', b'{"x":1}'),
        ("a.csv", b"x,seconds\n0.5,1\n", f"x,seconds\n{0.5 * NEAR},9\n".encode(), b"x,seconds\n0.6,1\n"),
        ("a.csv", b"x\n1\n", b"x\r\n1\r\n", b"x\n1\n1\n"),
        ("a.npz", _npz(p=np.array([0.5])), _npz(p=np.array([0.5 * NEAR])), _npz(p=np.array([0.5 * FAR]))),
        ("a.npz", _npz(n=np.array([1])), _npz(n=np.array([1]), seconds=np.array([1])), _npz(n=np.array([2]))),
        ("a.npy", _npy(np.array([np.nan, 0.5])), _npy(np.array([np.nan, 0.5 * NEAR])), _npy(np.array([0.0, 0.5]))),
        ("a.keras", _keras(0.5, "1"), _keras(0.5 * NEAR, "2"), _keras(0.5 * FAR, "1")),
        ("a.txt", b"x", b"x", b"y"),
    ],
)
def test_numbers_within_the_tolerance_are_the_same_and_others_are_not(
    tmp_path: Path, name: str, one: bytes, near: bytes, far: bytes
) -> None:
    assert _two(tmp_path, name, one, one) == "bits"
    expected = {"a.txt": "bits"}.get(name, "no" if b"seconds" in near and name == "a.npz" else "numbers")
    assert _two(tmp_path, name, one, near) == expected
    assert _two(tmp_path, name, one, far) == "no"


def test_a_file_that_cannot_be_read_is_no_match(tmp_path: Path) -> None:
    assert _two(tmp_path, "a.npz", _npz(n=np.array([1])), b"no archive") == "no"
    assert _two(tmp_path, "a.json", b"{}", b"{") == "no"


def test_the_tolerance_and_the_names_of_durations_are_those_that_are_published() -> None:
    text = (PROJECT / "docs" / "how-it-works.md").read_text()
    published = re.search(r"(\S+) \+ (\S+) times the recorded", " ".join(text.split()))
    assert published and (float(published[1]), float(published[2])) == (ABSOLUTE, RELATIVE)
    durations = ("seconds", "train_seconds", "milliseconds_per_image", "images_per_second")
    assert all(map(is_duration, durations)) and not is_duration("secondary")


# --clean


def _clean(place: Place, *arguments: str) -> tuple[int, str]:
    return place.say("--clean", *arguments)


def test_a_store_whose_steps_are_all_needed_loses_nothing(place: Place) -> None:
    before = place.files()
    code, said = _clean(place, "--yes")
    assert code == 0 and "Nothing else is in the store." in said, said
    assert "Kept: 12 folders" in said and "the plans of all variants in smoke with dataset=shapes10" in said
    assert place.files() == before


def test_what_no_plan_needs_is_shown_largest_first_and_goes_only_when_told(place: Place) -> None:
    gone = [place.step(stage, "stub_1") for stage in ("load", "train", "evaluate")]
    kept = place.step("load")
    before = place.files()
    code, said = _clean(place, "--variants", "stub_0")
    assert code == 0 and "the same command with --yes removes them" in said, said
    assert all(str(path.relative_to(place.runs)) in said for path in gone)
    assert "last made for stub_1" in said
    sizes = [_bytes(line) for line in said.splitlines() if "  (" in line]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) > 5
    assert place.files() == before
    code, said = _clean(place, "--variants", "stub_0", "--yes")
    assert code == 0 and "Removed " in said, said
    assert not any(path.exists() for path in gone) and kept.is_dir()
    assert place.say("--verify", "--variants", "stub_0")[0] == 0
    assert place.say("--explain", "stub_0")[1].count(": done (") == 5


def _bytes(line: str) -> float:
    number, unit = line.split()[:2]
    return float(number) * {"bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]


def test_a_comparison_by_other_code_is_not_needed(place: Place) -> None:
    (path,) = (place.runs / "compare").glob(f"*/{MANIFEST}")
    manifest = json.loads(path.read_text())
    manifest["key_inputs"]["code"]["notebook"] = "0"
    write_manifest(path.parent, manifest)
    assert f"compare/{path.parent.name}  (no plan needs it; made 2" in _clean(place)[1]


def test_what_dead_runs_left_goes_and_what_a_live_run_makes_stays(place: Place) -> None:
    dead, live = (place.runs / ".staging" / f"{host_name()}_{number}_0" for number in (1, 2))
    for folder in (dead, live):
        (folder / "train-1").mkdir(parents=True)
    failed = place.runs / "failed" / f"train-{place.step('train').name}.ipynb"
    failed.parent.mkdir()
    failed.write_text("{}")
    features = place.runs / "shared" / ("c" * 16)
    features.mkdir(parents=True)
    (features / "features-1.npz").write_bytes(bytes(1000))
    lock = place.runs / "locks" / f"train-{'d' * 32}.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.touch()
    with FileLock(live.with_name(f"{live.name}.lock")):
        code, said = _clean(place)
        assert code == 0 and f".staging/{dead.name}  (left by a run that was stopped)" in said, said
        assert all(str(path.relative_to(place.runs)) in said for path in (failed, features, lock))
        code, said = _clean(place, "--yes")
        assert code == 0 and "1 finished steps stay, since a run is going on" in said, said
        assert not dead.exists() and live.is_dir() and features.is_dir() and not failed.exists() and not lock.exists()
    code, said = _clean(place, "--yes")
    assert not live.exists() and not features.exists(), said


def test_a_lock_that_a_run_holds_is_never_taken_away(place: Place) -> None:
    held = place.runs / "locks" / f"train-{'e' * 32}.lock"
    held.parent.mkdir(exist_ok=True)
    with FileLock(held):
        _clean(place, "--yes")
        assert held.exists()


def test_a_run_that_writes_its_report_counts_as_running(place: Place, edited: Callable[..., Place]) -> None:
    """The first thing that the report does is slow here; no step is being made by then."""
    slow = edited("7_compare", lambda cells: None)
    page = slow.project.root / "bakeoff" / "report" / "html.py"
    page.write_text(page.read_text() + "\nimport time, pathlib\npathlib.Path('writing').touch()\ntime.sleep(20)\n")
    shutil.rmtree(place.folder / "reports")
    process = slow.project.start(place.folder, ["stub_0"], "--no-pdf")
    while not (slow.project.root / "writing").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    _, said = _clean(place, "--variants", "stub_0", "--yes")
    process.kill()
    process.communicate()
    assert "finished steps stay, since a run is going on" in said, said


def test_work_that_the_next_run_goes_on_from_stays(place: Place) -> None:
    train = place.step("train")
    checkpoint, old = (place.runs / "checkpoints" / f"train-{name}" for name in (train.name, "a" * 32))
    for folder in (checkpoint, old):
        folder.mkdir(parents=True)
        (folder / "unfinished.npz").write_bytes(bytes(10))
    (train / MANIFEST).unlink()
    code, said = _clean(place, "--yes")
    assert code == 0 and f"Kept: {checkpoint}, not finished; the next run goes on from it." in said, said
    assert checkpoint.is_dir() and not old.exists() and not train.exists()


def test_what_a_step_s_record_names_is_never_a_leftover(place: Place) -> None:
    """An earlier version recorded what an interrupted execution had left, and then took it away."""
    train = place.step("train")
    for name in ("failed.ipynb", ".history.1.partial.csv"):
        (train / name).write_text("{}")
    manifest = json.loads((train / MANIFEST).read_text())
    write_manifest(train, {**manifest, "files": digest_folder(train)})
    (train / "other.partial").write_text("x")
    code, said = _clean(place, "--yes")
    assert code == 0 and not (train / "other.partial").exists(), said
    assert place.say("--verify", *BOTH)[0] == 0


def test_links_are_not_followed_and_nothing_else_is_touched(place: Place, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / ("e" * 32)).mkdir(parents=True)
    (outside / ("e" * 32) / "precious.txt").write_text("x")
    shutil.rmtree(place.runs / "search", ignore_errors=True)
    (place.runs / "search").symlink_to(outside)
    (place.runs / "train" / ("f" * 32)).symlink_to(outside / ("e" * 32))
    partial = place.runs / "train" / ("0" * 32)
    partial.mkdir()
    (partial / "link").symlink_to(outside)
    mine = [place.runs / "by_hand" / "train" / "x.txt", place.runs / "train" / "notes.txt", place.runs / "my.txt"]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    old, new = (place.runs / "by_hand" / f"5_train-{name}" for name in ("abcdefgh", "ijklmnop"))
    for path in (old, new):
        path.mkdir()
    os.utime(old, (0, 0))
    code, said = _clean(place, "--yes")
    assert code == 0 and not partial.exists(), said
    assert not old.exists() and new.exists(), "what somebody began today by hand may be open"
    assert (outside / ("e" * 32) / "precious.txt").read_text() == "x"
    assert all(path.read_text() == "mine" for path in mine)
    assert (place.runs / "search").is_symlink() and (place.runs / "train" / ("f" * 32)).is_symlink()


def test_steps_of_data_that_cannot_be_found_now_stay(place: Place) -> None:
    """A run on cifar10 with the data elsewhere: nobody may lose it because a variable is not set today."""
    load = place.step("load")
    manifest = json.loads((load / MANIFEST).read_text())
    manifest["key_inputs"]["parameters"]["dataset"] = "cifar10"
    manifest["key_inputs"]["resolved"]["dataset"] = "1" * 64
    key = digest_value(manifest["key_inputs"])
    other = load.with_name(key[:32])
    shutil.copytree(load, other)
    write_manifest(other, {**manifest, "result_key": key})
    code, said = place.say("--clean", "--yes", settings=())
    assert code == 0 and f"Kept: {other}, made with cifar10, which cannot be found now." in said, said
    assert other.is_dir() and "stub" not in said.split("Kept:")[0].split("(")[0]
    assert {"smoke: ", "quick: ", "evening: ", "full: "} <= {f"{line.split(':')[0]}: " for line in said.splitlines()}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--verify", "--clean"), "--verify and --clean: ask for one at a time"),
        (("--all", "--yes"), "--yes says something to --clean only"),
        (("--all", "--sample", "2"), "--sample says something to --verify only"),
        (("--explain", "stub_0", "--all"), "--explain names its variant itself"),
        (("--explain", "stub_9"), "there is no variant 'stub_9'; did you mean"),
        (("--verify", "--all", "--variants", "stub_0"), "not both"),
        (("--claims",), "say what to run"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_exit_code_2(place: Place, arguments: tuple[str, ...], words: str) -> None:
    code, said = place.say(*arguments)
    assert code == 2 and words in said, said
