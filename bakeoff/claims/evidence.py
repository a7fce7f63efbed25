"""What was measured, and whether it may judge a claim: rows of results.csv and the files of their finished steps."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bakeoff.claims import Claim, Tolerance
from bakeoff.plan.resolve import SYNTHETIC

_SAME_SHAPE = ("cifar10", SYNTHETIC)  # 32×32 images of ten classes: networks on them have equally many parameters
_NETWORK = re.compile(r"(?:^|; )(builder|builder_options|color|image_size|task) ")  # overrides that change a network
_BASE = re.compile(r"(?:^|; )(builder|builder_options) ")  # overrides that change its pretrained base


class UntestedError(Exception):
    """Why a claim cannot be judged by what is there, in words."""


@dataclass(frozen=True)
class Run:
    """One row of results.csv and the folders of its finished stages."""

    row: Mapping[str, Any]
    folders: Mapping[str, str]

    @cached_property
    def history(self) -> dict[int, dict[str, str]]:
        """Epoch -> row of history.csv."""
        return {int(row["epoch"]): row for row in self._table("train", "history.csv")}

    @cached_property
    def trials(self) -> list[dict[str, str]]:
        """The rows of trials.csv."""
        return self._table("search", "trials.csv")

    def number(self, name: str) -> float:
        """A figure of the row."""
        return number(self.row.get(name), f"our run of {self.row['variant']} has no {name}")

    def at(self, name: str, epoch: int = 0) -> float:
        """A figure of history.csv at an epoch; 0 is the last one."""
        epoch = epoch or max(self.history, default=0)
        if epoch not in self.history:
            raise UntestedError(f"our training of {self.row['variant']} did not reach epoch {epoch or 1}")
        return number(self.history[epoch].get(name), f"our training of {self.row['variant']} has no {name}")

    def file(self, stage: str, name: str) -> dict[str, Any]:
        """What a stage left in a JSON file."""
        return json.loads(self._path(stage, name).read_text(encoding="utf-8"))

    def _table(self, stage: str, name: str) -> list[dict[str, str]]:
        with self._path(stage, name).open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    def _path(self, stage: str, name: str) -> Path:
        path = Path(self.folders.get(stage, "")) / name
        if stage not in self.folders or not path.is_file():
            raise UntestedError(f"{name} of {self.row['variant']} is not there")
        return path


@dataclass(frozen=True)
class Evidence:
    """Variant -> its runs, one a replicate; with the claims and the tolerances to judge by."""

    runs: Mapping[str, Sequence[Run]]
    claims: Sequence[Claim]
    tolerances: Mapping[str, Tolerance]
    lenient: bool = False  # whether any finished run will do: to show what we have, not to judge by it

    def hypotheses(self, variant: str) -> list[str]:
        """The hypotheses about a variant that were run."""
        about = {name: str(runs[0].row.get("hypothesis_of", "")) for name, runs in self.runs.items() if runs}
        return [name for name, of in about.items() if of and of == variant]

    def fit(self, variant: str, needs: str) -> list[Run]:
        """The runs of a variant that may judge a claim with these needs; raises UntestedError when none may."""
        runs = self.runs.get(variant, ())
        if not runs:
            raise UntestedError(f"{variant} is not part of this run")
        reasons = [_unmet(run.row, needs.split("; ")) for run in runs]
        usable = [
            run
            for run, reason in zip(runs, reasons, strict=True)
            if not reason or (self.lenient and run.row["status"] == "ok")
        ]
        if not usable:
            raise UntestedError(f"{variant}: {reasons[0]}")
        return usable


def number(value: Any, missing: str) -> float:
    """A finite number; UntestedError with the words `missing` where there is none."""
    try:
        read = float(value)
    except (TypeError, ValueError):
        raise UntestedError(missing) from None
    if not math.isfinite(read):
        raise UntestedError(missing)
    return read


def _unmet(row: Mapping[str, Any], needs: Sequence[str]) -> str:
    """Why a row says nothing about a claim with these needs; empty when it does."""
    if row["status"] != "ok":
        return f"{row['status']}, {(str(row['message']).splitlines() or ['no message'])[0]}"
    if "built network" in needs or "catalogue's network" in needs:
        return _other_network(row, needs)
    reasons, limited = [], str(row["limited"])
    if row["dataset"] == SYNTHETIC or row["dataset"] not in needs:
        reasons.append(f"it ran on {row['dataset'] or 'unnamed data'}, the claim is about {needs[0]}")
    if row["weights"] == "random" and "random weights" not in limited:
        reasons.append("random weights in place of ImageNet's")
    # Each override is named once, in the table of overrides; here it stands only where it alone is the reason.
    return "; ".join([*reasons, "and a limited run"] if reasons and limited else [*reasons, *filter(None, [limited])])


def _other_network(row: Mapping[str, Any], needs: Sequence[str]) -> str:
    """Why a row's network is not the one whose parameters a source counts; the schedule does not matter."""
    changed = (_BASE if "built network" in needs else _NETWORK).search(str(row["limited"]))
    if changed:
        return f"another network, by {changed[1]}"
    if "catalogue's network" in needs and row["dataset"] not in _SAME_SHAPE:
        return f"{row['dataset'] or 'unnamed data'} has other images or classes, and with them the network"
    return ""
