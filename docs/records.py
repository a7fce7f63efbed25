"""The trainings on record: a folder for each variant and seed below docs/records, written from finished runs.

`python -m docs.records` writes them from a store of steps; `--set` as the run had it. A record holds the training's row
of results.csv and what became of the claims about its variant (claims.csv); copies of the small files of its steps
under their own names; predictions.npz in the short form of `bakeoff.lab.tested.summary`; and record.json, which says
where all of it comes from (`note`, by hand: what else a reader must know of it).
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bakeoff import results
from bakeoff.claims.evidence import Run
from bakeoff.errors import BakeoffError
from bakeoff.lab.tested import summary
from bakeoff.params import variant_names
from bakeoff.pipeline import Pipeline, Request, audit_rows
from bakeoff.plan.resolve import SYNTHETIC, default_data_dir
from bakeoff.plan.steps import Step
from bakeoff.report.masks import Mask
from bakeoff.store import Store, digest_value

RECORDS = Path(__file__).resolve().parent / "records"
COPIES = {
    "search": ("best.json", "trials.csv"),
    "build": ("network.json",),
    "train": ("history.csv", "training.json", "step.json"),
    "evaluate": ("metrics.json",),
}
DIVERGED = "diverged at epoch"  # the one thing in `limited` that is a result and no override

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
        """The record as the audit reads the store."""
        return Run(self.row, {stage: str(self.folder) for stage in COPIES})

    @property
    def recipe(self) -> str:
        """Equal for trainings that differ in the seed alone."""
        return str(self.about["recipe"])


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
    """A finished training: its steps and the store that they lie in, its row of results.csv, the claims about it."""

    steps: Mapping[str, Step]
    later: Mapping[str, Step]  # of a search: how the steps after it are made, whatever it finds
    store: Store
    row: Row
    claims: Sequence[Row]


def finished_trainings(pipeline: Pipeline) -> list[Finished]:
    """Every training of a request's plan whose steps are all in the store; nothing is run or asked for."""
    rows, store = pipeline.plan(look=False).rows, pipeline.store
    table = results.collect(rows, store, {})
    done = [(row, each) for row, each in zip(rows, table, strict=True) if each["status"] == "ok"]
    judged = [found.row for found in audit_rows([row for row, _ in done], [each for _, each in done], store)]
    return [
        Finished(row.steps, row.later, store, each, [claim for claim in judged if claim["variant"] == row.variant])
        for row, each in done
    ]


def write(finished: Finished, root: Path = RECORDS) -> Path:
    """Put a training on record, in the place of an older record of its variant and seed; returns its folder."""
    _refuse(finished.row)
    about = _about(finished)
    target = root / finished.row["variant"] / f"seed-{finished.row['seed']}"
    if target.is_dir() and Record(target).about["finished"] > about["finished"]:
        raise RecordError(f"a newer training of this seed, {Record(target).about['finished']}, is on record")
    made = target.with_name(f".{target.name}")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    _fill(made, finished)
    (made / "record.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    made.rename(target)
    return target


def _refuse(row: Row) -> None:
    """Only whole schedules on real data go on record."""
    overrides = [each for each in row["limited"].split("; ") if each and not each.startswith(DIVERGED)]
    if overrides or row["dataset"] == SYNTHETIC:
        raise RecordError(f"it overrides the published schedule: {'; '.join(overrides) or f'data {SYNTHETIC}'}")


def _about(finished: Finished) -> dict[str, Any]:
    """Where a training comes from: revision, versions, settings and machine, data, keys of all but its trials."""
    steps = {stage: step for stage, step in finished.steps.items() if not step.number}
    inputs = {stage: step.key_inputs for stage, step in steps.items()}
    recipe = {stage: _without_seed(finished.later.get(stage, step).key_inputs) for stage, step in steps.items()}
    manifests = {stage: finished.store.complete_manifest(*step.name) or {} for stage, step in steps.items()}
    worked = manifests.get("train", manifests["evaluate"])
    resolved = {name: digest for each in inputs.values() for name, digest in each["resolved"].items()}
    versions = {name: text for each in inputs.values() for name, text in sorted(each["versions"].items())}
    return {
        "revision": worked["software"]["revision"],
        "finished": manifests["evaluate"]["finished"],
        "machine": {name: worked["machine"][name] for name in ("device", "gpu", "cores")},
        "settings": inputs.get("train", inputs["evaluate"])["settings"],
        "versions": {name: text for name, text in versions.items() if text != "missing"},
        "data": {"name": finished.row["dataset"], **resolved},
        "result_keys": {stage: step.result_key for stage, step in steps.items()},
        "recipe": digest_value(recipe)[:32],
    }


def _without_seed(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a step was made from, but for the seed and the parents, which are looked at for themselves."""
    kept = {name: inputs[name] for name in ("resolved", "code", "versions", "settings")}
    return kept | {"parameters": {name: each for name, each in inputs["parameters"].items() if name != "seed"}}


def _fill(made: Path, finished: Finished) -> None:
    """Write all of a record but record.json."""
    mask = Mask(finished.store.root)
    folders = {stage: finished.store.folder(*step.name) for stage, step in finished.steps.items()}
    for stage, names in COPIES.items():
        for name in names if stage in folders else ():
            (made / name).write_text(mask((folders[stage] / name).read_text(encoding="utf-8")), encoding="utf-8")
    write_table(made / "results.csv", [finished.row])
    write_table(made / "claims.csv", finished.claims)
    if float(finished.row["test_images"] or 0):  # a training that diverged has predicted none
        metrics = json.loads((made / "metrics.json").read_text(encoding="utf-8"))
        kept: dict[str, Any] = summary(
            folders["evaluate"] / "predictions.npz", metrics["loss_name"], metrics["label_smoothing"]
        )
        np.savez_compressed(made / "predictions.npz", **kept)


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Rows with the same names as CSV; none gives an empty file."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]) if rows else [], lineterminator="\n")
    if rows:
        writer.writeheader()
    writer.writerows(rows)
    path.write_text(buffer.getvalue(), encoding="utf-8")


def main(pipeline: Pipeline, root: Path = RECORDS) -> int:
    """Put every finished training of a plan on record that may be; says of each what became of it. 1 for none."""
    written = 0
    for finished in finished_trainings(pipeline):
        named = f"{finished.row['variant']}, seed {finished.row['seed']}"
        try:
            place = write(finished, root)
        except RecordError as error:
            print(f"{named}: not put on record; {error}.")
            continue
        size = sum(path.stat().st_size for path in place.iterdir())
        print(f"{named}: {place.relative_to(root.parent)}, {size / 1000:.0f} kB")
        written += 1
    if not written:
        print(f"Nothing to put on record: no training of this plan is finished in {pipeline.store.root}.")
    return 0 if written else 1


def _request(arguments: Sequence[str] | None = None) -> Request:
    """What the command line asks for: the run whose trainings go on record."""
    parser = argparse.ArgumentParser(prog="python -m docs.records", description="Put finished `full` runs on record.")
    parser.add_argument("--variants", metavar="A,B", help="default: every one in params/variants")
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="as the run had it")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="where the steps are kept")
    parser.add_argument("--data-dir", type=Path, default=default_data_dir(), help="prepared data, as the run had them")
    given = parser.parse_args(arguments)
    return Request(
        variants=tuple(given.variants.split(",") if given.variants else variant_names()),
        profile="full",
        settings=tuple(given.set),
        data_dir=given.data_dir.expanduser().resolve(),
        runs_dir=given.runs_dir.expanduser().resolve(),
        reports_dir=Path("reports"),
    )


if __name__ == "__main__":
    try:
        sys.exit(main(Pipeline(_request(), print)))
    except BakeoffError as wrong:
        print(f"docs.records: {wrong}", file=sys.stderr)
        sys.exit(wrong.exit_code)
