"""What TFDS has prepared: which data sets a folder holds and what their metadata tell, read without TensorFlow."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from bakeoff.errors import RequestError, one_line

USUAL = ("cifar10", "cifar100", "mnist", "fashion_mnist", "shapes10")  # names that people write in other letters
DTYPES = ("uint8", "uint16")  # of images that can be loaded
_MOST_NAMES = 12  # listed in a message
_RECORD_BYTES = 16  # a TFRecord's length and checksums beside the example itself


@dataclass(frozen=True)
class Metadata:
    """A data set that can be loaded, as far as its metadata tell.

    class_names: in the order of their labels. image_shape: (height, width, channels); empty where images have several
    sizes.
    """

    class_names: tuple[str, ...]
    image_shape: tuple[int, ...]


def find_prepared(name: str, data_dir: Path) -> Path | None:
    """The folder of the newest version of `name` ("set" or "set/config") that TFDS has prepared below data_dir."""
    if not re.fullmatch(r"\w+(/\w[\w.-]*)?", name):
        raise RequestError(f"dataset: {name!r} is no name of a TFDS data set; write for example cifar10 or mnist")
    return max(_versions(data_dir / name), key=lambda path: tuple(map(int, path.name.split("."))), default=None)


def other_name(name: str, data_dir: Path) -> str | None:
    """What to write instead of `name`, where that is certain: other letter case, a configuration, another folder."""
    known = prepared_names(data_dir)
    for each in known:
        if each.casefold() == name.casefold():
            return f"write --set dataset={each}, as it is spelt there"
    configurations = [each for each in known if each.startswith(f"{name}/")]
    if configurations:
        return f"write --set dataset={configurations[0]}, its configuration" + (
            f" (or one of {', '.join(configurations[1:_MOST_NAMES])})" if configurations[1:] else ""
        )
    for folder in (data_dir.parent, data_dir.parent.parent, *_subfolders(data_dir)):
        if _versions(folder / name):
            return f"it lies in {folder}: write --data-dir {folder}"
    return None


def what_is_there(name: str, data_dir: Path) -> str:
    """Half a sentence: the nearest name that is prepared in a folder, or all names, or that there is nothing."""
    if not data_dir.is_dir():
        return "there is no such folder"
    known = prepared_names(data_dir)
    near = next((each for each in USUAL if each.casefold() == name.casefold() != each), None)
    if near:
        return f"did you mean {near!r}?"
    return near_or_all(name, known) if known else "no data set is prepared there"


def near_or_all(name: str, known: Sequence[str]) -> str:
    """Half a sentence: the name of those known that is nearest to `name`, or the first of all."""
    same = [each for each in known if each.casefold() == name.casefold()]
    near = same or get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    more = f" and {len(known) - _MOST_NAMES} more" if len(known) > _MOST_NAMES else ""
    return one_line(f"there are {', '.join(known[:_MOST_NAMES])}{more}")


def prepared_names(data_dir: Path) -> list[str]:
    """Every "set" and "set/config" that is prepared below a folder, sorted."""
    sets = _subfolders(data_dir)
    configurations = [below for each in sets for below in _subfolders(each)]
    return sorted(path.relative_to(data_dir).as_posix() for path in (*sets, *configurations) if _versions(path))


def read_metadata(folder: Path, name: str) -> Metadata:
    """What the metadata of a prepared set say. Raises RequestError where they tell that it cannot be loaded."""
    info, features = _read(folder / "dataset_info.json"), _read(folder / "features.json")
    kinds = features.get("featuresDict", {}).get("features", {})
    fault = next(_feature_faults(kinds), None) or next(_split_faults(folder, info), None)
    if fault:
        raise RequestError(f"The data set {name} in {folder} cannot be used: {fault}")
    label = chosen_feature(kinds, "classLabel", "label")
    try:
        names = (folder / f"{label}.labels.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        names = [str(number) for number in range(_classes(kinds[label]))]
    return Metadata(tuple(names), _image_shape(kinds[chosen_feature(kinds, "image", "image")]["image"]))


def _image_shape(image: Mapping[str, Any]) -> tuple[int, ...]:
    shape = tuple(map(int, image.get("shape", {}).get("dimensions", ())))
    return shape if len(shape) == 3 and min(shape) > 0 else ()


def data_licence(name: str, data_dir: Path) -> str:
    """What the description of a data set says of its licence, as a sentence."""
    prepared = find_prepared(name, data_dir) if ":" not in name else None
    info = _read(prepared / "dataset_info.json") if prepared else {}
    named = (info.get("redistributionInfo") or {}).get("license")
    return " ".join(str(named).split()) if named else "the data set's description names none; ask where it is from."


def chosen_feature(kinds: Mapping[str, Any], kind: str, usual: str) -> str:
    """The feature of a kind that is used: that of the usual name, else the only one; empty where there is none."""
    found = [name for name, feature in kinds.items() if kind in feature]
    return usual if usual in found else found[0] if len(found) == 1 else ""


def _feature_faults(kinds: Mapping[str, Any]) -> Iterator[str]:
    image, label = chosen_feature(kinds, "image", "image"), chosen_feature(kinds, "classLabel", "label")
    listed = ", ".join(kinds) or "none"
    if not image:
        yield f"among its features ({listed}) is not one image; choose an image classification set such as cifar10"
    if not label and "label" in kinds:
        kind = kinds["label"]["pythonClassName"].rsplit(".", 1)[-1]
        yield (
            f"its label is a {kind}, so that its classes have no names; prepare the set again with "
            "tfds.features.ClassLabel"
        )
    if not label:
        yield (
            f"among its features ({listed}) is not one class label (tfds.features.ClassLabel); choose an image "
            "classification set such as cifar10"
        )
    dtype = kinds[image]["image"].get("dtype") or "uint8"
    if dtype not in DTYPES:
        yield f"its images are {dtype}; prepare the set again with uint8 images"
    if kinds[image]["image"].get("shape", {}).get("dimensions", ["3"])[-1] == "-1":
        yield "the number of channels of its images is not fixed; prepare the set again with shape=(None, None, 3)"
    if _classes(kinds[label]) < 2:
        yield "it has one class only, and there is nothing to classify; choose a set of two classes or more"


def _split_faults(folder: Path, info: Mapping[str, Any]) -> Iterator[str]:
    splits = {split["name"]: split for split in info.get("splits", ())}
    filled = [name for name, split in splits.items() if sum(map(int, split.get("shardLengths", ())))]
    if "train" not in filled:
        yield f"it has no training images (splits with images: {', '.join(filled) or 'none'}); choose another set"
    for name in filled:
        if name in ("train", "test", "validation"):
            yield from _shard_faults(folder, info, splits[name])


def _shard_faults(folder: Path, info: Mapping[str, Any], split: Mapping[str, Any]) -> Iterator[str]:
    again = "copy it anew, or remove the folder and have TFDS prepare the set again"
    lengths, template = split["shardLengths"], split.get("filepathTemplate", "")
    suffix = info.get("fileFormat", "tfrecord")
    standard = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    if template not in ("", standard):
        return
    prefix = f"{info.get('name')}-{split['name']}.{suffix}"
    shards = [folder / f"{prefix}-{number:05d}-of-{len(lengths):05d}" for number in range(len(lengths))]
    missing = [shard.name for shard in shards if not shard.is_file()]
    if missing:
        yield f"the file {missing[0]} is missing; {again}"
    there = sum(shard.stat().st_size for shard in shards if shard.is_file())
    expected = int(split.get("numBytes", 0))
    if suffix == "tfrecord" and expected and there < expected + _RECORD_BYTES * sum(map(int, lengths)):
        what = shards[0].name if len(shards) == 1 else f"a file of the split {split['name']}"
        yield f"{what} is cut short ({there} bytes where {expected} and more belong); {again}"


def _classes(feature: Mapping[str, Any]) -> int:
    return int(feature["classLabel"].get("numClasses", 0))


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        raise RequestError(
            f"{path} is missing or cannot be read; remove its folder and have TFDS prepare the set again"
        ) from None


def _versions(folder: Path) -> list[Path]:
    found = [path.parent for path in folder.glob("*/dataset_info.json")]
    return [path for path in found if re.fullmatch(r"\d+\.\d+\.\d+", path.name)]


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []
