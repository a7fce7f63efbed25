"""What steps will probably take, in seconds and bytes: from what earlier ones took, else roughly from parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from bakeoff.plan.steps import Name, Plan, Step
from bakeoff.store import Store
from bakeoff.store.last_made import LastMade

# What a step takes at least, and how fast this is taken to compute, where no earlier run says better.
_OVERHEAD_SECONDS = 1.5
_WEIGHTS_A_SECOND = 1e9  # parameters x images x epochs
_TFLOP_A_SECOND = 0.05
_USUAL_PARAMETERS = 1_000_000
_USUAL_IMAGES = 50_000
_EVALUATED_SHARE = 0.1  # of what training takes
# Bytes of a kernel whose step never ran before: of a heavy stage with its arrays, and more for a large network.
_HEAVY_BYTES, _LIGHT_BYTES, _BYTES_A_PARAMETER = 2 * 2**30, 2**30, 100
_SPARE = 1.2  # times the peak of last time
# Seconds of another run are a measure, not a guess, while the work in the parameters is at most so many times it.
_COMPARABLE = 1.5


class Estimate(NamedTuple):
    """Of one step. `measured`: whether the seconds come from an earlier execution of nearly the same work."""

    seconds: float
    memory: int
    measured: bool = False


def estimate(plan: Plan, steps: Iterable[Step], store: Store) -> dict[Name, Estimate]:
    """Seconds and bytes that each of `steps`, which are in the plan, will probably take.

    From the last run of the same variant and stage where there was one, scaled by the work in the parameters of
    then and now; else from parameters x images x epochs, and a fixed size for each kind of stage.
    """
    last_made = LastMade(store.root)
    published = {row.variant: int(row.parameters.stage["published"].get("parameters") or 0) for row in plan.rows}
    found = {}
    for step in steps:
        variant = step.variants[0] if step.variants else ""
        key = last_made.key(variant, step.label)
        manifest = store.read_manifest(step.stage.name, key) if key else None
        found[step.name] = _estimate(step, published.get(variant, 0), manifest or {})
    return found


def _estimate(step: Step, published: int, manifest: Mapping[str, Any]) -> Estimate:
    work = _OVERHEAD_SECONDS + _work(step.stage.name, step.parameters, published)
    heavy = step.stage.computes and not step.stage.light
    memory = manifest.get("peak_memory")
    guess = _HEAVY_BYTES + _BYTES_A_PARAMETER * published if heavy else _LIGHT_BYTES
    size = int(memory * _SPARE) if memory else guess
    seconds = manifest.get("seconds")
    if not seconds:
        return Estimate(work, size)
    ratio = work / (_OVERHEAD_SECONDS + _work(step.stage.name, manifest.get("parameters", {}), published))
    alike = manifest.get("key_inputs", {}).get("settings") == step.key_inputs.get("settings")
    return Estimate(seconds * ratio, size, alike and 1 / _COMPARABLE <= ratio <= _COMPARABLE)


def _work(stage: str, parameters: Mapping[str, object], published: int) -> float:
    """Seconds of arithmetic, roughly: good enough to put steps into an order."""
    number = {name: float(value) for name, value in parameters.items() if isinstance(value, int | float)}
    of_trial: Any = parameters.get("images", {})
    images = number.get("max_train_examples", of_trial.get("train", _USUAL_IMAGES))
    each = images * (published or _USUAL_PARAMETERS) / _WEIGHTS_A_SECOND
    limit = number.get("max_training_tflop", float("inf")) / _TFLOP_A_SECOND
    if stage == "draw":  # and after it the trials, which are not known before
        return min(each * number.get("search_trials", 1) * number.get("search_epochs", 1), limit)
    if stage == "trial":
        return each * number.get("search_epochs", 1)
    if stage == "train":
        return min(each * number.get("epochs", 1), limit)
    return each * _EVALUATED_SHARE if stage == "evaluate" else 0.0
