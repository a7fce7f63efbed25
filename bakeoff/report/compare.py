"""What --compare does: two reports side by side, by their own files: what changed in what went in and came out."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from json import JSONDecodeError, loads
from pathlib import Path
from typing import Any

from bakeoff.errors import RequestError
from bakeoff.report.crate import COPY

Row = Mapping[str, str]
Key = tuple[str, ...]
_MISSING = "not there"


def compare_reports(first: Path, second: Path, say: Callable[[str], None]) -> int:
    """Say what changed from the report in `first` to that in `second`; RequestError where one is no report."""
    before, after = _Finished(first), _Finished(second)
    sections = {
        "Variants": _variants(before, after),
        "Versions": _changed(before.versions, after.versions),
        "Parameters": _parameters(before, after),
        "Accuracies on the test images": _accuracies(before, after),
        "Claims": _claims(before, after),
    }
    say(f"From {first} to {second}:")
    for title, lines in sections.items():
        found = list(lines)
        say(f"{title}: " + ("no change." if not found else ""))
        for line in found:
            say(f"    {line}")
    return 0


@dataclass(frozen=True)
class _Finished:
    """The folder of a finished report."""

    folder: Path

    @cached_property
    def rows(self) -> dict[Key, Row]:
        """(variant, replicate) -> its row of results.csv."""
        return {(each["variant"], each["replicate"]): each for each in self._table("results.csv")}

    @cached_property
    def claims(self) -> dict[Key, str]:
        """What tells a claim from all others -> its outcome."""
        names = ("source", "variant", "where", "metric", "epoch")
        return {tuple(each[name] for name in names): each["status"] for each in self._table("claims.csv")}

    @cached_property
    def entities(self) -> dict[str, Mapping[str, Any]]:
        """The entities of its provenance by their names."""
        try:
            graph = loads((self.folder / COPY).read_text(encoding="utf-8"))["@graph"]
            return {each["@id"]: each for each in graph}
        except (OSError, JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
            raise RequestError(f"{self.folder} is no report: it has no {COPY} that can be read") from None

    @cached_property
    def versions(self) -> dict[str, str]:
        """Bakeoff's revision and the version of each package; several where steps were made with several."""
        found: dict[str, set[str]] = {}
        for each in self.entities.values():
            if each.get("@type") == "SoftwareApplication" and "softwareVersion" in each:
                found.setdefault(each["name"], set()).add(str(each["softwareVersion"]))
        return {name: " and ".join(sorted(versions)) for name, versions in found.items()}

    def parameters(self, key: Key) -> dict[str, dict[str, str]]:
        """Stage -> parameters and settings of a row's steps, but for stages of which a row has several steps."""
        variant, replicate = key
        beside = f"notebooks/{variant}{f'-{replicate}' if replicate not in ('', '0') else ''}/"
        found: dict[str, list[Mapping[str, Any]]] = {}
        for action in self.entities.values():
            made = action.get("@type") == "CreateAction" and any(x.startswith(beside) for x in _names(action, "result"))
            if made and not action["@id"].endswith("/page"):
                found.setdefault(action["@id"].removeprefix("#").partition("/")[0], []).append(action)
        return {stage: self._values(actions[0]) for stage, actions in found.items() if len(actions) == 1}

    def _values(self, action: Mapping[str, Any]) -> dict[str, str]:
        named = [self.entities[name] for name in _names(action, "object") if name.startswith("#parameter/")]
        return {each["name"]: str(each.get("value")) for each in named}

    def _table(self, name: str) -> list[Row]:
        try:
            with (self.folder / name).open(encoding="utf-8", newline="") as stream:
                return list(csv.DictReader(stream))
        except (OSError, UnicodeDecodeError, csv.Error):
            raise RequestError(f"{self.folder} is no report: it has no {name} that can be read") from None


def _names(action: Mapping[str, Any], part: str) -> list[str]:
    given = action.get(part, [])
    return [str(each["@id"]) for each in (given if isinstance(given, list) else [given])]


def _variants(before: _Finished, after: _Finished) -> Iterator[str]:
    for words, rows, others in (("gone", before.rows, after.rows), ("new", after.rows, before.rows)):
        names = list(dict.fromkeys(key[0] for key in rows if key not in others))
        if names:
            yield f"{words}: {', '.join(names)}"
    for key in _both(before.rows, after.rows):
        was, now = before.rows[key]["status"], after.rows[key]["status"]
        if was != now:
            yield f"{_title(key)}: {was} -> {now}"


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*before, *after}):
        was, now = before.get(name, _MISSING), after.get(name, _MISSING)
        if was != now:
            yield f"{name}: {was} -> {now}"


def _parameters(before: _Finished, after: _Finished) -> Iterator[str]:
    """Changes that several rows share are said once."""
    changes: dict[str, list[str]] = {}
    for key in _both(before.rows, after.rows):
        was, now = before.parameters(key), after.parameters(key)
        for stage in was.keys() & now.keys():
            for line in _changed(was[stage], now[stage]):
                changes.setdefault(line, []).append(_title(key))
    for line, titles in sorted(changes.items()):
        yield f"{line} ({', '.join(dict.fromkeys(titles))})"


def _accuracies(before: _Finished, after: _Finished) -> Iterator[str]:
    """Both with their intervals, and their difference with Newcombe's interval for independent samples."""
    for key in _both(before.rows, after.rows):
        was, now = before.rows[key], after.rows[key]
        if not was["test_accuracy"] or not now["test_accuracy"] or was["test_accuracy"] == now["test_accuracy"]:
            continue
        (a, a_low, a_high), (b, b_low, b_high) = _interval(was), _interval(now)
        low = b - a - math.hypot(b - b_low, a_high - a)
        high = b - a + math.hypot(b_high - b, a - a_low)
        verdict = "within sampling error" if low <= 0 <= high else "significantly different"
        yield (
            f"{_title(key)}: {_accuracy(was)} -> {_accuracy(now)}; {100 * (b - a):+.1f} points "
            f"({100 * low:+.1f} to {100 * high:+.1f} if the test images were others): {verdict}"
        )


def _interval(row: Row) -> tuple[float, float, float]:
    accuracy = float(row["test_accuracy"])
    return accuracy, float(row["accuracy_low"] or accuracy), float(row["accuracy_high"] or accuracy)


def _accuracy(row: Row) -> str:
    accuracy, low, high = _interval(row)
    limits = " with limits" if row["limited"] else ""
    return f"{accuracy:.3f} ({low:.3f} to {high:.3f}, {row['test_images']} images of {row['dataset']}{limits})"


def _claims(before: _Finished, after: _Finished) -> Iterator[str]:
    """How the audit changed, claim by claim."""
    for key in _both(before.claims, after.claims):
        if before.claims[key] != after.claims[key]:
            source, variant, where, metric, epoch = key
            at = f", epoch {epoch}" if epoch else ""
            yield f"{source}, {variant}, {where}, {metric}{at}: {before.claims[key]} -> {after.claims[key]}"


def _both(before: Mapping[Key, Any], after: Mapping[Key, Any]) -> Sequence[Key]:
    return [key for key in before if key in after]


def _title(key: Key) -> str:
    return f"{key[0]}, replicate {key[1]}" if key[1] not in ("", "0") else key[0]
