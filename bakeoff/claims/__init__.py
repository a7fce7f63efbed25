"""What the sources claim: params/claims.csv and the tolerances that it names. Reads both, judges nothing."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from bakeoff.errors import RequestError

FILES = ("claims.csv", "tolerances.csv")
LOG = "training log"  # `where` of a figure that a source prints for each epoch
BEST = "best point"  # `metric` of the values that a source's search found
# Checks that hold other variants than the claim's own against each other; their names follow the column.
_BETWEEN = ("result", "copy", "order", "gain", "ratio", "gap")
# What a variant's pages show beside their own figures: metric of the claim -> name in `published`.
_PUBLISHED = {
    **{name: name for name in ("parameters", "train_accuracy", "train_loss", "validation_accuracy")},
    **{name: name for name in ("validation_loss", "test_accuracy", "test_loss", "accuracy", "train_seconds")},
    "trainable_parameters": "trainable",
}
_NUMBER = re.compile(r"\d*\.?\d+")


@dataclass(frozen=True)
class Claim:
    """One row of claims.csv, or a training log by epoch as one claim: its last row, with all of it in `log`."""

    source: str  # key of the source; empty: the project's own
    variant: str  # empty: about the source as a whole
    where: str
    metric: str
    epoch: str
    value: str  # as the source has it
    kind: str
    note: str
    against: str  # contradictions: what else the source itself gives
    check: str  # how it is judged, see params/README.md; empty: it cannot be
    tolerance: str  # one for each check
    needs: str  # what must be the same as in the source; without a check: what is missing
    log: str = ""

    @property
    def checks(self) -> list[tuple[list[str], str]]:
        """Each check as words, with the name of its tolerance."""
        if not self.check:
            return []
        checks = [part.split() for part in self.check.split(";")]
        return list(zip(checks, (name.strip() for name in self.tolerance.split(";")), strict=True))

    @property
    def variants(self) -> list[str]:
        """The variants that the claim is about: its own, and those that its checks name."""
        named = [word for words, _ in self.checks if words[0] in _BETWEEN for word in words[2:] if word.isidentifier()]
        return list(dict.fromkeys([self.variant, *named] if self.variant else named))

    @property
    def numbers(self) -> list[float]:
        """The numbers in `value`."""
        return [float(text) for text in _NUMBER.findall(self.value)]


@dataclass(frozen=True)
class Tolerance:
    """How far a figure may be from the source's, and why so far."""

    name: str
    amount: float
    reason: str


def read_claims(directory: Path) -> list[Claim]:
    """Every row of params/claims.csv; none where the file is not there."""
    path = directory / FILES[0]
    return [_claim(row, f"{path.name}:{line}") for line, row in enumerate(_rows(path), start=2)]


def read_tolerances(directory: Path) -> dict[str, Tolerance]:
    """Every tolerance of params/tolerances.csv by its name."""
    rows = _rows(directory / FILES[1])
    return {row["tolerance"]: Tolerance(row["tolerance"], float(row["amount"]), row["reason"]) for row in rows}


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _claim(row: Mapping[str, Any], where: str) -> Claim:
    names = {field.name for field in fields(Claim)} - {"log"}
    if set(row) != names or None in row.values():
        raise RequestError(f"{where}: a claim needs exactly the columns {', '.join(sorted(names))}")
    claim = Claim(**row)
    if claim.check.count(";") != claim.tolerance.count(";") or bool(claim.check) != bool(claim.tolerance):
        raise RequestError(f"{where}: {claim.metric!r} needs a tolerance for each check")
    return claim


def whole_logs(claims: Iterable[Claim]) -> list[Claim]:
    """The claims, with the rows of each training log made one."""
    joined: list[Claim] = []
    for _, group in itertools.groupby(claims, key=_series):
        rows = list(group)
        log = " ".join(f"{row.epoch}:{row.value}" for row in rows) if rows[0].where == LOG else ""
        joined += [replace(rows[-1], log=log)] if log else rows
    return joined


def _series(claim: Claim) -> Any:
    return (claim.source, claim.variant, claim.metric) if claim.where == LOG else claim


def log_values(log: str) -> dict[int, float]:
    """Epoch -> value of a claim's log."""
    pairs = (pair.split(":") for pair in log.split())
    return {int(epoch): float(value) for epoch, value in pairs}


def published(claims: Sequence[Claim]) -> dict[str, dict[str, float]]:
    """Variant -> the figures that its source prints for the finished network, by their names in `published`."""
    last: dict[str, int] = {}
    for claim in claims:
        last[claim.variant] = max(last.get(claim.variant, 0), int(claim.epoch or 0))
    found: dict[str, dict[str, float]] = {}
    for claim in claims:
        final = (
            claim.kind in ("number", "parameters") and int(claim.epoch or last[claim.variant]) == last[claim.variant]
        )
        if claim.source and final and claim.metric in _PUBLISHED:
            number = int(claim.value) if claim.kind == "parameters" else float(claim.value)
            found.setdefault(claim.variant, {})[_PUBLISHED[claim.metric]] = number
    return found
