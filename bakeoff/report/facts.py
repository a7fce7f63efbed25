"""What the report says about how it was made, and the banner that says what its numbers are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bakeoff.plan import Plan
from bakeoff.resolve import STAND_IN
from bakeoff.software import package_versions, revision


def banner(table: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sentences that a reader must see before any number: stand-in data, missing weights, limits, failures."""
    sentences = []
    if any(row["dataset"] == STAND_IN for row in table):
        sentences.append(
            f"These numbers were computed on {STAND_IN}, the built-in stand-in of drawn shapes, not on a public "
            "data set. They say nothing about any published figure."
        )
    for condition, text in (
        (
            lambda row: row["weights"] == "random" and row["status"] != "blocked",
            "with random weights in place of ImageNet's, which could not be had",
        ),
        (
            lambda row: bool(row["limited"]) and row["status"] != "blocked",
            "with departures from the catalogue's schedule, named in the column “limited”",
        ),
        (lambda row: row["status"] in ("failed", "blocked"), "not finished: they failed or could not be run"),
    ):
        count = sum(condition(row) for row in table)
        if count:
            sentences.append(f"{count} of {len(table)} rows: {text}.")
    return sentences


def facts(plan: Plan, profile: str) -> dict[str, Any]:
    """What the report's last chapter says of how it was made; the crate beside it says everything."""
    return {
        "profile": profile,
        "datasets": sorted({(row.dataset.name, row.dataset.digest) for row in plan.rows}),
        "machine": plan.machine.record(),
        "packages": package_versions(),
        "revision": revision(),
        "reproducible": reproducible(plan),
    }


def reproducible(plan: Plan) -> str:
    """Which numbers come out the same, bit for bit, when the run is made again, and which do not."""
    loose = sorted(
        {step.stage.name for step in plan.steps if step.key_inputs["settings"].get("deterministic", True) is False}
    )
    exception = (
        f"but those of {', '.join(loose)}, which ran on a GPU without deterministic operations, and " if loose else ""
    )
    if plan.machine.backend == "torch":
        return (
            "PyTorch was not asked for deterministic algorithms: made again, numbers that were computed with it may "
            "differ by rounding even on the same machine, and a training carries such differences on."
        )
    return (
        "Made again on the same kind of machine with the same versions, every number comes out the same bit for bit, "
        f"{exception or 'but '}what a clock measured (seconds, milliseconds an image). On another kind of machine "
        "numbers differ by rounding, and a training carries such differences on."
    )
