"""Seconds of trainings: compared only where the steps computed with equal means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from bakeoff.claims import Claim
from bakeoff.claims.evidence import Evidence, Run, UntestedError


def compared_seconds(
    column: str, variants: Sequence[str], claim: Claim, evidence: Evidence
) -> tuple[dict[str, list[float]], str]:
    """Variant -> the seconds of each replicate, and words on steps that shared the machine with others.

    Raises UntestedError where machine, device or threads differ or are not known: those seconds tell nothing.
    """
    runs = {name: evidence.fit(name, claim.needs) for name in variants}
    if evidence.lenient:
        raise UntestedError("seconds that do not compare are not shown side by side")
    steps = {name: [run.file("train", "step.json") for run in each] for name, each in runs.items()}
    _require_equal_means(steps)
    return {name: [_seconds(run, column) for run in each] for name, each in runs.items()}, _shared(steps)


def over_epochs(run: Run, total: float) -> list[float]:
    """A training's seconds as each of its epochs tells them: their mean is `total`, their variance that of a sum."""
    epochs = [run.at("seconds", epoch) for epoch in run.history]
    return [len(epochs) * seconds - sum(epochs) + total for seconds in epochs]


def _seconds(run: Run, column: str) -> float:
    """A training's seconds; epoch_seconds are the mean of its history's."""
    if column == "epoch_seconds":
        return fmean(run.at("seconds", epoch) for epoch in run.history)
    return run.number(column)


def _require_equal_means(steps: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    every = [step for each in steps.values() for step in each]
    if any(step["machine"] != every[0]["machine"] for step in every):
        raise UntestedError("they were trained on different machines, so their times do not compare")
    settings = {name: [step.get("key_inputs", {}).get("settings", {}) for step in each] for name, each in steps.items()}
    on_gpu = all(each.get("device") == "gpu" for of in settings.values() for each in of)
    for setting in ("device",) if on_gpu else ("device", "threads"):  # a GPU's host only feeds it
        used = {name: sorted({str(each.get(setting, "")) for each in of}) for name, of in settings.items()}
        if any("" in values for values in used.values()):
            raise UntestedError(f"the {setting} of their trainings are not on record, so their times do not compare")
        if len({tuple(values) for values in used.values()} | {tuple(v[:1]) for v in used.values()}) > 1:
            words = ", ".join(f"{name} {' and '.join(values)}" for name, values in used.items())
            raise UntestedError(f"they had other {setting} ({words}), so their times do not compare")


def _shared(steps: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Which of them ran beside other steps; empty when each had the machine for itself."""
    beside = [name for name, each in steps.items() if any(step.get("ran_alone") is False for step in each)]
    unknown = [name for name, each in steps.items() if any(step.get("ran_alone") is None for step in each)]
    text = f"; {', '.join(beside)} shared the machine with other steps" if beside else ""
    return text + (f"; whether {', '.join(unknown)} ran beside other steps is not on record" if unknown else "")
