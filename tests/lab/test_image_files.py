"""Image files as a data set: folders, archives and tables; and the sentence for what cannot be used."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bakeoff.lab import data
from bakeoff.lab.image_files import decode, look_at
from bakeoff.lab.plots import images as sentences
from tests.image_folders import FORMATS, bright, sixteen_bits, write_folder, write_image


def loaded(path: Path, kind: str = "folder", skip_broken: bool = False) -> data.Dataset:
    limits = {"max_train_examples": None, "max_test_examples": None, "seed": 0}
    return data.load(f"{kind}:{path}", path.parent / "load", skip_broken=skip_broken, **limits)


def test_a_subfolder_a_class_with_a_stratified_fifth_held_out(tmp_path: Path) -> None:
    dataset = loaded(write_folder(tmp_path / "amts-blatt"))
    assert (dataset.name, dataset.kind, dataset.test_split) == ("folder:amts-blatt", "folder", "train")
    assert dataset.class_names == ("2", "10", "Ämter & Co")
    assert (len(dataset.train), dataset.available) == (24, {"train": 24, "test": 6})
    assert np.bincount(dataset.test.labels).tolist() == [2, 2, 2]
    assert not {*dataset.train.ids} & {*dataset.test.ids}
    for part in (dataset.train, dataset.test):
        assert np.array_equal(bright(part.images) // 70, part.labels)
        folders = [str(name).partition("/")[0] for name in part.ids]
        assert folders == [dataset.class_names[label] for label in part.labels]
    assert dataset.train.labels.tolist() != sorted(dataset.train.labels.tolist())


def test_images_of_several_sizes_are_given_the_commonest_and_that_is_said(tmp_path: Path) -> None:
    dataset = loaded(write_folder(tmp_path / "own", formats=FORMATS))
    assert dataset.image_shape == (20, 24, 3)
    counts = [int(note.split()[0]) for note in dataset.notes]
    assert sum(counts) == 9 and all("resized to 20 x 24 pixels" in note for note in dataset.notes)
    words = sentences.loaded_words(dataset)
    assert "image files in folders, folder:own" in words and "random fifth of its training images" in words


def test_large_images_become_smaller(tmp_path: Path) -> None:
    assert loaded(write_folder(tmp_path / "own", each=3, sizes=((512, 300),))).image_shape == (256, 150, 3)


def test_gray_images_have_one_channel_unless_others_have_colour(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "own", each=4, mode="L")
    assert loaded(folder).image_shape[-1] == 1
    write_image(folder / "2" / "colour.png", 3)
    shutil.rmtree(tmp_path / "load")
    assert loaded(folder).image_shape[-1] == 3


@pytest.mark.parametrize(("tested", "split"), [("test", "test"), ("Validation", "validation"), ("val", "validation")])
def test_folders_of_splits(tmp_path: Path, tested: str, split: str) -> None:
    write_folder(tmp_path / "own" / "train", each=6)
    write_folder(tmp_path / "own" / tested, each=2)
    dataset = loaded(tmp_path / "own")
    assert (len(dataset.train), len(dataset.test), dataset.test_split) == (18, 6, split)


def test_validation_images_beside_test_images_are_not_used_and_that_is_said(tmp_path: Path) -> None:
    for name, each in (("train", 6), ("test", 2), ("valid", 1)):
        write_folder(tmp_path / "own" / name, each=each)
    dataset = loaded(tmp_path / "own")
    assert len(dataset.test) == 6
    assert "Its 3 validation images are not used." in dataset.notes


def test_an_archive_with_a_folder_around_all_of_it(tmp_path: Path) -> None:
    write_folder(tmp_path / "packed" / "flowers")
    (tmp_path / "packed" / "__MACOSX").mkdir()
    write_image(tmp_path / "packed" / "__MACOSX" / "2" / "._image.png", 0)
    (tmp_path / "packed" / "flowers" / "README.txt").write_text("flowers", encoding="utf-8")
    shutil.make_archive(str(tmp_path / "flowers"), "zip", tmp_path / "packed")
    dataset = loaded(tmp_path / "flowers.zip")
    assert dataset.class_names == ("2", "10", "Ämter & Co")
    assert len(dataset.train) == 24
    assert "Files that are not read as images: 1 .txt." in dataset.notes


def test_a_folder_of_a_class_may_have_folders(tmp_path: Path) -> None:
    write_image(write_folder(tmp_path / "own") / "2" / "more" / "deep" / "image.png", 5)
    dataset = loaded(tmp_path / "own")
    assert np.bincount(np.concatenate([dataset.train.labels, dataset.test.labels])).tolist() == [11, 10, 10]


def test_16_bits_become_8_and_that_is_said(tmp_path: Path) -> None:
    for name, value in (("dark", 1000), ("light", 60000)):
        for k in range(4):
            sixteen_bits(tmp_path / "own" / name / f"{k}.png", value)
    dataset = loaded(tmp_path / "own")
    assert dataset.image_shape == (20, 24, 1)
    assert set(np.unique(dataset.train.images).tolist()) == {4, 233}
    assert any("8 images have 16 bits a channel" in note for note in dataset.notes)


def test_an_image_is_turned_as_its_camera_noted(tmp_path: Path) -> None:
    from PIL import Image

    tags = Image.Exif()
    tags[0x0112] = 6  # turned to the right
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8] = 255
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=tags)
    content = (tmp_path / "turned.png").read_bytes()
    assert look_at(content)["size"] == [16, 8]
    turned = decode(content, (16, 8), 3)
    assert turned[:8].min() == 255 and turned[8:].max() == 0


# ---------------------------------------------------------------- tables


def _table(folder: Path, text: str) -> Path:
    write_folder(folder, names=("images",), each=6)
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    return folder / "labels.csv"


LINES = [f"images/image {k}{('.jpg', '.PNG')[k % 2]},{'cat' if k < 3 else 'dog, large'}" for k in range(6)]
QUOTED = "\n".join(f'{name},"{label}"' for name, label in (line.split(",", 1) for line in LINES))


def test_a_table_of_images_and_labels(tmp_path: Path) -> None:
    dataset = loaded(_table(tmp_path, f"image,label\n{QUOTED}\n"), "csv")
    assert (dataset.name, dataset.class_names) == ("csv:labels.csv", ("cat", "dog, large"))
    assert len(dataset.train) + len(dataset.test) == 6
    splits = ["train", "train", "test"] * 2
    rows = [f"{line};{split}" for line, split in zip(QUOTED.replace(',"', ';"').split("\n"), splits, strict=True)]
    dataset = loaded(_table(tmp_path / "splits", "file;class;split\n" + "\n".join(rows)), "csv")
    assert (len(dataset.train), len(dataset.test), dataset.test_split) == (4, 2, "test")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("image,label\nimages/image 0.jpg,\n", "line 2: images/image 0.jpg has no label"),
        ("image,label\nimages/image 0.jpg,-1\n", "line 2: images/image 0.jpg has no label"),
        (
            "image,label\nimages/image 0.jpg,a\nimages/image 0.jpg,b\n",
            "line 3: .* listed in line 2 already; .* one label",
        ),
        ("image,label\nimages/image 0.jpg,a,b\n", "line 2 has 3 values where its header has 2; an image has one label"),
        ("image,label\nimages/no.jpg,a\n", "line 2: there is no file 'images/no.jpg'"),
        ("image,label\n../images/image 0.jpg,a\n", "line 2: there is no file"),
        ("image,label,split\nimages/image 0.jpg,a,dev\n", "line 2: 'dev' is no split"),
        ("image,label,more,yet\n", "has the columns image, label, more, yet"),
        ("image,label\n", "labels.csv has no class"),
        ("", "has the columns none"),
    ],
)
def test_a_table_that_cannot_be_used(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        loaded(_table(tmp_path, text), "csv")


# ---------------------------------------------------------------- what is refused


def _cut(folder: Path, name: str = "image 0.jpg") -> None:
    path = folder / "2" / name
    path.write_bytes(path.read_bytes()[:-200])


def _text(folder: Path) -> None:
    (folder / "10" / "notes.jpg").write_text("no image", encoding="utf-8")


def _nothing(folder: Path) -> None:
    (folder / "10" / "empty.png").touch()


def _empty_class(folder: Path) -> None:
    (folder / "11").mkdir()


def _one_class(folder: Path) -> None:
    shutil.rmtree(folder / "10")
    shutil.rmtree(folder / "Ämter & Co")


def _loose(folder: Path) -> None:
    write_image(folder / "loose.png", 3)


def _no_images(folder: Path) -> None:
    for name in folder.iterdir():
        shutil.rmtree(name)


def _only_tested(folder: Path) -> None:
    write_folder(folder / "train", names=("a", "b"), each=2)
    write_folder(folder / "test", names=("a", "b", "c"), each=2)
    _no_images_but(folder, "train", "test")


def _beside_splits(folder: Path) -> None:
    write_folder(folder / "train", each=2)
    write_folder(folder / "test", each=2)
    _no_images_but(folder, "train", "test", "2")


def _no_images_but(folder: Path, *kept: str) -> None:
    for each in folder.iterdir():
        if each.name not in kept:
            shutil.rmtree(each)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_cut, r"2/image 0.jpg is broken \(.*(?i:truncated).*\); replace it, .*--set skip_broken=true"),
        (lambda folder: _cut(folder, "image 1.PNG"), r"2/image 1.PNG is broken"),
        (_text, "10/notes.jpg is no image; replace it, or leave such files out with --set skip_broken=true"),
        (_nothing, "10/empty.png is no image"),
        (_empty_class, "own has no training image of the class '11'"),
        (_one_class, "own has one class only"),
        (_loose, "loose.png lies in no folder of a class"),
        (_no_images, "own has no image"),
        (_only_tested, "own has test images of the class 'c' and no training image"),
        (_beside_splits, "beside test and train lies 2, which is no split"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_files_name(
    tmp_path: Path, damage: Callable[[Path], None], sentence: str
) -> None:
    folder = write_folder(tmp_path / "own")
    damage(folder)
    with pytest.raises(ValueError, match=sentence):
        loaded(folder)
    assert not (tmp_path / "load" / "dataset.json").exists()


def test_broken_files_are_left_out_and_listed_if_asked(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "own")
    _cut(folder)
    _text(folder)
    with pytest.raises(ValueError, match="and so is one more file"):
        loaded(folder)
    dataset = loaded(folder, skip_broken=True)
    assert len(dataset.train) + len(dataset.test) == 29
    assert "Left out, since they are no whole images: 10/notes.jpg, 2/image 0.jpg." in dataset.notes


def test_an_archive_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "flowers.zip").write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"flowers.zip is damaged, or no .zip file"):
        loaded(tmp_path / "flowers.zip")
