"""The trainings on record: a folder for each variant and seed below docs/records, written from finished reports.

`python -m docs.records --runs-dir RUNS REPORT_FOLDER ...` writes them. A record holds the training's row of
results.csv and what became of the claims about its variant (claims.csv) as its report had them; copies of the small
files of its steps under their own names; predictions.npz in the short form of `bakeoff.lab.tested.summary`; and
record.json, which says where all of it comes from. Figures whose report is no longer there have no files of steps.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bakeoff.claims.evidence import Run
from bakeoff.lab.tested import summary
from bakeoff.report.masks import Mask
from bakeoff.resolve import STAND_IN
from bakeoff.store import Store, digest_value

RECORDS = Path(__file__).resolve().parent / "records"
COPIES = {
    "search": ("best.json", "trials.csv"),
    "build": ("network.json",),
    "train": ("history.csv", "training.json", "step.json"),
    "evaluate": ("metrics.json",),
}
DIVERGED = "diverged at epoch"  # the one thing in `limited` that is a result and no departure

Row = Mapping[str, str]


class RecordError(Exception):
    """Why something cannot be put on record, in a sentence."""


@dataclass(frozen=True)
class Record:
    """One training on record."""

    folder: Path

    @cached_property
    def row(self) -> Row:
        """Its row of results.csv."""
        return read_table(self.folder / "results.csv")[0]

    @cached_property
    def claims(self) -> list[dict[str, str]]:
        """The claims about its variant as its own report judged them."""
        return read_table(self.folder / "claims.csv")

    @cached_property
    def about(self) -> dict[str, Any]:
        """What record.json says: where the training comes from."""
        return dict(json.loads((self.folder / "record.json").read_text(encoding="utf-8")))

    @property
    def run(self) -> Run:
        """The record as the audit reads the store; what it lacks counts as not tested."""
        return Run(self.row, {stage: str(self.folder) for stage in COPIES})

    @property
    def figures_alone(self) -> bool:
        """Whether only its figures are on record, no history and no predictions."""
        return not self.about["result_keys"]

    @property
    def recipe(self) -> str:
        """Equal for trainings that differ in the seed alone."""
        return str(self.about["recipe"] or self.about["revision"])


def read_records(root: Path = RECORDS) -> list[Record]:
    """Every training on record, by variant and seed."""
    found = [Record(path.parent) for path in root.glob("*/*/record.json")]
    return sorted(found, key=lambda record: (record.row["variant"], int(record.row["seed"])))


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@dataclass(frozen=True)
class Finished:
    """The folder of a finished report, and the store that its steps lie in."""

    folder: Path
    store: Store

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        """results.csv."""
        return read_table(self.folder / "results.csv")

    @cached_property
    def graph(self) -> list[dict[str, Any]]:
        """The entities of provenance.json."""
        return list(json.loads((self.folder / "provenance.json").read_text(encoding="utf-8"))["@graph"])

    @property
    def profile(self) -> str:
        """The profile that it was made under."""
        root = next(each for each in self.graph if each["@id"] == "./")
        return str(re.findall(r"under the profile (\w+)", root["description"])[0])

    @property
    def revision(self) -> str:
        """The revision of Bakeoff, where the steps themselves do not say it."""
        return str(next(each for each in self.graph if each.get("name") == "Bakeoff")["softwareVersion"])

    def steps(self, row: Row) -> dict[str, str]:
        """Stage -> result key, of a row's steps: those whose notebooks lie in the row's folder."""
        replicate = int(row["replicate"] or 0)
        beside = f"notebooks/{row['variant']}{f'-{replicate}' if replicate else ''}/"
        found = {}
        for action in (each for each in self.graph if each["@type"] == "CreateAction" and "/" in each["@id"]):
            made = action.get("result", [])  # of one that failed: nothing
            results = made if isinstance(made, list) else [made]
            stage, _, key = action["@id"].removeprefix("#").partition("/")
            if "/" not in key and any(each["@id"].startswith(beside) for each in results):  # not of a page made anew
                found[stage] = key
        return found


def write(finished: Finished, row: Row, root: Path = RECORDS) -> Path:
    """Put a row of a report on record, in the place of an older record of its variant and seed; returns its folder."""
    _refuse(finished, row)
    steps = finished.steps(row)
    manifests = {stage: finished.store.complete_manifest(stage, key) for stage, key in steps.items()}
    gone = [stage for stage, manifest in manifests.items() if manifest is None]
    if gone or "evaluate" not in steps:
        what = f"the files of its steps ({', '.join(gone) or 'evaluate'}) are not in {finished.store.root}"
        raise RecordError(f"{what}; name the folder that the report was made from with --runs-dir")
    about = _about(finished, row, steps, {stage: each for stage, each in manifests.items() if each})
    target = root / row["variant"] / f"seed-{row['seed']}"
    if target.is_dir() and Record(target).about["finished"] > about["finished"]:
        raise RecordError(f"a newer training of this seed, {Record(target).about['finished']}, is on record")
    made = target.with_name(f".{target.name}")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    _fill(made, finished, row, {stage: finished.store.folder(stage, key) for stage, key in steps.items()})
    (made / "record.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    made.rename(target)
    return target


def _refuse(finished: Finished, row: Row) -> None:
    """Only whole schedules on real data go on record."""
    if finished.profile != "full":
        raise RecordError(f"it ran under the profile {finished.profile}; only `full` runs go on record")
    if row["status"] != "ok":
        raise RecordError(f"it is not finished: {row['status']}, {(row['message'].splitlines() or ['no message'])[0]}")
    departures = [each for each in row["limited"].split("; ") if each and not each.startswith(DIVERGED)]
    if departures or row["dataset"] == STAND_IN:
        raise RecordError(f"it departs from the catalogue: {'; '.join(departures) or f'data {STAND_IN}'}")


def _about(
    finished: Finished, row: Row, steps: Mapping[str, str], manifests: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Where a training comes from: revision, versions, settings and machine, data, keys."""
    inputs = {stage: manifest["key_inputs"] for stage, manifest in manifests.items()}
    recipe = {stage: _without_seed(each) for stage, each in inputs.items()}
    worked = manifests.get("train", manifests["evaluate"])
    resolved = {name: digest for each in inputs.values() for name, digest in each["resolved"].items()}
    return {
        "revision": (worked.get("software") or {}).get("revision", finished.revision),
        "finished": manifests["evaluate"]["finished"],
        "machine": {name: worked["machine"][name] for name in ("device", "cores", "gpus")},
        "settings": inputs.get("train", inputs["evaluate"])["settings"],
        "versions": {name: text for each in inputs.values() for name, text in sorted(each["versions"].items())},
        "data": {"name": row["dataset"], **resolved},
        "result_keys": dict(steps),
        "recipe": digest_value(recipe)[:32],
    }


def _without_seed(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a step was made from, but for the seed and the parents, which are looked at for themselves."""
    kept = {name: inputs[name] for name in ("resolved", "code", "versions", "settings")}
    return kept | {"parameters": {name: each for name, each in inputs["parameters"].items() if name != "seed"}}


def _fill(made: Path, finished: Finished, row: Row, folders: Mapping[str, Path]) -> None:
    """Write all of a record but record.json."""
    mask = Mask(finished.store.root)
    for stage, names in COPIES.items():
        for name in names if stage in folders else ():
            (made / name).write_text(mask((folders[stage] / name).read_text(encoding="utf-8")), encoding="utf-8")
    claims = [each for each in read_table(finished.folder / "claims.csv") if each["variant"] == row["variant"]]
    write_table(made / "results.csv", [row])
    write_table(made / "claims.csv", claims)
    if float(row["test_images"] or 0):  # a training that diverged has predicted none
        metrics = json.loads((made / "metrics.json").read_text(encoding="utf-8"))
        kept = summary(folders["evaluate"] / "predictions.npz", metrics["loss_name"], metrics["label_smoothing"])
        np.savez_compressed(made / "predictions.npz", **kept)


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Rows with the same names as CSV; none gives an empty file."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]) if rows else [], lineterminator="\n")
    if rows:
        writer.writeheader()
    writer.writerows(rows)
    path.write_text(buffer.getvalue(), encoding="utf-8")


def main(folders: Sequence[Path], runs: Path, root: Path = RECORDS) -> int:
    """Put every row of these reports on record that may be; says of each what became of it. 1 where none could be."""
    written = 0
    for folder in folders:
        finished = Finished(folder, Store(runs))
        try:
            rows = finished.rows
        except OSError as error:
            sys.exit(f"{error.filename} is not there; {folder} must be the folder of a finished report.")
        for row in rows:
            named = f"{row['variant']}, seed {row['seed']}"
            try:
                place = write(finished, row, root)
            except RecordError as error:
                print(f"{named}: not put on record; {error}.")
                continue
            size = sum(path.stat().st_size for path in place.iterdir())
            print(f"{named}: {place.relative_to(root.parent)}, {size / 1000:.0f} kB")
            written += 1
    return 0 if written else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m docs.records", description="Put finished `full` runs on record.")
    parser.add_argument("reports", nargs="+", type=Path, help="folders of finished reports")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="where their steps are kept")
    given = parser.parse_args()
    sys.exit(main(given.reports, given.runs_dir))
