"""What steps will probably take, in seconds and bytes: from what earlier ones took, else roughly from parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from bakeoff.plan.steps import Name, Plan, Step
from bakeoff.store import Store
from bakeoff.store.last_made import LastMade

# What a step takes at least, and how fast this is taken to compute, where no earlier run says better.
_OVERHEAD_SECONDS = 1.5
# More where graphs of a network are made, and as much again and more for a pretrained base with its many layers.
_GRAPH_SECONDS = {"train": 4.0, "trial": 1.0, "evaluate": 1.0}
_BASE_TIMES = 2.5
_WEIGHTS_A_SECOND = 1e9  # parameters x images x epochs
_TFLOP_A_SECOND = 0.1
_USUAL_PARAMETERS = 1_000_000
_USUAL_IMAGES, _USUAL_TEST_IMAGES = 50_000, 10_000
_FORWARD = 1 / 3  # of what an image costs in training
_PAGE_SECONDS = 3.0  # of a page that is rebuilt
# Bytes of a kernel whose step never ran before: of a heavy stage with its arrays, and more for a large network.
_HEAVY_BYTES, _LIGHT_BYTES, _BYTES_A_PARAMETER = 2 * 2**30, 2**30, 100
_SPARE = 1.2  # times the peak of last time
# Seconds of another run are a measure, not a guess, while the work in the parameters is at most so many times it.
_COMPARABLE = 1.5


class Sizes(NamedTuple):
    """What a variant's work is measured by: parameters of its network, if they are known, and images."""

    parameters: int
    train: int
    test: int
    base: bool = False  # a pretrained one


class Estimate(NamedTuple):
    """Of one step. `measured`: whether the seconds come from an earlier execution of nearly the same work."""

    seconds: float
    memory: int
    measured: bool = False


def estimate(plan: Plan, steps: Iterable[Step], store: Store) -> dict[Name, Estimate]:
    """Seconds and bytes that each of `steps`, which are in the plan, will probably take.

    A search counts with the steps that will follow from it and are not in the plan yet.

    From the last run of the same variant and stage where there was one, scaled by the work in the parameters of
    then and now; else from parameters x images x epochs, and a fixed size for each kind of stage.
    """
    last_made = LastMade(store.root)
    sizes = {row.variant: _sizes(row.parameters.stage) for row in plan.rows}

    def of(step: Step, variant: str) -> Estimate:
        key = last_made.key(variant, step.label)
        manifest = store.read_manifest(step.stage.name, key) if key else None
        return _estimate(step, sizes.get(variant, _sizes({})), manifest or {})

    found = {}
    for step in steps:
        found[step.name] = of(step, step.variants[0] if step.variants else "")
        if plan.reasons.get(step.name, "").startswith("page"):  # what the work took says nothing of it
            found[step.name] = Estimate(_PAGE_SECONDS, found[step.name].memory)
    for row in plan.rows:
        search = row.steps["search"].name if row.unknown else ("", "")
        if search in found:
            after = [of(row.later[stage], row.variant) for stage in row.unknown]
            seconds = found[search].seconds + sum(each.seconds for each in after)
            measured = found[search].measured and all(each.measured for each in after)
            found[search] = found[search]._replace(seconds=seconds, measured=measured)
    return found


def _sizes(stage: Mapping[str, Any]) -> Sizes:
    """The sizes of a variant's work, by its parameters."""
    parameters = int(stage.get("published", {}).get("parameters") or 0)
    train, test = (stage.get(f"max_{part}_examples") for part in ("train", "test"))
    base = stage.get("weights", "none") != "none"
    return Sizes(parameters, train or _USUAL_IMAGES, test or _USUAL_TEST_IMAGES, base)


def _estimate(step: Step, sizes: Sizes, manifest: Mapping[str, Any]) -> Estimate:
    work = _work(step.stage.name, step.parameters, sizes)
    heavy = step.stage.computes and not step.stage.light
    memory = manifest.get("peak_memory")
    guess = _HEAVY_BYTES + _BYTES_A_PARAMETER * sizes.parameters if heavy else _LIGHT_BYTES
    size = int(memory * _SPARE) if memory else guess
    seconds = manifest.get("seconds")
    if not seconds:
        return Estimate(work, size)
    ratio = work / _work(step.stage.name, manifest.get("parameters", {}), sizes)
    alike = manifest.get("key_inputs", {}).get("settings") == step.key_inputs.get("settings")
    return Estimate(seconds * ratio, size, alike and 1 / _COMPARABLE <= ratio <= _COMPARABLE)


def _work(stage: str, parameters: Mapping[str, object], sizes: Sizes) -> float:
    """Seconds of a step, roughly: good enough to put steps into an order."""
    number = {name: float(value) for name, value in parameters.items() if isinstance(value, int | float)}
    of_trial: Any = parameters.get("images", {})
    each = (sizes.parameters or _USUAL_PARAMETERS) / _WEIGHTS_A_SECOND  # of an image, in training
    images = of_trial.get("train", sizes.train)
    limit = number.get("max_training_tflop", float("inf")) / _TFLOP_A_SECOND
    deep = _BASE_TIMES if sizes.base else 1.0
    overhead = _OVERHEAD_SECONDS + _GRAPH_SECONDS.get(stage, 0.0) * deep
    if stage == "draw":  # and after it the trials, which are not known before
        trained = images * each * number.get("search_trials", 1) * number.get("search_epochs", 1)
        return overhead + min(trained, limit / 2)
    if stage == "trial":
        return overhead + images * each * number.get("search_epochs", 1)
    if stage == "train":
        return overhead + min(images * each * number.get("epochs", 1), limit)
    if stage == "evaluate":
        limit = number.get("max_evaluation_tflop", float("inf")) / _TFLOP_A_SECOND
        return overhead + min(sizes.test * each * _FORWARD, limit)
    return overhead
