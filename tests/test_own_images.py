"""Own images from the command to the report: what they are called, what keys hold, what is refused at once."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from bakeoff.errors import RequestError
from bakeoff.lab import data
from bakeoff.plan.own_images import Own, find
from bakeoff.plan.resolve import NOT_HERE, Resolver
from bakeoff.store import Store
from tests.conftest import Workplace
from tests.image_folders import write_folder


def found(wanted: str, tmp_path: Path, skip_broken: bool = False) -> Own:
    return find(wanted, Store(tmp_path / "runs").digests(), tmp_path / "data", skip_broken)


def test_the_digest_is_of_names_and_bytes_wherever_they_lie(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "own")
    first = found(f"folder:{folder}", tmp_path)
    assert (first.name, first.parameter, first.class_names) == ("folder:own", "folder:own", ("2", "10", "Ämter & Co"))
    assert first.packages == ("pillow",)
    shutil.copytree(folder, tmp_path / "elsewhere" / "own")
    assert found(f"folder:{tmp_path}/elsewhere/own", tmp_path).digest == first.digest
    (folder / "2" / "image 0.jpg").rename(folder / "10" / "moved.jpg")
    moved = found(f"folder:{folder}", tmp_path)
    shutil.copy(folder / "2" / "image 2.jpg", folder / "2" / "image 4.jpg")
    assert len({first.digest, moved.digest, found(f"folder:{folder}", tmp_path).digest}) == 3


def test_the_form_of_images_is_known_before_they_are_loaded(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "own")
    np.savez(tmp_path / "gray.npz", x_train=np.zeros((30, 9, 7), np.uint8), y_train=np.arange(30) % 3)
    resolver = Resolver(Store(tmp_path / "runs"), "quick", tmp_path / "data", print)
    for wanted in (f"folder:{folder}", f"npz:{tmp_path}/gray.npz", "shapes10"):
        known = resolver.dataset(wanted)
        loaded = data.load(wanted, tmp_path / "load", max_train_examples=20, max_test_examples=5, seed=0)
        assert (known.image_shape, known.num_classes) == (loaded.image_shape, loaded.num_classes)


def test_the_digest_of_a_table_covers_its_labels(tmp_path: Path) -> None:
    folder, digests = write_folder(tmp_path / "own", names=("images",), each=4), set()
    for labels in ("aabb", "abab"):
        rows = [f"images/image {k}{('.jpg', '.PNG')[k % 2]},{label}" for k, label in enumerate(labels)]
        (folder / "labels.csv").write_text("\n".join(["image,label", *rows]), encoding="utf-8")
        digests.add(found(f"csv:{folder}/labels.csv", tmp_path).digest)
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("foldr:own", "begins with no kind of images; did you mean 'folder'?"),
        ("folder:nowhere", "there is no folder and no .zip file .*nowhere; write folder: and its path"),
        ("npz:nowhere.npz", "there is no file .*nowhere.npz; write npz: and its path"),
        ("csv:.", "there is no file"),
        ("hf:../../etc", "is no name on the Hugging Face hub; write hf:OWNER/NAME"),
    ],
)
def test_what_is_not_there(tmp_path: Path, wanted: str, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        found(wanted, tmp_path)


def test_what_was_downloaded_from_the_hub_lies_with_the_prepared_data(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data" / "hf" / "some_one" / "leaf-kinds", names=("train",), each=6)
    rows = [f"train/image {k}{('.jpg', '.PNG')[k % 2]},{'ab'[k % 2]}" for k in range(6)]
    (folder / "labels.csv").write_text("\n".join(["image,label", *rows]), encoding="utf-8")
    own = found("hf:some_one/leaf-kinds", tmp_path)
    assert (own.name, own.parameter, own.class_names) == (
        "hf:some_one/leaf-kinds",
        "hf:some_one/leaf-kinds",
        ("a", "b"),
    )
    resolver = Resolver(Store(tmp_path / "runs"), "quick", tmp_path / "data", print)
    assert resolver.dataset("hf:some_one/leaf-kinds").digest == own.digest
    assert resolver.dataset("hf:some_one/else").digest == NOT_HERE


def test_a_thousand_images_with_a_broken_one_are_refused_within_seconds(workplace: Workplace) -> None:
    folder = write_folder(workplace.root / "own", names=("a", "b"), each=500, sizes=((60, 80),))
    (folder / "b" / "image 499.PNG").write_bytes(b"text")
    asked = ("--variants", "simple_cnn", "--profile", "smoke", "--set", f"dataset=folder:{folder}")
    began = time.monotonic()
    done = workplace.run(*asked)
    assert done.returncode == 2 and time.monotonic() - began < 30  # 5 s on a machine that does nothing else
    assert "b/image 499.PNG is no image" in done.stderr and done.stderr.count("\n") == 1
    assert not workplace.reports.exists()
    assert workplace.run(*asked, "--set", "skip_broken=true", "--dry-run").returncode == 0


def test_a_folder_of_uneven_images_to_a_report(prepared_workplace: Workplace) -> None:
    """3 classes of 50, PNG and JPG of several sizes; a path with spaces; the same key from another folder."""
    workplace = prepared_workplace
    place = workplace.root / "my images"
    folder = write_folder(place / "leaf kinds", each=50, sizes=((20, 24), (20, 24), (31, 17), (64, 64)))
    (folder / "10" / "notes.jpg").write_text("no image", encoding="utf-8")
    asked = ("--variants", "ann", "--profile", "smoke", "--set", "skip_broken=true")
    done = workplace.run(*asked, "--set", f"dataset=folder:{folder}", "--no-pdf", timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Data: folder:leaf kinds." in done.stdout
    (load,) = workplace.runs.glob("load/*/step.json")
    record = json.loads(load.read_text(encoding="utf-8"))
    assert record["key_inputs"]["versions"].keys() == {"python", "numpy", "pillow"}
    assert str(place) not in json.dumps([record["parameters"], record["key_inputs"]])
    described = json.loads((load.parent / "dataset.json").read_text(encoding="utf-8"))
    assert described["image_shape"] == [20, 24, 3]
    assert described["available"] == {"train": 120, "test": 30}
    report = workplace.reports / "smoke-selection"
    page = (report / "report.html").read_text(encoding="utf-8")
    words = re.sub(r"<[^>]+>|\s+", " ", page)
    for said in ("folder:leaf kinds", "random fifth of its training images", "resized to 20 x 24", "10/notes.jpg"):
        assert said in words, said
    assert not any(str(place) in path.read_text(encoding="utf-8") for path in report.rglob("*.*") if _is_text(path))
    row = workplace.results("smoke-selection")["ann"]
    assert (row["dataset"], row["status"], row["test_images"]) == ("folder:leaf kinds", "ok", "30")
    assert "tested on a held-out fifth of the training images" in row["limited"]
    shutil.move(place, workplace.root / "moved")
    again = workplace.run(*asked, "--set", f"dataset=folder:{workplace.root}/moved/leaf kinds", "--dry-run")
    assert "0 to run" in again.stdout


def _is_text(path: Path) -> bool:
    return path.suffix in (".html", ".csv", ".json", ".ipynb")
