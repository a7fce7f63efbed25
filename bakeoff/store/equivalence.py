"""Whether two executions of one step gave the same: bit for bit, or else number by number within a tolerance."""

from __future__ import annotations

import csv
import json
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakeoff.store import digest_file

# Published in docs/how-it-works.md: floating-point numbers may differ by ABSOLUTE + RELATIVE times the recorded one.
RELATIVE, ABSOLUTE = 1e-4, 1e-6
_ACCIDENTS = {"date_saved", "shared_object_id"}  # in a .keras file: when, and at which address in memory


@dataclass(frozen=True)
class Verdict:
    """What became of one comparison: `same` is bits, numbers or no; `words` says which files and where."""

    same: str
    words: str


def compare(recorded: Path, again: Path, names: Sequence[str]) -> Verdict:
    """The files `names` of one folder beside those of another."""
    near = []
    for name in names:
        if not (again / name).is_file():
            return Verdict("no", f"{name} did not rerun")
        if digest_file(recorded / name) == digest_file(again / name):
            continue
        difference = _difference(recorded / name, again / name)
        if difference:
            return Verdict("no", f"{name}: {difference}")
        near.append(name)
    files = f"{len(names)} file{'' if len(names) == 1 else 's'}"
    return Verdict("numbers", f"same numbers ({', '.join(near)})") if near else Verdict("bits", f"same bits, {files}")


def is_duration(name: str) -> bool:
    """Whether a name is that of a measured duration or speed, which no two executions share."""
    return name == "seconds" or name.endswith("_seconds") or name.startswith(("milliseconds_", "images_per_second"))


def _difference(recorded: Path, again: Path) -> str | None:
    """The first place where two files differ by more than the tolerance; None when they agree."""
    compare_as = _READERS.get(recorded.suffix)
    if compare_as is None:
        return "other bytes"
    try:
        return next(compare_as(recorded, again), None)
    except (ValueError, OSError, KeyError, zipfile.BadZipFile, csv.Error) as error:
        return f"cannot be compared ({error})"


def _json(recorded: Path, again: Path) -> Iterator[str]:
    one, other = (json.loads(path.read_text(encoding="utf-8")) for path in (recorded, again))
    yield from values(one, other, "")


def values(one: Any, other: Any, place: str) -> Iterator[str]:
    """The places where two values of JSON differ; durations are passed over."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in sorted({*one, *other}, key=str):
            if name not in one or name not in other:
                yield f"{place}{name} is in one of them only"
            elif not is_duration(name) and name not in _ACCIDENTS:
                yield from values(one[name], other[name], f"{place}{name}.")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from values(*pair, f"{place}{number}.")
    elif not _same(one, other):
        yield f"{place.rstrip('.') or 'value'} is {other}, was {one}"


def _same(one: Any, other: Any) -> bool:
    numbers = [isinstance(each, int | float) and not isinstance(each, bool) for each in (one, other)]
    if all(numbers) and (isinstance(one, float) or isinstance(other, float)):
        same = one == other or (math.isnan(one) and math.isnan(other))
        return same or abs(other - one) <= ABSOLUTE + RELATIVE * abs(one)
    return type(one) is type(other) and one == other


def _csv(recorded: Path, again: Path) -> Iterator[str]:
    tables = []
    for path in (recorded, again):
        with path.open(encoding="utf-8", newline="") as stream:
            tables.append([{name: _number(text) for name, text in row.items()} for row in csv.DictReader(stream)])
    one, other = tables
    if len(one) != len(other):
        yield f"{len(other)} rows, was {len(one)}"
    for number, pair in enumerate(zip(one, other, strict=False), start=1):
        yield from values(*pair, f"row {number} ")


def _number(text: Any) -> Any:
    for kind in (int, float):
        with suppress(ValueError, TypeError):
            return kind(text)
    return text


def _npz(recorded: Path, again: Path) -> Iterator[str]:
    import numpy as np

    with np.load(recorded, allow_pickle=False) as one, np.load(again, allow_pickle=False) as other:
        yield from _named(one, other, sorted({*one.files, *other.files}))


def _named(one: Mapping[str, Any], other: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    for name in names:
        if name not in one or name not in other:
            yield f"{name} is in one of them only"
        elif not is_duration(name):
            yield from _arrays(one[name], other[name], name)


def _npy(recorded: Path, again: Path) -> Iterator[str]:
    import numpy as np

    one, other = (np.load(path, mmap_mode="r", allow_pickle=False) for path in (recorded, again))
    yield from _arrays(one, other, "array")


def _arrays(one: Any, other: Any, name: str) -> Iterator[str]:
    import numpy as np

    if one.shape != other.shape or one.dtype != other.dtype:
        yield f"{name} is {other.dtype}{list(other.shape)}, was {one.dtype}{list(one.shape)}"
    elif not np.issubdtype(one.dtype, np.inexact):
        if not np.array_equal(one, other):
            yield f"{name}: {int(np.sum(one != other))} of {one.size} values differ"
    else:
        off = ~np.isclose(other, one, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)
        if off.any():
            place = np.unravel_index(int(off.argmax()), off.shape)
            yield f"{name}: {int(off.sum())} of {one.size} values differ, the first is {other[place]}, was {one[place]}"


def _keras(recorded: Path, again: Path) -> Iterator[str]:
    """The members of two .keras files: text by value, weights array by array."""
    with zipfile.ZipFile(recorded) as one, zipfile.ZipFile(again) as other:
        for name in sorted({*one.namelist(), *other.namelist()}):
            if name not in one.namelist() or name not in other.namelist():
                yield f"{name} is in one of them only"
            elif name.endswith(".json"):
                yield from values(json.loads(one.read(name)), json.loads(other.read(name)), f"{name} ")
            elif one.read(name) != other.read(name):
                yield from _weights(one.read(name), other.read(name), name)


def _weights(one: bytes, other: bytes, name: str) -> Iterator[str]:
    import io

    import h5py

    with h5py.File(io.BytesIO(one)) as before, h5py.File(io.BytesIO(other)) as after:
        recorded, again = _datasets(before), _datasets(after)
        yield from (f"{name} {each}" for each in _named(recorded, again, sorted({*recorded, *again})))


def _datasets(file: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    file.visititems(lambda name, item: found.update({name: item[()]}) if hasattr(item, "dtype") else None)
    return found


_READERS: Mapping[str, Callable[[Path, Path], Iterator[str]]] = {
    ".json": _json,
    ".csv": _csv,
    ".npz": _npz,
    ".npy": _npy,
    ".keras": _keras,
}
