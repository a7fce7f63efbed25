"""Image files as a source (see `image_listing`): looked at, decoded and resized by Pillow."""

from __future__ import annotations

import io
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bakeoff.lab import own_labels, sizes, splits
from bakeoff.lab.image_listing import Files, Item, read_folders, read_table

Batch = tuple[np.ndarray, np.ndarray, np.ndarray | None]
Facts = Mapping[str, Any]

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")  # as Pillow calls them
MOST_PIXELS = 100_000_000  # of an image that is decoded
_GRAY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes of images without colour
_BATCH = 256  # images decoded side by side
_LISTED = 20  # files that a note names


class ImageFiles:
    """Image files, as a `data.Source`. `look` tells of a file what the function `look` does, and may remember it.

    Images of several sizes are given one (see `sizes.common_size`). They are gray where all of them are. With
    `skip_broken`, files that are no images are left out and listed, else they are refused.

    Raises ValueError, with the name of the file, for what cannot be used.
    """

    def __init__(
        self, kind: str, path: Path, seed: int, *, skip_broken: bool = False, look: Callable[[str], Facts] | None = None
    ) -> None:
        table = kind in ("csv", "hf")
        self.kind, self._files = kind, Files(path.parent if table else path)
        name = f"{path.parent.parent.name}/{path.parent.name}" if kind == "hf" else path.name
        self.name, self.version, self.shuffled = f"{kind}:{name}", "", False
        listing = read_table(path, self._files) if table else read_folders(path.name, self._files)
        self.notes = listing.notes
        self.facts = self._looked_at(listing.items, look or self._look)
        items = self._whole(listing.items, skip_broken)
        self.test_split = self._chosen_split(items)
        self._items = self._of_roles(items, seed, own_labels.in_order(listing.classes), path.name)
        self.available = {role: len(each) for role, each in self._items.items()}
        self._choose_form()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels), as the images are decoded."""
        return (*self._size, self._channels)

    def batches(self, role: str, positions: np.ndarray) -> Iterator[Batch]:
        """The images at `positions`, decoded side by side."""
        labels = {name: number for number, name in enumerate(self.class_names)}
        items = [self._items[role][position] for position in positions]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(items), _BATCH):
                some = items[start : start + _BATCH]
                images = np.stack(list(pool.map(lambda item: self._decoded(item.name), some)))
                yield images, np.array([labels[item.label] for item in some]), np.array([item.name for item in some])

    # ---------------------------------------------------------------- which files

    def _looked_at(self, items: Sequence[Item], look: Callable[[str], Facts]) -> dict[str, Facts]:
        names = [item.name for item in items]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return dict(zip(names, pool.map(look, names), strict=True))

    def _look(self, name: str) -> Facts:
        try:
            return look_at(self._files.read(name))
        except (OSError, RuntimeError, zipfile.BadZipFile) as error:  # RuntimeError: it needs a password
            return {"fault": f"cannot be read ({error})"}

    def _whole(self, items: Sequence[Item], skip_broken: bool) -> list[Item]:
        broken = [item.name for item in items if self.facts[item.name]["fault"]]
        if broken and not skip_broken:
            count = "is one more file" if len(broken) == 2 else f"are {len(broken) - 1} more files"
            more = f" (and so {count})" if len(broken) > 1 else ""
            raise ValueError(
                f"{broken[0]} {self.facts[broken[0]]['fault']}{more}; replace it, or leave such files out with "
                "--set skip_broken=true."
            )
        if broken:
            more = f" and {len(broken) - _LISTED} more" if len(broken) > _LISTED else ""
            self.notes.append(f"Left out, since they are no whole images: {', '.join(broken[:_LISTED])}{more}.")
        return [item for item in items if not self.facts[item.name]["fault"]]

    def _chosen_split(self, items: Sequence[Item]) -> str:
        counts = Counter(item.split for item in items)
        chosen = next((split for split in ("test", "validation") if counts[split]), "train")
        if chosen == "test" and counts["validation"]:
            self.notes.append(f"Its {counts['validation']} validation images are not used.")
        return chosen

    def _of_roles(self, items: Sequence[Item], seed: int, names: Sequence[str], what: str) -> dict[str, list[Item]]:
        """The images of each role; class_names is set, too."""
        number = {name: k for k, name in enumerate(names)}
        roles = {"train": [item for item in items if item.split == "train"]}
        if self.test_split != "train":
            roles["test"] = [item for item in items if item.split == self.test_split]
        labels = {role: np.array([number[item.label] for item in each], np.int64) for role, each in roles.items()}
        own_labels.check(names, labels, what)
        self.class_names = tuple(names)
        if self.test_split == "train":
            parts = splits.held_out_fifth(labels["train"], seed)
            roles = {
                role: [roles["train"][k] for k in part] for role, part in zip(("train", "test"), parts, strict=True)
            }
        return roles

    # ---------------------------------------------------------------- pixels

    def _choose_form(self) -> None:
        """One size and one number of channels for all images, and what that does to them, as notes."""
        used = {role: [self.facts[item.name] for item in each] for role, each in self._items.items()}
        every = [facts for each in used.values() for facts in each]
        self._channels = 1 if all(facts["gray"] for facts in every) else 3
        self._size = sizes.common_size([tuple(facts["size"]) for facts in used["train"]], always=True)
        for role, each in used.items():
            other = sum(tuple(facts["size"]) != self._size for facts in each)
            self.notes += sizes.resized_note(other, role, self._size)
        deep = sum(facts["deep"] for facts in every)
        if deep:
            self.notes.append(
                f"{deep} images have 16 bits a channel; each value was divided by 257, so that 8 bits hold it."
            )

    def _decoded(self, name: str) -> np.ndarray:
        try:
            return decode(self._files.read(name), self._size, self._channels)
        except Exception as error:
            raise ValueError(
                f"{name} {_fault(error)}; replace it, or leave it out with --set skip_broken=true."
            ) from None


# ---------------------------------------------------------------- one image


def look_at(content: bytes) -> dict[str, Any]:
    """What a file is: `fault` (why it is no image; or empty), `size` (height, width), `gray`, `deep` (16 bits)."""
    facts: dict[str, Any] = {"fault": "", "size": [0, 0], "gray": False, "deep": False}
    try:
        image = _opened(content)
        facts["gray"], facts["deep"] = image.mode in _GRAY, image.mode.startswith("I")
        height, width = image.height, image.width
        image.draft(image.mode, (1, 1))  # of a JPEG an eighth of each side is decoded, of other formats all
        image.load()
        turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        facts["size"] = [width, height] if turned else [height, width]
    except Exception as error:  # whatever a library raises for bytes that are no image
        facts["fault"] = _fault(error)
    return facts


def decode(content: bytes, size: tuple[int, int], channels: int) -> np.ndarray:
    """The pixels of an image file, (height, width, channels) uint8, turned as the camera noted and resized."""
    from PIL import Image, ImageOps

    image = _opened(content)
    if image.mode.startswith("I"):
        image = Image.fromarray(((np.asarray(image).astype(np.int64).clip(0, 65535) + 128) // 257).astype(np.uint8))
    image = ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")
    if (image.height, image.width) != size:
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(*size, channels)


_ORIENTATION = 0x0112  # the tag in which a camera notes how it was held


def _opened(content: bytes) -> Any:
    import warnings

    from PIL import Image

    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # a limit of our own follows
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(f"is larger than {MOST_PIXELS // 10**6} million pixels")
    return image


def _fault(error: Exception) -> str:
    """Half a sentence on why a file cannot be decoded."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "is no image"
    words = " ".join(str(error).split()) or type(error).__name__
    return words if words.startswith("is larger") else f"is broken ({words[:80]})"
