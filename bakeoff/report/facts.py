"""What the report says about how it was made, and the banner that says what its numbers are not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from bakeoff.plan.resolve import SYNTHETIC
from bakeoff.plan.software import package_versions, revision
from bakeoff.plan.steps import Plan
from bakeoff.store import NOTEBOOK, Store


def banner(table: Sequence[Mapping[str, Any]], missing: Iterable[str] = ()) -> list[str]:
    """Sentences that a reader must see before any number: synthetic data, missing images and weights, limits, failures.

    `missing`: what the load notebooks say of images that a copy of the data lacks.
    """
    sentences = [*missing]
    if any(row["dataset"] == SYNTHETIC for row in table):
        sentences.append(
            f"These numbers were computed on {SYNTHETIC}, the synthetic fallback data set, not on photographs. "
            "They say nothing about any published figure."
        )
    for condition, text in (
        (
            lambda row: row["weights"] == "random" and row["status"] != "blocked",
            "with random weights in place of ImageNet's, which could not be had",
        ),
        (
            lambda row: bool(row["limited"]) and row["status"] != "blocked",
            "with overrides of the published schedule, named in the last table",
        ),
        (lambda row: row["status"] in ("failed", "blocked"), "not finished: they failed or could not be run"),
    ):
        count = sum(condition(row) for row in table)
        if count:
            sentences.append(f"{count} of {len(table)} rows: {text}.")
    return sentences


def missing_images(plan: Plan, store: Store) -> list[str]:
    """What the load notebooks of a plan say of images that the copy of the data lacks."""
    from bakeoff.report.cells import Executed  # reads notebooks; the command starts without that

    steps = [step for step in plan.steps if step.stage.name == "load" and store.complete_manifest(*step.name)]
    notebooks = [Executed(store.folder(*step.name) / NOTEBOOK, store.root) for step in steps]
    outputs = [each for notebook in notebooks for each in notebook.outputs("missing", kind="text/markdown")]
    return list(dict.fromkeys(re.sub(r"\\(.)", r"\1", output["data"]["text/markdown"]) for output in outputs))


def facts(plan: Plan, profile: str, store: Store) -> dict[str, Any]:
    """What the report's last chapter says of how it was made, from the steps' own records; `writer` made the report.

    Where steps differ, each value stands with the number of steps that have it.
    """
    records = [record for step in plan.steps if (record := store.complete_manifest(*step.name)) is not None]
    software = [record.get("software") or {} for record in records]
    machines = [record["machine"] for record in records if _computes(record)] or [plan.machine.record()]
    names = sorted({name for each in software for name in each.get("packages", ())})
    return {
        "profile": profile,
        "date": _newest(records),
        "datasets": sorted({(row.dataset.name, row.dataset.digest) for row in plan.rows}),
        "machine": {name: _values(each.get(name) for each in machines) for name in ("device", "cores", "backend")},
        "packages": {name: _values(each.get("packages", {}).get(name) for each in software) for name in names},
        "revision": _values(each.get("revision") for each in software),
        "reproducible": reproducible(plan),
        "writer": {"revision": revision(), "packages": package_versions()},
    }


def _newest(records: Iterable[Mapping[str, Any]]) -> str:
    """The day on which the last of these steps was finished; empty where none is."""
    moments = [datetime.fromisoformat(record["finished"]) for record in records]
    return max(moments).date().isoformat() if moments else ""


def _computes(record: Mapping[str, Any]) -> bool:
    """Whether a step's numbers depend on the machine."""
    return "backend" in record["key_inputs"]["settings"]


def _values(values: Iterable[Any]) -> str:
    """The one value that all steps have; else each with the number of steps that have it."""
    counts = Counter("unknown" if value is None else str(value) for value in values)
    if len(counts) < 2:
        return next(iter(counts), "unknown")
    return ", ".join(
        f"{value} ({count} {'step' if count == 1 else 'steps'})" for value, count in sorted(counts.items())
    )


def reproducible(plan: Plan) -> str:
    """Which numbers come out the same, bit for bit, when the run is repeated, and which do not."""
    loose = sorted(
        {step.stage.name for step in plan.steps if step.key_inputs["settings"].get("deterministic", True) is False}
    )
    exception = (
        f"but those of {', '.join(loose)}, which ran on a GPU without deterministic operations, and " if loose else ""
    )
    if plan.machine.backend == "torch":
        return (
            "PyTorch was not asked for deterministic algorithms: in a rerun, numbers that were computed with it may "
            "differ by rounding even on the same machine, and a training carries such differences on."
        )
    return (
        "Run again on the same kind of machine with the same versions, every number comes out the same bit for bit, "
        f"{exception or 'but '}what a clock measured (seconds, milliseconds an image). On another kind of machine "
        "numbers differ by rounding, and a training carries such differences on."
    )
